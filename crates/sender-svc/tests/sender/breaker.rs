//! A campaign whose messages end in errors is held before the account suffers.

use crate::member::{Act, Member};
use crate::stage::{SOON, Stage};
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{ErrorNote, MessageOutcome, Outcome, OutcomeSource};
use campaign_core::ids::{CampaignId, Generation, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_store::{commit, holds};
use chrono::Utc;
use std::time::Duration;
use testkit::wait_for;

impl Stage {
    pub(crate) async fn reasons(&self, id: CampaignId, kind: HoldKind) -> Vec<String> {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        let holds = holds::of_campaign(&mut connection, id).await.expect("holds");
        holds
            .into_iter()
            .filter(|hold| hold.kind == kind)
            .map(|hold| hold.reason)
            .collect()
    }

    /// Waits until the campaign is held and nothing moves any more.
    pub(crate) async fn held(&self, id: CampaignId, kind: HoldKind) -> String {
        wait_for(SOON, "the hold", async || self.reasons(id, kind).await.pop()).await
    }

    pub(crate) async fn lift(&self, id: CampaignId, kind: HoldKind) {
        let mut transaction = self.store.begin().await.expect("Postgres answers");
        assert!(
            holds::lift_campaign(&mut transaction, id, kind)
                .await
                .expect("lifted")
        );
        commit(transaction).await.expect("committed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_errors_hold_the_campaign_and_it_goes_on_when_a_person_says_so() {
    let stage = Stage::start(3_000).await;
    // Every third message of the first thousand is wrong.
    let _member = Member::start(&stage.streams, |taken| {
        let wrong = taken
            .id
            .message()
            .is_some_and(|(_, seq)| seq.0 <= 1_000 && seq.0 % 3 == 0);
        if wrong {
            Act::Report(MessageState::Failed, "131008")
        } else {
            Act::Accept
        }
    });
    let id = stage.send(|_| {}).await;
    let reason = stage.held(id, HoldKind::Errors).await;
    assert!(reason.contains("errors of the message"), "{reason}");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let before = stage.progress(id).await;
    assert!(
        before.count(MessageState::Pending) > 0,
        "it stopped before the end: {before:?}"
    );
    // It may be held again by what comes until the thousandth; each time a person says go on.
    for _ in 0..20 {
        if stage.campaign(id).await.finished_at.is_some() {
            break;
        }
        if !stage.reasons(id, HoldKind::Errors).await.is_empty() {
            stage.lift(id, HoldKind::Errors).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    }
    let progress = stage.finished(id).await;
    assert!(progress.count(MessageState::Failed) > 200, "{progress:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recipients_that_cannot_be_sent_to_have_their_own_share() {
    let stage = Stage::start(1_500).await;
    let _member = Member::start(&stage.streams, |taken| {
        let gone = taken.id.message().is_some_and(|(_, seq)| seq.0 % 3 == 0);
        if gone {
            Act::Report(MessageState::Failed, "131026")
        } else {
            Act::Accept
        }
    });
    let id = stage.send(|_| {}).await;
    let progress = stage.finished(id).await;
    assert!(progress.count(MessageState::Failed) > 200, "{progress:?}");
    assert!(stage.reasons(id, HoldKind::Errors).await.is_empty());
}

/// WhatsApp accepts everything and says later that it could not deliver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_after_it_was_accepted_counts_as_an_error() {
    const ACCEPTED: i64 = 300;
    let stage = Stage::start(1_000).await;
    let _member = Member::start(&stage.streams, |taken| {
        if taken.id.low <= ACCEPTED.unsigned_abs() {
            Act::Accept
        } else {
            Act::Park(Duration::from_mins(1))
        }
    });
    let id = stage.send(|_| {}).await;
    // Some of the first are skipped.
    stage.reaches(id, MessageState::Accepted, ACCEPTED * 8 / 10).await;
    let late = |seq| {
        let key = MessageKey {
            campaign: id,
            generation: Generation(1),
            seq: Seq(seq),
        };
        Outcome::Message(MessageOutcome {
            error: Some(ErrorNote::new("131053", "told by the test")),
            ..MessageOutcome::new(key, MessageState::Undelivered, Utc::now(), OutcomeSource::Webhook)
        })
    };
    stage.publish((1..=ACCEPTED / 2).map(late).collect()).await;
    let reason = stage.held(id, HoldKind::Errors).await;
    assert!(reason.contains("errors of the message"), "{reason}");
}
