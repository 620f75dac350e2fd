//! A handler decides; the driver acknowledges, comes back, or writes a dead letter.

use crate::events::{GROUP, Numbers, STREAM, config};
use crate::ground::{PATIENCE, raw};
use campaign_core::contracts::{DeadLetter, WEBHOOK_ORIGIN};
use campaign_streams::dead_letters::{self, Letters, StoredDeadLetter};
use campaign_streams::{ConsumerConfig, StreamsError, Traced, Verdict};
use std::time::{Duration, Instant};
use testkit::wait_for;

async fn letters(numbers: &Numbers, count: usize) -> Vec<StoredDeadLetter> {
    wait_for(PATIENCE, "the dead letters", async || {
        let letters = dead_letters::list(&numbers.streams, Letters::Dead, None, 100)
            .await
            .expect("listed");
        (letters.len() == count).then_some(letters)
    })
    .await
}

/// P6: what is done goes; where several groups read a stream it stays for the others.
#[tokio::test]
async fn what_is_done_is_acknowledged_and_deleted_by_a_sole_group_only() {
    for (delete_handled, left) in [(true, 0), (false, 3)] {
        let numbers = Numbers::new().await;
        numbers.publish(1..=3).await;
        let reader = numbers.start(
            ConsumerConfig {
                delete_handled,
                ..config()
            },
            async |_| Verdict::Done,
        );
        numbers
            .handled
            .wait_until("all to be handled", |counts| counts.len() == 3)
            .await;
        reader.stop().await;
        assert_eq!(numbers.handled.all(), [(1, 1), (2, 1), (3, 1)], "in order, once");
        assert_eq!(numbers.length().await, left);
        let (pending, ..): (u64, redis::Value, redis::Value, redis::Value) =
            raw(&numbers.redis, &["XPENDING", STREAM, GROUP]).await;
        assert_eq!(
            (pending, numbers.consumers().await),
            (0, vec![]),
            "and the reader has left"
        );
    }
}

#[tokio::test]
async fn a_retry_comes_back_after_its_time_and_holds_nobody_up() {
    let mut numbers = Numbers::new().await;
    numbers.publish(1..=3).await;
    let pause = Duration::from_millis(250);
    let started = Instant::now();
    let _reader = numbers.start(config(), move |delivery| async move {
        if delivery.body == 1 && delivery.attempt < 3 {
            Verdict::Retry(pause)
        } else {
            Verdict::Done
        }
    });
    numbers.wait_until_empty().await;
    assert_eq!(numbers.handled.all(), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]);
    assert!(started.elapsed() >= pause * 2, "{:?}", started.elapsed());
    numbers.read_all();
}

/// P9: what a handler refuses is kept with its origin and the reason.
#[tokio::test]
async fn a_rejected_entry_becomes_a_dead_letter() {
    let numbers = Numbers::new().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let entry = Traced::new(7_u64, Some(trace.to_owned()));
    numbers.producer().publish(&entry).await.expect("published");
    let _reader = numbers.start(config(), async |delivery| {
        assert!(
            delivery.trace.starts_with("00-"),
            "the producer's trace context arrives"
        );
        Verdict::Reject("seven is not wanted".to_owned())
    });
    let letter = letters(&numbers, 1).await.remove(0).letter;
    assert_eq!(
        (letter.stream.as_str(), letter.reason.as_str()),
        (STREAM, "seven is not wanted")
    );
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(letter.fields, [field("body", "7"), field("trace", trace)]);
    numbers.wait_until_empty().await;
}

/// P9: an entry that cannot be read never fails the batch it came with.
#[tokio::test]
async fn poison_goes_aside_and_its_batch_goes_on() {
    let numbers = Numbers::new().await;
    numbers.publish([1]).await;
    let mut poison = Vec::new();
    for (field, value) in [("body", "not a number"), ("bodyless", "1"), ("body", "\"text\"")] {
        poison.push(raw::<String>(&numbers.redis, &["XADD", STREAM, "*", field, value]).await);
    }
    let () = redis::cmd("XADD")
        .arg(&[STREAM, "*", "body"])
        .arg(&[0xff_u8, 0xfe][..])
        .query_async(&mut numbers.redis.connection().await)
        .await
        .expect("added");
    numbers.publish([2]).await;
    let _reader = numbers.start(config(), async |_| Verdict::Done);
    let letters = letters(&numbers, 4).await;
    numbers.wait_until_empty().await;
    assert_eq!(numbers.handled.all(), [(1, 1), (2, 1)]);
    let origins: Vec<_> = letters
        .iter()
        .rev()
        .map(|letter| &letter.letter.id)
        .take(3)
        .collect();
    assert_eq!(origins, poison.iter().collect::<Vec<_>>());
    assert!(
        letters
            .iter()
            .all(|letter| letter.letter.reason.contains("cannot be read")),
        "{letters:?}"
    );
}

/// P9: a retry has an end; a person puts it back when its cause is gone.
#[tokio::test]
async fn what_is_retried_too_often_becomes_a_dead_letter_until_it_is_put_back() {
    let numbers = Numbers::new().await;
    numbers.publish([5]).await;
    let limited = ConsumerConfig {
        attempts_max: 3,
        ..config()
    };
    let reader = numbers.start(limited, async |_| Verdict::Retry(Duration::ZERO));
    let letter = letters(&numbers, 1).await.remove(0);
    assert_eq!(numbers.handled.all(), [(5, 1), (5, 2), (5, 3)]);
    assert_eq!(letter.letter.reason, "given up after 3 attempts");
    numbers.wait_until_empty().await;
    reader.stop().await;

    let tries = (0..10).map(|_| dead_letters::redrive(&numbers.streams, &letter.id));
    let redriven = futures::future::join_all(tries).await;
    let won = redriven.iter().filter(|redriven| redriven.is_ok()).count();
    assert_eq!(
        (won, numbers.length().await),
        (1, 1),
        "ten people put it back once"
    );
    assert!(letters(&numbers, 0).await.is_empty());
    let _reader = numbers.start(config(), async |_| Verdict::Done);
    numbers.wait_until_empty().await;
    assert_eq!(numbers.handled.all()[3..], [(5, 1)], "as if new");
}

/// P9: an entry that kills whoever handles it is given up as well.
#[tokio::test]
async fn attempts_are_counted_over_consumers_that_die() {
    let numbers = Numbers::new().await;
    numbers.publish([13]).await;
    let limited = ConsumerConfig {
        attempts_max: 2,
        ..config()
    };
    for deaths in 1..=2 {
        let reader = numbers.start(limited.clone(), async |_| std::future::pending().await);
        numbers
            .handled
            .wait_until("it to be handled", |counts| counts.get(&13) == Some(&deaths))
            .await;
        reader.crash().await;
    }
    let _survivor = numbers.start(limited, async |_| Verdict::Done);
    let letter = letters(&numbers, 1).await.remove(0);
    assert_eq!(letter.letter.reason, "given up after 2 attempts");
    assert_eq!(
        numbers.handled.all(),
        [(13, 1), (13, 2)],
        "nobody else died of it"
    );
}

#[tokio::test]
async fn dead_letters_are_paged_read_and_discarded() {
    let numbers = Numbers::new().await;
    for number in 0..5 {
        let letter = DeadLetter {
            stream: "{pn:106540352242922}:outcomes".to_owned(),
            id: format!("1-{number}"),
            reason: "of a lane".to_owned(),
            fields: vec![("body".to_owned(), "?".to_owned())],
        };
        dead_letters::keep(&numbers.streams, &letter).await.expect("kept");
    }
    let page = async |before: Option<&str>, limit| {
        dead_letters::list(&numbers.streams, Letters::Dead, before, limit)
            .await
            .expect("listed")
    };
    let newest = page(None, 2).await;
    let older = page(Some(&newest[1].id), 10).await;
    let origins: Vec<_> = newest
        .iter()
        .chain(&older)
        .map(|stored| stored.letter.id.as_str())
        .collect();
    assert_eq!(origins, ["1-4", "1-3", "1-2", "1-1", "1-0"], "newest first");

    let one = &older[0];
    assert_eq!(
        &dead_letters::get(&numbers.streams, &one.id)
            .await
            .expect("it is there"),
        one
    );
    let refused = dead_letters::redrive(&numbers.streams, &one.id).await;
    assert!(
        matches!(refused, Err(StreamsError::UnsafeSettings(_))),
        "a lane's entry is not put back: {refused:?}"
    );
    dead_letters::discard(&numbers.streams, &one.id)
        .await
        .expect("discarded");
    for missing in [one.id.as_str(), "0-1", "-", "+", "not an id"] {
        for answer in [
            dead_letters::get(&numbers.streams, missing).await.map(drop),
            dead_letters::discard(&numbers.streams, missing).await,
            dead_letters::redrive(&numbers.streams, missing).await,
        ] {
            assert!(
                matches!(answer, Err(StreamsError::NotFound { .. })),
                "{missing}: {answer:?}"
            );
        }
    }
    assert_eq!(page(None, 10).await.len(), 4);
}

/// However many strays come, they stay few, and no dead letter gives way to them.
#[tokio::test]
async fn strays_are_bounded_and_leave_the_dead_letters_alone() {
    let numbers = Numbers::new().await;
    let letter = |number: usize| DeadLetter {
        stream: WEBHOOK_ORIGIN.to_owned(),
        id: format!("wamid.{number}"),
        reason: "nobody knows it".to_owned(),
        fields: Vec::new(),
    };
    dead_letters::keep(&numbers.streams, &letter(0))
        .await
        .expect("kept");
    let flood: Vec<_> = (1..=3 * dead_letters::STRAYS_MAX).map(letter).collect();
    dead_letters::keep_all(&numbers.streams, Letters::Stray, &flood)
        .await
        .expect("kept");
    let strays = dead_letters::list(&numbers.streams, Letters::Stray, None, 100_000);
    let strays = strays.await.expect("listed");
    let most = dead_letters::STRAYS_MAX..dead_letters::STRAYS_MAX + 500;
    assert!(most.contains(&strays.len()), "{}", strays.len());
    assert_eq!(
        strays[0].letter,
        letter(3 * dead_letters::STRAYS_MAX),
        "newest first"
    );
    let dead = dead_letters::list(&numbers.streams, Letters::Dead, None, 10).await;
    let dead = dead.expect("listed");
    assert_eq!(dead.len(), 1);
    let refused = dead_letters::redrive(&numbers.streams, &dead[0].id).await;
    assert!(
        matches!(refused, Err(StreamsError::UnsafeSettings(_))),
        "there is no stream of webhooks: {refused:?}"
    );
}
