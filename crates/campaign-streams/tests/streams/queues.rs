//! What people and autoscaling see of the queues, and the hints that save waiting.

use crate::ground::{Ground, PATIENCE, accepted, id, lane_id, streams};
use campaign_core::contracts::{MESSAGE_EVENTS_STREAM, SENDER_STREAM, SendCampaign};
use campaign_core::ids::CampaignId;
use campaign_streams::lane::Step;
use campaign_streams::wake::{self, Audience, Waker};
use campaign_streams::{Producer, Traced, depths};
use std::time::{Duration, Instant};
use testkit::{Redis, wait_for};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test]
async fn depths_of_streams_are_exact_and_aged_by_redis() {
    let redis = Redis::start().await;
    let streams = streams(&redis);
    let producer = Producer::new(&streams, SENDER_STREAM, 10);
    let entry = Traced::new(
        SendCampaign {
            campaign: CampaignId(Uuid::now_v7()),
            lane: lane_id(),
        },
        None,
    );
    producer.publish_all(&vec![entry; 3]).await.expect("published");
    let depths = depths::of_streams(&streams).await.expect("looked");
    let sender = depths
        .iter()
        .find(|depth| depth.name == SENDER_STREAM)
        .expect("listed");
    assert_eq!(sender.entries, 3);
    assert!(
        sender.oldest_age_ms.is_some_and(|age_ms| age_ms < 10_000),
        "{sender:?}"
    );
    let others = depths.iter().filter(|depth| depth.name != SENDER_STREAM);
    assert!(
        others.clone().count() == 7
            && others
                .clone()
                .all(|depth| depth.entries == 0 && depth.oldest_age_ms.is_none())
    );
}

/// Entries that hold more are kept in smaller number, whatever was written before them.
#[tokio::test]
async fn of_entries_that_weigh_more_fewer_are_kept() {
    let redis = Redis::start().await;
    let streams = streams(&redis);
    let producer = Producer::new(&streams, MESSAGE_EVENTS_STREAM, 1_000);
    let entries = vec![Traced::new(1, None); 1_500];
    // Redis trims whole nodes of a hundred entries.
    for (weight, kept) in [(1, 1_000..=1_100), (10, 100..=200)] {
        producer
            .publish_weighed(&entries, |_| weight)
            .await
            .expect("published");
        let length: u64 = redis
            .run(&["XLEN", &streams.keys().stream(MESSAGE_EVENTS_STREAM)])
            .await;
        assert!(kept.contains(&length), "{length} entries of weight {weight}");
    }
}

/// P6: a stream that nobody reads stays bounded; the oldest give way.
#[tokio::test]
async fn a_stream_that_nobody_reads_stays_bounded() {
    let redis = Redis::start().await;
    let streams = streams(&redis);
    let producer = Producer::new(&streams, SENDER_STREAM, 1_000);
    let entries: Vec<_> = (0..5_000_u64).map(|number| Traced::new(number, None)).collect();
    producer.publish_all(&entries).await.expect("published");
    let depths = depths::of_streams(&streams).await.expect("looked");
    let sender = depths
        .iter()
        .find(|depth| depth.name == SENDER_STREAM)
        .expect("listed");
    // Redis trims whole nodes of a hundred entries.
    assert!((1_000..=1_100).contains(&sender.entries), "{sender:?}");
}

#[tokio::test]
async fn depths_of_lanes_say_what_is_outstanding() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 5).await;
    member.take_all(3).await;
    let parking = Step::Parked {
        campaign,
        id: id(1, 2),
        due_ms: i64::MAX / 1_000_000,
        attempts: 1,
    };
    member.settle(&[accepted(campaign, id(1, 1)), parking]).await;
    let depths = depths::of_lanes(&ground.streams).await.expect("looked");
    assert_eq!(depths.len(), 1);
    let depth = &depths[0];
    assert_eq!(
        (&depth.lane, depth.verified, depth.members, depth.outcomes),
        (&ground.lane, true, 1, 1)
    );
    assert!(depth.oldest_outcome_age_ms.is_some_and(|age_ms| age_ms < 10_000));
    let seen: Vec<_> = depth
        .campaigns
        .iter()
        .map(|it| (it.campaign, it.outstanding, it.parked))
        .collect();
    assert_eq!(seen, [(campaign, 4, 1)]);
    ground.owner.unverify().await.expect("Redis answers");
    assert!(!depths::of_lanes(&ground.streams).await.expect("looked")[0].verified);
}

/// P7: a member that waits for work is woken by every feed, sixty times out of sixty.
#[tokio::test]
async fn a_feed_wakes_an_idle_member_every_time() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open(1).await;
    let (waker, shutdown) = (Waker::new(), CancellationToken::new());
    let mut hints = waker.subscribe();
    let listening = tokio::spawn(waker.listen(ground.streams.clone(), Audience::Messages, shutdown.clone()));
    assert_eq!(
        hints.recv().await,
        Ok(None),
        "all are woken when listening begins"
    );
    let started = Instant::now();
    for seq in 1..=60 {
        assert!(member.take(1).await.0.is_empty());
        ground.feed(campaign, seq..=seq).await;
        let hint = tokio::time::timeout(PATIENCE, hints.recv())
            .await
            .expect("a hint comes");
        assert_eq!(hint, Ok(Some(ground.lane.clone())));
        assert_eq!(member.take_all(1).await[0].id, id(1, seq));
    }
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "no pickup is slow: {:?}",
        started.elapsed()
    );
    shutdown.cancel();
    listening.await.expect("it ends");
}

#[tokio::test]
async fn hints_reach_their_audience_only_and_come_back_after_a_restart() {
    let mut redis = Redis::start().await;
    let streams = streams(&redis);
    let (waker, shutdown) = (Waker::new(), CancellationToken::new());
    let mut hints = waker.subscribe();
    let listening = tokio::spawn(waker.listen(streams.clone(), Audience::Senders, shutdown.clone()));
    assert_eq!(hints.recv().await, Ok(None));
    for audience in [Audience::Schedulers, Audience::Messages, Audience::Senders] {
        wake::publish(&streams, audience, Some(&lane_id()))
            .await
            .expect("published");
    }
    assert_eq!(hints.recv().await, Ok(Some(lane_id())));
    assert!(hints.is_empty(), "those for others are not heard");

    redis.restart().await;
    assert_eq!(
        hints.recv().await,
        Ok(None),
        "hints were missed, so everyone is woken"
    );
    wait_for(PATIENCE, "a hint to get through", async || {
        wake::publish(&streams, Audience::Senders, Some(&lane_id()))
            .await
            .ok()
    })
    .await;
    assert_eq!(hints.recv().await, Ok(Some(lane_id())));
    shutdown.cancel();
    listening.await.expect("it ends");
}
