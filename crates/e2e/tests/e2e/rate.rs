//! P5: the rate is a ceiling across all replicas, and it is used.

use e2e::{LANE, Stack, StackOptions};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

const RATE: u32 = 50;
const MEASURED_SECONDS: usize = 10;

#[tokio::test]
async fn fifty_a_second_across_three_replicas_is_kept_and_used() {
    let options = StackOptions {
        messengers: 3,
        customers: 1_000,
        throughput_per_second: RATE,
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let report = stack.finished(&id, Duration::from_secs(90)).await;
    report.assert_exactly_once();

    let rate = stack
        .whatsapp(Method::GET, &format!("/mock/rate?phone_number_id={LANE}"), None)
        .await;
    let highest = rate["max_in_one_second"].as_f64().expect("a number");
    assert!(highest <= f64::from(RATE) * 1.05, "P5: {highest} in one second");
    let tenths: Vec<u64> = rate["counts"]
        .as_array()
        .expect("counts")
        .iter()
        .filter_map(serde_json::Value::as_u64)
        .collect();
    // The busiest stretch of so many seconds: neither the start nor the end of the campaign.
    let window = MEASURED_SECONDS * 10;
    let used = tenths
        .windows(window)
        .map(|window| window.iter().sum::<u64>())
        .max()
        .expect("it ran long enough");
    let possible = u64::from(RATE) * MEASURED_SECONDS as u64;
    assert!(
        used as f64 >= possible as f64 * 0.98,
        "P5: {used} of {possible} were used"
    );
}
