//! Each number's own server, version, token and marketing endpoint, on the wire.

use crate::harness::{LANE, Owner, Service, template_of};
use axum::Router;
use axum::extract::{Json, OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use campaign_core::message::MessageState;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use testkit::Redis;

/// What came: path, authorisation, product policy.
type Came = Arc<Mutex<Vec<(String, String, Value)>>>;

async fn accept(
    State(came): State<Came>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> impl IntoResponse {
    let bearer = headers["authorization"].to_str().unwrap().to_owned();
    let mut came = came.lock().unwrap();
    came.push((uri.path().to_owned(), bearer, request["product_policy"].clone()));
    Json(json!({"messages": [{"id": format!("wamid.{}", came.len())}]}))
}

async fn whatsapp() -> (String, Came) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let came = Came::default();
    let router = Router::new().fallback(accept).with_state(Arc::clone(&came));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base_url, came)
}

/// Sends one UTILITY and one MARKETING message with these settings, and says what came of each.
async fn sent_with(flags: &[&str]) -> Vec<(String, String, Value)> {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let (base_url, came) = whatsapp().await;
    let base_url = format!("--whatsapp-base-url={base_url}");
    let usual = [
        base_url.as_str(),
        "--whatsapp-access-token=for-all",
        "--whatsapp-app-secret=s",
        "--whatsapp-verify-token=v",
    ];
    let _service = Service::start(&redis.url(), &[&usual[..], flags].concat()).await;
    for (sent, category) in (1..).zip(["UTILITY", "MARKETING"]) {
        let campaign = owner.open_with(template_of(category)).await;
        owner.feed(campaign, 1, 1, 1).await;
        owner.ledger.wait_for(MessageState::Accepted, sent).await;
    }
    let came = came.lock().unwrap();
    came.clone()
}

fn came(version: &str, endpoint: &str, token: &str, policy: &Value) -> (String, String, Value) {
    let path = format!("/{version}/{LANE}/{endpoint}");
    (path, format!("Bearer {token}"), policy.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_to_messages_unless_the_marketing_endpoint_is_switched_on() {
    let plain = came("v25.0", "messages", "for-all", &Value::Null);
    assert_eq!(sent_with(&[]).await, [plain.clone(), plain.clone()]);
    let marketing = came(
        "v25.0",
        "marketing_messages",
        "for-all",
        &json!("CLOUD_API_FALLBACK"),
    );
    let flags = ["--whatsapp-marketing-messages=CLOUD_API_FALLBACK"];
    assert_eq!(sent_with(&flags).await, [plain, marketing]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_has_settings_of_its_own() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let numbers = json!({
        LANE: {"version": "v26.0", "access_token": "its-own", "marketing_messages": "STRICT"},
        "7": {"base_url": "http://nobody.invalid"},
    });
    std::fs::write(file.path(), numbers.to_string()).unwrap();
    let flag = format!("--whatsapp-numbers-file={}", file.path().display());
    let expected = [
        came("v26.0", "messages", "its-own", &Value::Null),
        came("v26.0", "marketing_messages", "its-own", &json!("STRICT")),
    ];
    assert_eq!(sent_with(&[&flag]).await, expected);
}
