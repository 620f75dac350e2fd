//! The ledger: reads what the message services report, from the head, and deletes what it has applied.

use super::apply::{self, Applied};
use super::{AGAIN_AFTER, Lane};
use crate::lane::error::LaneError;
use crate::wishes::Wishes;
use campaign_core::contracts::{DeadLetter, MessageOutcome, WEBHOOK_ORIGIN};
use campaign_store::lanes;
use campaign_streams::dead_letters::{self, Letters};
use campaign_streams::lane::{OutcomeBatch, OutcomeEntry, OutcomeReader, directory, tell_optouts};
use chrono::Utc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most outcomes applied in one transaction.
const BATCH_MAX: usize = 4_000;
/// How long a read waits for the first outcome.
const BLOCK: Duration = Duration::from_millis(400);
/// A lane's outcomes are left to gather for so long: fewer, larger transactions. Whoever has twenty lanes of 80 a second
/// would else spend a core on commits of two rows.
const GATHER: Duration = Duration::from_millis(40);
/// So long if a batch had at least [`BUSY_FROM`]: what webhooks say of a message soon after it is then one change.
const GATHER_BUSY: Duration = Duration::from_millis(100);
const BUSY_FROM: usize = 100;
/// How often an idle ledger records that it knows of everything.
const CAUGHT_UP_EVERY: Duration = Duration::from_secs(1);

/// Keeps the ledger of a lane until the lane stops.
pub(crate) async fn run(lane: Arc<Lane>) {
    // A lane without its ledger must not go on, should this panic.
    let _ends = lane.stop.clone().drop_guard();
    let mut ledger = Ledger {
        reader: OutcomeReader::new(&lane.sender.streams, &lane.lease.lane, BLOCK),
        caught_up_at: Instant::now(),
        lane,
    };
    while !ledger.lane.stop.is_cancelled() {
        let store = ledger.lane.sender.store.clone();
        match store.in_time(ledger.step()).await {
            Ok(()) => ledger.lane.progress.recorded(Instant::now()),
            Err(error) if error.is_over() => {
                ledger.lane.stop.cancel();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the ledger waits");
                ledger.lane.progress.failed(&error);
                ledger.lane.pause(AGAIN_AFTER).await;
            }
        }
    }
}

struct Ledger {
    lane: Arc<Lane>,
    reader: OutcomeReader,
    caught_up_at: Instant,
}

impl Ledger {
    async fn step(&mut self) -> Result<(), LaneError> {
        let asked = Instant::now();
        let OutcomeBatch {
            outcomes: entries,
            complete,
        } = self.reader.read(BATCH_MAX).await?;
        if entries.is_empty() {
            return self.record_caught_up(asked).await;
        }
        let lane = self.lane.clone();
        let Ok(_alone) = lane.many_campaigns.try_lock() else {
            // The lane is built anew; what was read stays.
            lane.pause(GATHER_BUSY).await;
            return Ok(());
        };
        let started = Instant::now();
        self.apply(&entries, complete.then_some(asked)).await?;
        metrics::histogram!("ledger_batch_seconds").record(started.elapsed());
        metrics::counter!("ledger_outcomes_total").increment(entries.len() as u64);
        self.lane.look_soon.notify_one();
        if complete {
            let gather = if entries.len() < BUSY_FROM {
                GATHER
            } else {
                GATHER_BUSY
            };
            self.lane.pause(gather).await;
        }
        Ok(())
    }

    async fn record_caught_up(&mut self, asked: Instant) -> Result<(), LaneError> {
        if self.caught_up_at.elapsed() >= CAUGHT_UP_EVERY {
            if let Some(known) = self.lane.parked.caught_up(asked, Instant::now()) {
                let mut connection = self.lane.sender.store.connection().await?;
                lanes::set_caught_up(&mut connection, &self.lane.lease, known.ago, known.parked).await?;
            }
            self.caught_up_at = Instant::now();
        }
        Ok(())
    }

    /// Applies a batch. If the data of one outcome is at fault, the batch is split until that one stands
    /// alone; it is then applied without what it carries, and kept as a dead letter.
    async fn apply(
        &mut self,
        entries: &[OutcomeEntry],
        complete_as_of: Option<Instant>,
    ) -> Result<(), LaneError> {
        match apply::batch(&self.lane, entries, complete_as_of).await {
            Ok(applied) => self.tell(entries, applied).await,
            Err(LaneError::Store(error)) if error.is_data_error() => {
                if let [single] = entries {
                    return self.apply_stripped(single, &error.to_string()).await;
                }
                let (first, second) = entries.split_at(entries.len() / 2);
                Box::pin(self.apply(first, None)).await?;
                Box::pin(self.apply(second, complete_as_of)).await
            }
            Err(error) => Err(error),
        }
    }

    /// An outcome whose contents Postgres refuses: kept for a person, and applied without them. If even that is
    /// refused, it goes; the end of the round finds its row without an outcome.
    async fn apply_stripped(&mut self, entry: &OutcomeEntry, reason: &str) -> Result<(), LaneError> {
        self.set_aside(entry, reason).await?;
        let stripped = [apply::stripped(entry)];
        let applied = match apply::batch(&self.lane, &stripped, None).await {
            Err(LaneError::Store(error)) if error.is_data_error() => Applied::default(),
            applied => applied?,
        };
        self.tell(&stripped, applied).await
    }

    /// What follows once a batch is in Postgres. Each part may be repeated: if any fails, the batch is read,
    /// applied and told again.
    async fn tell(&mut self, entries: &[OutcomeEntry], applied: Applied) -> Result<(), LaneError> {
        for (campaign, ends) in &applied.ends {
            self.lane.shares.note(*campaign, ends);
        }
        apply::break_off(&self.lane, &applied.over_budget).await?;
        self.tell_wishes(applied.wishes).await?;
        self.keep_strays(&applied.strays).await?;
        for (instance, identity) in &applied.members {
            // An unverified lane admits its members when it is verified.
            if let Err(error @ LaneError::Superseded) =
                LaneError::check(self.lane.owner.set_member(*instance, identity.as_deref()).await?)
            {
                return Err(error);
            }
        }
        let published = self.lane.sender.publish(applied.events).await;
        drop_if_full(published, "message_events_dropped_total")?;
        self.reader.delete(entries).await?;
        Ok(())
    }

    /// The lanes first: what is queued for a person waits for nobody.
    async fn tell_wishes(&self, wishes: Wishes) -> Result<(), LaneError> {
        if wishes.standing.is_empty() {
            return Ok(());
        }
        let sender = &self.lane.sender;
        let lanes = directory(&sender.streams).await?;
        tell_optouts(&sender.streams, &lanes, &wishes.standing, Utc::now()).await?;
        let published = sender.publish_suppressions(wishes.events).await;
        drop_if_full(published, "suppression_events_dropped_total")
    }

    async fn keep_strays(&self, strays: &[MessageOutcome]) -> Result<(), LaneError> {
        let letters: Vec<DeadLetter> = strays.iter().map(stray).collect();
        let kept = dead_letters::keep_all(&self.lane.sender.streams, Letters::Stray, &letters).await;
        drop_if_full(kept, "strays_dropped_total")
    }

    async fn set_aside(&self, entry: &OutcomeEntry, reason: &str) -> Result<(), LaneError> {
        tracing::error!(id = %entry.id, reason, "an outcome could not be recorded as it is");
        let body = serde_json::to_string(&entry.outcome).unwrap_or_default();
        let letter = DeadLetter {
            stream: self
                .lane
                .sender
                .streams
                .keys()
                .lane(&self.lane.lease.lane)
                .outcomes(),
            id: entry.id.to_string(),
            reason: reason.to_owned(),
            fields: vec![("body".to_owned(), body)],
        };
        match dead_letters::keep(&self.lane.sender.streams, &letter).await {
            // The log has it; it must not keep Redis from draining.
            Err(error) if error.is_out_of_memory() => Ok(()),
            kept => Ok(kept?),
        }
    }
}

/// The outcomes must go, or nothing ever frees memory: what a full Redis does not take is not told.
fn drop_if_full(told: campaign_streams::Result<()>, counter: &'static str) -> Result<(), LaneError> {
    match told {
        Err(error) if error.is_out_of_memory() => {
            tracing::warn!("Redis is out of memory; the outside is not told");
            metrics::counter!(counter).increment(1);
            Ok(())
        }
        told => Ok(told?),
    }
}

fn stray(outcome: &MessageOutcome) -> DeadLetter {
    let mut fields = vec![
        ("biz_opaque_callback_data".to_owned(), outcome.key.to_string()),
        ("status".to_owned(), outcome.state.to_string()),
        ("timestamp".to_owned(), outcome.at.timestamp().to_string()),
    ];
    fields.extend(
        outcome
            .error
            .as_ref()
            .map(|error| ("error_code".to_owned(), error.code.clone())),
    );
    DeadLetter {
        stream: WEBHOOK_ORIGIN.to_owned(),
        id: outcome.wamid.clone().unwrap_or_default(),
        reason: "no such message in the ledger".to_owned(),
        fields,
    }
}
