//! P1: Redis replaced, wiped or rolled back: nothing is delivered until the lane is built anew.

use crate::ground::{
    EPOCH, Ground, OPTOUTS_KEPT, PATIENCE, RUNS, UNHURRIED, accepted, entries, failed, granted, id, opening,
};
use campaign_core::ids::CampaignId;
use campaign_streams::StreamsError;
use campaign_streams::lane::{LaneOwner, OwnerReply, Take};
use chrono::Utc;
use std::time::Duration;
use testkit::{Redis, wait_for_ok};

/// Adopts until the connection is made anew after a restart.
async fn adopt(owner: &LaneOwner) -> OwnerReply<String> {
    wait_for_ok(PATIENCE, "Redis to be reached again", async || {
        owner.adopt().await
    })
    .await
}

/// Every way to deliver or move an entry is refused; what happened can still be told.
async fn assert_nothing_is_delivered(ground: &Ground, campaign: CampaignId) {
    let mut member = ground.stranger();
    let taken = wait_for_ok(PATIENCE, "an answer", async || member.lane.take(5).await).await;
    assert!(matches!(taken, Take::Unverified { .. }), "{taken:?}");
    let recovered = member.lane.recover(PATIENCE).await.expect("an answer");
    assert!(matches!(recovered, Take::Unverified { .. }), "{recovered:?}");

    let owner = &ground.owner;
    let believed = id(1, 3);
    let fed = wait_for_ok(PATIENCE, "an answer", async || {
        owner
            .feed(campaign, believed, Utc::now(), OPTOUTS_KEPT, &entries(1, 4..=4))
            .await
    })
    .await;
    assert!(matches!(fed, OwnerReply::Unverified { .. }), "{fed:?}");
    let surveyed = owner
        .survey(&[campaign], Duration::ZERO)
        .await
        .expect("an answer");
    assert!(matches!(surveyed, OwnerReply::Unverified { .. }), "{surveyed:?}");
    let opened = owner.open(&opening(campaign, RUNS)).await.expect("an answer");
    assert!(matches!(opened, OwnerReply::Unverified { .. }), "{opened:?}");
    let member = owner
        .set_member(member.instance, Some(&ground.identity))
        .await
        .expect("an answer");
    assert!(matches!(member, OwnerReply::Unverified { .. }), "{member:?}");
    // Neither is silence of members, nor an empty stream, believed of such a Redis.
    let seen = owner.members_seen().await.expect("an answer");
    assert!(matches!(seen, OwnerReply::Unverified { .. }), "{seen:?}");
    let first = owner.first_outcome().await.expect("an answer");
    assert!(matches!(first, OwnerReply::Unverified { .. }), "{first:?}");
}

#[tokio::test]
async fn a_wiped_redis_delivers_nothing_and_takes_every_outcome() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 3).await;
    member.take_all(2).await;
    ground.redis.flush().await;
    assert_nothing_is_delivered(&ground, campaign).await;

    let settled = member
        .settle(&[accepted(campaign, id(1, 1)), failed(campaign, id(1, 2))])
        .await;
    assert!(!settled.trusted, "an empty Redis says nothing of who owns what");
    assert!(settled.published.iter().all(Option::is_some));
    assert_eq!(ground.outcomes().await.len(), 2);
}

#[tokio::test]
async fn a_restarted_redis_is_another_even_with_all_its_data() {
    let mut ground = Ground::on(Redis::options().append_only().start().await, UNHURRIED).await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 3).await;
    member.take_all(2).await;
    ground.redis.restart().await;
    assert_nothing_is_delivered(&ground, campaign).await;
    assert_eq!(ground.outstanding(campaign).await, 3, "the data is all there");

    let steps = [failed(campaign, id(1, 2))];
    let settled = wait_for_ok(PATIENCE, "an answer", async || {
        member.lane.settle(&member.identity, &steps).await
    })
    .await;
    assert!(!settled.trusted);
    assert_ne!(settled.identity, ground.identity);
    assert!(settled.published[0].is_some());
    assert_eq!(ground.outstanding(campaign).await, 3, "nothing is moved there");
}

#[tokio::test]
async fn a_rolled_back_redis_does_not_deliver_again_what_was_settled() {
    let mut ground = Ground::on(Redis::options().append_only().start().await, UNHURRIED).await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 3).await;
    let earlier = ground.redis.copy_data();
    let taken = member.take_all(3).await;
    let steps: Vec<_> = taken.iter().map(|entry| accepted(campaign, entry.id)).collect();
    member.settle(&steps).await;
    ground.redis.restart_with(&earlier).await;
    assert_eq!(
        ground.outstanding(campaign).await,
        3,
        "as if nothing had been sent"
    );
    assert_nothing_is_delivered(&ground, campaign).await;
}

#[tokio::test]
async fn an_owner_builds_the_lane_anew_on_the_redis_that_is_there() {
    let mut ground = Ground::new().await;
    let mut member = ground.member().await;
    let lost = ground.open_with(1, 3).await;
    member.take_all(1).await;
    ground.redis.restart().await;
    let successor = ground.owner_of_epoch(EPOCH + 1);
    let OwnerReply::Unverified { identity } = adopt(&successor).await else {
        panic!("the lane was built on another Redis");
    };
    assert_ne!(identity, ground.identity);
    let stale = successor
        .verify(&ground.identity, UNHURRIED, &[])
        .await
        .expect("an answer");
    assert_eq!(
        stale,
        OwnerReply::Unverified {
            identity: identity.clone()
        },
        "replaced once more meanwhile"
    );

    granted(successor.close(&[lost]).await);
    granted(successor.verify(&identity, UNHURRIED, &[member.instance]).await);
    assert_eq!(adopt(&successor).await, OwnerReply::Ok(identity));
    let mut next_round = opening(lost, RUNS);
    next_round.generation.0 = 2;
    assert_eq!(granted(successor.open(&next_round).await).last, id(2, 0));
    let fed = successor
        .feed(lost, id(2, 0), Utc::now(), OPTOUTS_KEPT, &entries(2, 1..=3))
        .await;
    granted(fed);
    let taken = wait_for_ok(PATIENCE, "the member to be connected", async || {
        match member.lane.take(3).await? {
            Take::Messages { entries, .. } if !entries.is_empty() => Ok(entries),
            other => Err(StreamsError::UnsafeSettings(format!("{other:?}"))),
        }
    })
    .await;
    assert_eq!(taken[0].id, id(2, 1));
}

#[tokio::test]
async fn settings_that_would_break_promises_are_refused() {
    let redis = Redis::options()
        .argument("--maxmemory-policy", "allkeys-lru")
        .start()
        .await;
    let grace = Duration::from_mins(1);
    let evicting = campaign_streams::require_safe_settings(&crate::ground::streams(&redis), grace).await;
    assert!(evicting.is_err_and(|error| error.to_string().contains("noeviction")));
    let redis = Redis::start().await;
    let safe = campaign_streams::require_safe_settings(&crate::ground::streams(&redis), grace).await;
    assert!(safe.is_ok(), "{safe:?}");
}
