//! The pace of a lane: one decrease for each burst of refusals, whoever reports them, and back again; P5: never above
//! the configured rate.

use crate::ground::{Ground, Member, accepted, granted, raw};
use campaign_core::ids::CampaignId;
use campaign_streams::lane::{Answers, Pace, Step, Take};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const RATE: u32 = 200;

async fn pace(ground: &Ground) -> f64 {
    let pace = Pace::of(&ground.streams, &ground.lane)
        .await
        .expect("Redis answers");
    pace.pace_per_second.expect("the lane is built")
}

/// The lane as if it had last slowed down so long ago, to this pace.
async fn slowed(ground: &Ground, base: f64, ago: Duration) {
    let (seconds, micros): (i64, i64) = raw(&ground.redis, &["TIME"]).await;
    let at = seconds * 1_000_000 + micros - ago.as_micros() as i64;
    let (base, at) = (base.to_string(), at.to_string());
    let header = ground.keys.header();
    let _: i64 = raw(&ground.redis, &["HSET", &header, "pace", &base, "slowed_us", &at]).await;
}

async fn take_at(member: &mut Member) -> i64 {
    loop {
        match member.ask(1).await {
            Take::Messages { entries, .. } if entries.is_empty() => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Take::Messages { entries, .. } => return entries[0].taken_us,
            refused => panic!("refused: {refused:?}"),
        }
    }
}

#[tokio::test]
async fn a_burst_of_refusals_is_one_decrease_whoever_reports_it() {
    let ground = Ground::with_rate(RATE).await;
    ground.open_with(1, 10).await;
    let (mut one, mut other) = (ground.member().await, ground.member().await);
    let (first, second) = (take_at(&mut one).await, take_at(&mut other).await);
    let burst: Vec<Step> = (0..128).map(|_| Step::TooFast { taken_us: first }).collect();
    one.settle(&burst).await;
    let slower = pace(&ground).await;
    assert!((99.9..=100.1).contains(&slower), "halved once: {slower}");
    let rest: Vec<Step> = (0..128).map(|_| Step::TooFast { taken_us: second }).collect();
    other.settle(&rest).await;
    one.settle(&burst).await;
    let same = pace(&ground).await;
    assert!((99.9..=100.1).contains(&same), "the same burst: {same}");

    // Taken at the slower pace, after the pause, and refused again: that is news.
    let third = take_at(&mut one).await;
    one.settle(&[Step::TooFast { taken_us: third }]).await;
    let slowest = pace(&ground).await;
    assert!((49.9..=50.5).contains(&slowest), "a second burst: {slowest}");
}

/// A settle whose answer was lost is repeated with the same steps.
#[tokio::test]
async fn a_repeated_settle_slows_once() {
    let ground = Ground::with_rate(RATE).await;
    ground.open_with(1, 10).await;
    let mut member = ground.member().await;
    let taken_us = take_at(&mut member).await;
    let steps = [Step::TooFast { taken_us }];
    member.settle(&steps).await;
    slowed(&ground, 100.0, Duration::from_hours(1)).await;
    member.settle_again(&steps).await;
    let pace = pace(&ground).await;
    assert!((pace - 200.0).abs() < 0.1, "{pace}");
}

/// What was accepted within the last second is what WhatsApp takes: the pace goes a little below that.
#[tokio::test]
async fn the_pace_goes_to_what_was_accepted_within_a_second() {
    let ground = Ground::with_rate(RATE).await;
    let campaign = ground.open_with(1, 400).await;
    let mut member = ground.member().await;
    let started = Instant::now();
    let mut sent = 0;
    while sent < 150 {
        let entries = member.take(5).await.0;
        sent += entries.len();
        let steps: Vec<_> = entries.iter().map(|entry| accepted(campaign, entry.id)).collect();
        member.settle(&steps).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let taken_us = take_at(&mut member).await;
    member.settle(&[Step::TooFast { taken_us }]).await;
    let slower = pace(&ground).await;
    if started.elapsed() < Duration::from_secs(1) {
        assert!((140.0..=148.0).contains(&slower), "98% of 150: {slower}");
    }
    assert!((100.0..=194.0).contains(&slower), "{slower}");
}

/// P5: however long ago it was, and whatever the pace was before, the rate is the ceiling.
#[tokio::test]
async fn a_lane_climbs_back_to_its_rate_and_no_further() {
    let ground = Ground::with_rate(RATE).await;
    ground.open_with(1, 400).await;
    let mut member = ground.member().await;
    for (ago, least, most) in [
        (1, 100.0, 100.5),
        (4, 101.0, 102.0),
        (10, 119.0, 122.0),
        (3_600, 199.9, 200.1),
    ] {
        slowed(&ground, 100.0, Duration::from_secs(ago)).await;
        let pace = pace(&ground).await;
        assert!((least..=most).contains(&pace), "after {ago} s: {pace}");
    }
    slowed(&ground, 5_000.0, Duration::from_hours(1)).await;
    // The bucket shows what the script makes of it: one token, and 10 ms of the pace.
    let _: i64 = raw(
        &ground.redis,
        &["HSET", &ground.keys.header(), "refilled_us", "0"],
    )
    .await;
    assert_eq!(
        member.take(100).await.0.len(),
        3,
        "one, and 10 ms of 200 a second"
    );
    slowed(&ground, 100.0, Duration::ZERO).await;
    let _: i64 = raw(
        &ground.redis,
        &["HSET", &ground.keys.header(), "refilled_us", "0"],
    )
    .await;
    assert_eq!(
        member.take(100).await.0.len(),
        2,
        "one, and 10 ms of 100 a second"
    );
}

#[tokio::test]
async fn the_pace_outlives_a_rebuild_on_the_same_redis() {
    let ground = Ground::with_rate(RATE).await;
    slowed(&ground, 80.0, Duration::from_secs(1)).await;
    granted(ground.owner.unverify().await);
    granted(ground.owner.verify(&ground.identity, RATE, &[]).await);
    let pace = pace(&ground).await;
    assert!((80.0..=85.0).contains(&pace), "{pace}");
}

/// Answers that take far longer than usual slow the lane by a tenth a second, down to a quarter of its rate.
#[tokio::test]
async fn slow_answers_alone_slow_the_lane_gently() {
    let ground = Ground::with_rate(RATE).await;
    let campaign = ground.open_with(1, 100).await;
    let mut member = ground.member().await;
    let mut settle = async |took: Duration| {
        let entry = member.take_all(1).await.remove(0);
        member.lane.observe(Answers {
            count: 100,
            took: took * 100,
        });
        member.settle(&[accepted(campaign, entry.id)]).await;
    };
    settle(Duration::from_millis(100)).await;
    settle(Duration::from_millis(400)).await;
    let unmoved = pace(&ground).await;
    assert!(
        (unmoved - 200.0).abs() < 0.1,
        "not far above what is usual: {unmoved}"
    );
    settle(Duration::from_secs(2)).await;
    settle(Duration::from_secs(2)).await;
    let slower = pace(&ground).await;
    assert!((179.9..=180.1).contains(&slower), "once a second: {slower}");
    slowed(&ground, 52.0, Duration::from_millis(1_500)).await;
    settle(Duration::from_secs(2)).await;
    let lowest = pace(&ground).await;
    assert!(lowest >= 50.0, "a quarter is kept: {lowest}");
    settle(Duration::from_millis(100)).await;
    slowed(&ground, 100.0, Duration::from_millis(1_500)).await;
    settle(Duration::from_millis(100)).await;
    let going = pace(&ground).await;
    assert!(going >= 100.0, "usual again: {going}");
}

/// Takes and settles for a while. WhatsApp says of each message, by its number from 1, whether it is too fast.
async fn run_for(
    ground: &Ground,
    campaign: CampaignId,
    member: &mut Member,
    time: Duration,
    mut is_too_fast: impl FnMut(u64) -> bool,
) -> (f64, f64) {
    let started = Instant::now();
    let (mut lowest, mut taken) = (f64::INFINITY, 0);
    while started.elapsed() < time {
        let mut steps = Vec::new();
        for entry in member.take(20).await.0 {
            taken += 1;
            if is_too_fast(taken) {
                steps.push(Step::TooFast {
                    taken_us: entry.taken_us,
                });
                steps.push(Step::Parked {
                    campaign,
                    id: entry.id,
                    due_ms: i64::MAX / 1_000_000,
                    attempts: 0,
                });
            } else {
                steps.push(accepted(campaign, entry.id));
            }
        }
        if !steps.is_empty() {
            member.settle(&steps).await;
        }
        lowest = pace(ground).await.min(lowest);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (lowest, pace(ground).await)
}

/// A WhatsApp that refuses some whatever the pace is would otherwise bring the lane to a standstill: every fifth here.
#[tokio::test]
async fn refusals_that_do_not_depend_on_the_pace_do_not_stop_the_lane() {
    let ground = Ground::with_rate(RATE).await;
    let campaign = ground.open_with(1, 2_000).await;
    let mut member = ground.member().await;
    let every_fifth = |taken| taken % 5 == 0;
    let time = Duration::from_secs(9);
    let (lowest, reached) = run_for(&ground, campaign, &mut member, time, every_fifth).await;
    assert!(lowest < 60.0, "first it looks for the limit: {lowest}");
    assert!(reached > 140.0, "then it goes on: {reached} after {lowest}");
}

/// While nothing passes at all, the lane learns nothing of a limit: it is back where it was soon after.
#[tokio::test]
async fn a_lane_that_was_refused_altogether_is_soon_back_at_its_pace() {
    let ground = Ground::with_rate(RATE).await;
    let campaign = ground.open_with(1, 2_000).await;
    let mut member = ground.member().await;
    let (outage, after) = (Duration::from_secs(4), Duration::from_secs(3));
    run_for(&ground, campaign, &mut member, Duration::from_secs(1), |_| false).await;
    let (lowest, _) = run_for(&ground, campaign, &mut member, outage, |_| true).await;
    assert!(lowest < 20.0, "few are spent on it: {lowest}");
    let (_, reached) = run_for(&ground, campaign, &mut member, after, |_| false).await;
    assert!(reached > 190.0, "{reached} after {lowest}");
}

/// A limit that is met on the way back is the one that counts.
#[tokio::test]
async fn the_way_back_ends_at_a_new_limit() {
    const LIMIT: usize = 50;
    let ground = Ground::with_rate(RATE).await;
    let campaign = ground.open_with(1, 2_000).await;
    let mut member = ground.member().await;
    run_for(&ground, campaign, &mut member, Duration::from_secs(4), |_| true).await;
    let mut passed = VecDeque::new();
    let is_over_limit = |_| {
        let now = Instant::now();
        passed.retain(|at| now.duration_since(*at) < Duration::from_secs(1));
        let is_over = passed.len() >= LIMIT;
        if !is_over {
            passed.push_back(now);
        }
        is_over
    };
    let time = Duration::from_secs(6);
    let (_, reached) = run_for(&ground, campaign, &mut member, time, is_over_limit).await;
    assert!(
        (35.0..=60.0).contains(&reached),
        "{reached} at a limit of {LIMIT}"
    );
}
