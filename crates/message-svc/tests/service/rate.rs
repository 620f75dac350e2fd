//! P5: the rate is a ceiling across all replicas, and it is used.

use crate::harness::{Owner, PATIENCE, Service};
use campaign_core::message::MessageState;
use testkit::{Redis, wait_for};

const RATE: u32 = 50;
const WINDOW_MS: i64 = 1_000;
/// 105% of the rate.
const MOST: usize = 52;
/// 98% of the rate.
const LEAST: f64 = 0.98;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_use_the_rate_and_never_exceed_it() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, RATE).await;
    owner.keep_ledger(true);
    let campaign = owner.open(true).await;
    let mut services = Vec::new();
    for _ in 0..3 {
        services.push(Service::simulating(&redis.url()).await);
    }
    wait_for(PATIENCE, "three members", async || {
        let seen = owner.hold.members_seen().await.unwrap();
        matches!(seen, campaign_streams::lane::OwnerReply::Ok(members) if members.len() == 3).then_some(())
    })
    .await;
    owner.feed(campaign, 1, 1, 300).await;
    owner
        .hold
        .control(campaign, &crate::harness::controls(false))
        .await
        .unwrap();

    let accepted = owner.ledger.wait_for(MessageState::Accepted, 300).await;
    let mut times: Vec<i64> = accepted
        .iter()
        .map(|outcome| outcome.at.timestamp_millis())
        .collect();
    times.sort_unstable();
    for (index, start) in times.iter().enumerate() {
        let in_window = times[index..]
            .iter()
            .take_while(|time| **time < start + WINDOW_MS)
            .count();
        assert!(in_window <= MOST, "{in_window} within one second");
    }
    let seconds = (times[times.len() - 1] - times[0]) as f64 / 1_000.0;
    let used = (times.len() - 1) as f64 / seconds / f64::from(RATE);
    assert!(used >= LEAST, "only {used:.3} of the rate was used");
}
