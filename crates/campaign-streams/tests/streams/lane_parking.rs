//! Parking: the entry stays in its stream, and comes back when its alarm rings.

use crate::ground::{Ground, Member, accepted, id, raw};
use campaign_core::ids::CampaignId;
use campaign_streams::StreamId;
use campaign_streams::lane::{Step, Wait};
use std::time::Duration;

/// Redis's clock, in milliseconds.
async fn redis_now_ms(ground: &Ground) -> i64 {
    let (seconds, micros): (i64, i64) = raw(&ground.redis, &["TIME"]).await;
    seconds * 1_000 + micros / 1_000
}

async fn park(member: &mut Member, campaign: CampaignId, id: StreamId, due_ms: i64, attempts: i32) {
    member
        .settle(&[Step::Parked {
            campaign,
            id,
            due_ms,
            attempts,
        }])
        .await;
}

/// P4: a retry comes back when it is due, not before, as one attempt more; others are not held up.
#[tokio::test]
async fn a_retry_comes_back_when_due_and_holds_nobody_up() {
    let ground = Ground::new().await;
    let (mut one, mut other) = (ground.member().await, ground.member().await);
    let campaign = ground.open_with(1, 2).await;
    let first = one.take_all(1).await.remove(0);
    assert_eq!((first.id, first.attempt), (id(1, 1), 1));
    let due_ms = redis_now_ms(&ground).await + 600;
    park(&mut one, campaign, first.id, due_ms, first.attempt).await;
    assert_eq!(
        other.take_all(1).await[0].id,
        id(1, 2),
        "the next one goes at once"
    );
    other.settle(&[accepted(campaign, id(1, 2))]).await;

    let (early, wait) = other.take(5).await;
    assert!(early.is_empty());
    assert!(
        matches!(wait, Wait::For(pause) if pause <= Duration::from_millis(600)),
        "{wait:?}"
    );
    let again = other.take_all(1).await.remove(0);
    assert!(redis_now_ms(&ground).await >= due_ms);
    assert_eq!((again.id, again.attempt), (id(1, 1), 2));
    park(&mut other, campaign, again.id, 0, again.attempt).await;
    assert_eq!(one.take_all(1).await[0].attempt, 3, "whoever takes it");
    assert_eq!(ground.outstanding(campaign).await, 1, "it never left its stream");
}

/// P4, P5: what is handed back was not attempted: no attempt is spent, and its token returns.
#[tokio::test]
async fn a_hand_back_spends_neither_attempt_nor_token() {
    let ground = Ground::with_rate(1).await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 1).await;
    for _ in 0..3 {
        let (taken, _) = member.take(1).await;
        assert_eq!(
            (taken.len(), taken[0].attempt),
            (1, 1),
            "three times within a second, at one a second"
        );
        let back = Step::Parked {
            campaign,
            id: taken[0].id,
            due_ms: 0,
            attempts: taken[0].attempt - 1,
        };
        member.settle(&[back, Step::Refund { tokens: 1 }]).await;
    }
}

/// P3: a parked entry that turns out accepted takes its alarm with it, so that counts stay exact.
#[tokio::test]
async fn a_parked_entry_that_is_settled_leaves_no_alarm() {
    let ground = Ground::new().await;
    let (mut one, mut other) = (ground.member().await, ground.member().await);
    let campaign = ground.open_with(1, 1).await;
    let taken = one.take_all(1).await.remove(0);
    park(&mut one, campaign, taken.id, i64::MAX / 1_000_000, 1).await;
    other.settle(&[accepted(campaign, taken.id)]).await;
    let alarms: u64 = raw(&ground.redis, &["ZCARD", &ground.keys.alarms(campaign)]).await;
    assert_eq!(
        (
            alarms,
            ground.outstanding(campaign).await,
            ground.pending(campaign).await
        ),
        (0, 0, 0)
    );
}

/// P4: an alarm of an entry that is gone, or in hand again, gives nothing.
#[tokio::test]
async fn a_stale_alarm_hands_nothing_out() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 1).await;
    member.take_all(1).await;
    for stale in ["1-1", "1-77"] {
        let () = raw(
            &ground.redis,
            &["ZADD", &ground.keys.alarms(campaign), "1", stale],
        )
        .await;
    }
    assert!(
        member.take(5).await.0.is_empty(),
        "in hand already, or never there"
    );
    assert_eq!(member.take(5).await.1, Wait::UntilWoken, "and is forgotten");
}

/// P4: parked entries are in nobody's hands: no survey calls them lost. One without alarm gets one.
#[tokio::test]
async fn a_survey_leaves_parked_entries_alone_and_sets_missing_alarms() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 3).await;
    for taken in member.take_all(2).await {
        park(&mut member, campaign, taken.id, i64::MAX / 1_000_000, 1).await;
    }
    let survey = ground.survey(campaign, Duration::ZERO).await;
    assert_eq!(
        (
            survey.outstanding,
            survey.parked,
            survey.in_flight,
            survey.reclaimed
        ),
        (3, 2, 0, 0)
    );
    assert_eq!(member.take_all(1).await[0].id, id(1, 3));
    assert!(member.take(5).await.0.is_empty(), "their alarms are far off");
    let survey = ground.survey(campaign, Duration::ZERO).await;
    assert_eq!(
        (survey.parked, survey.reclaimed),
        (2, 1),
        "only what was in hand is lost"
    );

    let () = raw(&ground.redis, &["ZREM", &ground.keys.alarms(campaign), "1-2"]).await;
    ground.survey(campaign, Duration::from_mins(1)).await;
    let again = member.take_all(1).await.remove(0);
    assert_eq!((again.id, again.attempt), (id(1, 2), 2));
}
