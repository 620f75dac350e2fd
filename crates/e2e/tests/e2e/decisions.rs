//! P8: what people decide about a running campaign takes effect within a second.

use e2e::{Stack, StackOptions};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

async fn running() -> (Stack, String) {
    let options = StackOptions {
        customers: 3_000,
        throughput_per_second: 300,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    stack.sent_at_least(&id, 100, Duration::from_secs(30)).await;
    (stack, id)
}

#[tokio::test]
async fn a_pause_stops_sending_within_a_second_and_a_resume_goes_on_to_the_end() {
    let (stack, id) = running().await;
    let asked = Instant::now();
    let paused = stack
        .api(Method::POST, &format!("/v1/campaigns/{id}/pause"), None)
        .await;
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "P8: {:?}",
        asked.elapsed()
    );
    assert_eq!(paused["applied"], true, "{paused}");
    assert_eq!(stack.campaign(&id).await["status"], "PAUSED");
    tokio::time::sleep(Duration::from_secs(1).saturating_sub(asked.elapsed())).await;
    let at_pause = stack.accepted_by_whatsapp(&id).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        stack.accepted_by_whatsapp(&id).await,
        at_pause,
        "P8: no send begins later than a second after the pause"
    );
    stack
        .api(Method::POST, &format!("/v1/campaigns/{id}/resume"), None)
        .await;
    let report = stack.finished(&id, Duration::from_mins(1)).await;
    report.assert_exactly_once();
}

#[tokio::test]
async fn a_cancelled_campaign_stops_and_balances() {
    let (stack, id) = running().await;
    stack
        .api(Method::POST, &format!("/v1/campaigns/{id}/cancel"), None)
        .await;
    let report = stack.finished(&id, Duration::from_mins(1)).await;
    report.assert_exactly_once();
    assert!(report.count("cancelled") > 0, "{report:?}");
    assert_eq!(report.campaign["status"], "CANCELLED");
}
