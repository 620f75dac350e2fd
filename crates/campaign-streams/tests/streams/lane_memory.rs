//! P3, P9: a Redis out of memory refuses take, settle and feed whole, lets the ledger drain, and goes on.

use crate::ground::{Ground, OPTOUTS_KEPT, RUNS, accepted, entries, failed, granted, id, phone, raw};
use campaign_core::contracts::{MESSAGE_EVENTS_STREAM, OptOut, Outcome};
use campaign_streams::lane::{Fed, LaneControls, OutcomeReader, OutcomeReporter, tell_optout};
use campaign_streams::{Producer, RedisConfig, Streams, StreamsError, Traced};
use chrono::{DateTime, Utc};
use std::time::Duration;

fn is_out_of_memory<T: std::fmt::Debug>(result: campaign_streams::Result<T>) -> bool {
    match result {
        Err(StreamsError::Redis(error)) => error.code() == Some("OOM"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_redis_out_of_memory_refuses_steps_whole_and_lets_the_ledger_drain() {
    let ground = Ground::on(Ground::digestible_redis().await, crate::ground::UNHURRIED).await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 4).await;
    member.take_all(3).await;
    member.settle(&[accepted(campaign, id(1, 1))]).await;
    let limit =
        async |bytes: &str| -> () { raw(&ground.redis, &["CONFIG", "SET", "maxmemory", bytes]).await };
    limit("1").await;
    let before = ground.digest().await;

    assert!(is_out_of_memory(member.lane.take(1).await));
    let steps = [failed(campaign, id(1, 2)), accepted(campaign, id(1, 3))];
    assert!(is_out_of_memory(
        member.lane.settle(&member.identity, &steps).await
    ));
    let entries = entries(1, 5..=6);
    let fed = ground
        .owner
        .feed(campaign, id(1, 4), Utc::now(), OPTOUTS_KEPT, &entries)
        .await;
    assert!(is_out_of_memory(fed));
    assert!(is_out_of_memory(
        ground.owner.survey(&[campaign], Duration::ZERO).await
    ));
    assert_eq!(ground.digest().await, before, "not a byte changed");

    let mut reader = OutcomeReader::new(&ground.streams, &ground.lane, Duration::from_millis(10));
    let read = reader.read(10).await.expect("reading is allowed").outcomes;
    reader.delete(&read[..1]).await.expect("deleting is allowed");
    assert!(ground.outcomes().await.is_empty());

    limit("0").await;
    let settled = member.settle(&steps).await;
    assert!(settled.trusted && settled.published.iter().all(Option::is_some));
    let fed = ground
        .owner
        .feed(campaign, id(1, 4), Utc::now(), OPTOUTS_KEPT, &entries)
        .await;
    assert_eq!(granted(fed), Fed::Appended(id(1, 6)));
    assert_eq!(member.take_all(3).await[0].id, id(1, 4));
}

/// An outcome that nobody can read, and no room to keep it elsewhere, must not stop the draining.
#[tokio::test]
async fn a_poison_outcome_does_not_stop_a_full_redis_from_draining() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 1).await;
    let () = raw(
        &ground.redis,
        &["XADD", &ground.keys.outcomes(), "1-1", "body", "not JSON"],
    )
    .await;
    member.take_all(1).await;
    let settled = member.settle(&[accepted(campaign, id(1, 1))]).await;
    let () = raw(&ground.redis, &["CONFIG", "SET", "maxmemory", "1"]).await;

    let mut reader = OutcomeReader::new(&ground.streams, &ground.lane, Duration::from_millis(10));
    let read = reader.read(10).await.expect("the other one is read").outcomes;
    assert_eq!(
        read.iter().map(|entry| Some(entry.id)).collect::<Vec<_>>(),
        settled.published
    );
    reader.delete(&read[..1]).await.expect("deleted");
    assert!(
        is_out_of_memory(reader.read(10).await),
        "alone, it is an error to wait out"
    );
}

/// P8: people can hold a campaign, opt out and cancel also while Redis is full.
#[tokio::test]
async fn a_full_redis_takes_holds_optouts_and_the_end_of_campaigns() {
    let ground = Ground::new().await;
    let campaign = ground.open_with(1, 3).await;
    let limit =
        async |bytes: &str| -> () { raw(&ground.redis, &["CONFIG", "SET", "maxmemory", bytes]).await };
    limit("1").await;
    let held = LaneControls { held: true, ..RUNS };
    granted(ground.owner.control(campaign, &held).await);
    let lanes = std::slice::from_ref(&ground.lane);
    tell_optout(&ground.streams, lanes, &phone(2), true, Utc::now())
        .await
        .expect("told");
    let optouts: u64 = raw(&ground.redis, &["ZCARD", &ground.keys.optouts()]).await;
    assert_eq!(optouts, 1);
    let written: String = raw(&ground.redis, &["HGET", &ground.keys.snapshot(campaign), "held"]).await;
    assert_eq!(written, "1");
    granted(ground.owner.close(&[campaign]).await);
    assert_eq!(ground.outstanding(campaign).await, 0);
}

/// The ledger drops what the outside would hear when there is no room for it, or it would never drain: so it must
/// know why several entries at a time were refused.
#[tokio::test]
async fn several_entries_that_a_full_redis_refuses_are_known_as_such() {
    let ground = Ground::new().await;
    let producer = Producer::new(&ground.streams, MESSAGE_EVENTS_STREAM, 1_000);
    let () = raw(&ground.redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let entries = vec![Traced::new(1, None); 3];
    let refused = producer.publish_all(&entries).await.expect_err("refused");
    assert!(refused.is_out_of_memory(), "{refused:?}");
    let away = Streams::lazy(RedisConfig::new("redis://127.0.0.1:1")).expect("a good url");
    let producer = Producer::new(&away, MESSAGE_EVENTS_STREAM, 1_000);
    let failed = producer.publish_all(&entries).await.expect_err("nobody is there");
    assert!(!failed.is_out_of_memory(), "{failed:?}");
}

/// What webhooks report is refused while there is no room, and nothing that is refused is half done in secret.
#[tokio::test]
async fn reports_are_appended_in_order_and_refused_by_a_full_redis() {
    let ground = Ground::new().await;
    let reporter = OutcomeReporter::new(&ground.streams, &ground.lane).expect("a good url");
    let wish = |number: i64| {
        Outcome::OptOut(OptOut {
            phone: phone(number),
            stop: true,
            source: "keyword".to_owned(),
            at: DateTime::UNIX_EPOCH,
        })
    };
    let wishes: Vec<Outcome> = (1..=1_200).map(wish).collect();
    let waiting = reporter.append(&wishes, "").await.expect("appended");
    assert_eq!(waiting, 1_200);
    let () = raw(&ground.redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = reporter.append(&wishes[..3], "").await.expect_err("refused");
    assert!(refused.is_out_of_memory(), "{refused:?}");
    assert_eq!(reporter.waiting().await.expect("counted"), 1_200);
    let mut reader = OutcomeReader::new(&ground.streams, &ground.lane, Duration::from_millis(10));
    let read = reader.read(2_000).await.expect("read");
    assert!(read.iter().map(|entry| &entry.outcome).eq(&wishes));
}
