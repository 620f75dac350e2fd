//! Ticks: each written once, whatever the number of schedulers and whatever their clocks.

use crate::ground::{raw, streams};
use campaign_core::contracts::{SCHEDULER_STREAM, TickKind};
use campaign_streams::{StreamId, ticks};
use std::time::Duration;
use testkit::Redis;

async fn ticks(redis: &Redis) -> Vec<(StreamId, String)> {
    let reply: redis::streams::StreamRangeReply = raw(redis, &["XRANGE", SCHEDULER_STREAM, "-", "+"]).await;
    let ticks = reply.ids.iter().map(|entry| {
        let body = entry.get::<String>("body").expect("a body");
        (entry.id.parse().expect("an id"), body)
    });
    ticks.collect()
}

/// P2: a storm of schedulers makes one tick a minute, so a campaign starts once.
#[tokio::test]
async fn many_schedulers_make_one_tick_of_a_minute() {
    let redis = Redis::start().await;
    let streams = streams(&redis);
    let tries = (0..40).map(|_| ticks::publish(&streams, TickKind::Minute, None));
    let published = futures::future::join_all(tries).await;
    let written = published.iter().filter(|published| {
        let published = published.as_ref().expect("Redis answers");
        assert!(published.next_minute_in <= Duration::from_mins(1));
        published.written
    });
    let written = written.count();
    let ticks = ticks(&redis).await;
    // Two if the minute turned meanwhile.
    assert!(ticks.len() == written && (1..=2).contains(&written), "{ticks:?}");
    assert!(
        ticks
            .iter()
            .all(|(id, body)| id.high % 60_000 == 0 && id.low == 0 && body == r#"{"kind":"minute"}"#)
    );

    let () = raw(&redis, &["XTRIM", SCHEDULER_STREAM, "MAXLEN", "0"]).await;
    let again = ticks::publish(&streams, TickKind::Minute, None)
        .await
        .expect("Redis answers");
    let turned = again.next_minute_in > Duration::from_secs(50);
    assert!(
        !again.written || turned,
        "a tick that was handled and deleted is not made again"
    );
}

/// A campaign that is due within the minute has its own tick behind the minute's.
#[tokio::test]
async fn every_other_tick_follows() {
    let redis = Redis::start().await;
    let streams = streams(&redis);
    for kind in [TickKind::Minute, TickKind::Due, TickKind::Due, TickKind::Asked] {
        let published = ticks::publish(&streams, kind, None).await.expect("Redis answers");
        assert!(published.written, "{kind:?}");
    }
    let ticks = ticks(&redis).await;
    assert_eq!(ticks.len(), 4);
    assert!(ticks.is_sorted_by(|one, next| one.0 < next.0), "{ticks:?}");
    let minute = ticks::publish(&streams, TickKind::Minute, None)
        .await
        .expect("Redis answers");
    assert!(
        !minute.written || minute.next_minute_in > Duration::from_secs(59),
        "the minute has had its tick"
    );
}

/// Only Redis's clock counts, and while it is behind its own past, due ticks are not lost.
#[tokio::test]
async fn a_clock_that_was_set_back_loses_no_due_tick() {
    let redis = Redis::start().await;
    let streams = streams(&redis);
    let (seconds, _): (u64, u64) = raw(&redis, &["TIME"]).await;
    let ahead = format!("{}-0", (seconds + 3_600) * 1_000);
    let () = raw(
        &redis,
        &["XADD", SCHEDULER_STREAM, &ahead, "body", "of the time before"],
    )
    .await;
    let minute = ticks::publish(&streams, TickKind::Minute, None)
        .await
        .expect("Redis answers");
    assert!(!minute.written, "this minute has been there before");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let due = ticks::publish(&streams, TickKind::Due, Some(trace.to_owned()))
        .await
        .expect("Redis answers");
    assert!(due.written);
    let last: redis::streams::StreamRangeReply =
        raw(&redis, &["XREVRANGE", SCHEDULER_STREAM, "+", "-", "COUNT", "1"]).await;
    assert_eq!(last.ids[0].get::<String>("trace").as_deref(), Some(trace));
}
