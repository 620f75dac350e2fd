//! Every method and path of the WhatsApp mock: what Meta answers, and what tests turn.

use crate::endpoints::{Endpoint, described};
use e2e::{ACCESS_TOKEN, APP_SECRET, Stack};
use reqwest::Method;
use serde_json::{Value, json};

/// A number and an account of nobody's: what is done to them disturbs no campaign.
const NUMBER: &str = "99";
const ACCOUNT: &str = "77";
const TEMPLATE: &str = "bad_input";

/// Makes what the endpoints are about.
pub(crate) async fn prepare(stack: &Stack) {
    let number = format!("/mock/numbers/{NUMBER}");
    let settings = json!({"account_id": ACCOUNT});
    stack.whatsapp(Method::PUT, &number, Some(settings)).await;
    stack.register_template(ACCOUNT, template()).await;
}

/// How webhooks travel, to be given to [`mend`] later.
pub(crate) async fn webhooks(stack: &Stack) -> Value {
    let mut webhooks = stack.whatsapp(Method::GET, "/mock/webhooks", None).await;
    webhooks["app_secret"] = json!(APP_SECRET);
    webhooks
}

/// Undoes what some of the requests were allowed to change.
pub(crate) async fn mend(stack: &Stack, webhooks: &Value) {
    stack.whatsapp(Method::PUT, "/mock/faults", Some(json!({}))).await;
    stack
        .whatsapp(Method::PUT, "/mock/webhooks", Some(webhooks.clone()))
        .await;
}

/// What its `/openapi.json` says.
pub(crate) async fn endpoints(stack: &Stack) -> Vec<Endpoint> {
    let document = stack.whatsapp(Method::GET, "/openapi.json", None).await;
    let good = |_: &str, name: &str| {
        let good = match name {
            "version" => "v25.0",
            "account_id" => ACCOUNT,
            "name" => TEMPLATE,
            "language" => "pt_BR",
            _ => NUMBER,
        };
        good.to_owned()
    };
    let endpoints = described(&stack.whatsapp, &document, ACCESS_TOKEN, good, body);
    let is_there = |method: &str, path: &str| {
        let mut endpoints = endpoints.iter();
        endpoints.any(|endpoint| endpoint.method == method && endpoint.path == path)
    };
    for (method, path) in [
        ("POST", "/{version}/{phone_number_id}/messages"),
        ("POST", "/{version}/{account_id}/message_templates"),
        ("GET", "/{version}/{id}"),
        ("PUT", "/mock/accounts/{account_id}/templates/{name}/{language}"),
    ] {
        assert!(is_there(method, path), "{method} {path} is described");
    }
    endpoints
}

/// A body that the handler takes, so that one wrong field at a time reaches what looks at that field.
fn body(path: &str, method: &str) -> Option<Value> {
    let body = match (path, method) {
        ("/{version}/{phone_number_id}/messages", "post") => message(),
        ("/{version}/{phone_number_id}/marketing_messages", "post") => {
            let mut message = message();
            message["product_policy"] = json!("CLOUD_API_FALLBACK");
            message
        }
        ("/{version}/{account_id}/message_templates", "post") => template(),
        ("/mock/faults", "put") => json!({"latency_ms": 0, "errors": [], "hang": 0.0, "slow_ms": 1}),
        ("/mock/webhooks", "put") => json!({"sent_ms": 20, "delivered_ms": 60, "read_ms": 120}),
        ("/mock/numbers/{phone_number_id}", "put") => {
            json!({"throughput": 80, "pair_limit": {"interval_ms": 0, "burst": 45}})
        }
        ("/mock/accounts/{account_id}", "put") => json!({"messaging_limit": "TIER_UNLIMITED"}),
        ("/mock/inbound", "post") => json!({"phone_number_id": NUMBER, "from": "5531987654321",
            "content": {"type": "text", "body": "oi"}, "context_id": "wamid.A"}),
        _ => return None,
    };
    Some(body)
}

fn message() -> Value {
    json!({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+5531987654321",
        "type": "template", "biz_opaque_callback_data": "order-7",
        "template": {"name": TEMPLATE, "language": {"code": "pt_BR"}, "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Ana", "parameter_name": "nome"}]}]},
    })
}

fn template() -> Value {
    json!({
        "name": TEMPLATE, "language": "pt_BR", "category": "MARKETING", "parameter_format": "NAMED",
        "components": [
            {"type": "HEADER", "format": "TEXT", "text": "Bom dia"},
            {"type": "BODY", "text": "Boa tarde, {{nome}}, temos novidades.",
             "example": {"body_text_named_params": [{"param_name": "nome", "example": "Ana"}]}},
            {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Sair"}]}],
    })
}
