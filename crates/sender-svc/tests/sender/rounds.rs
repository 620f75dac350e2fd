//! Rounds: what goes again, and what never does.

use crate::member::{Act, Member};
use crate::stage::{GRACE_MS, SOON, Stage, sent};
use campaign_core::campaign::{CampaignStatus, OnUncertain};
use campaign_core::ids::{CampaignId, Generation, RequestId};
use campaign_core::message::MessageState;
use campaign_store::requests::{self, Request, RequestKind};
use campaign_streams::lane::TakenEntry;
use campaign_streams::wake::{self, Audience};
use chrono::{TimeDelta, Utc};
use testkit::wait_for;
use uuid::Uuid;

impl Stage {
    pub(crate) async fn ask(&self, campaign: CampaignId, kind: RequestKind) -> RequestId {
        let request = Request {
            id: RequestId(Uuid::now_v7()),
            campaign,
            kind,
            seqs: None,
            error_codes: None,
            requested_by: "test".to_owned(),
            requested_at: Utc::now(),
            applied_at: None,
            affected: None,
            left_out: None,
        };
        let mut connection = self.store.connection().await.expect("Postgres answers");
        requests::create(&mut connection, &request)
            .await
            .expect("written");
        wake::publish(&self.streams, Audience::Senders, None)
            .await
            .expect("Redis answers");
        request.id
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deferred_message_goes_in_a_later_round() {
    let stage = Stage::start(300).await;
    let due = Utc::now() + TimeDelta::seconds(2);
    let member = Member::start(&stage.streams, move |entry| {
        let first = entry
            .id
            .message()
            .is_some_and(|(generation, _)| generation == Generation(1));
        if first && entry.id.low % 10 == 0 {
            Act::Defer(due)
        } else {
            Act::Accept
        }
    });
    let id = stage.send(|_| {}).await;
    let progress = stage.finished(id).await;
    assert!(Utc::now() >= due);
    assert_eq!(progress.generation, 2);
    assert_eq!(progress.count(MessageState::Deferred), 0);
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
}

/// In the first round nobody knows what became of one in twenty.
fn uncertain_at_first(entry: &TakenEntry) -> Act {
    let first = entry
        .id
        .message()
        .is_some_and(|(generation, _)| generation == Generation(1));
    if first && entry.id.low.is_multiple_of(20) {
        Act::Report(MessageState::Uncertain, "timeout")
    } else {
        Act::Accept
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uncertain_message_is_held_until_a_person_decides() {
    let stage = Stage::start(200).await;
    let member = Member::start(&stage.streams, uncertain_at_first);
    let id = stage.send(|_| {}).await;
    let progress = stage.finished(id).await;
    let uncertain = progress.count(MessageState::Uncertain);
    assert!(uncertain > 0);
    assert_eq!(progress.generation, 1, "P4: nothing went again by itself");

    stage.ask(id, RequestKind::ResendUncertain).await;
    stage
        .reaches(
            id,
            MessageState::Accepted,
            progress.count(MessageState::Accepted) + uncertain,
        )
        .await;
    let progress = stage.finished(id).await;
    assert_eq!(progress.count(MessageState::Uncertain), 0);
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
}

/// Every acceptance is reported again and again, so the lane's outcomes are never all applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uncertain_message_goes_again_after_its_grace_while_webhooks_come_without_end() {
    let stage = Stage::start(200).await;
    let member = Member::start(&stage.streams, uncertain_at_first);
    let id = stage
        .send(|campaign| campaign.on_uncertain = OnUncertain::Resend)
        .await;
    let reporting = async {
        loop {
            let accepted = member.seqs_accepted().into_iter();
            stage.publish(accepted.map(|seq| sent(id, seq)).collect()).await;
        }
    };
    let progress = tokio::select! {
        () = reporting => unreachable!("it reports without end"),
        progress = stage.finished(id) => progress,
    };
    assert!(progress.generation > 1, "{progress:?}");
    assert_eq!(progress.count(MessageState::Uncertain), 0, "{progress:?}");
    let taken = progress.count(MessageState::Accepted) + progress.count(MessageState::Sent);
    assert_eq!(taken, member.accepted_once() as i64, "{progress:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uncertain_messages_can_be_written_off_and_failed_ones_sent_again() {
    let stage = Stage::start(200).await;
    let member = Member::start(&stage.streams, |entry| match entry.id.message() {
        Some((Generation(1), seq)) if seq.0 % 20 == 0 => Act::Report(MessageState::Uncertain, "timeout"),
        Some((Generation(1), seq)) if seq.0 % 20 == 1 => Act::Report(MessageState::Failed, "131026"),
        _ => Act::Accept,
    });
    let id = stage.send(|_| {}).await;
    let before = stage.finished(id).await;
    assert!(
        before.count(MessageState::Uncertain) > 0 && before.count(MessageState::Failed) > 0,
        "{before:?}"
    );
    stage.ask(id, RequestKind::WriteOffUncertain).await;
    let failed = before.count(MessageState::Failed) + before.count(MessageState::Uncertain);
    stage.reaches(id, MessageState::Failed, failed).await;
    stage.finished(id).await;

    stage.ask(id, RequestKind::ResendFailed).await;
    stage
        .reaches(
            id,
            MessageState::Accepted,
            before.count(MessageState::Accepted) + failed,
        )
        .await;
    let after = stage.finished(id).await;
    assert_eq!(after.count(MessageState::Failed), 0);
    assert_eq!(after.count(MessageState::Accepted), member.accepted_once() as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_cancelled_in_a_later_round_is_finished() {
    let stage = Stage::start(300).await;
    let soon = Utc::now() + TimeDelta::seconds(1);
    // Of the second round a part is accepted at once and the rest is never heard of: the round is not over.
    let _member = Member::start(&stage.streams, move |entry| {
        match entry.id.message().map(|(generation, _)| generation) {
            Some(Generation(1)) if entry.id.low % 5 == 0 => Act::Defer(soon),
            Some(Generation(1)) if entry.id.low % 5 == 1 => Act::Defer(soon + TimeDelta::days(1)),
            Some(Generation(2)) if entry.id.low % 2 == 0 => Act::Vanish,
            _ => Act::Accept,
        }
    });
    let id = stage.send(|_| {}).await;
    wait_for(SOON, "the second round to be under way", async || {
        let progress = stage.progress(id).await;
        (progress.generation == 2 && progress.count(MessageState::Pending) < 30).then_some(())
    })
    .await;
    stage.cancel(id).await;
    let progress = stage.finished(id).await;
    assert!(progress.count(MessageState::Cancelled) > 0, "{progress:?}");
    assert_eq!(progress.count(MessageState::Deferred), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_campaign_that_expired_is_not_cancelled_by_a_resend() {
    let stage = Stage::start(200).await;
    let _member = Member::start(&stage.streams, |entry| {
        if entry.id.low % 20 == 1 {
            Act::Report(MessageState::Failed, "131026")
        } else {
            Act::Accept
        }
    });
    let expires_at = Utc::now() + TimeDelta::milliseconds(GRACE_MS as i64 * 3);
    let id = stage
        .send(|campaign| campaign.expires_at = Some(expires_at))
        .await;
    let before = stage.finished(id).await;
    wait_for(SOON, "the campaign to expire", async || {
        (Utc::now() > expires_at).then_some(())
    })
    .await;
    let request = stage.ask(id, RequestKind::ResendFailed).await;
    wait_for(SOON, "the request to be answered", async || {
        let mut connection = stage.store.connection().await.ok()?;
        requests::get(&mut connection, request).await.ok()?.applied_at
    })
    .await;
    assert_eq!(stage.finished(id).await.by_state, before.by_state);
    assert_eq!(stage.campaign(id).await.status, CampaignStatus::Completed);
}
