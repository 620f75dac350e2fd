//! A webhook that somebody kept and sends again.

use e2e::{APP_SECRET, LANE, Stack, StackOptions};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use whatsapp_api::signature::{SIGNATURE_HEADER, sign};

/// What Meta signed: one status of one message.
fn webhook(status: &str, wamid: &Value, key: &str) -> Vec<u8> {
    let status = json!({
        "id": wamid, "status": status, "timestamp": "1700000000", "recipient_id": "5511987654321",
        "biz_opaque_callback_data": key,
    });
    let value = json!({
        "messaging_product": "whatsapp", "statuses": [status],
        "metadata": {"display_phone_number": "5511", "phone_number_id": LANE},
    });
    let body = json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}],
    });
    serde_json::to_vec(&body).expect("JSON")
}

async fn state(stack: &Stack, id: &str) -> (Value, Value) {
    let path = format!("/v1/campaigns/{id}/messages?limit=50");
    let messages = stack.api(Method::GET, &path, None).await;
    (messages, stack.campaign(id).await["progress"]["by_state"].clone())
}

#[tokio::test]
async fn a_webhook_that_comes_again_changes_nothing() {
    let stack = Stack::start(StackOptions {
        customers: 30,
        ..StackOptions::default()
    })
    .await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let report = stack.finished(&id, Duration::from_secs(30)).await;
    report.assert_exactly_once();
    let before = state(&stack, &id).await;
    let items = before.0["items"].as_array().expect("messages");
    let read = items
        .iter()
        .find(|item| item["state"] == "read")
        .expect("one was read");

    let http = reqwest::Client::new();
    let url = format!("{}/webhooks/whatsapp", stack.messengers[0].base_url());
    let key = format!("{id}:1:{}", read["seq"]);
    for status in ["sent", "delivered", "read"] {
        let raw = webhook(status, &read["wamid"], &key);
        let signature = sign(APP_SECRET.as_bytes(), &raw);
        for _ in 0..3 {
            let post = http
                .post(&url)
                .header(SIGNATURE_HEADER, &signature)
                .body(raw.clone());
            let answer = post.send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK, "it is what Meta signed");
        }
    }
    stack.webhooks_drained(Duration::from_secs(20)).await;
    assert_eq!(state(&stack, &id).await, before);
}
