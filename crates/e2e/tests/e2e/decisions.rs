//! P8: what people decide about a running campaign takes effect within a second.

use e2e::{Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn accepted(campaign: &Value) -> i64 {
    let states = ["accepted", "sent", "undelivered", "delivered", "read"];
    states
        .iter()
        .filter_map(|state| campaign["progress"]["by_state"][*state].as_i64())
        .sum()
}

async fn running() -> (Stack, String) {
    let options = StackOptions {
        customers: 3_000,
        throughput_per_second: 300,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let under_way = |campaign: &Value| accepted(campaign) >= 100;
    stack
        .wait_until(
            &id,
            "the campaign to be under way",
            Duration::from_secs(30),
            under_way,
        )
        .await;
    (stack, id)
}

/// Messages that the mock has accepted so far.
async fn sent(stack: &Stack, id: &str) -> i64 {
    let log = stack
        .whatsapp(Method::GET, &format!("/mock/acceptances?campaign={id}"), None)
        .await;
    log["accepted"].as_i64().expect("a number")
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
    let at_pause = sent(&stack, &id).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        sent(&stack, &id).await,
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
