//! P6: memory does not grow with the campaign.

use e2e::{Stack, StackOptions};
use serde_json::json;
use std::time::Duration;

const SERVICE_MAX_KIB: u64 = 100 * 1024;
const REDIS_MAX_BYTES: u64 = 50 * 1024 * 1024;

#[tokio::test]
async fn two_hundred_thousand_recipients_fit_in_little_memory() {
    let options = StackOptions {
        customers: 225_000,
        throughput_per_second: 1_000_000,
        environment: vec![("TRANSPORT", "simulate".to_owned())],
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let finished = |campaign: &serde_json::Value| !campaign["finished_at"].is_null();
    let campaign = stack
        .wait_until(&id, "the campaign to finish", Duration::from_mins(4), finished)
        .await;
    let states = campaign["progress"]["by_state"].as_object().expect("states");
    let sum: i64 = states.values().filter_map(serde_json::Value::as_i64).sum();
    assert_eq!(sum, 225_000, "P3: the sums balance: {campaign}");
    assert!(
        campaign["progress"]["by_state"]["accepted"].as_i64() > Some(200_000),
        "{campaign}"
    );

    let services = stack
        .schedulers
        .iter()
        .chain(&stack.senders)
        .chain(&stack.messengers);
    let peaks: Vec<(&str, u64)> = services
        .chain([&stack.erp, &stack.whatsapp])
        .map(|service| (service.name(), service.peak_memory_kib().expect("it runs")))
        .collect();
    assert!(
        peaks.iter().all(|(_, peak)| *peak < SERVICE_MAX_KIB),
        "P6: peaks in KiB: {peaks:?}"
    );
    let peak = stack.redis_peak_bytes().await;
    assert!(peak < REDIS_MAX_BYTES, "P6: Redis took {peak} bytes");
}
