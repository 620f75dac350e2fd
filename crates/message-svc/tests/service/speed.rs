//! How fast one process sends: for an optimised build on a machine that does nothing else, since ledger, Redis
//! and receiver share it.
//!
//! `cargo test --release -p message-svc --test service speed -- --ignored`.

use crate::cloud_api::WhatsApp;
use crate::harness::{Owner, Service};
use campaign_core::message::MessageState;
use std::time::Instant;
use testkit::Redis;

const MESSAGES: i64 = 60_000;
const BATCH: i64 = 2_000;

/// Messages a second from the release of a full lane to its last settled message.
async fn rate_of(redis: &Redis, flags: &[&str]) -> f64 {
    let mut owner = Owner::new(redis, 1_000_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(true).await;
    let _service = Service::start(&redis.url(), flags).await;
    owner.admit_first().await;
    for from in (1..=MESSAGES).step_by(BATCH as usize) {
        owner.feed(campaign, 1, from, from + BATCH - 1).await;
    }
    let started = Instant::now();
    owner
        .hold
        .control(campaign, &crate::harness::controls(false))
        .await
        .unwrap();
    while owner.survey(campaign).await.outstanding > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let rate = MESSAGES as f64 / started.elapsed().as_secs_f64();
    owner
        .ledger
        .wait_for(MessageState::Accepted, MESSAGES as usize)
        .await;
    rate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of an optimised build"]
async fn thirty_thousand_a_second_are_simulated() {
    let redis = Redis::start().await;
    let rate = rate_of(&redis, &["--transport=simulate"]).await;
    assert!(rate > 30_000.0, "{rate:.0}/s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of an optimised build"]
async fn ten_thousand_a_second_go_over_http() {
    let redis = Redis::start().await;
    let whatsapp = WhatsApp::start().await;
    let flags = whatsapp.flags_with_timeout(9_000);
    let rate = rate_of(&redis, &flags.each_ref().map(String::as_str)).await;
    assert!(rate > 10_000.0, "{rate:.0}/s");
}
