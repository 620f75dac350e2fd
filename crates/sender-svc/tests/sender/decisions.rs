//! What people decide about a running campaign.

use crate::member::{Act, Member};
use crate::stage::{SOON, Stage, sent};
use campaign_core::campaign::{CampaignStatus, HoldKind};
use campaign_core::contracts::{CUSTOMER_EVENTS_STREAM, CustomerEvent, CustomerEventKind};
use campaign_core::ids::CampaignId;
use campaign_core::message::{MessageState, SkipReason};
use campaign_store::suppressions::{self, Suppression};
use campaign_store::{campaigns, commit, dispatches, holds, reports};
use campaign_streams::wake::{self, Audience};
use campaign_streams::{Producer, Traced};
use chrono::{TimeDelta, Utc};
use std::time::{Duration, Instant};
use testkit::wait_for;

impl Stage {
    /// Holds or releases, and waits until the lane follows.
    async fn hold(&self, id: CampaignId, held: bool) {
        let mut transaction = self.store.begin().await.expect("Postgres answers");
        if held {
            holds::raise_campaign(&mut transaction, id, HoldKind::Person, "test", "test", None)
                .await
                .expect("held");
        } else {
            holds::lift_campaign(&mut transaction, id, HoldKind::Person)
                .await
                .expect("released");
        }
        commit(transaction).await.expect("committed");
        self.follows(id).await;
    }

    pub(crate) async fn cancel(&self, id: CampaignId) {
        let mut transaction = self.store.begin().await.expect("Postgres answers");
        campaigns::set_status(&mut transaction, id, CampaignStatus::Cancelled, Some("test"))
            .await
            .expect("legal");
        commit(transaction).await.expect("committed");
        self.follows(id).await;
    }

    async fn follows(&self, id: CampaignId) {
        wake::publish(&self.streams, Audience::Senders, None)
            .await
            .expect("Redis answers");
        wait_for(SOON, "the lane to follow", async || {
            let mut connection = self.store.connection().await.ok()?;
            let wanted = campaigns::control(&mut connection, id).await.ok()?.version;
            let dispatch = dispatches::get(&mut connection, id).await.ok()?;
            (dispatch.control_applied >= wanted).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_takes_effect_within_a_second_and_a_resume_loses_nothing() {
    let stage = Stage::start(3_000).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 200).await;
    let asked = Instant::now();
    stage.hold(id, true).await;
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "P8: {:?}",
        asked.elapsed()
    );
    let taken = member.accepted_once();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        member.accepted_once() - taken <= 50,
        "P8: what was in hand is all that follows"
    );
    assert!(stage.campaign(id).await.finished_at.is_none());
    stage.hold(id, false).await;
    let progress = stage.finished(id).await;
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_campaign_sends_no_more_and_its_sums_balance() {
    let stage = Stage::start(4_000).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.reaches(id, MessageState::Accepted, 200).await;
    stage.cancel(id).await;
    let progress = stage.finished(id).await;
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
    assert!(progress.count(MessageState::Cancelled) > 0, "{progress:?}");
}

/// The lane's outcomes are never all applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_campaign_is_finished_while_others_report_without_end() {
    let stage = Stage::start(600).await;
    let (busy, cancelled) = (stage.fed_in(0).await, stage.fed_in(1).await);
    let reporting = async {
        loop {
            stage.publish(vec![sent(busy, 1)]).await;
        }
    };
    let cancelling = async {
        stage.reaches(busy, MessageState::Sent, 1).await;
        stage.cancel(cancelled).await;
        stage.finished(cancelled).await
    };
    let progress = tokio::select! {
        () = reporting => unreachable!("it reports without end"),
        progress = cancelling => progress,
    };
    assert!(progress.count(MessageState::Cancelled) > 0, "{progress:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sent_when_a_campaign_expires_is_cancelled() {
    let stage = Stage::start(800).await;
    let id = stage
        .send(|campaign| campaign.expires_at = Some(Utc::now() + TimeDelta::seconds(1)))
        .await;
    let progress = stage.finished(id).await;
    assert_eq!(progress.count(MessageState::Accepted), 0);
    assert!(progress.count(MessageState::Cancelled) > 0, "{progress:?}");
    let campaign = stage.campaign(id).await;
    assert_eq!(campaign.status, CampaignStatus::Cancelled);
    assert!(
        campaign
            .status_reason
            .is_some_and(|reason| reason.contains("expired"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_reaches_messages_that_are_queued_already() {
    let stage = Stage::start(600).await;
    let id = stage.send(|_| {}).await;
    wait_for(SOON, "everything to be fed", async || {
        (stage.campaign(id).await.status == CampaignStatus::Completed).then_some(())
    })
    .await;
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let dispatch = dispatches::get(&mut connection, id).await.expect("a dispatch");
    let before = campaign_core::ids::Seq(dispatch.enqueued_seq.0 - 1);
    let row = campaign_store::messages::next_to_feed(
        &mut connection,
        id,
        dispatch.generation,
        dispatch.pass,
        before,
        1,
    )
    .await
    .expect("rows")
    .remove(0);
    drop(connection);
    let event = CustomerEvent {
        kind: CustomerEventKind::OptedOut,
        customer_id: "whoever".to_owned(),
        phone: Some(row.phone.to_string()),
        at: Utc::now(),
    };
    let producer = Producer::new(&stage.streams, CUSTOMER_EVENTS_STREAM, 1_000);
    producer
        .publish(&Traced::new(event, None))
        .await
        .expect("Redis answers");
    wait_for(SOON, "the lane to know the opt-out", async || {
        let mut connection = stage.store.connection().await.ok()?;
        let known = campaign_store::suppressions::list(&mut connection, None, 10)
            .await
            .ok()?;
        known
            .iter()
            .any(|suppression| suppression.phone == row.phone)
            .then_some(())
    })
    .await;
    let member = Member::start(&stage.streams, |entry| {
        if entry.opted_out {
            Act::Report(MessageState::Skipped, SkipReason::OptedOut.as_str())
        } else {
            Act::Accept
        }
    });
    let progress = stage.finished(id).await;
    let phone = row.phone.to_string();
    assert!(
        !member
            .accepted
            .lock()
            .expect("not poisoned")
            .keys()
            .any(|(_, accepted)| *accepted == phone)
    );
    assert_eq!(progress.skipped_by.get("opted_out"), Some(&1), "{progress:?}");
}

/// Whoever writes a suppression need not tell the lanes: nobody is fed before Postgres is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_suppressed_before_being_fed_is_skipped_though_no_lane_knows() {
    let stage = Stage::start_with(700, &["--feed-window=100".to_owned()]).await;
    let id = stage.send(|_| {}).await;
    wait_for(SOON, "the audience to be complete", async || {
        stage.progress(id).await.audience_complete.then_some(())
    })
    .await;
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let behind = campaign_core::ids::Seq(400);
    let pending = Some(MessageState::Pending);
    let rows = reports::recipients(&mut connection, id, pending, behind, 1).await;
    let phone = rows.expect("rows").remove(0).phone.expect("a number");
    let suppression = Suppression {
        phone: phone.parse().expect("canonical"),
        reason: "test".to_owned(),
        source: "api".to_owned(),
        customer_id: None,
        created_at: Utc::now(),
    };
    suppressions::add(&mut connection, &[suppression])
        .await
        .expect("written");
    drop(connection);
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let progress = stage.finished(id).await;
    assert_eq!(progress.skipped_by.get("opted_out"), Some(&1), "{progress:?}");
    let accepted = member.accepted.lock().expect("not poisoned");
    assert!(accepted.len() > 400 && !accepted.keys().any(|(_, accepted)| *accepted == phone));
}
