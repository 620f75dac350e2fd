//! Membership, taking and leaving.

use crate::harness::{Owner, PATIENCE, Service, controls, phone_of, queued};
use campaign_core::contracts::Outcome;
use campaign_core::ids::{Generation, Seq};
use campaign_core::message::{MessageState, SkipReason};
use campaign_streams::StreamId;
use campaign_streams::lane::{FeedEntry, OwnerReply, tell_optout};
use campaign_streams::wake::{Audience, publish};
use chrono::Utc;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use testkit::{Redis, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_accepted_exactly_once() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let services = [
        Service::simulating(&redis.url()).await,
        Service::simulating(&redis.url()).await,
    ];
    owner.feed(campaign, 1, 1, 500).await;

    let accepted = owner.ledger.wait_for(MessageState::Accepted, 500).await;
    let seqs: BTreeSet<i64> = accepted.iter().map(|outcome| outcome.key.seq.0).collect();
    assert_eq!((accepted.len(), seqs.len()), (500, 500));
    assert!(accepted.iter().all(|outcome| outcome.attempts == Some(1)));
    let survey = owner.survey(campaign).await;
    assert_eq!((survey.outstanding, survey.in_flight), (0, 0));
    for service in &services {
        wait_for(PATIENCE, "readiness", async || {
            service.is_ready().await.then_some(())
        })
        .await;
    }
}

/// Only the owner admits, and only after the join is in its ledger.
#[tokio::test]
async fn nothing_is_taken_before_the_owner_admits() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(false);
    let campaign = owner.open(false).await;
    owner.feed(campaign, 1, 1, 10).await;
    let _service = Service::simulating(&redis.url()).await;

    // Nobody notices the first join, so there is a second one.
    wait_for(PATIENCE, "a second join", async || {
        (owner.ledger.outcomes().len() >= 2).then_some(())
    })
    .await;
    let only_joins = owner.ledger.outcomes().iter().all(|outcome| {
        matches!(
            outcome,
            Outcome::Join {
                concurrency: 1_024,
                ..
            }
        )
    });
    assert!(only_joins, "{:?}", owner.ledger.outcomes());
    let survey = owner.survey(campaign).await;
    assert_eq!((survey.outstanding, survey.in_flight), (10, 0));

    owner.admit_first().await;
    owner.ledger.wait_for(MessageState::Accepted, 10).await;
}

#[tokio::test]
async fn a_held_campaign_waits_and_goes_on_at_once_when_released() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let held = owner.open(true).await;
    let running = owner.open(false).await;
    let _service = Service::simulating(&redis.url()).await;
    owner.feed(held, 1, 1, 20).await;
    owner.feed(running, 1, 1, 20).await;
    let accepted = owner.ledger.wait_for(MessageState::Accepted, 20).await;
    assert!(accepted.iter().all(|outcome| outcome.key.campaign == running));
    let survey = owner.survey(held).await;
    assert_eq!((survey.outstanding, survey.in_flight), (20, 0));

    let released = Instant::now();
    let control = owner.hold.control(held, &controls(false)).await;
    assert_eq!(control.unwrap(), OwnerReply::Ok(()));
    publish(&owner.streams, Audience::Messages, Some(&owner.lane))
        .await
        .unwrap();
    owner.ledger.wait_for(MessageState::Accepted, 40).await;
    assert!(
        released.elapsed() < Duration::from_secs(2),
        "{:?}",
        released.elapsed()
    );
}

/// Whoever opted out, is not on the list or cannot be rendered for is settled without a send.
#[tokio::test]
async fn what_must_not_be_sent_is_settled_with_its_reason() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let opted_out = phone_of(1).parse().unwrap();
    let lanes = [owner.lane.clone()];
    tell_optout(&owner.streams, &lanes, &opted_out, true, Utc::now())
        .await
        .unwrap();
    let allowed = [1, 3, 4].map(phone_of).join(",");
    let allowed = format!("--allowed-recipients={allowed}");
    let _service = Service::start(&redis.url(), &["--transport=simulate", &allowed]).await;

    let ana = || vec!["Ana".to_owned()];
    let messages = [
        queued(1, ana()),
        queued(2, ana()),
        queued(3, Vec::new()),
        queued(4, ana()),
    ];
    let id = |seq| StreamId::of_message(Generation(1), Seq(seq));
    let entries: Vec<_> = (1..)
        .zip(messages)
        .map(|(seq, message)| FeedEntry { id: id(seq), message })
        .collect();
    owner.feed_entries(campaign, id(0), &entries).await;

    let accepted = owner.ledger.wait_for(MessageState::Accepted, 1).await;
    assert_eq!(accepted[0].key.seq, Seq(4));
    let failed = owner.ledger.wait_for(MessageState::Failed, 1).await;
    assert_eq!(failed[0].key.seq, Seq(3));
    assert_eq!(failed[0].error.as_ref().unwrap().code, "render");
    let skipped = owner.ledger.wait_for(MessageState::Skipped, 2).await;
    let reasons: BTreeSet<_> = skipped
        .iter()
        .map(|outcome| (outcome.key.seq.0, outcome.skip.unwrap()))
        .collect();
    let expected = BTreeSet::from([(1, SkipReason::OptedOut), (2, SkipReason::NotAllowed)]);
    assert_eq!(reasons, expected);
}

/// SIGTERM: what is on the wire is finished, nothing more is taken, and the last word is a farewell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_what_is_in_flight_and_leaves() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let flags = [
        "--transport=simulate",
        "--simulate-latency-ms=400",
        "--concurrency=8",
    ];
    let service = Service::start(&redis.url(), &flags).await;
    owner.feed(campaign, 1, 1, 100).await;
    wait_for(PATIENCE, "messages in flight", async || {
        (owner.survey(campaign).await.in_flight > 0).then_some(())
    })
    .await;
    service.stop().await.expect("a clean end");

    wait_for(PATIENCE, "the farewell", async || {
        matches!(owner.ledger.outcomes().last(), Some(Outcome::Left { .. })).then_some(())
    })
    .await;
    // A farewell tells again what the ledger has not applied.
    let accepted = owner.ledger.messages(MessageState::Accepted);
    let accepted: BTreeSet<_> = accepted.iter().map(|outcome| outcome.key.seq).collect();
    let accepted = accepted.len() as u64;
    assert!(accepted > 0);
    let survey = owner.survey(campaign).await;
    assert_eq!(survey.in_flight, 0, "nothing is left in its hands");
    assert_eq!(survey.outstanding + accepted, 100, "nothing is lost");
    assert!(owner.ledger.messages(MessageState::Uncertain).is_empty());
}

/// Postgres is away: what cannot be applied is kept, up to a bound, and then nothing more is taken.
#[tokio::test]
async fn nothing_is_taken_while_too_much_waits_for_the_ledger() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 2_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let flags = [
        "--transport=simulate",
        "--kept-outcomes-max=100",
        "--concurrency=20",
    ];
    let _service = Service::start(&redis.url(), &flags).await;
    owner.admit_first().await;
    owner.feed(campaign, 1, 1, 1).await;
    owner.ledger.wait_for(MessageState::Accepted, 1).await;
    owner.stop_ledger();

    owner.feed(campaign, 1, 2, 1_001).await;
    let settled = wait_for(PATIENCE, "the bound", async || {
        let survey = owner.survey(campaign).await;
        let settled = 1_000 - survey.outstanding;
        (survey.in_flight == 0 && settled >= 100).then_some(settled)
    })
    .await;
    // The bound, and what was in hand when it was met: one settle's worth of hands.
    assert!((100..1_000).contains(&settled), "{settled}");
    owner.keep_ledger(true);
    owner.ledger.wait_for(MessageState::Accepted, 1_001).await;
}
