//! P1: what is done is acknowledged together and soon; until it is, it comes again if its consumer dies.

use crate::events::{GROUP, Numbers, Reader, STREAM, config};
use crate::ground::{PATIENCE, raw};
use campaign_streams::{ConsumerConfig, Delivery, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::wait_for;
use tokio::sync::Semaphore;

/// Nothing is kept or claimed while a test lasts.
fn unhurried() -> ConsumerConfig {
    ConsumerConfig {
        reclaim_idle: Duration::from_secs(30),
        ..config()
    }
}

/// How often Redis ran a command.
async fn calls(numbers: &Numbers, command: &str) -> u64 {
    let stats = numbers.redis.info("commandstats").await;
    let of_command = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&of_command));
    line.and_then(|line| line.split(',').next()?.parse().ok())
        .unwrap_or(0)
}

async fn pending(numbers: &Numbers) -> u64 {
    let (pending, ..): (u64, redis::Value, redis::Value, redis::Value) =
        raw(&numbers.redis, &["XPENDING", STREAM, GROUP]).await;
    pending
}

async fn break_connections(numbers: &Numbers) {
    let _: u64 = raw(&numbers.redis, &["CLIENT", "KILL", "TYPE", "normal"]).await;
}

/// A consumer whose handler of 2 waits until the gate is open.
fn start_gated(numbers: &Numbers, gate: &Arc<Semaphore>) -> Reader {
    let gate = Arc::clone(gate);
    numbers.start(unhurried(), move |delivery: Delivery<u64>| {
        let gate = Arc::clone(&gate);
        async move {
            if delivery.body == 2 && delivery.attempt == 1 {
                let _open = gate.acquire().await.expect("it is never closed");
            }
            Verdict::Done
        }
    })
}

async fn wait_until_begun(numbers: &Numbers, number: u64) {
    let begun = format!("{number} to be begun");
    numbers
        .handled
        .wait_until(&begun, |counts| counts.contains_key(&number))
        .await;
}

#[tokio::test]
async fn a_batch_is_acknowledged_together_and_at_most_512_at_once() {
    // A slow machine may take longer than a release may wait, so there may be a few more.
    for (batch_max, count, calls_expected) in [(16, 160, 10..=20), (2_000, 1_200, 3..=12)] {
        for delete_handled in [true, false] {
            let numbers = Numbers::new().await;
            numbers.publish(1..=count).await;
            let config = ConsumerConfig {
                batch_max,
                delete_handled,
                ..unhurried()
            };
            let reader = numbers.start(config, async |_| Verdict::Done);
            numbers
                .handled
                .wait_until("all", |counts| counts.len() as u64 == count)
                .await;
            reader.stop().await;
            let in_order: Vec<_> = (1..=count).map(|number| (number, 1)).collect();
            assert_eq!(numbers.handled.all(), in_order);
            assert_eq!(pending(&numbers).await, 0);
            assert_eq!(numbers.length().await, if delete_handled { 0 } else { count });
            let acknowledged = calls(&numbers, "xack").await;
            assert!(calls_expected.contains(&acknowledged), "{acknowledged} calls");
            let deleted = calls(&numbers, "xdel").await;
            assert_eq!(deleted, if delete_handled { acknowledged } else { 0 });
        }
    }
}

#[tokio::test]
async fn a_slow_handler_does_not_hold_up_what_was_done_before_it() {
    let numbers = Numbers::new().await;
    numbers.publish(1..=4).await;
    let reader = numbers.start(unhurried(), async |delivery| {
        if delivery.body == 4 {
            std::future::pending::<()>().await;
        }
        Verdict::Done
    });
    wait_until_begun(&numbers, 4).await;
    let begun = Instant::now();
    wait_for(PATIENCE, "the first three to go", async || {
        (numbers.length().await == 1 && pending(&numbers).await == 1).then_some(())
    })
    .await;
    // Ten times the bound, for slow machines.
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(calls(&numbers, "xack").await, 1);
    reader.crash().await;
}

#[tokio::test]
async fn what_was_done_but_not_acknowledged_comes_again_after_a_death() {
    let numbers = Numbers::new().await;
    numbers.publish(1..=5).await;
    let dying = numbers.start(unhurried(), async |delivery| {
        assert!(delivery.body < 5, "the fifth kills who handles it");
        Verdict::Done
    });
    wait_until_begun(&numbers, 5).await;
    dying.crash().await;
    assert_eq!(pending(&numbers).await, 5);

    let _heir = numbers.start(config(), async |_| Verdict::Done);
    numbers.wait_until_empty().await;
    let attempts = |attempt| (1..=5).map(move |number| (number, attempt));
    let expected: Vec<_> = attempts(1).chain(attempts(2)).collect();
    assert_eq!(numbers.handled.all(), expected);
}

#[tokio::test]
async fn a_broken_connection_makes_no_second_handling_of_what_is_done() {
    let numbers = Numbers::new().await;
    numbers.publish(1..=3).await;
    let gate = Arc::new(Semaphore::new(0));
    let _reader = start_gated(&numbers, &gate);
    wait_until_begun(&numbers, 2).await;
    break_connections(&numbers).await;
    gate.add_permits(1);
    numbers.wait_until_empty().await;
    assert_eq!(numbers.handled.all(), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(pending(&numbers).await, 0);
}

#[tokio::test]
async fn what_is_done_is_acknowledged_on_the_way_out_too() {
    let numbers = Numbers::new().await;
    numbers.publish(1..=3).await;
    let gate = Arc::new(Semaphore::new(0));
    let reader = start_gated(&numbers, &gate);
    wait_until_begun(&numbers, 2).await;
    break_connections(&numbers).await;
    // Asked to end first, so that it does not connect again to read.
    tokio::join!(reader.stop(), async { gate.add_permits(1) });
    assert_eq!(numbers.handled.all(), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!((numbers.length().await, pending(&numbers).await), (0, 0));
    assert_eq!(numbers.consumers().await, [], "and it has left");
}

/// Entries that were written after all data was lost are new, though they have the ids of entries that are done.
#[tokio::test]
async fn what_was_done_before_all_data_was_lost_takes_nothing_new_away() {
    let numbers = Numbers::new().await;
    let add = async |id: &str, number: &str| {
        let _: String = raw(&numbers.redis, &["XADD", STREAM, id, "body", number]).await;
    };
    add("7-1", "1").await;
    add("7-2", "2").await;
    let gate = Arc::new(Semaphore::new(0));
    let _reader = start_gated(&numbers, &gate);
    wait_until_begun(&numbers, 2).await;
    break_connections(&numbers).await;
    numbers.redis.flush().await;
    add("7-1", "3").await;
    add("7-2", "4").await;
    gate.add_permits(1);
    numbers.wait_until_empty().await;
    assert_eq!(numbers.handled.all(), [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

#[tokio::test]
async fn a_silent_redis_does_not_hold_a_handler_up() {
    let mut numbers = Numbers::new().await;
    numbers.publish(2..=3).await;
    let gate = Arc::new(Semaphore::new(0));
    let finished = Arc::new(AtomicBool::new(false));
    let (open, done) = (Arc::clone(&gate), Arc::clone(&finished));
    let reader = numbers.start(unhurried(), move |delivery: Delivery<u64>| {
        let (open, done) = (Arc::clone(&open), Arc::clone(&done));
        async move {
            if delivery.body == 2 {
                let _open = open.acquire().await.expect("it is never closed");
            } else {
                // Meanwhile the release of 2 is due and gets no answer.
                tokio::time::sleep(Duration::from_millis(400)).await;
                done.store(true, Ordering::Relaxed);
            }
            Verdict::Done
        }
    });
    wait_until_begun(&numbers, 2).await;
    numbers.redis.pause();
    gate.add_permits(1);
    let began = Instant::now();
    wait_for(PATIENCE, "the second handler to finish", async || {
        finished.load(Ordering::Relaxed).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    numbers.redis.resume();
    numbers.wait_until_empty().await;
    assert_eq!(numbers.handled.all(), [(2, 1), (3, 1)]);
    reader.stop().await;
}
