//! The messaging limit: never more unique people within the window than the portfolio may message, over all its lanes
//! and campaigns, whatever crashes or is lost; and the rest goes when the window has moved.

use crate::member::{Act, Member};
use crate::stage::{SOON, Stage};
use campaign_core::campaign::{Audience, HoldKind};
use campaign_core::ids::{CampaignId, LaneId, Seq};
use campaign_core::message::MessageState;
use campaign_core::phone::CanonicalPhone;
use campaign_core::segment::Segment;
use campaign_store::holds::{self, Hold};
use campaign_store::portfolios::{self, Portfolio};
use campaign_store::{accounts, messaging_limits, reports};
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};
use testkit::wait_for;

const PORTFOLIO: &str = "2729063490586005";
const WINDOW: Duration = Duration::from_secs(8);
/// How long a wait for the whole window is waited for.
const LATER: Duration = Duration::from_secs(90);

fn other_lane() -> LaneId {
    "106540352242923"
        .parse()
        .expect("the second number of the development data")
}

/// A stage whose portfolio may message so many people within [`WINDOW`].
async fn limited(customers: u32, limit: i64) -> Stage {
    limited_for(customers, limit, WINDOW).await
}

async fn limited_for(customers: u32, limit: i64, window: Duration) -> Stage {
    let window = format!("--messaging-limit-window-ms={}", window.as_millis());
    let stage = Stage::start_with(customers, &[window]).await;
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let mut account = accounts::list(&mut connection, None, 1)
        .await
        .expect("accounts")
        .remove(0);
    account.portfolio_id = Some(PORTFOLIO.to_owned());
    accounts::update(&mut connection, &account)
        .await
        .expect("changed");
    drop(connection);
    set_limit(&stage, Some(limit)).await;
    stage
}

async fn set_limit(stage: &Stage, limit: Option<i64>) {
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    portfolios::set_limit(&mut connection, PORTFOLIO, limit)
        .await
        .expect("set");
}

async fn portfolio(stage: &Stage) -> Portfolio {
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    portfolios::get(&mut connection, PORTFOLIO).await.expect("read")
}

/// The hold of a campaign that waits for room.
async fn waits(stage: &Stage, campaign: CampaignId) -> Hold {
    wait_for(SOON, "the campaign to wait", async || {
        let mut connection = stage.store.connection().await.ok()?;
        let holds = holds::of_campaign(&mut connection, campaign).await.ok()?;
        holds.into_iter().find(|hold| hold.kind == HoldKind::DailyLimit)
    })
    .await
}

fn log(members: &[&Member]) -> Vec<(Instant, String)> {
    let logs = members
        .iter()
        .map(|member| member.log.lock().expect("not poisoned").clone());
    let mut log: Vec<_> = logs.flatten().collect();
    log.sort();
    log
}

fn people(members: &[&Member]) -> HashSet<String> {
    log(members).into_iter().map(|(_, phone)| phone).collect()
}

/// The most unique people in any window.
fn busiest_window(members: &[&Member]) -> usize {
    let log = log(members);
    let (mut within, mut first, mut most) = (BTreeMap::<&str, usize>::new(), 0, 0);
    for (at, phone) in &log {
        *within.entry(phone).or_default() += 1;
        while log[first].0 + WINDOW <= *at {
            let gone = log[first].1.as_str();
            let left = within.get_mut(gone).expect("it is within");
            *left -= 1;
            if *left == 0 {
                within.remove(gone);
            }
            first += 1;
        }
        most = most.max(within.len());
    }
    most
}

async fn finished_later(stage: &Stage, id: CampaignId) {
    wait_for(LATER, "the campaign to finish", async || {
        stage.campaign(id).await.finished_at
    })
    .await;
    stage.finished(id).await;
}

fn of_states(states: &[&str]) -> Audience {
    Audience::Segment {
        segment: Segment {
            states: states.iter().map(ToString::to_string).collect(),
            ..Segment::default()
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lanes_message_exactly_the_limit_and_the_rest_when_the_window_has_moved() {
    let stage = limited(700, 250).await;
    let one = Member::start(&stage.streams, |_| Act::Accept);
    let other = Member::start_on(&stage.streams, other_lane(), |_| Act::Accept);
    let all = stage.send(|_| {}).await;
    let some = stage
        .send(|campaign| {
            campaign.phone_number_id = other_lane();
            campaign.audience = of_states(&["SP", "RJ"]);
        })
        .await;
    let hold = waits(&stage, all).await;
    assert!(
        hold.reason.contains(PORTFOLIO) && hold.reason.contains("250 people"),
        "{}",
        hold.reason
    );
    assert!(hold.until.is_some(), "it says when it goes on");
    wait_for(SOON, "what was granted to be sent", async || {
        (people(&[&one, &other]).len() >= 250).then_some(())
    })
    .await;
    assert_eq!(busiest_window(&[&one, &other]), 250, "exactly the limit");
    assert_eq!(portfolio(&stage).await.used, 250);

    finished_later(&stage, all).await;
    finished_later(&stage, some).await;
    assert_eq!(
        busiest_window(&[&one, &other]),
        250,
        "and never more in any window"
    );
    assert!(one.accepted_once() > 500);
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let left = holds::of_campaign(&mut connection, all).await.expect("read");
    assert!(left.is_empty(), "{left:?}");
}

/// Whoever was messaged within the window costs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_campaign_to_the_same_people_costs_nothing() {
    let stage = limited_for(100, 100, Duration::from_hours(24)).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let first = stage.send(|_| {}).await;
    stage.finished(first).await;
    let counted = portfolio(&stage).await.used;
    set_limit(&stage, Some(counted)).await;
    let second = stage.send(|_| {}).await;
    stage.finished(second).await;
    assert_eq!(people(&[&member]).len() as i64, counted);
    assert!(busiest_window(&[&member]) as i64 <= counted);
}

/// What certainly was not accepted makes room for somebody else, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_gives_its_place_back() {
    let stage = limited(300, 100).await;
    let member = Member::start(&stage.streams, |entry| {
        if entry.id.low <= 60 {
            Act::Report(MessageState::Failed, "131026")
        } else {
            Act::Accept
        }
    });
    let started = Instant::now();
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 100).await;
    assert!(started.elapsed() < WINDOW, "before the window moved");
    assert_eq!(people(&[&member]).len(), 100);
}

/// The owner died between the grant and the feed: the same people are fed, and counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_grant_and_feed_loses_no_place() {
    let stage = limited(300, 100).await;
    let id = stage.send(|_| {}).await;
    // Nobody takes yet. What the keeper granted and fed is the limit; what follows is granted by nobody.
    waits(&stage, id).await;
    let phones: Vec<CanonicalPhone> = {
        let mut connection = stage.store.connection().await.expect("Postgres answers");
        let rows = reports::recipients(&mut connection, id, Some(MessageState::Pending), Seq(0), 150).await;
        let phones = rows.expect("rows").into_iter().filter_map(|row| row.phone);
        phones.map(|phone| phone.parse().expect("canonical")).collect()
    };
    let mut transaction = stage.store.begin().await.expect("Postgres answers");
    portfolios::set_limit(&mut transaction, PORTFOLIO, Some(160))
        .await
        .expect("set");
    let grant = messaging_limits::grant(&mut transaction, PORTFOLIO, &phones, WINDOW)
        .await
        .expect("granted");
    transaction.commit().await.expect("committed");
    assert_eq!((grant.granted, grant.used), (150, 150));
    let member = Member::start(&stage.streams, |_| Act::Accept);
    stage.reaches(id, MessageState::Accepted, 160).await;
    waits(&stage, id).await;
    assert_eq!(people(&[&member]).len(), 160);
    assert_eq!(portfolio(&stage).await.used, 160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_wiped_midway_does_not_break_the_limit() {
    let stage = limited(500, 200).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 50).await;
    stage.redis.flush().await;
    finished_later(&stage, id).await;
    let most = busiest_window(&[&member]);
    assert!(most <= 200, "{most} people within a window");
    assert!(member.accepted_once() > 350);
}

/// A message that lies in its lane for longer than the window may still be sent: its person still counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_a_lane_counts_however_long_it_lies() {
    let stage = limited(300, 100).await;
    let slow = stage.send(|_| {}).await;
    waits(&stage, slow).await;
    let other = Member::start_on(&stage.streams, other_lane(), |_| Act::Accept);
    tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
    let quick = stage
        .send(|campaign| {
            campaign.phone_number_id = other_lane();
            campaign.audience = of_states(&["SP"]);
        })
        .await;
    waits(&stage, quick).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    stage.reaches(slow, MessageState::Accepted, 100).await;
    let most = busiest_window(&[&member, &other]);
    assert!(most <= 100, "{most} people within a window");
}

/// The limit is set while a campaign runs: whoever was messaged before counts first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_limit_counts_who_was_messaged_before_it() {
    let stage = limited(500, 1).await;
    set_limit(&stage, None).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let first = stage
        .send(|campaign| campaign.audience = of_states(&["SP"]))
        .await;
    stage.finished(first).await;
    let before = people(&[&member]).len();
    assert!(before > 20, "{before}");
    let limit = before + 30;
    set_limit(&stage, Some(limit as i64)).await;
    let second = stage.send(|_| {}).await;
    waits(&stage, second).await;
    wait_for(SOON, "what was granted to be sent", async || {
        (people(&[&member]).len() >= limit).then_some(())
    })
    .await;
    assert_eq!(busiest_window(&[&member]), limit);
}

/// The window begins when a message was accepted, not when its person was let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_messaged_late_counts_for_the_whole_window() {
    let stage = limited(300, 100).await;
    let id = stage.send(|_| {}).await;
    waits(&stage, id).await;
    tokio::time::sleep(WINDOW * 3 / 4).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    wait_for(LATER, "the window to move", async || {
        (people(&[&member]).len() > 100).then_some(())
    })
    .await;
    let most = busiest_window(&[&member]);
    assert!(most <= 100, "{most} people within a window");
}
