//! The ledger: reads what the message services report, from the head, and deletes what it has applied.
//!
//! Where there is more than one batch, the next is read and the one before is told of while one is written, so that
//! Postgres does not wait for Redis. A batch still leaves the lane only after it was committed and told of; should
//! anything fail, all that is left is read again from the head.

use super::apply::{self, Applied};
use super::telling::{self, Untold, tell};
use super::{AGAIN_AFTER, Lane};
use crate::lane::error::LaneError;
use campaign_store::lanes;
use campaign_streams::lane::{OutcomeBatch, OutcomeEntry, OutcomeReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most outcomes applied in one transaction.
pub(super) const BATCH_MAX: usize = 4_000;
/// How long a read waits for the first outcome.
const BLOCK: Duration = Duration::from_millis(400);
/// A lane's outcomes are left to gather for so long: fewer, larger transactions. Whoever has twenty lanes of 80 a second
/// would else spend a core on commits of two rows.
const GATHER: Duration = Duration::from_millis(40);
/// At least so long if a batch had at least [`BUSY_FROM`]: what webhooks say of a message soon after it is then one change.
const GATHER_BUSY: Duration = Duration::from_millis(100);
const BUSY_FROM: usize = 100;
/// So many times as long as such a batch took, where that is longer: the slower Postgres is, be it for the ledgers of many
/// numbers, the fewer and larger are its transactions.
const GATHER_FOR_EACH_BATCH: u32 = 8;
/// But no longer: people watch. The keeper ends it where nothing more would gather, or enough has.
const GATHER_MAX: Duration = Duration::from_millis(400);
/// How often the ledger records that it knows of everything, when it does.
const CAUGHT_UP_EVERY: Duration = Duration::from_secs(1);

/// Keeps the ledger of a lane until the lane stops.
pub(crate) async fn run(lane: Arc<Lane>) {
    // A lane without its ledger must not go on, should this panic.
    let _ends = lane.stop.clone().drop_guard();
    let mut ledger = Ledger {
        reader: OutcomeReader::new(&lane.sender.streams, &lane.lease.lane, BLOCK),
        ahead: None,
        caught_up_at: Instant::now(),
        lane,
    };
    let store = ledger.lane.sender.store.clone();
    while !ledger.lane.stop.is_cancelled() {
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
    if let Err(error) = store.in_time(ledger.finish()).await {
        tracing::info!(%error, "what was recorded last is told by who has the lane next");
    }
}

struct Ledger {
    lane: Arc<Lane>,
    reader: OutcomeReader,
    /// Set only by a step that succeeded.
    ahead: Option<Ahead>,
    caught_up_at: Instant,
}

/// What one step leaves to the next.
struct Ahead {
    /// Never empty.
    batch: Batch,
    before: Untold,
}

/// Outcomes, and when the read was sent that found them.
struct Batch {
    outcomes: Vec<OutcomeEntry>,
    /// Whether there was nothing more.
    complete: bool,
    asked: Instant,
}

impl Batch {
    fn new(read: OutcomeBatch, asked: Instant) -> Self {
        Self {
            outcomes: read.outcomes,
            complete: read.complete,
            asked,
        }
    }
}

impl Ledger {
    /// Applies one batch.
    async fn step(&mut self) -> Result<(), LaneError> {
        let asked = Instant::now();
        let (batch, before) = match self.ahead.take() {
            Some(ahead) => (ahead.batch, Some(ahead.before)),
            None => (Batch::new(self.reader.read(BATCH_MAX).await?, asked), None),
        };
        if batch.outcomes.is_empty() {
            return self.record_caught_up(asked).await;
        }
        let lane = self.lane.clone();
        let Ok(alone) = lane.many_campaigns.try_lock() else {
            // The lane is built anew; what was read stays.
            if let Some(before) = before {
                tell(&lane, &mut self.reader, before).await?;
            }
            lane.pause(GATHER_BUSY).await;
            return Ok(());
        };
        let started = Instant::now();
        let catches_up = batch.complete && self.caught_up_at.elapsed() >= CAUGHT_UP_EVERY;
        let complete_as_of = catches_up.then_some(batch.asked);
        let (applied, next) = tokio::join!(
            apply(&lane, &batch.outcomes, complete_as_of),
            beside(&lane, &mut self.reader, before, &batch),
        );
        drop(alone);
        let (applied, next) = (applied?, next?);
        if catches_up {
            self.caught_up_at = Instant::now();
        }
        let took = started.elapsed();
        metrics::histogram!("ledger_batch_seconds").record(took);
        metrics::counter!("ledger_outcomes_total").increment(batch.outcomes.len() as u64);
        let gather = gather_after(batch.outcomes.len(), took);
        let before = Untold {
            entries: batch.outcomes,
            applied,
        };
        if let Some(batch) = next {
            lane.look_soon.notify_one();
            self.ahead = Some(Ahead { batch, before });
            return Ok(());
        }
        tell(&lane, &mut self.reader, before).await?;
        // Not before the batch is deleted: whoever waits for the last outcomes looks for that, and ends the rest.
        lane.look_soon.notify_one();
        if batch.complete {
            tokio::select! {
                _ = lane.pause(gather) => {}
                () = lane.ledger_due.notified() => {}
            }
        }
        Ok(())
    }

    /// Tells of what was applied last, when the lane stops.
    async fn finish(&mut self) -> Result<(), LaneError> {
        match self.ahead.take() {
            Some(ahead) => tell(&self.lane, &mut self.reader, ahead.before).await,
            None => Ok(()),
        }
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
}

/// What can be done while a batch is written: telling of the one before, and reading the next, if there is more.
async fn beside(
    lane: &Lane,
    reader: &mut OutcomeReader,
    before: Option<Untold>,
    batch: &Batch,
) -> Result<Option<Batch>, LaneError> {
    if let Some(before) = before {
        tell(lane, reader, before).await?;
    }
    let Some(last) = batch.outcomes.last().filter(|_| !batch.complete) else {
        return Ok(None);
    };
    let asked = Instant::now();
    let next = reader.read_behind(last.id, BATCH_MAX).await?;
    Ok((!next.outcomes.is_empty()).then(|| Batch::new(next, asked)))
}

/// How long more may gather behind so many outcomes, which took so long and were all there were.
fn gather_after(outcomes: usize, took: Duration) -> Duration {
    if outcomes < BUSY_FROM {
        return GATHER;
    }
    took.saturating_mul(GATHER_FOR_EACH_BATCH)
        .clamp(GATHER_BUSY, GATHER_MAX)
}

/// Applies a batch. If the data of one outcome is at fault, the batch is split until that one stands
/// alone; it is then applied without what it carries, and kept as a dead letter.
async fn apply(
    lane: &Lane,
    entries: &[OutcomeEntry],
    complete_as_of: Option<Instant>,
) -> Result<Applied, LaneError> {
    match apply::batch(lane, entries, complete_as_of).await {
        Err(LaneError::Store(error)) if error.is_data_error() => {
            if let [single] = entries {
                return apply_stripped(lane, single, &error.to_string()).await;
            }
            let (first, second) = entries.split_at(entries.len() / 2);
            let mut applied = Box::pin(apply(lane, first, None)).await?;
            applied.add(Box::pin(apply(lane, second, complete_as_of)).await?);
            Ok(applied)
        }
        applied => applied,
    }
}

/// An outcome whose contents Postgres refuses: kept for a person, and applied without them. If even that is
/// refused, it goes; the end of the round finds its row without an outcome.
async fn apply_stripped(lane: &Lane, entry: &OutcomeEntry, reason: &str) -> Result<Applied, LaneError> {
    telling::set_aside(lane, entry, reason).await?;
    match apply::batch(lane, &[apply::stripped(entry)], None).await {
        Err(LaneError::Store(error)) if error.is_data_error() => Ok(Applied::default()),
        applied => applied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_a_busy_ledger_the_more_gathers_behind_it() {
        let ms = Duration::from_millis;
        assert_eq!(gather_after(BUSY_FROM - 1, ms(50)), GATHER);
        assert_eq!(gather_after(BUSY_FROM, ms(5)), GATHER_BUSY);
        assert_eq!(gather_after(BUSY_FROM, ms(30)), ms(240));
        assert_eq!(gather_after(BUSY_FROM, ms(900)), GATHER_MAX);
    }
}
