//! Many consumers: nothing lost, nothing doubled, nobody starved.

use crate::events::{GROUP, Numbers, STREAM, config};
use crate::ground::{PATIENCE, raw};
use campaign_streams::{ConsumerConfig, Delivery, Traced, Verdict};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::wait_for;

const CROWD: usize = 20;

/// P2: 20 producers, 20 consumers, 4,000 entries.
async fn crowd_handles_everything_once(delay: Duration) {
    const EACH: u64 = 200;
    let numbers = Numbers::new().await;
    let shares: Vec<_> = (0..CROWD).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    // Longer than any pause of a loaded machine: this is not about reclaiming.
    let config = ConsumerConfig {
        reclaim_idle: Duration::from_secs(30),
        ..config()
    };
    let mut readers = Vec::new();
    for share in &shares {
        let share = Arc::clone(share);
        let decide = move |_: Delivery<u64>| {
            share.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(delay).await;
                Verdict::Done
            }
        };
        readers.push(numbers.start(config.clone(), decide));
    }
    let producing = (0..CROWD as u64).map(|producer| {
        let (from, numbers) = (producer * EACH, numbers.producer());
        async move {
            for chunk in (from..from + EACH).collect::<Vec<_>>().chunks(20) {
                let entries: Vec<_> = chunk.iter().map(|number| Traced::new(*number, None)).collect();
                numbers.publish_all(&entries).await.expect("published");
            }
        }
    });
    futures::future::join_all(producing).await;
    numbers.wait_until_empty().await;
    for reader in readers {
        reader.stop().await;
    }
    let counts = numbers.handled.counts();
    assert_eq!(counts.len() as u64, EACH * CROWD as u64, "none lost");
    assert!(counts.values().all(|count| *count == 1), "none doubled");
    let shares: Vec<_> = shares.iter().map(|share| share.load(Ordering::Relaxed)).collect();
    assert!(shares.iter().all(|share| *share > 0), "none starved: {shares:?}");
    assert_eq!(numbers.consumers().await, [], "all have left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_handles_everything_once() {
    crowd_handles_everything_once(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_handles_everything_once_with_delays() {
    crowd_handles_everything_once(Duration::from_millis(5)).await;
}

/// P2: when a consumer died, twenty that look at once make one handling of each of its entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_consumers_entries_are_handled_once_by_a_crowd() {
    const LEFT: u64 = 200;
    let numbers = Numbers::new().await;
    numbers.publish(0..LEFT).await;
    let () = raw(&numbers.redis, &["XGROUP", "CREATE", STREAM, GROUP, "0"]).await;
    let count = LEFT.to_string();
    let read = [
        "XREADGROUP",
        "GROUP",
        GROUP,
        "dead",
        "COUNT",
        &count,
        "STREAMS",
        STREAM,
        ">",
    ];
    let _: redis::Value = raw(&numbers.redis, &read).await;
    let idle = ConsumerConfig {
        reclaim_idle: Duration::from_secs(2),
        ..config()
    };
    let readers: Vec<_> = (0..CROWD)
        .map(|_| numbers.start(idle.clone(), async |_| Verdict::Done))
        .collect();
    numbers.wait_until_empty().await;
    for reader in readers {
        reader.stop().await;
    }
    let handled = numbers.handled.all();
    let unique: BTreeSet<_> = handled.iter().map(|(number, _)| *number).collect();
    assert_eq!((handled.len(), unique.len()), (LEFT as usize, LEFT as usize));
    assert!(
        handled.iter().all(|(_, attempt)| *attempt == 2),
        "the dead one had the first attempt"
    );
}

/// P2: who is at work is not robbed: not of what is being handled, not of what lies behind it in its batch,
/// not of what waits for a retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_work_is_not_reclaimed() {
    let numbers = Numbers::new().await;
    numbers.publish(1..=3).await;
    let slow = move |delivery: Delivery<u64>| async move {
        if delivery.body == 1 && delivery.attempt == 1 {
            return Verdict::Retry(Duration::from_millis(3_500));
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await; // twice what the dead are given
        Verdict::Done
    };
    let config = ConsumerConfig {
        reclaim_idle: Duration::from_millis(750),
        ..config()
    };
    let _worker = numbers.start(config.clone(), slow);
    numbers
        .handled
        .wait_until("the batch to be begun", |counts| counts.len() == 2)
        .await;
    let robbers: Vec<_> = (0..3)
        .map(|_| numbers.start(config.clone(), async |_| Verdict::Done))
        .collect();
    numbers.wait_until_empty().await;
    assert_eq!(numbers.handled.all(), [(1, 1), (2, 1), (3, 1), (1, 2)]);
    for robber in robbers {
        robber.stop().await;
    }
}

/// P6: processes that died leave no names behind for ever.
#[tokio::test]
async fn consumers_that_died_with_nothing_pending_are_forgotten() {
    let numbers = Numbers::new().await;
    numbers.publish([1]).await;
    let () = raw(&numbers.redis, &["XGROUP", "CREATE", STREAM, GROUP, "0"]).await;
    for dead in 0..5 {
        let name = format!("dead-{dead}");
        let _: u64 = raw(
            &numbers.redis,
            &["XGROUP", "CREATECONSUMER", STREAM, GROUP, &name],
        )
        .await;
    }
    let read = ["XREADGROUP", "GROUP", GROUP, "dead-0", "STREAMS", STREAM, ">"];
    let _: redis::Value = raw(&numbers.redis, &read).await;
    let idle = ConsumerConfig {
        reclaim_idle: Duration::from_millis(100),
        ..config()
    };
    let _reader = numbers.start(idle, async |_| Verdict::Done);
    wait_for(PATIENCE, "the dead to be forgotten", async || {
        (numbers.consumers().await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(
        numbers.handled.all(),
        [(1, 2)],
        "and nothing that one of them held was lost"
    );
}
