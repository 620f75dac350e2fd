//! Several of every service: still exactly once.

use e2e::{Stack, StackOptions};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn two_of_every_service_send_each_message_once() {
    let options = StackOptions {
        schedulers: 2,
        senders: 2,
        messengers: 2,
        customers: 3_000,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await;
    let first = stack.create(json!({"name": "first"})).await;
    let second = stack.create(json!({"name": "second", "priority": "high"})).await;
    stack.schedule(&first, None).await;
    stack.schedule(&second, None).await;
    for id in [first, second] {
        let report = stack.finished(&id, Duration::from_secs(90)).await;
        report.assert_exactly_once();
        assert_eq!(report.total(), 3_000);
    }
}

#[tokio::test]
async fn a_message_service_that_ends_in_order_leaves_nothing_uncertain() {
    let options = StackOptions {
        messengers: 2,
        customers: 3_000,
        throughput_per_second: 500,
        ..StackOptions::default()
    };
    let mut stack = Stack::start(options).await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let under_way =
        |campaign: &serde_json::Value| campaign["progress"]["rate_per_second"].as_f64() > Some(0.0);
    stack
        .wait_until(
            &id,
            "the campaign to be under way",
            Duration::from_secs(30),
            under_way,
        )
        .await;
    let mut leaving = stack.messengers.remove(1);
    let status = leaving.terminate(Duration::from_secs(15)).await;
    assert!(status.success(), "{status}: {}", leaving.log());
    let report = stack.finished(&id, Duration::from_mins(1)).await;
    report.assert_exactly_once();
    assert_eq!(report.count("uncertain"), 0, "{report:?}");
}
