//! What the mock of the Cloud API tells about templates and numbers, read by the scheduler: what the one side writes,
//! the other must understand.

use crate::harness::{LANE, PATIENCE, Scheduler};
use crate::whatsapp::WABA;
use campaign_runtime::{Runtime, Shutdown};
use campaign_store::{phone_numbers, portfolios};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use uuid::Uuid;
use whatsapp_mock_svc::{FaultProfile, MockSettings, WebhookSettings};

/// More than a page of the listing holds, twice.
const MANY: usize = 205;
/// Every status that the mock can give; the engine has the same words.
const STATUSES: [&str; 9] = [
    "APPROVED",
    "PENDING",
    "REJECTED",
    "PAUSED",
    "DISABLED",
    "IN_APPEAL",
    "PENDING_DELETION",
    "LIMIT_EXCEEDED",
    "ARCHIVED",
];

/// A Cloud API that one token opens.
struct Mock {
    addr: SocketAddr,
    token: &'static str,
    shutdown: Shutdown,
    http: Client,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.shutdown.stop_now();
    }
}

impl Mock {
    async fn start(token: &'static str) -> Self {
        campaign_runtime::install_tls_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let settings = MockSettings {
            is_strict: true,
            further_roots: Vec::new(),
            access_token: token.to_owned().into(),
            verify_token: None,
            seed: 1,
            throughput: 80,
            faults: FaultProfile::default(),
            webhooks: WebhookSettings::default(),
        };
        let runtime = Runtime::for_test(listener, shutdown.clone());
        tokio::spawn(whatsapp_mock_svc::app::serve(settings, runtime));
        let http = Client::new();
        Self {
            addr,
            token,
            shutdown,
            http,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    async fn set(&self, path: &str, body: Value) {
        let answer = self.http.put(self.url() + path).json(&body).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{path}: {}",
            answer.text().await.unwrap()
        );
    }

    async fn register(&self, waba: &str, template: &Value) {
        let url = format!("{}/v25.0/{waba}/message_templates", self.url());
        let request = self.http.post(url).bearer_auth(self.token).json(template);
        let answer = request.send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{template}: {}",
            answer.text().await.unwrap()
        );
    }

    async fn set_status(&self, waba: &str, name: &str, status: &str) {
        let path = format!("/mock/accounts/{waba}/templates/{name}/pt_BR");
        self.set(&path, json!({ "status": status })).await;
    }
}

fn positional(name: &str) -> Value {
    json!({"name": name, "language": "pt_BR", "category": "UTILITY", "components": [
        {"type": "BODY", "text": "Olá {{1}}, o seu pedido {{2}} chegou.", "example": {"body_text": [["Ana", "7"]]}}]})
}

fn named(name: &str) -> Value {
    json!({"name": name, "language": "pt_BR", "category": "MARKETING", "parameter_format": "NAMED", "components": [
        {"type": "BODY", "text": "Olá {{nome}}, novidades em {{cidade}} para si.",
         "example": {"body_text_named_params": [
            {"param_name": "nome", "example": "Ana"}, {"param_name": "cidade", "example": "Santos"}]}}]})
}

impl Scheduler {
    /// What an administrator writes.
    async fn made(&self, path: &str, body: Value) -> Value {
        self.ask("admin", Method::POST, path, Some(body))
            .await
            .expect(201)
    }

    async fn account(&self, waba: &str, portfolio: &str) -> String {
        let account = json!({"waba_id": waba, "name": waba, "portfolio_id": portfolio});
        let account = self.made("/v1/accounts", account).await;
        account["id"].as_str().unwrap().to_owned()
    }

    async fn number(&self, account: &str, id: &str) {
        let number = json!({"phone_number_id": id, "account_id": account, "display_number": id,
            "throughput_per_second": 1000});
        self.made("/v1/phone-numbers", number).await;
    }

    /// Waits until WhatsApp's word on this number and its account's portfolio has been recorded.
    async fn reported(&self, number: &str, account: &str, throughput: Value, limit: Value) {
        let what = format!("the limits {throughput} and {limit} of {number}");
        testkit::wait_for_ok(PATIENCE, &what, async || {
            let number = self.get(&format!("/v1/phone-numbers/{number}")).await.expect(200);
            let account = self.get(&format!("/v1/accounts/{account}")).await.expect(200);
            let found = [
                &number["reported_throughput_per_second"],
                &account["reported_messaging_limit"],
            ];
            if found == [&throughput, &limit] {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }

    /// Has templates read until this many of the account's were found, and gives what the reading found.
    async fn read(&self, account: &str, listed: usize) -> Value {
        let what = format!("{listed} templates of {account} to be read");
        testkit::wait_for_ok(PATIENCE * 3, &what, async || {
            self.act("/v1/templates/sync").await.expect(202);
            let shown = self.get("/v1/templates/sync").await.expect(200);
            let mut accounts = shown["accounts"].as_array().unwrap().iter();
            let found = accounts.find(|found| found["account_id"] == account).unwrap();
            if found["listed"] == listed && found["error"].is_null() {
                Ok(found.clone())
            } else {
                Err(found.to_string())
            }
        })
        .await
    }

    async fn template(&self, name: &str) -> Value {
        let shown = self.get(&format!("/v1/templates?name={name}")).await.expect(200);
        let versions = shown["items"].as_array().unwrap();
        assert_eq!(versions.len(), 1, "{name}: {shown}");
        versions[0].clone()
    }
}

#[tokio::test]
async fn limits_are_recorded_as_the_mock_tells_them_and_follow_it() {
    let mock = Mock::start("of-all").await;
    let number = format!("/mock/numbers/{LANE}");
    let account = format!("/mock/accounts/{WABA}");
    mock.set(&number, json!({"account_id": WABA, "throughput": 80}))
        .await;
    mock.set(&account, json!({"messaging_limit": "TIER_2K"})).await;
    let scheduler = Scheduler::start_with(&[
        "--whatsapp-base-url",
        &mock.url(),
        "--whatsapp-access-token=of-all",
        "--limit-sync-seconds=1",
    ])
    .await;
    let own = scheduler.account(WABA, "900").await;
    scheduler.number(&own, LANE).await;
    scheduler.reported(LANE, &own, json!(80), json!(2_000)).await;

    mock.set(&number, json!({"throughput": 1_000})).await;
    mock.set(&account, json!({"messaging_limit": "TIER_100K"})).await;
    scheduler.reported(LANE, &own, json!(1_000), json!(100_000)).await;
    mock.set(&account, json!({"messaging_limit": "TIER_UNLIMITED"}))
        .await;
    scheduler.reported(LANE, &own, json!(1_000), Value::Null).await;
}

/// Else a limit that WhatsApp raised since would hold campaigns for ever, whatever people decide.
#[tokio::test]
async fn where_limits_are_not_read_any_more_what_was_reported_is_forgotten() {
    let mut scheduler = Scheduler::start().await;
    let own = scheduler.account(WABA, "900").await;
    scheduler.number(&own, LANE).await;
    let mut connection = scheduler.store.connection().await.unwrap();
    let lane = LANE.parse().unwrap();
    phone_numbers::report_throughput(&mut connection, &lane, Some(80))
        .await
        .unwrap();
    portfolios::report_limit(&mut connection, "900", Some(250))
        .await
        .unwrap();
    scheduler.reported(LANE, &own, json!(80), json!(250)).await;
    scheduler.replica(&["--limit-sync-seconds=0"]).await;
    scheduler.reported(LANE, &own, Value::Null, Value::Null).await;
}

#[tokio::test]
async fn every_page_status_and_parameter_format_that_the_mock_lists_is_read() {
    let mock = Mock::start("of-all").await;
    let name = |index: usize| format!("aviso_{index:03}");
    for index in 0..MANY {
        let template = if index % 2 == 0 { positional } else { named };
        mock.register(WABA, &template(&name(index))).await;
    }
    // Each on the first page in the one format, and on the last page in the other.
    let expected: Vec<(usize, &str)> = STATUSES
        .into_iter()
        .enumerate()
        .flat_map(|(index, status)| [(index, status), (MANY - 2 - index, status)])
        .collect();
    for (index, status) in &expected {
        mock.set_status(WABA, &name(*index), status).await;
    }
    let url = mock.url();
    let scheduler =
        Scheduler::start_with(&["--whatsapp-base-url", &url, "--whatsapp-access-token=of-all"]).await;
    let account = scheduler.account(WABA, "900").await;
    let found = scheduler.read(&account, MANY).await;
    assert_eq!(found["passed_over"], json!([]), "{found}");
    for (index, status) in expected {
        let template = scheduler.template(&name(index)).await;
        assert_eq!(template["status"], status, "{template}");
        let (format, category, variables) = if index % 2 == 0 {
            ("POSITIONAL", "UTILITY", json!(["1", "2"]))
        } else {
            ("NAMED", "MARKETING", json!(["nome", "cidade"]))
        };
        assert_eq!(
            (
                &template["parameter_format"],
                &template["category"],
                &template["variables"]
            ),
            (&json!(format), &json!(category), &variables),
            "{template}"
        );
        assert!(template["meta_id"].is_string(), "{template}");
    }
    let unchanged = scheduler.template(&name(MANY / 2)).await;
    assert_eq!(unchanged["status"], "PENDING");
}

#[tokio::test]
async fn two_accounts_are_read_with_the_servers_versions_and_tokens_of_their_numbers() {
    const OTHER_LANE: &str = "106540352242999";
    let [one, two] = [Mock::start("of-one").await, Mock::start("of-two").await];
    for (mock, number, waba, throughput, limit) in [
        (&one, LANE, WABA, 80, "TIER_2K"),
        (&two, OTHER_LANE, "555", 1_000, "TIER_10K"),
    ] {
        let account = format!("/mock/accounts/{waba}");
        mock.set(&account, json!({ "messaging_limit": limit })).await;
        let settings = json!({"account_id": waba, "throughput": throughput});
        mock.set(&format!("/mock/numbers/{number}"), settings).await;
        mock.register(waba, &positional(&format!("aviso_{number}"))).await;
    }
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "of-two\n").unwrap();
    let numbers = tempfile::NamedTempFile::new().unwrap();
    let settings = json!({
        LANE: {"access_token": "of-one"},
        OTHER_LANE: {"base_url": two.url(), "version": "v26.0", "access_token_file": token.path()},
    });
    std::fs::write(numbers.path(), settings.to_string()).unwrap();
    let file = format!("--whatsapp-numbers-file={}", numbers.path().display());
    let scheduler = Scheduler::start_with(&[
        "--whatsapp-base-url",
        &one.url(),
        "--whatsapp-access-token=of-nobody",
        "--limit-sync-seconds=1",
        &file,
    ])
    .await;
    let [own, other, lonely] = [
        scheduler.account(WABA, "900").await,
        scheduler.account("555", "901").await,
        scheduler.account("556", "902").await,
    ];
    scheduler.number(&own, LANE).await;
    scheduler.number(&other, OTHER_LANE).await;
    scheduler.read(&own, 1).await;
    scheduler.read(&other, 1).await;
    for (account, number) in [(&own, LANE), (&other, OTHER_LANE)] {
        let template = scheduler.template(&format!("aviso_{number}")).await;
        assert_eq!(template["account_id"], json!(account.parse::<Uuid>().unwrap()));
    }
    scheduler.reported(LANE, &own, json!(80), json!(2_000)).await;
    scheduler
        .reported(OTHER_LANE, &other, json!(1_000), json!(10_000))
        .await;

    // An account without a number has the token of all others, which opens neither server.
    let shown = scheduler.get("/v1/templates/sync").await.expect(200);
    let accounts = shown["accounts"].as_array().unwrap();
    let refused = accounts
        .iter()
        .find(|found| found["account_id"] == lonely.as_str());
    let error = refused.unwrap()["error"].as_str().unwrap();
    assert!(error.contains("190"), "{error}");
}
