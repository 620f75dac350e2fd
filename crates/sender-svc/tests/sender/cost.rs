//! What messages cost is counted as they are accepted, corrected by what WhatsApp reports, and bounded by a budget.

use crate::member::{Act, Member};
use crate::stage::{SOON, Stage, lane};
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{MessageOutcome, Outcome, OutcomeSource};
use campaign_core::cost::{CostBasis, Money, ReportedPricing};
use campaign_core::ids::{CampaignId, Generation, InstanceId, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_store::costs::{self, CostLine};
use campaign_store::{campaigns, commit, reports};
use campaign_streams::lane::{LaneMember, Step};
use chrono::Utc;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testkit::wait_for;
use uuid::Uuid;

impl Stage {
    pub(crate) async fn price(&self, price: &str) {
        let list =
            json!({"currency": "USD", "prices": [{"country": "*", "category": "UTILITY", "price": price}]});
        let mut connection = self.store.connection().await.expect("Postgres answers");
        costs::set_price_list(&mut connection, &serde_json::from_value(list).expect("a list"))
            .await
            .expect("written");
    }

    pub(crate) async fn budget(&self, id: CampaignId, budget: Option<Money>) {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        costs::set_budget(&mut connection, id, budget).await.expect("set");
    }

    pub(crate) async fn cost(&self, id: CampaignId) -> Vec<CostLine> {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        costs::lines(&mut connection, id).await.expect("lines")
    }

    async fn accepted(&self, id: CampaignId) -> i64 {
        let progress = self.progress(id).await;
        let states = MessageState::ALL.iter().filter(|state| state.is_accepted());
        states.map(|state| progress.count(*state)).sum()
    }

    /// Reports a status with its pricing, as `message-svc` does when a webhook came.
    async fn status(&self, id: CampaignId, seq: Seq, state: MessageState, pricing: Option<ReportedPricing>) {
        let key = MessageKey {
            campaign: id,
            generation: Generation(1),
            seq,
        };
        let mut outcome = MessageOutcome::new(key, state, Utc::now(), OutcomeSource::Webhook);
        outcome.pricing = pricing;
        let mut member =
            LaneMember::new(&self.streams, lane(), InstanceId(Uuid::new_v4())).expect("a member");
        let step = Step::Event {
            outcome: Outcome::Message(outcome),
            trace: String::new(),
        };
        member.settle("", &[step]).await.expect("Redis answers");
    }
}

fn line(basis: CostBasis, messages: i64, micros: i64) -> CostLine {
    CostLine {
        category: "UTILITY".to_owned(),
        basis,
        messages,
        amount: Money(micros),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_holds_the_campaign_and_a_larger_one_lets_it_go_on() {
    let stage = Stage::start(3_000).await;
    stage.price("0.01").await;
    let _member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    // 500 messages, set before the first pages are there.
    stage.budget(id, Some(Money(5_000_000))).await;
    let reason = stage.held(id, HoldKind::Budget).await;
    assert!(reason.contains("of 5.00 USD are spent"), "{reason}");
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    let accepted = stage.accepted(id).await;
    assert!(
        (500..1_000).contains(&accepted),
        "{accepted}: no more than what was in flight"
    );
    assert_eq!(
        stage.cost(id).await,
        [line(CostBasis::Listed, accepted, accepted * 10_000)]
    );
    assert!(stage.progress(id).await.count(MessageState::Pending) > 0);

    stage.budget(id, None).await;
    stage.lift(id, HoldKind::Budget).await;
    let progress = stage.finished(id).await;
    let accepted = progress.count(MessageState::Accepted);
    assert_eq!(
        stage.cost(id).await,
        [line(CostBasis::Listed, accepted, accepted * 10_000)]
    );
}

/// Not when it is passed: when the next message would pass it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_the_next_message_would_pass_holds_the_campaign() {
    let stage = Stage::start(60).await;
    stage.price("0.01").await;
    let id = stage.send(|_| {}).await;
    stage.budget(id, Some(Money(105_000))).await;
    let taken = AtomicUsize::new(0);
    let _member = Member::start(&stage.streams, move |_| {
        if taken.fetch_add(1, Ordering::Relaxed) < 10 {
            Act::Accept
        } else {
            Act::Park(Duration::from_mins(1))
        }
    });
    let reason = stage.held(id, HoldKind::Budget).await;
    assert!(reason.contains("0.10 of 0.105 USD are spent"), "{reason}");
    assert_eq!(stage.accepted(id).await, 10);
}

/// The budget is raised while the ledger finds the old one spent: the new one holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_raised_meanwhile_is_not_held_for_what_it_was() {
    let stage = Stage::start(60).await;
    stage.price("0.01").await;
    let id = stage.send(|_| {}).await;
    stage.budget(id, Some(Money(105_000))).await;
    let (taken, all) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let go = Arc::clone(&all);
    let _member = Member::start(&stage.streams, move |_| {
        if taken.fetch_add(1, Ordering::Relaxed) < 5 || all.load(Ordering::Relaxed) {
            Act::Accept
        } else {
            Act::Park(Duration::from_millis(200))
        }
    });
    stage.reaches(id, MessageState::Accepted, 5).await;

    // Whoever raises a budget locks the campaign first, so the hold must wait.
    let mut raising = stage.store.begin().await.expect("Postgres answers");
    campaigns::get_for_update(&mut raising, id).await.expect("locked");
    go.store(true, Ordering::Relaxed);
    stage.reaches(id, MessageState::Accepted, 11).await;
    costs::set_budget(&mut raising, id, None).await.expect("raised");
    commit(raising).await.expect("committed");
    let first = {
        let mut connection = stage.store.connection().await.expect("Postgres answers");
        let rows = reports::recipients(&mut connection, id, Some(MessageState::Accepted), Seq(0), 1).await;
        rows.expect("recipients")[0].seq
    };
    // What comes behind is recorded only after whatever was to be held is held.
    stage.status(id, first, MessageState::Delivered, None).await;
    stage.reaches(id, MessageState::Delivered, 1).await;
    assert_eq!(stage.reasons(id, HoldKind::Budget).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_whatsapp_reports_corrects_the_sum_once() {
    let stage = Stage::start(30).await;
    stage.price("0.01").await;
    let _member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    let accepted = stage.finished(id).await.count(MessageState::Accepted);
    assert!(accepted >= 4, "{accepted}");
    let seqs: Vec<Seq> = {
        let mut connection = stage.store.connection().await.expect("Postgres answers");
        let rows = reports::recipients(&mut connection, id, Some(MessageState::Accepted), Seq(0), 4).await;
        rows.expect("recipients").iter().map(|row| row.seq).collect()
    };
    let pricing = |billable| {
        Some(ReportedPricing {
            billable,
            category: Some("UTILITY".to_owned()),
        })
    };
    // One of a campaign that nobody knows keeps nothing up.
    let nobody = CampaignId(Uuid::now_v7());
    stage
        .status(nobody, Seq(1), MessageState::Delivered, pricing(true))
        .await;
    for _ in 0..2 {
        stage.status(id, seqs[0], MessageState::Sent, pricing(true)).await;
        stage
            .status(id, seqs[0], MessageState::Delivered, pricing(true))
            .await;
        stage
            .status(id, seqs[1], MessageState::Delivered, pricing(false))
            .await;
        stage.status(id, seqs[2], MessageState::Undelivered, None).await;
    }
    let listed = accepted - 3;
    let expected = [
        line(CostBasis::Billed, 1, 10_000),
        line(CostBasis::Free, 1, 0),
        line(CostBasis::Listed, listed, listed * 10_000),
        line(CostBasis::Undelivered, 1, 0),
    ];
    wait_for(SOON, "the corrections", async || {
        (stage.cost(id).await == expected).then_some(())
    })
    .await;
    // The same again changes nothing.
    stage
        .status(id, seqs[1], MessageState::Delivered, pricing(false))
        .await;
    stage.status(id, seqs[3], MessageState::Delivered, None).await;
    stage.reaches(id, MessageState::Delivered, 3).await;
    assert_eq!(stage.cost(id).await, expected);
}
