//! P5: the rate is a ceiling over all members, by Redis's clock, and used to the full.

use crate::ground::{Ground, Member, raw};
use campaign_streams::lane::{Step, Wait};
use std::time::{Duration, Instant};

/// How long each measurement takes from the lane.
const MEASURED: Duration = Duration::from_secs(3);
/// A starved machine leaves tokens unused, which is no fault of the lane; a lane at fault always does.
const TRIES: usize = 3;

/// One take that gave something: it happened between these two moments, as far as the test can know.
#[derive(Clone, Copy)]
struct Handed {
    asked: Instant,
    answered: Instant,
    count: usize,
}

/// Takes whatever there is until `until`, asking again exactly when told to.
async fn take_until(mut member: Member, until: Instant) -> Vec<Handed> {
    let mut handed = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return handed;
        }
        let (entries, wait) = member.take(20).await;
        let answered = Instant::now();
        if !entries.is_empty() {
            handed.push(Handed {
                asked,
                answered,
                count: entries.len(),
            });
        }
        let Wait::For(pause) = wait else {
            panic!("the lane has work");
        };
        tokio::time::sleep(pause).await;
    }
}

async fn measure(rate_per_second: u32) -> Vec<Handed> {
    let ground = Ground::with_rate(rate_per_second).await;
    ground.open_with(1, i64::from(rate_per_second) * 4).await;
    let members = [
        ground.member().await,
        ground.member().await,
        ground.member().await,
    ];
    let until = Instant::now() + MEASURED;
    let [one, two, three] = members.map(|member| tokio::spawn(take_until(member, until)));
    let mut handed = one.await.expect("takes");
    handed.extend(two.await.expect("takes"));
    handed.extend(three.await.expect("takes"));
    handed.sort_unstable_by_key(|take| take.asked);
    handed
}

/// The most that was certainly handed out within one second: takes all of which lie between the first's
/// asking and the last's answer.
fn busiest_second(handed: &[Handed]) -> usize {
    let within = |first: &Handed| {
        handed
            .iter()
            .filter(|take| take.asked >= first.asked && take.answered <= first.asked + Duration::from_secs(1))
            .map(|take| take.count)
            .sum()
    };
    handed.iter().map(within).max().unwrap_or(0)
}

async fn is_exact(rate_per_second: u32) {
    let rate = rate_per_second as usize;
    let due = rate * MEASURED.as_millis() as usize / 1000;
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        let handed = measure(rate_per_second).await;
        let total: usize = handed.iter().map(|take| take.count).sum();
        let busiest = busiest_second(&handed);
        assert!(
            busiest * 100 <= rate * 105,
            "{busiest} in one second, at {rate} a second"
        );
        assert!(total <= due + rate / 50 + 2, "{total} of {due} in all");
        if total * 100 >= due * 98 {
            return;
        }
        seen.push(total);
    }
    panic!("of {due} due, used {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_share_fifty_a_second_exactly() {
    is_exact(50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_share_two_hundred_a_second_exactly() {
    is_exact(200).await;
}

#[tokio::test]
async fn ten_at_ten_a_second_take_nine_tenths_of_a_second_across_members() {
    let ground = Ground::with_rate(10).await;
    ground.open_with(1, 10).await;
    let mut members = [ground.member().await, ground.member().await];
    let started = Instant::now();
    let mut taken = 0;
    while taken < 10 {
        for member in &mut members {
            let (entries, wait) = member.take(10).await;
            taken += entries.len();
            if let (true, Wait::For(pause)) = (taken < 10, wait) {
                tokio::time::sleep(pause).await;
            }
        }
    }
    // One token at the start, and at most 10 ms of the rate besides.
    assert!(
        started.elapsed() >= Duration::from_millis(880),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_idle_lane_saves_up_no_more_than_ten_milliseconds() {
    let ground = Ground::with_rate(1_000).await;
    ground.open_with(1, 500).await;
    let mut member = ground.member().await;
    // As if nobody had taken for an hour; then a member gives back more than the bucket holds.
    let () = raw(
        &ground.redis,
        &["HINCRBY", &ground.keys.header(), "refilled_us", "-3600000000"],
    )
    .await;
    let (burst, wait) = member.take(500).await;
    assert_eq!(burst.len(), 11, "one, and 10 ms of 1,000 a second");
    assert!(
        matches!(wait, Wait::For(pause) if pause <= Duration::from_millis(1)),
        "{wait:?}"
    );
    member.settle(&[Step::Refund { tokens: 400 }]).await;
    assert_eq!(member.take(500).await.0.len(), 11);
}

#[tokio::test]
async fn a_clock_set_back_takes_no_tokens_away() {
    let ground = Ground::with_rate(1_000).await;
    ground.open_with(1, 10).await;
    let mut member = ground.member().await;
    let () = raw(
        &ground.redis,
        &["HINCRBY", &ground.keys.header(), "refilled_us", "3600000000"],
    )
    .await;
    assert_eq!(member.take(10).await.0.len(), 1, "the bucket holds what it held");
    assert_eq!(member.take_all(9).await.len(), 9, "and fills from now on");
}

#[tokio::test]
async fn a_new_rate_holds_from_the_next_take_on() {
    let ground = Ground::with_rate(1).await;
    ground.open_with(1, 100).await;
    let mut member = ground.member().await;
    assert_eq!(member.take(100).await.0.len(), 1);
    let (nothing, wait) = member.take(100).await;
    assert!(nothing.is_empty() && matches!(wait, Wait::For(pause) if pause > Duration::ZERO));
    ground.owner.set_rate(1_000_000).await.expect("set");
    assert_eq!(member.take_all(99).await.len(), 99);
}
