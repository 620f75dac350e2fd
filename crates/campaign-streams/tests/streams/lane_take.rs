//! Taking: who may, from which campaigns, and what goes with it.

use crate::ground::{Ground, Member, RUNS, granted, lane_id, opening, phone, raw, streams};
use campaign_core::ids::CampaignId;
use campaign_streams::lane::{LaneControls, LaneOwner, OwnerReply, Step, Take, Wait, tell_optout};
use chrono::{TimeDelta, Utc};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::Redis;
use uuid::Uuid;

/// P1: nothing is taken from a lane that is not built on this Redis, nor by who has not joined on it.
#[tokio::test]
async fn a_lane_is_adopted_then_verified_then_joined_before_anything_is_taken() {
    let redis = Redis::start().await;
    let streams = streams(&redis);
    let owner = LaneOwner::new(&streams, lane_id(), 1).expect("an owner");
    let mut member = Member::new(&streams, "");
    assert!(
        matches!(member.ask(1).await, Take::Unverified { .. }),
        "nobody has the lane"
    );
    let OwnerReply::Unverified { identity } = owner.adopt().await.expect("Redis answers") else {
        panic!("a new lane is not verified");
    };
    assert!(
        matches!(member.ask(1).await, Take::Unverified { .. }),
        "nobody has built the lane"
    );
    let elsewhere = owner
        .verify("another Redis", 10, &[])
        .await
        .expect("Redis answers");
    assert_eq!(
        elsewhere,
        OwnerReply::Unverified {
            identity: identity.clone()
        }
    );
    let verified = owner.verify(&identity, 10, &[]).await.expect("Redis answers");
    assert_eq!(verified, OwnerReply::Ok(()));
    assert!(matches!(member.ask(1).await, Take::Stranger { identity: here } if here == identity));

    owner
        .set_member(member.instance, Some("another Redis"))
        .await
        .expect("Redis answers");
    assert!(
        matches!(member.ask(1).await, Take::Stranger { .. }),
        "it joined on another Redis"
    );
    owner
        .set_member(member.instance, Some(&identity))
        .await
        .expect("Redis answers");
    assert!(matches!(member.ask(1).await, Take::Messages { .. }));
    owner
        .set_member(member.instance, None)
        .await
        .expect("Redis answers");
    assert!(
        matches!(member.ask(1).await, Take::Stranger { .. }),
        "it was refused again"
    );

    let again = owner
        .verify(&identity, 10, &[member.instance])
        .await
        .expect("Redis answers");
    assert_eq!(again, OwnerReply::Ok(()));
    assert!(
        matches!(member.ask(1).await, Take::Messages { .. }),
        "verified with its members"
    );
    owner.unverify().await.expect("Redis answers");
    assert!(matches!(member.ask(1).await, Take::Unverified { .. }));
}

/// P8: what is held, or has expired, is not read; nor are its parked entries.
#[tokio::test]
async fn a_held_or_expired_campaign_is_not_read() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = CampaignId(Uuid::now_v7());
    let held = LaneControls { held: true, ..RUNS };
    ground.owner.open(&opening(campaign, held)).await.expect("opened");
    ground.feed(campaign, 1..=4).await;
    let nothing = async |member: &mut Member, why: &str| {
        let (entries, wait) = member.take(10).await;
        assert!(
            entries.is_empty() && wait == Wait::UntilWoken,
            "{why}: {entries:?} {wait:?}"
        );
    };
    nothing(&mut member, "opened held").await;

    ground.owner.control(campaign, &RUNS).await.expect("released");
    let parked = member.take_all(1).await[0].id;
    let at_once = Step::Parked {
        campaign,
        id: parked,
        due_ms: 0,
        attempts: 1,
    };
    member.settle(&[at_once]).await;
    ground.owner.control(campaign, &held).await.expect("held");
    nothing(&mut member, "held, with a retry that is due").await;

    let expiring = |minutes| LaneControls {
        expires_at: Some(Utc::now() + TimeDelta::minutes(minutes)),
        ..RUNS
    };
    ground
        .owner
        .control(campaign, &expiring(-1))
        .await
        .expect("expired");
    nothing(&mut member, "expired").await;
    ground
        .owner
        .control(campaign, &expiring(1))
        .await
        .expect("prolonged");
    let taken = member.take_all(4).await;
    assert_eq!(taken[0].id, parked, "due retries go first");
}

/// P7: one campaign's broken keys are reported, and the others go on as if nothing were.
#[tokio::test]
async fn a_campaign_in_trouble_does_not_stop_the_others() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let open = async || ground.open_with(1, 3).await;
    let (stream, alarms, snapshot, healthy) = (open().await, open().await, open().await, open().await);
    for key in [
        ground.keys.messages(stream),
        ground.keys.alarms(alarms),
        ground.keys.snapshot(snapshot),
    ] {
        let () = raw(&ground.redis, &["SET", &key, "of another type"]).await;
    }
    let mut taken = 0;
    while taken < 3 {
        let Take::Messages {
            entries, troubled, ..
        } = member.ask(10).await
        else {
            panic!("the lane is in order");
        };
        assert!(entries.iter().all(|entry| entry.campaign == healthy));
        taken += entries.len();
        let troubled_campaigns: BTreeSet<_> = troubled.iter().map(|(campaign, _)| *campaign).collect();
        assert_eq!(troubled_campaigns, BTreeSet::from([stream, alarms, snapshot]));
        assert!(
            troubled.iter().all(|(_, words)| words.contains("WRONGTYPE")),
            "{troubled:?}"
        );
    }
    assert_eq!(
        ground.outstanding(alarms).await,
        3,
        "nothing was taken that nobody heard of"
    );
}

/// P9: one entry that cannot be read says so, and comes with the others.
#[tokio::test]
async fn an_undecodable_entry_is_told_and_does_not_fail_its_batch() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 1).await;
    let () = raw(
        &ground.redis,
        &["XADD", &ground.keys.messages(campaign), "1-2", "p", "nobody"],
    )
    .await;
    let taken = member.take_all(2).await;
    assert!(taken[0].message.is_ok());
    assert!(
        taken[1]
            .message
            .as_ref()
            .is_err_and(|problem| problem.contains("not a phone number"))
    );
}

/// P9: who opted out after being queued is not sent to, and costs the rate nothing.
#[tokio::test]
async fn an_opted_out_recipient_is_flagged_and_its_token_given_back() {
    let ground = Ground::with_rate(1).await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 5).await;
    let lanes = std::slice::from_ref(&ground.lane);
    for number in 1..=4 {
        tell_optout(&ground.streams, lanes, &phone(number), true, Utc::now())
            .await
            .expect("told");
    }
    tell_optout(&ground.streams, lanes, &phone(4), false, Utc::now())
        .await
        .expect("told");
    let mut flags = Vec::new();
    for _ in 0..4 {
        let (entries, _) = member.take(10).await;
        flags.extend(entries.iter().map(|entry| entry.opted_out));
    }
    assert_eq!(flags, [true, true, true, false], "four at once, at one a second");
    let (entries, wait) = member.take(10).await;
    assert!(
        entries.is_empty() && matches!(wait, Wait::For(_)),
        "the one token is spent: {wait:?}"
    );

    ground
        .owner
        .trim_optouts(Utc::now() + TimeDelta::seconds(1))
        .await
        .expect("trimmed");
    let left: u64 = raw(&ground.redis, &["ZCARD", &ground.keys.optouts()]).await;
    assert_eq!((left, ground.outstanding(campaign).await), (0, 5));
}

/// P7: a member's list of campaigns follows the lane, also when several changed since it last looked.
#[tokio::test]
async fn members_follow_the_roster() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let closed = ground.open_with(1, 1).await;
    member.take_all(1).await;
    ground.owner.close(&[closed]).await.expect("closed");
    let opened = [ground.open_with(1, 2).await, ground.open_with(1, 2).await];
    let from: BTreeSet<_> = member
        .take_all(4)
        .await
        .iter()
        .map(|entry| entry.campaign)
        .collect();
    assert_eq!(from, BTreeSet::from(opened));
    let snapshot = member
        .lane
        .snapshot(opened[0])
        .await
        .expect("Redis answers")
        .expect("it is open");
    assert_eq!(snapshot.template, opening(opened[0], RUNS).template);
    assert!(
        member
            .lane
            .snapshot(closed)
            .await
            .expect("Redis answers")
            .is_none()
    );
}

/// P5: a lane that was told to slow down gives nothing to anyone, and no shorter word shortens that.
#[tokio::test]
async fn a_slowed_lane_gives_nothing_until_its_pause_is_over() {
    let ground = Ground::new().await;
    let (mut one, mut other) = (ground.member().await, ground.member().await);
    ground.open_with(1, 1).await;
    let pause = Duration::from_secs(1);
    let slowed = std::time::Instant::now();
    one.settle(&[
        Step::Slow { pause },
        Step::Slow {
            pause: Duration::from_millis(1),
        },
    ])
    .await;
    let (entries, wait) = other.take(1).await;
    assert!(
        entries.is_empty() && matches!(wait, Wait::For(left) if left > pause / 2),
        "{wait:?}"
    );
    other.take_all(1).await;
    assert!(slowed.elapsed() >= pause, "{:?}", slowed.elapsed());
}

/// P4: a member is known to live from the moment it is admitted, and while its lane is slowed.
#[tokio::test]
async fn members_are_seen_when_admitted_and_whenever_they_ask() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let seen = async || granted(ground.owner.members_seen().await);
    let verified = ground
        .owner
        .verify(&ground.identity, 10, &[member.instance])
        .await;
    assert_eq!(verified.expect("Redis answers"), OwnerReply::Ok(()));
    assert!(
        matches!(seen().await[..], [(_, Some(ago))] if ago < Duration::from_secs(5)),
        "verified"
    );

    member
        .settle(&[Step::Slow {
            pause: Duration::from_mins(1),
        }])
        .await;
    let mark = format!("seen:{}", member.instance);
    let () = raw(&ground.redis, &["HSET", &ground.keys.header(), &mark, "1000"]).await;
    assert!(
        matches!(seen().await[..], [(_, Some(ago))] if ago > Duration::from_mins(1)),
        "long ago"
    );
    member.take(1).await;
    assert!(
        matches!(seen().await[..], [(_, Some(ago))] if ago < Duration::from_secs(5)),
        "asked"
    );
}
