//! What the service does when Redis forgets, or when its answers do not arrive.

use crate::harness::{Owner, PATIENCE, Service, http, ok_or_unverified};
use campaign_core::contracts::Outcome;
use campaign_core::message::MessageState;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::{FaultProxy, Mode, Redis, wait_for};

/// The ledger had applied nothing when Redis lost everything: all acceptances come again, before the join
/// that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ledger_has_not_applied_is_published_again_before_the_join() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let _service = Service::simulating(&redis.url()).await;
    let instance = owner.admit_first().await;
    owner.feed(campaign, 1, 1, 1).await;
    owner.ledger.wait_for(MessageState::Accepted, 1).await;
    owner.stop_ledger();
    owner.feed(campaign, 1, 2, 201).await;
    wait_for(PATIENCE, "everything to be settled", async || {
        (owner.survey(campaign).await.outstanding == 0).then_some(())
    })
    .await;

    redis.flush().await;
    ok_or_unverified(&owner.hold.adopt().await.unwrap());
    let before = owner.ledger.outcomes().len();
    owner.keep_ledger(false);
    let again = wait_for(PATIENCE, "the join", async || {
        let again = owner.ledger.outcomes().split_off(before);
        let joined = again
            .iter()
            .position(|outcome| matches!(outcome, Outcome::Join { .. }));
        joined.map(|at| again[..at].to_vec())
    })
    .await;
    let seqs: Vec<i64> = again
        .iter()
        .map(|outcome| match outcome {
            Outcome::Message(message) if message.state == MessageState::Accepted => message.key.seq.0,
            other => panic!("{other:?}"),
        })
        .collect();
    let unapplied: Vec<i64> = (2..=201).collect();
    let mut published = seqs.clone();
    published.sort_unstable();
    // The first one may have been applied so shortly before that the service had not heard of it.
    published.retain(|seq| *seq != 1);
    assert_eq!(published, unapplied);

    owner.build(1_000, &[instance]).await;
    owner.open_round(campaign, 2, false).await;
    owner.feed(campaign, 2, 1, 5).await;
    wait_for(PATIENCE, "the new round", async || {
        let accepted = owner.ledger.messages(MessageState::Accepted);
        let second = accepted.iter().filter(|outcome| outcome.key.generation.0 == 2);
        (second.count() == 5).then_some(())
    })
    .await;
}

/// P4: an instance that leaves is not waited for by a rebuild. What Redis lost of it must be there again before its
/// farewell, or what it sent would be sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_ledger_has_not_applied_is_published_again_before_the_farewell() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let service = Service::simulating(&redis.url()).await;
    owner.admit_first().await;
    owner.feed(campaign, 1, 1, 1).await;
    owner.ledger.wait_for(MessageState::Accepted, 1).await;
    owner.stop_ledger();
    owner.feed(campaign, 1, 2, 51).await;
    wait_for(PATIENCE, "everything to be settled", async || {
        (owner.survey(campaign).await.outstanding == 0).then_some(())
    })
    .await;

    redis.flush().await;
    service.stop().await.expect("it ends well");
    let before = owner.ledger.outcomes().len();
    owner.keep_ledger(false);
    let again = wait_for(PATIENCE, "the farewell", async || {
        let again = owner.ledger.outcomes().split_off(before);
        let left = again
            .iter()
            .position(|outcome| matches!(outcome, Outcome::Left { .. }));
        left.map(|at| again[..at].to_vec())
    })
    .await;
    let mut seqs: Vec<i64> = again
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Message(message) if message.state == MessageState::Accepted => Some(message.key.seq.0),
            _ => None,
        })
        .collect();
    seqs.sort_unstable();
    seqs.dedup();
    seqs.retain(|seq| *seq != 1);
    assert_eq!(seqs, (2..=51).collect::<Vec<_>>());
}

/// Takes and settles whose answers are lost: each message is still offered to WhatsApp exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_redis_that_never_come_neither_lose_nor_double() {
    let redis = Redis::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let whatsapp = crate::cloud_api::WhatsApp::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let url = format!("redis://{}/", proxy.address());
    let _service = Service::start(&url, &whatsapp.flags().each_ref().map(String::as_str)).await;
    owner.admit_first().await;
    owner.feed(campaign, 1, 1, 1).await;
    owner.ledger.wait_for(MessageState::Accepted, 1).await;

    let mut fed = 1;
    for _ in 0..3 {
        proxy.set(Mode::DropReplies).await;
        owner.feed(campaign, 1, fed + 1, fed + 50).await;
        fed += 50;
        wait_for(PATIENCE, "a take that nobody hears of", async || {
            (owner.survey(campaign).await.in_flight > 0).then_some(())
        })
        .await;
        proxy.set(Mode::Cut).await;
        proxy.set(Mode::Pass).await;
        wait_for(PATIENCE, "everything to be settled", async || {
            (owner.survey(campaign).await.outstanding == 0).then_some(())
        })
        .await;
    }
    // A settle that was repeated publishes twice; the ledger takes it once.
    let reported = wait_for(PATIENCE, "all acceptances", async || {
        let mut reported: BTreeMap<i64, usize> = BTreeMap::new();
        for outcome in owner.ledger.messages(MessageState::Accepted) {
            *reported.entry(outcome.key.seq.0).or_default() += 1;
        }
        (reported.len() == 151).then_some(reported)
    })
    .await;
    assert_eq!(reported.len(), 151);
    assert!(
        whatsapp.requests().values().all(|times| *times == 1),
        "nobody twice"
    );
    assert_eq!(whatsapp.requests().len(), 151);
    assert!(owner.ledger.messages(MessageState::Uncertain).is_empty());
}

/// A recovery finds what is on the wire right now, too, and must leave it alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_leaves_alone_what_is_on_the_wire() {
    let redis = Redis::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let whatsapp = crate::cloud_api::WhatsApp::start().await;
    whatsapp.answer_after(Duration::from_secs(3));
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let url = format!("redis://{}/", proxy.address());
    let flags = whatsapp.flags_with_timeout(9_000);
    let _service = Service::start(&url, &flags.each_ref().map(String::as_str)).await;
    owner.feed(campaign, 1, 1, 20).await;
    wait_for(PATIENCE, "requests on the wire", async || {
        (whatsapp.requests().len() == 20).then_some(())
    })
    .await;

    // The next take breaks, so everything pending is looked through while the answers are still to come.
    proxy.set(Mode::Cut).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    proxy.set(Mode::Pass).await;
    let accepted = owner.ledger.wait_for(MessageState::Accepted, 20).await;
    assert!(accepted.iter().all(|outcome| outcome.attempts == Some(1)));
    let survey = owner.survey(campaign).await;
    assert_eq!((survey.outstanding, survey.parked), (0, 0));
    assert!(
        whatsapp.requests().values().all(|times| *times == 1),
        "nobody twice"
    );
}

/// A process that was held up for longer than its lease sends nothing of what it took before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_too_long_ago_is_given_back_unsent() {
    let redis = Redis::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let whatsapp = crate::cloud_api::WhatsApp::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let url = format!("redis://{}/", proxy.address());
    let flags = whatsapp.flags_with_timeout(150);
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.push("--entry-lease-ms=200");
    let service = Service::start(&url, &flags).await;
    owner.admit_first().await;
    owner.feed(campaign, 1, 1, 1).await;
    owner.ledger.wait_for(MessageState::Accepted, 1).await;

    // A take's answer is now older than the lease when it arrives.
    proxy.set(Mode::Delay(Duration::from_millis(150))).await;
    owner.feed(campaign, 1, 2, 20).await;
    wait_for(PATIENCE, "messages given back", async || {
        let url = format!("http://{}/metrics", service.addr);
        let metrics = http().get(url).send().await.unwrap().text().await.unwrap();
        metrics
            .contains("handed_back_total{reason=\"lease\"}")
            .then_some(())
    })
    .await;
    assert_eq!(whatsapp.requests().len(), 1, "only the one from before");
    proxy.set(Mode::Pass).await;
    let accepted = owner.ledger.wait_for(MessageState::Accepted, 20).await;
    assert!(accepted.iter().all(|outcome| outcome.attempts == Some(1)));
    assert!(whatsapp.requests().values().all(|times| *times == 1));
}

/// A service starts while Redis is away, says so, and works when it comes.
#[tokio::test]
async fn redis_may_come_later() {
    let mut redis = Redis::start().await;
    redis.kill();
    let service = Service::simulating(&redis.url()).await;
    assert!(!service.is_ready().await);
    redis.restart().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    owner.feed(campaign, 1, 1, 10).await;
    owner.ledger.wait_for(MessageState::Accepted, 10).await;
    wait_for(Duration::from_secs(10), "readiness", async || {
        service.is_ready().await.then_some(())
    })
    .await;
}
