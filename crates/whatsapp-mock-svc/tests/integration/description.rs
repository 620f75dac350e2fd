//! `/openapi.json` is true: every operation is tried, and what it answers is as described.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use whatsapp_mock_svc::FaultProfile;

use crate::harness::{Mock, PHONE_NUMBER_ID};
use crate::strict::{ACCOUNT_ID, template};

#[tokio::test]
async fn the_description_is_true() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    mock.put(
        &format!("/mock/accounts/{ACCOUNT_ID}"),
        json!({"approves_at_once": true}),
    )
    .await;
    mock.register(&template("offer", "MARKETING")).await;
    let document = mock.get("/openapi.json").await;
    let calls = calls();
    let mut called = BTreeSet::new();
    for (method, path, body) in &calls {
        let operation = &document["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        called.insert(format!("{method} {path}"));
        let url = path
            .replace("{version}", "v25.0")
            .replace("{name}", "offer")
            .replace("{language}", "pt_BR")
            .replace("{account_id}", ACCOUNT_ID)
            .replace("{phone_number_id}", PHONE_NUMBER_ID)
            .replace("{id}", PHONE_NUMBER_ID);
        let query = match (*method, *path) {
            ("delete", "/{version}/{account_id}/message_templates") => "?name=other",
            ("get", "/mock/rate") => &format!("?phone_number_id={PHONE_NUMBER_ID}"),
            _ => "",
        };
        let (status, answer) = mock
            .graph_text(&method.to_uppercase(), &format!("{url}{query}"), body.as_ref())
            .await;
        let response = if (200..300).contains(&status) {
            &operation["responses"][status.to_string()]
        } else {
            assert_eq!(
                *path, "/mock/webhooks/verify",
                "{method} {path}: {status} {answer}"
            );
            &operation["responses"]["default"]
        };
        check(&document, response, &answer, &format!("{method} {path}"));
    }
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .keys()
                .map(move |method| format!("{method} {path}"))
        })
        .collect();
    assert_eq!(described, called, "every operation is tried");
    let message_errors = &document["paths"]["/{version}/{id}"]["get"]["responses"]["default"];
    let (_, refusal) = mock.graph_text("GET", "/v25.0/1?fields=nonsense", None).await;
    check(&document, message_errors, &refusal, "a refusal");
}

/// Every operation, with a body that it takes.
fn calls() -> Vec<(&'static str, &'static str, Option<Value>)> {
    let message = json!({"messaging_product": "whatsapp", "to": "+5511987654321", "type": "template",
        "template": {"name": "offer", "language": {"code": "pt_BR"}, "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]}});
    let number = json!({"throughput": 100});
    vec![
        (
            "post",
            "/{version}/{phone_number_id}/messages",
            Some(message.clone()),
        ),
        (
            "post",
            "/{version}/{phone_number_id}/marketing_messages",
            Some(message),
        ),
        (
            "post",
            "/{version}/{account_id}/message_templates",
            Some(template("other", "UTILITY")),
        ),
        ("get", "/{version}/{account_id}/message_templates", None),
        ("delete", "/{version}/{account_id}/message_templates", None),
        ("get", "/{version}/{account_id}/phone_numbers", None),
        ("get", "/{version}/{id}", None),
        ("get", "/mock", None),
        ("get", "/mock/faults", None),
        ("put", "/mock/faults", Some(json!({}))),
        ("get", "/mock/webhooks", None),
        (
            "put",
            "/mock/webhooks",
            Some(json!({"url": "http://127.0.0.1:1/"})),
        ),
        ("post", "/mock/webhooks/verify", None),
        ("get", "/mock/acceptances", None),
        ("get", "/mock/acceptances/export", None),
        ("get", "/mock/rate", None),
        (
            "post",
            "/mock/inbound",
            Some(
                json!({"phone_number_id": PHONE_NUMBER_ID, "from": "5511987654321",
            "content": {"type": "text", "body": "oi"}}),
            ),
        ),
        ("put", "/mock/numbers/{phone_number_id}", Some(number)),
        (
            "post",
            "/mock/numbers/{phone_number_id}/quality",
            Some(json!({"event": "FLAGGED"})),
        ),
        ("put", "/mock/accounts/{account_id}", Some(json!({}))),
        (
            "put",
            "/mock/accounts/{account_id}/templates/{name}/{language}",
            Some(json!({"status": "PAUSED"})),
        ),
        (
            "post",
            "/mock/accounts/{account_id}/update",
            Some(json!({"event": "ACCOUNT_VIOLATION"})),
        ),
        ("delete", "/mock/acceptances", None),
    ]
}

/// Whether an answer is as described: it has what is required, and nothing that is not described.
fn check(document: &Value, response: &Value, answer: &str, what: &str) {
    let content = response["content"]
        .as_object()
        .unwrap_or_else(|| panic!("{what}: no content"));
    let (content_type, media) = content.iter().next().unwrap();
    if content_type != "application/json" && !content_type.ends_with("+json") {
        return;
    }
    let answer: Value = serde_json::from_str(answer).unwrap();
    check_value(document, &media["schema"], &answer, what);
}

fn check_value(document: &Value, schema: &Value, value: &Value, what: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document
            .pointer(name.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{what}: {name}"));
        return check_value(document, schema, value, what);
    }
    if let (Some(properties), Some(object)) = (schema["properties"].as_object(), value.as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            let write_only = schema["properties"][name.as_str().unwrap()]["writeOnly"] == true;
            assert!(
                write_only || value.get(name.as_str().unwrap()).is_some(),
                "{what}: {name} is missing"
            );
        }
        for (name, item) in object {
            let described = properties
                .get(name)
                .unwrap_or_else(|| panic!("{what}: {name} is not described"));
            check_value(document, described, item, &format!("{what} {name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check_value(document, &schema["items"], item, what);
    }
    if let Some(kind) = schema["type"].as_str() {
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            other => panic!("{what}: {other}"),
        };
        assert!(fits, "{what}: {value} is no {kind}");
    }
}
