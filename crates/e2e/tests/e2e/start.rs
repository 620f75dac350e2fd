//! When a campaign starts.

use chrono::{DateTime, TimeDelta, Utc};
use e2e::{Stack, StackOptions};
use serde_json::json;
use std::time::Duration;

async fn lateness(stack: &Stack, scheduled_at: DateTime<Utc>, within: Duration) -> TimeDelta {
    let id = stack.create(json!({"segment": {"cities": ["Santos"]}})).await;
    stack
        .schedule(&id, Some(json!({"scheduled_at": scheduled_at.to_rfc3339()})))
        .await;
    let started = stack
        .wait_until(&id, "the campaign to start", within, |campaign| {
            !campaign["started_at"].is_null()
        })
        .await;
    let started_at: DateTime<Utc> = started["started_at"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("RFC 3339");
    started_at - scheduled_at
}

#[tokio::test]
async fn a_campaign_starts_within_250_ms_of_its_time() {
    let stack = Stack::start(StackOptions {
        customers: 5_000,
        ..StackOptions::default()
    })
    .await;
    let late = lateness(
        &stack,
        Utc::now() + TimeDelta::milliseconds(3_300),
        Duration::from_secs(20),
    )
    .await;
    assert!(late >= TimeDelta::zero(), "not before its time: {late}");
    assert!(late < TimeDelta::milliseconds(250), "{late}");
}

#[tokio::test]
async fn the_minute_tick_alone_starts_it_too() {
    let environment = vec![("PRECISE_WAKEUP", "false".to_owned())];
    let stack = Stack::start(StackOptions {
        customers: 5_000,
        environment,
        ..StackOptions::default()
    })
    .await;
    let late = lateness(
        &stack,
        Utc::now() + TimeDelta::seconds(1),
        Duration::from_secs(75),
    )
    .await;
    assert!(late >= TimeDelta::zero(), "not before its time: {late}");
    assert!(late < TimeDelta::seconds(62), "{late}");
}
