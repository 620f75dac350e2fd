//! Secrets and phone numbers: nowhere but where they belong, whatever goes wrong and however much is logged.

use crate::least_rights::{self, SERVICES, password};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use e2e::{ACCESS_TOKEN, APP_SECRET, ERP_KEY, LANE, Stack, StackOptions, VERIFY_TOKEN};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::{ServiceProcess, built_binary, wait_for_ok};

const PROGRAMS: [&str; 7] = [
    "scheduler-svc",
    "sender-svc",
    "message-svc",
    "erp-mock-svc",
    "whatsapp-mock-svc",
    "migrate",
    "campaignctl",
];
/// Those of them that send, or read what WhatsApp tells.
const CALL_WHATSAPP: [&str; 2] = ["scheduler-svc", "message-svc"];
/// Everything of ours, and the clients' own words short of what they put on the wire.
const RUST_LOG: &str = "debug,scheduler_svc=trace,sender_svc=trace,message_svc=trace,erp_mock_svc=trace,\
    whatsapp_mock_svc=trace,campaign_streams=trace,campaign_store=trace,campaign_runtime=trace,\
    campaign_core=trace,whatsapp_api=trace,erp_api=trace";
/// What somebody tries who has no right to anything.
const WRONG_KEY: &str = "ck_wrong-key-of-a-stranger";
const WRONG_TOKEN: &str = "wrong-token-of-a-stranger";

const TRACES_PASSWORD: &str = "password-of-traces";
/// Of the number that sends: in the numbers' file itself. No other token opens WhatsApp here.
const NUMBER_TOKEN: &str = "token-of-the-number-that-sends";
/// Of a number that WhatsApp refuses: in a file that the numbers' file names.
const REFUSED_TOKEN: &str = "token-of-a-number-that-is-refused";
const REFUSED_LANE: &str = "106540352242923";

/// Everything that was said, by where.
#[derive(Default)]
struct Heard(BTreeMap<String, String>);

impl Heard {
    fn note(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.entry(place.into()).or_default().push_str(&text.into());
    }

    fn keep_only_login_free(&mut self) {
        self.0.retain(|place, _| place.starts_with('/'));
    }

    /// Panics with every place that says any of `secrets`.
    fn assert_none_of(&self, secrets: &[String]) {
        let mut leaks = Vec::new();
        for (place, text) in &self.0 {
            for secret in secrets.iter().filter(|secret| text.contains(secret.as_str())) {
                let line = text.lines().find(|line| line.contains(secret.as_str()));
                leaks.push(format!("{place} says {secret}: {}", line.unwrap_or_default()));
            }
        }
        assert!(leaks.is_empty(), "{leaks:#?}");
    }
}

/// Tokens of single numbers, as an installation has them.
struct Numbers {
    folder: tempfile::TempDir,
}

impl Numbers {
    fn new() -> Self {
        let numbers = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let token = numbers.write("token", &format!("{REFUSED_TOKEN}\n"));
        let file = json!({
            LANE: {"access_token": NUMBER_TOKEN},
            REFUSED_LANE: {"access_token_file": token},
        });
        numbers.write("numbers.json", &file.to_string());
        numbers
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    fn file(&self) -> String {
        self.folder.path().join("numbers.json").display().to_string()
    }

    /// Files in which a token stands at the wrong place, or beside something that is wrong.
    fn wrong_files(&self) -> Vec<String> {
        let token = WRONG_TOKEN;
        let wrong = [
            json!({"7": {"version": "26", "access_token": token}}),
            json!({"7": {"base_url": format!("https://me:{token}@wa.example"), "access_token": token}}),
            json!({"7": {"access_token": format!("{token}\n")}}),
            json!({"7": {"access_token": token, "access_token_file": self.file()}}),
            json!({"7": {"access_token": {"is": token}}}),
            json!({"7": {token: "x"}}),
            json!({"7": token}),
            json!({token: {}}),
            json!(token),
        ];
        let mut texts: Vec<String> = wrong.iter().map(Value::to_string).collect();
        texts.push(format!("{{\"7\": {{\"access_token\": {token}"));
        let name = |index: usize| format!("wrong-{index}.json");
        let texts = texts.iter().enumerate();
        texts
            .map(|(index, text)| self.write(&name(index), text))
            .collect()
    }
}

/// Much is logged, and traces go to where nobody takes them.
fn environment() -> Vec<(&'static str, String)> {
    let traces = format!("http://traces:{TRACES_PASSWORD}@127.0.0.1:1");
    let headers = format!("authorization=Bearer%20{TRACES_PASSWORD}");
    [
        ("RUST_LOG", RUST_LOG),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &traces),
        ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// The secrets, and how a client would write them into a header.
fn secrets(stack: &Stack, created_key: &str) -> Vec<String> {
    let plain = [
        ERP_KEY,
        ACCESS_TOKEN,
        APP_SECRET,
        VERIFY_TOKEN,
        TRACES_PASSWORD,
        WRONG_KEY,
        WRONG_TOKEN,
        NUMBER_TOKEN,
        REFUSED_TOKEN,
    ];
    let mut secrets: Vec<String> = plain.map(str::to_owned).into();
    secrets.extend([stack.api_key().to_owned(), created_key.to_owned()]);
    for user in SERVICES {
        secrets.push(password(user));
        let login = format!("{user}:{}", password(user));
        secrets.extend([STANDARD.encode(&login), STANDARD_NO_PAD.encode(&login)]);
    }
    secrets
}

async fn text_of(request: reqwest::RequestBuilder) -> String {
    let answer = request.send().await.expect("an answer");
    format!("{}\n{}", answer.status(), answer.text().await.expect("text"))
}

/// What each program says about its settings, with every secret in its environment; and about wrong ones.
fn settings_as_told(stack: &Stack, numbers: &Numbers, heard: &mut Heard) {
    for program in PROGRAMS {
        let run = |arguments: &[&str], change: &[(&str, &str)]| {
            let said = Command::new(built_binary(program))
                .env_clear()
                .envs(stack.environment_of(program))
                .envs(change.iter().copied())
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .expect("it runs");
            [said.stdout, said.stderr].map(|said| String::from_utf8_lossy(&said).into_owned())
        };
        heard.note(format!("{program} --help"), run(&["--help"], &[]).concat());
        if program.ends_with("-svc") {
            let valid = run(&["--check-config"], &[]);
            assert!(valid[0].contains("is valid"), "{program}: {valid:?}");
            heard.note(format!("{program} --check-config"), valid.concat());
        }
        let wrong = [
            ("DATABASE_URL", "wrong-token-of-a-stranger"),
            ("REDIS_URL", "wrong-token-of-a-stranger"),
            ("ERP_BASE_URL", "https://me:wrong-token-of-a-stranger@erp.example"),
            (
                "WHATSAPP_BASE_URL",
                "https://me:wrong-token-of-a-stranger@wa.example",
            ),
            ("ERP_API_KEY", "wrong-token-of-a-stranger\n"),
            ("WHATSAPP_ACCESS_TOKEN", "wrong-token-of-a-stranger\n"),
            ("API_KEY", "wrong-token-of-a-stranger\n"),
            ("API_URL", "https://me:wrong-token-of-a-stranger@api.invalid"),
            ("CONNECT_TIMEOUT_SECONDS", "0"),
        ];
        let arguments: &[&str] = match program {
            "migrate" => &[],
            "campaignctl" => &["queues"],
            _ => &["--check-config"],
        };
        heard.note(
            format!("{program} with wrong settings"),
            run(arguments, &wrong).concat(),
        );
        if CALL_WHATSAPP.contains(&program) {
            for file in numbers.wrong_files() {
                let said = run(arguments, &[("WHATSAPP_NUMBERS_FILE", &file)]).concat();
                let problem = format!("WHATSAPP_NUMBERS_FILE: found {file}");
                assert!(said.contains(&problem), "{program}: {said}");
                heard.note(format!("{program} with wrong numbers"), said);
            }
        }
    }
}

/// A campaign, and everything else that makes services say something. Returns the key that was created.
async fn live(stack: &Stack, heard: &mut Heard) -> String {
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    stack
        .finished(&id, Duration::from_secs(30))
        .await
        .assert_exactly_once();
    let created = json!({"name": "somebody", "role": "viewer"});
    let created = stack.api(Method::POST, "/v1/api-keys", Some(created)).await;
    let key = created["key"].as_str().expect("it is shown once").to_owned();

    // The access token is refused from now on: an error of the whole account.
    let refused = json!({"errors": [{"code": 190, "share": 1.0}]});
    stack.whatsapp(Method::PUT, "/mock/faults", Some(refused)).await;
    let person = json!({"phone_number_id": LANE, "from": "5511987654321", "content": {"type": "text", "body": "SAIR"}});
    stack.whatsapp(Method::POST, "/mock/inbound", Some(person)).await;
    let second = stack.create(json!({"name": "refused"})).await;
    stack.schedule(&second, None).await;
    let held = |campaign: &Value| campaign["status"] == "PAUSED";
    let campaign = stack
        .wait_until(&second, "the lane to be held", Duration::from_secs(20), held)
        .await;
    heard.note("the refused campaign", campaign.to_string());
    stack.whatsapp(Method::POST, "/mock/webhooks/verify", None).await;
    key
}

/// The scheduler's reading has used the one number's token, and was refused with the other's.
async fn limits_are_read(stack: &Stack) {
    let soon = Duration::from_secs(20);
    wait_for_ok(soon, "the limits to be read", async || {
        let path = format!("/v1/phone-numbers/{LANE}");
        let shown = stack.api(Method::GET, &path, None).await;
        let refused = stack.schedulers[0]
            .log()
            .contains("WhatsApp did not tell the limits of a number");
        let is_read = !shown["reported_throughput_per_second"].is_null();
        if is_read && refused {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    })
    .await;
}

/// What strangers are told.
async fn ask_as_a_stranger(stack: &Stack, heard: &mut Heard) {
    let http = reqwest::Client::new();
    let api = stack.schedulers[0].base_url();
    let hooks = format!("{}/webhooks/whatsapp", stack.messengers[0].base_url());
    for service in stack.services() {
        for path in ["/livez", "/readyz", "/metrics", "/openapi.json", "/nothing-here"] {
            let said = text_of(http.get(format!("{}{path}", service.base_url()))).await;
            heard.note(format!("{path} of {}", service.name()), said);
        }
    }
    for (place, request) in [
        ("no key", http.get(format!("{api}/v1/campaigns"))),
        (
            "a wrong key",
            http.get(format!("{api}/v1/campaigns")).bearer_auth(WRONG_KEY),
        ),
        (
            "a key in the path",
            http.get(format!("{api}/v1/campaigns/x")).bearer_auth(WRONG_KEY),
        ),
        ("an unsigned webhook", http.post(&hooks).body("{}")),
        (
            "a webhook signed by a stranger",
            http.post(&hooks)
                .header("x-hub-signature-256", "sha256=00")
                .body("{}"),
        ),
        (
            "a stranger's verification",
            http.get(format!(
                "{hooks}?hub.mode=subscribe&hub.verify_token={WRONG_TOKEN}&hub.challenge=1"
            )),
        ),
        (
            "a broken verification",
            http.get(format!(
                "{hooks}?hub.mode=subscribe&hub.verify_token={WRONG_TOKEN}"
            )),
        ),
    ] {
        heard.note(place, text_of(request).await);
    }
    let wrong_body = Some(json!({"name": 7, "role": "viewer"}));
    let (_, refused) = stack.try_api(Method::POST, "/v1/api-keys", wrong_body).await;
    heard.note("a wrong body", refused.to_string());
}

/// Services whose passwords and keys are wrong.
async fn run_with_wrong_secrets(stack: &Stack, heard: &mut Heard) {
    let service = |name: &str, change: &[(&str, String)]| {
        let environment = stack.environment_of(name).into_iter();
        let change = change.iter().map(|(name, value)| (*name, value.as_str()));
        ServiceProcess::options(name)
            .envs(environment.chain(change).collect::<Vec<_>>())
            .start()
    };
    let redis = stack.redis.url_of("message-svc", WRONG_TOKEN);
    let nobody = stack.database.url_of("nobody", WRONG_TOKEN);
    let messenger = service("message-svc", &[("REDIS_URL", redis)]);
    let sender = service("sender-svc", &[("DATABASE_URL", nobody)]);
    let mut scheduler = service("scheduler-svc", &[("ERP_API_KEY", WRONG_TOKEN.to_owned())]);
    scheduler.wait_ready().await;
    let id = stack.create(json!({"name": "preview"})).await;
    let preview = format!("{}/v1/campaigns/{id}/preview", scheduler.base_url());
    let preview = text_of(reqwest::Client::new().get(preview).bearer_auth(stack.api_key())).await;
    assert!(preview.starts_with("502"), "the ERP refuses: {preview}");
    heard.note("a preview with a wrong key", preview);
    for (service, expected) in [(&messenger, "AuthenticationFailed"), (&sender, "nobody")] {
        let readiness = format!("{}/readyz", service.base_url());
        let said = wait_for_ok(Duration::from_secs(10), "it to say what is wrong", async || {
            let answer = reqwest::get(&readiness)
                .await
                .map_err(|error| error.to_string())?;
            let said = answer.text().await.map_err(|error| error.to_string())?;
            if said.contains(expected) {
                Ok(said)
            } else {
                Err(said)
            }
        })
        .await;
        heard.note(
            format!("/readyz of {} with a wrong password", service.name()),
            said,
        );
    }
    for service in [&messenger, &sender, &scheduler] {
        heard.note(
            format!("log of {} with wrong secrets", service.name()),
            service.log(),
        );
    }
}

/// The ids of all campaigns.
async fn campaigns(stack: &Stack) -> Vec<String> {
    let campaigns = stack.api(Method::GET, "/v1/campaigns", None).await;
    let campaigns = campaigns["items"].as_array().expect("campaigns");
    let ids = campaigns.iter().filter_map(|campaign| campaign["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// Everybody's number as its last eight digits: no form of it is without them.
async fn phones(stack: &Stack) -> Vec<String> {
    let mut phones = vec!["87654321".to_owned()];
    for id in campaigns(stack).await {
        let path = format!("/v1/campaigns/{id}/messages?limit=200");
        let page = stack.api(Method::GET, &path, None).await;
        for item in page["items"].as_array().expect("recipients") {
            let phone = item["phone"].as_str().unwrap_or_default();
            phones.extend(phone.len().checked_sub(8).map(|from| phone[from..].to_owned()));
        }
    }
    phones
}

#[tokio::test]
async fn no_secret_and_no_phone_number_is_told_to_anybody() {
    let numbers = Numbers::new();
    let own = |program, name, value: &str| (program, name, value.to_owned());
    let mut stack = least_rights::start(StackOptions {
        customers: 60,
        environment: environment(),
        environment_of: vec![
            own("whatsapp-mock-svc", "WHATSAPP_ACCESS_TOKEN", NUMBER_TOKEN),
            own("scheduler-svc", "WHATSAPP_NUMBERS_FILE", &numbers.file()),
            own("message-svc", "WHATSAPP_NUMBERS_FILE", &numbers.file()),
            own("scheduler-svc", "LIMIT_SYNC_SECONDS", "1"),
        ],
        ..StackOptions::default()
    })
    .await;
    let mut heard = Heard::default();
    limits_are_read(&stack).await;
    let created_key = live(&stack, &mut heard).await;
    ask_as_a_stranger(&stack, &mut heard).await;
    run_with_wrong_secrets(&stack, &mut heard).await;
    let phones = phones(&stack).await;
    assert!(phones.len() > 50, "{phones:?}");
    // What is left of the traces is exported now, in vain.
    for service in stack.messengers.iter_mut().chain(&mut stack.senders) {
        service.terminate(Duration::from_secs(20)).await;
    }
    for service in stack.services() {
        let log = service.log();
        heard.note(format!("log of {}", service.name()), log);
    }
    let log = &heard.0["log of message-svc"];
    assert!(log.contains("\"level\":\"TRACE\""), "much is logged");
    heard.assert_none_of(&phones);
    settings_as_told(&stack, &numbers, &mut heard);
    heard.assert_none_of(&secrets(&stack, &created_key));
    heard.keep_only_login_free();
    heard.assert_none_of(&campaigns(&stack).await);
    let metrics = &heard.0["/metrics of scheduler-svc"];
    assert!(metrics.contains("health_check_ready"), "{metrics}");
}
