//! P1: losing a process, or all of Redis, loses no message and doubles none.

use crate::member::{Act, Member};
use crate::stage::{GRACE_MS, SOON, Stage};
use campaign_core::contracts::{MessageOutcome, Outcome, OutcomeSource};
use campaign_core::ids::{Generation, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_store::messages;
use chrono::Utc;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::wait_for;

/// Longer than any test.
const LONG: Duration = Duration::from_mins(10);
/// The ledger reads what is published within this.
const READ_BY_THEN: Duration = Duration::from_secs(1);
/// Postgres's statistics come at most a second late.
const COUNTED_BY_THEN: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_flushed_midway_loses_nothing_and_doubles_nothing() {
    let stage = Stage::start(3_000).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 300).await;
    stage.redis.flush().await;
    let progress = stage.finished(id).await;
    assert_eq!(
        progress.count(MessageState::Uncertain),
        0,
        "every member confirmed: {progress:?}"
    );
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
    assert_eq!(progress.total, 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_restarted_empty_midway_loses_nothing_and_doubles_nothing() {
    let mut stage = Stage::start(3_000).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 300).await;
    stage.redis.kill();
    stage.redis.restart_empty().await;
    let progress = stage.finished(id).await;
    assert_eq!(
        progress.count(MessageState::Uncertain),
        0,
        "every member confirmed: {progress:?}"
    );
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
}

/// The order of a rebuild: what members have in hand is told first, and only then what is left goes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_waits_for_what_is_in_hand() {
    let stage = Stage::start(1_000).await;
    let in_hand = Arc::new(AtomicI64::new(0));
    let counted = in_hand.clone();
    let slow = Member::start(&stage.streams, move |entry| {
        if entry.id.low <= 200 {
            return Act::Accept;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Act::AcceptSlowly
    });
    let id = stage.send(|_| {}).await;
    testkit::wait_for(SOON, "messages in hand", async || {
        (in_hand.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    stage.redis.flush().await;
    let quick = Member::start(&stage.streams, |_| Act::Accept);
    let progress = stage.finished(id).await;
    let accepted = slow.accepted_once() + quick.accepted_once();
    assert_eq!(
        progress.count(MessageState::Accepted),
        accepted as i64,
        "nobody was sent to by both"
    );
    assert_eq!(progress.count(MessageState::Uncertain), 0, "{progress:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vanished_member_had_in_hand_becomes_uncertain_and_nothing_else() {
    let stage = Stage::start(1_000).await;
    let vanishing = Member::start(&stage.streams, |entry| {
        if entry.id.low <= 400 {
            Act::Accept
        } else {
            Act::Vanish
        }
    });
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 200).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    vanishing.kill();
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let progress = stage.finished(id).await;
    let accepted = (vanishing.accepted_once() + member.accepted_once()) as i64;
    assert_eq!(progress.count(MessageState::Accepted), accepted);
    assert!(progress.count(MessageState::Uncertain) > 0, "{progress:?}");
}

/// A rebuild goes by campaign, a batch of the ledger by table. While one has what the other needs next, and the other way
/// round, Postgres must sacrifice one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_and_the_ledger_do_not_wait_for_each_other() {
    let stage = Stage::start(20).await;
    let (first, second) = (stage.fed_in(0).await, stage.fed_in(0).await);
    let seqs = stage.first_pending(second, 2).await;
    let vanishing = Member::start(&stage.streams, move |entry| {
        if (entry.campaign, entry.id.low) == (first, 1) {
            Act::Accept
        } else {
            Act::Vanish
        }
    });
    stage.reaches(first, MessageState::Accepted, 1).await;
    vanishing.kill();
    let mut in_the_way = stage.store.begin().await.expect("Postgres answers");
    messages::lock(&mut in_the_way, second, &[seqs[0].0])
        .await
        .expect("locked");
    stage.redis.flush().await;
    wait_for(SOON, "the rebuild to wait in its second campaign", async || {
        (stage.waiting_rebuilds().await > 0).then_some(())
    })
    .await;
    let told = [
        (first, Seq(1), MessageState::Delivered),
        (second, seqs[1], MessageState::Accepted),
    ];
    let told = told.map(|(campaign, seq, state)| {
        let key = MessageKey {
            campaign,
            generation: Generation(1),
            seq,
        };
        Outcome::Message(MessageOutcome::new(
            key,
            state,
            Utc::now(),
            OutcomeSource::Webhook,
        ))
    });
    stage.publish(told.to_vec()).await;
    tokio::time::sleep(READ_BY_THEN).await;
    drop(in_the_way);
    stage.reaches(first, MessageState::Delivered, 1).await;
    stage.reaches(second, MessageState::Accepted, 1).await;
    tokio::time::sleep(COUNTED_BY_THEN).await;
    assert_eq!(stage.deadlocks().await, 0);
}

/// What is parked has no outcome, so the last row that has one says little about how far a member had come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vanished_member_had_in_hand_beyond_what_is_parked_becomes_uncertain() {
    let stage = Stage::start(800).await;
    let parking = Member::start(&stage.streams, |entry| match entry.id.low {
        ..=400 => Act::Park(LONG),
        _ => Act::Park(Duration::ZERO),
    });
    let id = stage.send(|_| {}).await;
    stage.caught_up_with_parked(300).await;
    parking.kill();
    let taken = Arc::new(Mutex::new(BTreeSet::<i64>::new()));
    let noted = taken.clone();
    let vanishing = Member::start(&stage.streams, move |entry| {
        noted.lock().expect("not poisoned").insert(entry.id.low as i64);
        Act::Vanish
    });
    testkit::wait_for(SOON, "messages in hand", async || {
        (!taken.lock().expect("not poisoned").is_empty()).then_some(())
    })
    .await;
    vanishing.kill();
    // So slow that the time which has passed explains none of it.
    stage.slow_down().await;
    stage.redis.flush().await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    stage.reaches(id, MessageState::Uncertain, 300).await;
    let taken = taken.lock().expect("not poisoned");
    let again: Vec<_> = member
        .seqs_accepted()
        .into_iter()
        .filter(|seq| taken.contains(seq))
        .collect();
    assert!(again.is_empty(), "what may have been sent went again: {again:?}");
}

/// All senders were away for so long that a dead member counts as silent at once. What it had in hand becomes
/// uncertain first, and only then it is forgotten: else a loss of Redis in between would send it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_forgotten_only_when_nothing_of_it_is_left() {
    let mut stage = Stage::start(1_000).await;
    let taken = Arc::new(AtomicI64::new(0));
    let counted = taken.clone();
    let vanishing = Member::start(&stage.streams, move |entry| {
        if entry.id.low <= 200 {
            return Act::Accept;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Act::Vanish
    });
    let id = stage.send(|_| {}).await;
    testkit::wait_for(SOON, "messages in hand", async || {
        (taken.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    vanishing.kill();
    stage.senders.remove(0).stop().await;
    let taken = taken.load(Ordering::Relaxed);
    stage.keep_who_is_forgotten_too_early().await;
    tokio::time::sleep(Duration::from_millis(5 * GRACE_MS)).await;
    stage.add_sender().await;
    stage.reaches(id, MessageState::Uncertain, taken).await;
    testkit::wait_for(SOON, "the dead member to be forgotten", async || {
        (stage.members().await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sender_takes_over_where_the_first_stopped() {
    let mut stage = Stage::start(3_000).await;
    stage.add_sender().await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 300).await;
    stage.senders.remove(0).stop().await;
    let progress = stage.finished(id).await;
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
    assert_eq!(progress.count(MessageState::Uncertain), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_flushed_before_the_house_is_kept_forgets_no_member() {
    let stage = Stage::start(2_000).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 100).await;
    // As if it had joined long ago: by now it would count as silent, if an emptied Redis were believed.
    stage.age_members().await;
    stage.redis.flush().await;
    let progress = stage.finished(id).await;
    assert_eq!(
        progress.count(MessageState::Uncertain),
        0,
        "every member confirmed: {progress:?}"
    );
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_out_of_memory_drains_and_goes_on() {
    let stage = Stage::start(2_000).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 100).await;
    stage.redis.set("maxmemory", "1").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    stage.redis.set("maxmemory", "0").await;
    let progress = stage.finished(id).await;
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_whose_redis_is_away_is_not_ready_until_it_is_back() {
    let mut stage = Stage::start(10).await;
    stage.ready_is(true).await;
    stage.redis.kill();
    stage.ready_is(false).await;
    stage.redis.restart().await;
    stage.ready_is(true).await;
}
