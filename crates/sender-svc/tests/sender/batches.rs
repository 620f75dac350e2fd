//! A batch that concerns several campaigns does what it would for each of them alone, in as many statements as for one.

use crate::stage::{SOON, Stage};
use campaign_core::campaign::{CampaignStatus, HoldKind};
use campaign_core::contracts::{
    ErrorNote, MESSAGE_EVENTS_STREAM, MessageEvents, MessageOutcome, Outcome, OutcomeSource,
};
use campaign_core::cost::{Money, ReportedPricing};
use campaign_core::ids::{CampaignId, Generation, MessageKey, Seq};
use campaign_core::message::{MessageState, SkipReason};
use campaign_store::costs::CostLine;
use campaign_store::reports::{self, Progress, Recipient};
use campaign_store::{ensure_partitions, messages, rounds};
use campaign_streams::dead_letters::{self, Letters};
use campaign_streams::{Consumer, ConsumerConfig, Verdict};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use testkit::wait_for;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use uuid::{NoContext, Timestamp, Uuid};

/// Days from now of the campaigns' ids: each is in another month's partition, the first in the default one.
const DAYS: [i64; 3] = [-70, 0, 31];
/// Outcomes of messages that the ledger does not have, for each campaign.
const STRAYS: usize = 2;

/// Events of a campaign that was told all of them: a message that goes on in one batch has one.
const EVENTS: usize = 9;

/// What was told of each message, whatever the order.
pub(crate) type Events = Arc<Mutex<BTreeSet<(CampaignId, Seq, &'static str, Option<String>)>>>;

/// What is left of a campaign.
#[derive(Debug, PartialEq)]
struct Left {
    rows: Vec<Recipient>,
    progress: Progress,
    cost: Vec<CostLine>,
    waits: bool,
    held: Vec<String>,
    events: Vec<(Seq, &'static str, Option<String>)>,
}

impl Stage {
    /// A campaign with an id of some days from now, of which everything is fed and nothing taken.
    pub(crate) async fn fed_in(&self, days: i64) -> CampaignId {
        let id = id_in(days);
        self.send(|campaign| campaign.id = id).await;
        wait_for(SOON, "everything to be fed", async || {
            (self.campaign(id).await.status == CampaignStatus::Completed).then_some(())
        })
        .await;
        id
    }

    async fn fed_in_each_month(&self) -> Vec<CampaignId> {
        let mut campaigns = Vec::new();
        for days in DAYS {
            campaigns.push(self.fed_in(days).await);
        }
        campaigns
    }

    pub(crate) async fn first_pending(&self, id: CampaignId, count: i64) -> Vec<Seq> {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        let pass = campaign_store::dispatches::Pass::Audience;
        let rows = messages::next_to_feed(&mut connection, id, Generation(1), pass, Seq(0), count).await;
        rows.expect("rows").iter().map(|row| row.seq).collect()
    }

    async fn left(&self, id: CampaignId, events: &Events) -> Left {
        let held = self.reasons(id, HoldKind::Budget).await;
        let (progress, cost) = (self.progress(id).await, self.cost(id).await);
        let events = events_of(id, events);
        let mut connection = self.store.connection().await.expect("Postgres answers");
        let rows = reports::recipients(&mut connection, id, None, Seq(0), 1_000).await;
        let mut rows = rows.expect("recipients");
        // The others were skipped when they were written, each at its time.
        rows.retain(|row| row.phone.is_some());
        Left {
            rows,
            progress,
            cost,
            waits: rounds::any_waiting(&mut connection, id).await.expect("read"),
            held,
            events,
        }
    }

    /// What is left, once every event is told.
    async fn all_left(&self, id: CampaignId, events: &Events) -> Left {
        wait_for(SOON, &format!("{EVENTS} events"), async || {
            let left = self.left(id, events).await;
            (left.events.len() == EVENTS).then_some(left)
        })
        .await
    }

    pub(crate) fn listen_for_events(&self) -> Events {
        let events = Events::default();
        let config = ConsumerConfig::shared(MESSAGE_EVENTS_STREAM, "test");
        let (consumer, heard) = (Consumer::new(&self.streams, config), events.clone());
        tokio::spawn(consumer.run(
            CancellationToken::new(),
            move |delivery: campaign_streams::Delivery<MessageEvents>| {
                let MessageEvents(events) = delivery.body;
                assert!(events.len() <= MessageEvents::MAX, "{}", events.len());
                let told = events
                    .into_iter()
                    .map(|event| (event.campaign, event.seq, event.state.as_str(), event.error_code));
                heard.lock().expect("not poisoned").extend(told);
                std::future::ready(Verdict::Done)
            },
        ));
        events
    }
}

fn events_of(id: CampaignId, events: &Events) -> Vec<(Seq, &'static str, Option<String>)> {
    let told = events.lock().expect("not poisoned");
    let of_campaign = told.iter().filter(|(campaign, ..)| *campaign == id);
    of_campaign
        .map(|(_, seq, state, code)| (*seq, *state, code.clone()))
        .collect()
}

fn id_in(days: i64) -> CampaignId {
    let at = Utc::now() + TimeDelta::days(days);
    let seconds = u64::try_from(at.timestamp()).expect("after 1970");
    CampaignId(Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        seconds,
        at.timestamp_subsec_nanos(),
    )))
}

fn key(campaign: CampaignId, seq: Seq) -> MessageKey {
    MessageKey {
        campaign,
        generation: Generation(1),
        seq,
    }
}

fn accepted(campaign: CampaignId, seq: Seq, at: DateTime<Utc>) -> MessageOutcome {
    MessageOutcome {
        attempts: Some(1),
        wamid: Some(format!("wamid.{seq}")),
        ..MessageOutcome::new(
            key(campaign, seq),
            MessageState::Accepted,
            at,
            OutcomeSource::Send,
        )
    }
}

/// Every kind of outcome: of known messages, of unknown ones, and some twice.
fn first_outcomes(campaign: CampaignId, seqs: &[Seq], at: DateTime<Utc>) -> Vec<Outcome> {
    let told = |seq, state, source| MessageOutcome::new(key(campaign, seq), state, at, source);
    let send = |seq, state| told(seq, state, OutcomeSource::Send);
    let webhook = |seq, state| told(seq, state, OutcomeSource::Webhook);
    let delivered = MessageOutcome {
        pricing: Some(ReportedPricing {
            billable: true,
            category: Some("UTILITY".to_owned()),
        }),
        ..webhook(seqs[0], MessageState::Delivered)
    };
    let failed = |seq, code: &str| MessageOutcome {
        error: Some(ErrorNote::new(code, "told by the test")),
        ..send(seq, MessageState::Failed)
    };
    let outcomes = vec![
        accepted(campaign, seqs[0], at),
        delivered.clone(),
        delivered,
        accepted(campaign, seqs[1], at),
        webhook(seqs[1], MessageState::Undelivered),
        failed(seqs[2], "131026"),
        MessageOutcome {
            suppress: true,
            ..failed(seqs[3], "131050")
        },
        MessageOutcome {
            skip: Some(SkipReason::OptedOut),
            ..send(seqs[4], MessageState::Skipped)
        },
        MessageOutcome {
            due: Some(at + TimeDelta::days(1)),
            ..send(seqs[5], MessageState::Deferred)
        },
        webhook(Seq(1_000_000), MessageState::Delivered),
        MessageOutcome::new(
            key(CampaignId(Uuid::now_v7()), seqs[0]),
            MessageState::Read,
            at,
            OutcomeSource::Webhook,
        ),
        accepted(campaign, seqs[6], at),
    ];
    outcomes.into_iter().map(Outcome::Message).collect()
}

/// Recorded once they are there, since they are told last.
fn last_outcomes(campaign: CampaignId, seqs: &[Seq], at: DateTime<Utc>) -> Vec<Outcome> {
    let outcomes = [accepted(campaign, seqs[5], at), accepted(campaign, seqs[7], at)];
    outcomes.into_iter().map(Outcome::Message).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_several_campaigns_does_what_each_alone_would() {
    let stage = Stage::start(20).await;
    stage.price("0.01").await;
    ensure_partitions(&mut stage.store.connection().await.expect("Postgres answers"))
        .await
        .expect("partitions");
    let (together, alone) = (stage.fed_in_each_month().await, stage.fed_in_each_month().await);
    // Two messages of the second are more than this.
    for id in [together[1], alone[1]] {
        stage.budget(id, Some(Money(15_000))).await;
    }
    let seqs = stage.first_pending(together[0], 8).await;
    let at = DateTime::from_timestamp(Utc::now().timestamp() - 60, 0).expect("a time");
    let events = stage.listen_for_events();
    let waits = async |id: CampaignId| stage.left(id, &events).await.waits;

    // All outcomes of all campaigns in one batch, of each the first, then of each the second.
    let told: Vec<_> = together.iter().map(|id| first_outcomes(*id, &seqs, at)).collect();
    let mixed = |told: &[Vec<Outcome>]| -> Vec<Outcome> {
        let places = 0..told[0].len();
        places
            .flat_map(|place| told.iter().map(move |of_campaign| of_campaign[place].clone()))
            .collect()
    };
    stage.publish(mixed(&told)).await;
    for id in &together {
        stage.reaches(*id, MessageState::Accepted, 1).await;
        assert!(waits(*id).await, "one is deferred");
    }
    let mut again = mixed(&told);
    for id in &together {
        again.extend(last_outcomes(*id, &seqs, at));
    }
    stage.publish(again).await;
    for id in &together {
        stage.reaches(*id, MessageState::Accepted, 3).await;
    }

    for id in &alone {
        let told = first_outcomes(*id, &seqs, at);
        stage.publish(told.clone()).await;
        stage.reaches(*id, MessageState::Accepted, 1).await;
        assert!(waits(*id).await, "one is deferred");
        stage
            .publish([told, last_outcomes(*id, &seqs, at)].concat())
            .await;
        stage.reaches(*id, MessageState::Accepted, 3).await;
    }
    stage.held(alone[1], HoldKind::Budget).await;

    let strays = 2 * STRAYS * (together.len() + alone.len());
    wait_for(SOON, &format!("{strays} strays"), async || {
        let letters = dead_letters::list(&stage.streams, Letters::Stray, None, 100)
            .await
            .ok()?;
        (letters.len() == strays).then_some(())
    })
    .await;
    for (place, (one, other)) in together.iter().zip(&alone).enumerate() {
        let (one, other) = (
            stage.all_left(*one, &events).await,
            stage.all_left(*other, &events).await,
        );
        assert_eq!(one, other, "of the campaign {} days from now", DAYS[place]);
        assert_eq!((one.held.len(), one.waits), (usize::from(place == 1), false));
        assert_eq!(one.progress.count(MessageState::Accepted), 3);
    }
}

/// How often each statement of the ledger ran.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

/// What a batch runs for the campaigns that it concerns.
const OF_A_BATCH: [&str; 8] = [
    "messages.lock",
    "costs.terms_of",
    "messages.update",
    "rounds.note",
    "costs.apply",
    "costs.totals",
    "counters.lock",
    "counters.write",
];

impl tracing::Subscriber for Statements {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

impl Visit for Statements {
    /// The statement begins with its name, as in `-- messages.update`. Rows of one campaign and of several are locked by
    /// two.
    fn record_str(&mut self, field: &Field, value: &str) {
        let name = value.split_whitespace().nth(1).unwrap_or_default();
        let name = name.strip_suffix("_all").unwrap_or(name);
        if field.name() == "summary" && OF_A_BATCH.contains(&name) {
            self.0.lock().expect("not poisoned").push(name.to_owned());
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// On one thread, so that the subscriber hears of everything.
#[tokio::test]
async fn a_batch_takes_as_many_statements_for_ten_campaigns_as_for_one() {
    let statements = Statements::default();
    let _heard = tracing::subscriber::set_default(statements.clone());
    let stage = Stage::start(60).await;
    stage.price("0.01").await;
    let mut campaigns = Vec::new();
    for _ in 0..10 {
        let id = stage.fed_in(0).await;
        stage.budget(id, Some(Money(1_000_000_000))).await;
        campaigns.push(id);
    }
    let seqs = stage.first_pending(campaigns[0], 16).await;
    let mut once = OF_A_BATCH.map(str::to_owned);
    once.sort_unstable();
    let batches = [(&campaigns[..], &seqs[..8]), (&campaigns[..1], &seqs[8..])];
    for (before, (concerned, seqs)) in batches.into_iter().enumerate() {
        statements.0.lock().expect("not poisoned").clear();
        let told = concerned
            .iter()
            .flat_map(|id| first_outcomes(*id, seqs, Utc::now()));
        stage.publish(told.collect()).await;
        for id in concerned {
            stage
                .reaches(*id, MessageState::Deferred, before as i64 + 1)
                .await;
        }
        let mut ran = statements.0.lock().expect("not poisoned").clone();
        ran.sort_unstable();
        assert_eq!(ran, once, "for {} campaigns", concerned.len());
    }
}
