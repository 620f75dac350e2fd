//! What Meta refuses beyond the shape of a message: templates, windows, limits, endpoints.

use serde_json::{Value, json};
use whatsapp_mock_svc::{FaultProfile, WebhookSettings};

use crate::harness::{Mock, PHONE_NUMBER_ID};
use crate::receiver::{APP_SECRET, Receiver};

pub(crate) const ACCOUNT_ID: &str = "102290129340398";
const BODY: &str = "Hello {{1}}, there is something new for you in all of our stores.";

pub(crate) fn template(name: &str, category: &str) -> Value {
    json!({"name": name, "language": "pt_BR", "category": category, "components": [
        {"type": "BODY", "text": BODY, "example": {"body_text": [["Ana"]]}}]})
}

fn message(to: &str, name: &str, values: &[&str]) -> Value {
    let parameters: Vec<_> = values
        .iter()
        .map(|text| json!({"type": "text", "text": text}))
        .collect();
    json!({"messaging_product": "whatsapp", "to": to, "type": "template", "template": {
        "name": name, "language": {"code": "pt_BR"},
        "components": [{"type": "body", "parameters": parameters}]}})
}

fn text(to: &str) -> Value {
    json!({"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": "hi"}})
}

impl Mock {
    /// Registers a template of the default account.
    pub(crate) async fn register(&self, template: &Value) -> (u16, Value) {
        let path = format!("/v25.0/{ACCOUNT_ID}/message_templates");
        self.graph("POST", &path, Some(template)).await
    }

    /// The code of the refusal; 0 if it was accepted.
    async fn code_of(&self, endpoint: &str, message: &Value) -> i64 {
        let path = format!("/v25.0/{PHONE_NUMBER_ID}/{endpoint}");
        let (status, answer) = self.graph("POST", &path, Some(message)).await;
        answer["error"]["code"].as_i64().unwrap_or_else(|| {
            assert_eq!((status, answer["messages"].is_array()), (200, true), "{answer}");
            0
        })
    }

    async fn set_status(&self, name: &str, status: &str) -> bool {
        let path = format!("/mock/accounts/{ACCOUNT_ID}/templates/{name}/pt_BR");
        let (code, told) = self.put(&path, json!({ "status": status })).await;
        assert_eq!(code, 200, "{told}");
        told["told"] == true
    }

    async fn set_up(&self, path: &str, settings: Value) {
        let (status, answer) = self.put(path, settings).await;
        assert_eq!(status, 200, "{answer}");
    }
}

fn number() -> String {
    format!("/mock/numbers/{PHONE_NUMBER_ID}")
}

fn account() -> String {
    format!("/mock/accounts/{ACCOUNT_ID}")
}

#[tokio::test]
async fn an_account_is_strict_about_templates_once_it_has_one() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let to = "+5511987654321";
    assert_eq!(mock.code_of("messages", &message(to, "any", &["x"])).await, 0);

    let (status, created) = mock.register(&template("offer", "MARKETING")).await;
    assert_eq!(
        (status, &created["status"]),
        (200, &json!("PENDING")),
        "{created}"
    );
    let offer = message(to, "offer", &["Ana"]);
    assert_eq!(
        mock.code_of("messages", &offer).await,
        132_001,
        "not approved yet"
    );
    assert_eq!(
        mock.code_of("messages", &message(to, "any", &["x"])).await,
        132_001
    );
    for (status, expected) in [
        ("APPROVED", 0),
        ("PAUSED", 132_015),
        ("DISABLED", 132_016),
        ("APPROVED", 0),
    ] {
        mock.set_status("offer", status).await;
        assert_eq!(mock.code_of("messages", &offer).await, expected, "{status}");
    }
    assert_eq!(
        mock.code_of("messages", &message(to, "offer", &["a", "b"])).await,
        132_000
    );
    assert_eq!(mock.get("/mock/acceptances").await["accepted"], 3);
}

#[tokio::test]
async fn marketing_goes_where_it_belongs() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    mock.set_up(&account(), json!({"approves_at_once": true})).await;
    for (name, category) in [("offer", "MARKETING"), ("receipt", "UTILITY")] {
        assert_eq!(
            mock.register(&template(name, category)).await.1["status"],
            "APPROVED"
        );
    }
    let to = "+5511987654321";
    let (offer, receipt) = (message(to, "offer", &["Ana"]), message(to, "receipt", &["Ana"]));
    let mut with_policy = offer.clone();
    with_policy["product_policy"] = json!("CLOUD_API_FALLBACK");
    assert_eq!(mock.code_of("marketing_messages", &with_policy).await, 0);
    assert_eq!(
        mock.code_of("messages", &with_policy).await,
        100,
        "no such field there"
    );
    assert_eq!(mock.code_of("marketing_messages", &receipt).await, 131_009);
    mock.set_up(&number(), json!({"marketing_messages_only": true}))
        .await;
    assert_eq!(mock.code_of("messages", &offer).await, 131_063);
    assert_eq!(mock.code_of("messages", &receipt).await, 0);
    assert_eq!(mock.code_of("marketing_messages", &offer).await, 0);
}

#[tokio::test]
async fn limits_are_set_while_it_runs() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    mock.set_up(
        &number(),
        json!({"pair_limit": {"interval_ms": 60_000, "burst": 2}}),
    )
    .await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(mock.code_of("messages", &text("+5511987654321")).await);
    }
    assert_eq!(codes, [0, 0, 131_056]);

    mock.set_up(
        &account(),
        json!({"messaging_limit": "TIER_50", "portfolio_id": "7"}),
    )
    .await;
    for person in 0..50 {
        assert_eq!(
            mock.code_of("messages", &text(&format!("+55119{person:08}")))
                .await,
            0
        );
    }
    assert_eq!(mock.code_of("messages", &text("+5511999999999")).await, 131_048);
    assert_eq!(
        mock.code_of("messages", &text("+5511900000000")).await,
        0,
        "the same people may be written to"
    );
    let overview = mock.get("/mock").await;
    assert_eq!(overview["accounts"][0]["recent_people"], 50);
    mock.delete("/mock/acceptances").await;
    assert_eq!(mock.code_of("messages", &text("+5511999999999")).await, 0);
}

/// WhatsApp knows a Brazilian of before the ninth digit by one number, however they are written to.
#[tokio::test]
async fn both_forms_of_a_number_are_one_person_to_every_limit() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let pair_limit = json!({"pair_limit": {"interval_ms": 60_000, "burst": 1}});
    mock.set_up(&number(), pair_limit).await;
    mock.set_up(&account(), json!({"messaging_limit": "TIER_50"}))
        .await;
    assert_eq!(mock.code_of("messages", &text("+5531987654321")).await, 0);
    assert_eq!(mock.code_of("messages", &text("+553187654321")).await, 131_056);
    mock.set_up(&number(), json!({"pair_limit": {"interval_ms": 0, "burst": 1}}))
        .await;
    assert_eq!(mock.code_of("messages", &text("+553187654321")).await, 0);
    assert_eq!(mock.get("/mock").await["accounts"][0]["recent_people"], 1);
}

/// Whoever wrote first is answered, and takes nobody's place.
#[tokio::test]
async fn an_answer_to_a_person_counts_against_no_limit_of_people() {
    let receiver = Receiver::start(0).await;
    let webhooks = WebhookSettings {
        url: Some(receiver.url()),
        app_secret: Some(APP_SECRET.into()),
        ..WebhookSettings::default()
    };
    let mock = Mock::start(FaultProfile::default(), webhooks).await;
    mock.set_up(&account(), json!({"messaging_limit": "TIER_50"}))
        .await;
    let inbound = json!({"phone_number_id": PHONE_NUMBER_ID, "from": "5511999999999",
        "content": {"type": "text", "body": "oi"}});
    assert_eq!(mock.post("/mock/inbound", inbound).await.0, 200);
    assert_eq!(mock.code_of("messages", &text("+5511999999999")).await, 0);
    for person in 0..50 {
        let to = format!("+55119{person:08}");
        assert_eq!(mock.code_of("messages", &text(&to)).await, 0, "{to}");
    }
    assert_eq!(mock.code_of("messages", &text("+5511988888888")).await, 131_048);
    assert_eq!(mock.code_of("messages", &text("+5511999999999")).await, 0);
    assert_eq!(mock.get("/mock").await["accounts"][0]["recent_people"], 50);
}

#[tokio::test]
async fn a_strict_mock_knows_nothing_by_itself() {
    let receiver = Receiver::start(0).await;
    let webhooks = WebhookSettings {
        url: Some(receiver.url()),
        app_secret: Some(APP_SECRET.into()),
        ..WebhookSettings::default()
    };
    let mock = Mock::strict(webhooks).await;
    let path = format!("/v25.0/{PHONE_NUMBER_ID}/messages");
    let (status, answer) = mock.graph("POST", &path, Some(&text("+5511987654321"))).await;
    assert_eq!(
        (
            status,
            &answer["error"]["code"],
            &answer["error"]["error_subcode"]
        ),
        (400, &json!(100), &json!(33))
    );
    assert_eq!(
        mock.get("/mock").await["accounts"][0]["messaging_limit"],
        "TIER_250"
    );
    mock.set_up(&number(), json!({})).await;
    assert_eq!(
        mock.code_of("messages", &message("+5511987654321", "any", &["x"]))
            .await,
        132_001
    );
    assert_eq!(mock.code_of("messages", &text("+5511987654321")).await, 131_047);
    let inbound = json!({"phone_number_id": PHONE_NUMBER_ID, "from": "5511987654321",
        "content": {"type": "text", "body": "oi"}});
    assert_eq!(mock.post("/mock/inbound", inbound).await.0, 200);
    assert_eq!(
        mock.code_of("messages", &text("+5511987654321")).await,
        0,
        "the window is open"
    );
    assert_eq!(
        mock.code_of("messages", &text("+5511987654322")).await,
        131_047,
        "for them alone"
    );
    let unknown = mock.graph("GET", "/v25.0/777/message_templates", None).await.1;
    assert_eq!(unknown["error"]["error_subcode"], 33);
}

#[tokio::test]
async fn everything_that_is_not_there_has_a_graph_error() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let number = format!("/v25.0/{PHONE_NUMBER_ID}");
    for (method, path, code) in [
        ("GET", "/v25.0".to_owned(), 2_500),
        ("GET", "/nothing/at/all/here".to_owned(), 2_500),
        ("POST", "/25/1/messages".to_owned(), 2_500),
        ("GET", format!("{number}/nothing"), 2_500),
        ("POST", "/v25.0/me/messages".to_owned(), 100),
        ("GET", format!("{number}/messages"), 100),
        ("DELETE", number.clone(), 100),
        ("GET", format!("{number}?fields=nonsense"), 100),
    ] {
        let (status, answer) = mock.graph(method, &path, None).await;
        let error = &answer["error"];
        assert_eq!(
            (status, &error["code"]),
            (400, &json!(code)),
            "{method} {path}: {answer}"
        );
        assert!(error["message"].is_string() && error["type"].is_string() && error["fbtrace_id"].is_string());
    }
    for path in [number.clone(), format!("{number}/phone_numbers")] {
        assert_eq!(mock.get(&path).await["error"]["code"], 190, "without a token");
    }
}

#[tokio::test]
async fn a_read_receipt_is_taken_and_is_no_message() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let path = format!("/v25.0/{PHONE_NUMBER_ID}/messages");
    let mut receipt = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.A"});
    assert_eq!(
        mock.graph("POST", &path, Some(&receipt)).await,
        (200, json!({"success": true}))
    );
    receipt["status"] = json!("seen");
    assert_eq!(
        mock.graph("POST", &path, Some(&receipt)).await.1["error"]["code"],
        131_009
    );
    assert_eq!(mock.get("/mock/acceptances").await["accepted"], 0);
}
