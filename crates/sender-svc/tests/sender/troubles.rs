//! What the ledger does with what WhatsApp's errors call for: holds, suppressions, failures by code, and people whom a
//! resend must leave alone.

use crate::member::{Act, Member};
use crate::stage::{SOON, Stage, lane};
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{
    ErrorNote, MessageOutcome, OptOut, Outcome, OutcomeSource, Trouble, TroubleScope,
};
use campaign_core::ids::{CampaignId, Generation, InstanceId, LaneId, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_store::holds::{self, Hold, HoldScope};
use campaign_store::requests::{self, RequestKind};
use campaign_store::suppressions;
use campaign_streams::dead_letters::{self, Letters};
use campaign_streams::lane::{LaneMember, Step};
use chrono::{TimeDelta, Utc};
use testkit::wait_for;
use uuid::Uuid;

/// Another number of the account in the development data.
const SIBLING: &str = "106540352242923";

impl Stage {
    /// Publishes outcomes as the receiver of webhooks does.
    pub(crate) async fn publish(&self, outcomes: Vec<Outcome>) {
        let mut member =
            LaneMember::new(&self.streams, lane(), InstanceId(Uuid::new_v4())).expect("a member");
        let steps: Vec<Step> = outcomes
            .into_iter()
            .map(|outcome| Step::Event {
                outcome,
                trace: String::new(),
            })
            .collect();
        member.settle("", &steps).await.expect("Redis answers");
    }

    async fn holds(&self, id: CampaignId) -> Vec<Hold> {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        holds::of_campaign(&mut connection, id).await.expect("holds")
    }
}

fn trouble(scope: TroubleScope, hold: HoldKind, code: &str) -> Outcome {
    Outcome::Trouble(Trouble {
        scope,
        hold,
        error: ErrorNote::new(code, "what was said. What to do."),
        at: Utc::now(),
    })
}

/// A campaign's trouble holds the campaign, a number's its lane, an account's every number of it; each stands with
/// its code and advice, and nothing is lost when they are lifted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trouble_holds_what_it_concerns_and_no_more() {
    let stage = Stage::start(300).await;
    let sibling: LaneId = SIBLING.parse().expect("an id");
    let id = stage.send(|_| {}).await;
    let other = stage.send(|_| {}).await;
    // Of another installation that shares the account.
    let elsewhere = CampaignId(Uuid::now_v7());
    stage
        .publish(vec![
            trouble(TroubleScope::Campaign(elsewhere), HoldKind::Template, "132015"),
            trouble(TroubleScope::Campaign(id), HoldKind::Stopped, "131063"),
            trouble(TroubleScope::Lane, HoldKind::Quality, "131048"),
            trouble(TroubleScope::Account, HoldKind::Account, "131031"),
        ])
        .await;
    let standing = wait_for(SOON, "all holds", async || {
        let standing = stage.holds(id).await;
        (standing.len() == 3).then_some(standing)
    })
    .await;
    let mut kinds: Vec<_> = standing
        .iter()
        .map(|hold| (hold.kind, hold.scope, hold.reason.as_str()))
        .collect();
    kinds.sort_unstable_by_key(|(kind, ..)| kind.as_str());
    let text = "what was said. What to do.";
    let expected = [
        (HoldKind::Account, HoldScope::Lane, format!("131031: {text}")),
        (HoldKind::Quality, HoldScope::Lane, format!("131048: {text}")),
        (HoldKind::Stopped, HoldScope::Campaign, format!("131063: {text}")),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(kind, scope, reason)| (*kind, *scope, reason.as_str()))
        .collect();
    assert_eq!(kinds, expected);
    assert_eq!(stage.holds(other).await.len(), 2, "not the campaign's own");
    let letters = dead_letters::list(&stage.streams, Letters::Dead, None, 10)
        .await
        .expect("Redis answers");
    assert!(letters.is_empty(), "{letters:?}");
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let of_sibling = holds::of_lane(&mut connection, &sibling).await.expect("holds");
    let of_sibling: Vec<_> = of_sibling.iter().map(|hold| hold.kind).collect();
    assert_eq!(of_sibling, [HoldKind::Account], "the account's, not the number's");
    drop(connection);

    let member = Member::start(&stage.streams, |_| Act::Accept);
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(member.accepted_once(), 0, "nothing is sent while they stand");
    let mut transaction = stage.store.begin().await.expect("Postgres answers");
    for kind in [HoldKind::Account, HoldKind::Quality] {
        assert!(
            holds::lift_lane(&mut transaction, &lane(), kind)
                .await
                .expect("lifted")
        );
    }
    campaign_store::commit(transaction).await.expect("committed");
    stage.finished(other).await;
    assert!(
        stage.campaign(id).await.finished_at.is_none(),
        "its own hold stands"
    );
    let mut transaction = stage.store.begin().await.expect("Postgres answers");
    holds::lift_campaign(&mut transaction, id, HoldKind::Stopped)
        .await
        .expect("lifted");
    campaign_store::commit(transaction).await.expect("committed");
    let progress = stage.finished(id).await;
    assert!(progress.count(MessageState::Accepted) > 0);
}

/// A late failure counts under its code, and one that says so suppresses the person.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_failure_is_counted_by_its_code_and_may_suppress() {
    let stage = Stage::start(200).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    stage.finished(id).await;
    let mut accepted: Vec<(Seq, String)> = {
        let accepted = member.accepted.lock().expect("not poisoned");
        accepted.keys().cloned().collect()
    };
    accepted.sort_unstable();
    let late = |seq: Seq, code: &str| {
        let key = MessageKey {
            campaign: id,
            generation: Generation(1),
            seq,
        };
        Outcome::Message(MessageOutcome {
            error: Some(ErrorNote::new(code, "late")),
            ..MessageOutcome::new(key, MessageState::Undelivered, Utc::now(), OutcomeSource::Webhook)
        })
    };
    let phone: campaign_core::phone::CanonicalPhone = accepted[0].1.parse().expect("a phone");
    let opt_out = Outcome::OptOut(OptOut {
        phone,
        stop: true,
        source: "error_131050".to_owned(),
        at: Utc::now(),
    });
    let outcomes = vec![
        late(accepted[0].0, "131050"),
        opt_out,
        late(accepted[1].0, "131026"),
        late(accepted[2].0, "131026"),
        // The same again changes nothing.
        late(accepted[2].0, "131026"),
    ];
    stage.publish(outcomes).await;
    stage.reaches(id, MessageState::Undelivered, 3).await;
    let progress = stage.finished(id).await;
    let expected = [("131026".to_owned(), 2), ("131050".to_owned(), 1)];
    assert_eq!(progress.failed_by.into_iter().collect::<Vec<_>>(), expected);
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let suppressed = suppressions::list(&mut connection, None, 10)
        .await
        .expect("suppressions");
    let found = suppressed.iter().find(|suppression| suppression.phone == phone);
    assert!(
        found.is_some_and(|found| found.reason.contains("131050")),
        "{suppressed:?}"
    );
}

/// 131049: not again within 24 hours, whoever asks. The others that failed go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resend_leaves_alone_who_was_refused_marketing_less_than_a_day_ago() {
    let stage = Stage::start(200).await;
    let member = Member::start(&stage.streams, |entry| match entry.id.message() {
        Some((Generation(1), seq)) if seq.0 % 10 == 0 => Act::Report(MessageState::Failed, "131049"),
        Some((Generation(1), seq)) if seq.0 % 10 == 1 => Act::Report(MessageState::Failed, "131026"),
        _ => Act::Accept,
    });
    let id = stage.send(|_| {}).await;
    let before = stage.finished(id).await;
    let (limited, others) = (before.failed_by["131049"], before.failed_by["131026"]);
    assert!(limited > 0 && others > 0, "{before:?}");
    let accepted = member.accepted_once() as i64;

    let request = stage.ask(id, RequestKind::ResendFailed).await;
    stage.reaches(id, MessageState::Accepted, accepted + others).await;
    let after = stage.finished(id).await;
    assert_eq!(
        after.failed_by,
        std::collections::BTreeMap::from([("131049".to_owned(), limited)])
    );
    assert_eq!(member.accepted_once() as i64, accepted + others);
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let applied = requests::get(&mut connection, request)
        .await
        .expect("the request");
    assert_eq!(applied.affected, Some(others));
    let left_out = applied.left_out.expect("some were left out");
    assert_eq!(left_out.messages, limited);
    let wait = left_out.until - Utc::now();
    assert!(
        wait > TimeDelta::hours(23) && wait <= TimeDelta::hours(24),
        "{wait}"
    );
    drop(connection);

    // A day later they may be asked for.
    stage.age_failures().await;
    let request = stage.ask(id, RequestKind::ResendFailed).await;
    stage
        .reaches(id, MessageState::Accepted, accepted + others + limited)
        .await;
    stage.finished(id).await;
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let applied = requests::get(&mut connection, request)
        .await
        .expect("the request");
    assert_eq!((applied.affected, applied.left_out), (Some(limited), None));
}
