//! P1: consumers outlive the loss of their Redis, and leaving loses nothing.

use crate::events::{Numbers, config};
use crate::ground::PATIENCE;
use campaign_streams::{ConsumerConfig, Traced, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use testkit::{Redis, wait_for};

#[tokio::test]
async fn a_group_lost_with_all_data_is_made_again_from_the_beginning() {
    let mut numbers = Numbers::new().await;
    numbers.read_all();
    numbers.publish([1]).await;
    numbers
        .handled
        .wait_until("the first", |counts| counts.contains_key(&1))
        .await;
    for round in 2..=11 {
        numbers.redis.flush().await;
        // Written before any consumer has made the group again, or after: it is read either way.
        numbers.publish([round]).await;
        numbers
            .handled
            .wait_until("what came after the loss", |counts| counts.contains_key(&round))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_is_waited_out_by_the_consumer_itself() {
    const TOTAL: u64 = 600;
    let mut numbers = Numbers::on(Redis::options().append_only().start().await);
    for _ in 0..3 {
        numbers.read_all();
    }
    let producer = numbers.producer();
    let producing = tokio::spawn(async move {
        for number in 0..TOTAL {
            let entry = Traced::new(number, None);
            while producer.publish(&entry).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    for restart in 1..=3 {
        let reached = TOTAL / 5 * restart;
        numbers
            .handled
            .wait_until("the load to go on", |counts| counts.len() as u64 >= reached)
            .await;
        numbers.redis.kill();
        numbers.redis.restart().await;
    }
    producing.await.expect("all published");
    numbers
        .handled
        .wait_until("everything", |counts| counts.len() as u64 == TOTAL)
        .await;
    numbers.wait_until_empty().await;
}

#[tokio::test]
async fn a_frozen_redis_is_waited_out() {
    let mut numbers = Numbers::new().await;
    numbers.read_all();
    numbers.publish([1]).await;
    numbers
        .handled
        .wait_until("the first", |counts| counts.contains_key(&1))
        .await;
    numbers.redis.pause();
    tokio::time::sleep(Duration::from_millis(300)).await; // as long as the freeze is meant to last
    numbers.redis.resume();
    numbers.publish([2]).await;
    numbers
        .handled
        .wait_until("what came after", |counts| counts.contains_key(&2))
        .await;
}

/// Deleting a consumer throws its pending entries away, so one that has any stays in the group.
#[tokio::test]
async fn leaving_with_pending_entries_loses_none_of_them() {
    let numbers = Numbers::new().await;
    numbers.publish([1, 2]).await;
    let leaving = numbers.start(config(), async |delivery| match delivery.body {
        1 => Verdict::Retry(Duration::from_hours(1)),
        _ => Verdict::Done,
    });
    numbers
        .handled
        .wait_until("both", |counts| counts.len() == 2)
        .await;
    leaving.stop().await;
    let consumers = numbers.consumers().await;
    assert!(matches!(consumers[..], [(_, 1)]), "{consumers:?}");

    let heir = numbers.start(config(), async |_| Verdict::Done);
    numbers.wait_until_empty().await;
    assert_eq!(numbers.handled.all()[2..], [(1, 2)], "as its second attempt");
    heir.stop().await;
}

#[tokio::test]
async fn a_consumer_ends_soon_also_while_redis_is_away() {
    let mut numbers = Numbers::new().await;
    let reader = numbers.start(config(), async |_| Verdict::Done);
    numbers.publish([1]).await;
    numbers.wait_until_empty().await;
    numbers.redis.kill();
    let asked = Instant::now();
    reader.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

/// After a broken connection, retries that wait in memory are neither handled early nor twice.
#[tokio::test]
async fn a_reconnect_does_not_hurry_what_waits_for_its_retry() {
    let mut numbers = Numbers::on(Redis::options().append_only().start().await);
    numbers.publish(1..=40).await;
    let release = Arc::new(AtomicBool::new(false));
    let released = release.clone();
    let patient = ConsumerConfig {
        reclaim_idle: Duration::from_secs(30),
        attempts_max: 10_000,
        ..config()
    };
    let _reader = numbers.start(patient, move |delivery| {
        let released = released.load(Ordering::Relaxed);
        async move {
            match (delivery.body, released) {
                (99, _) | (_, true) => Verdict::Done,
                _ => Verdict::Retry(Duration::from_secs(4)),
            }
        }
    });
    numbers
        .handled
        .wait_until("all to be tried once", |counts| counts.len() == 40)
        .await;
    numbers.redis.restart().await;
    wait_for(PATIENCE, "a publish to get through", async || {
        numbers.producer().publish(&Traced::new(99_u64, None)).await.ok()
    })
    .await;
    numbers
        .handled
        .wait_until("the reader to be back", |counts| counts.contains_key(&99))
        .await;
    assert!(
        numbers.handled.counts().values().all(|count| *count == 1),
        "{:?}",
        numbers.handled.counts()
    );
    release.store(true, Ordering::Relaxed);
    numbers.wait_until_empty().await;
    assert!(
        numbers
            .handled
            .counts()
            .iter()
            .all(|(number, count)| *count == if *number == 99 { 1 } else { 2 })
    );
}
