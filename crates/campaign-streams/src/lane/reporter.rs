//! Outcomes that concern no entry in hand: what webhooks report, appended to the lane as it comes.

use super::outcomes::{OUTCOMES_EACH, ask_for_ends, waiting};
use super::script::{Answer, REPORT};
use crate::connection::ManagedConnection;
use crate::entry::{encode, entries};
use crate::{Result, Streams};
use campaign_core::contracts::Outcome;
use campaign_core::ids::LaneId;

/// Outcomes sent to Redis in one go.
const BATCH_MAX: usize = 500;

/// Appends to one lane's outcomes. Cheap to clone; appends of several callers are under way at a time.
#[derive(Clone)]
pub struct OutcomeReporter {
    connection: ManagedConnection,
    key: String,
}

impl OutcomeReporter {
    /// Connects when first used.
    pub fn new(streams: &Streams, lane: &LaneId) -> Result<Self> {
        Ok(Self {
            connection: streams.managed()?,
            key: streams.keys().lane(lane).outcomes(),
        })
    }

    /// Appends outcomes in order. Returns how many wait for the ledger now.
    ///
    /// # Errors
    /// When not all are known to be written. Some may be: the ledger takes an outcome that comes again.
    pub async fn append(&self, outcomes: &[Outcome], trace: &str) -> Result<u64> {
        let mut waiting = 0;
        for batch in outcomes.chunks(BATCH_MAX) {
            let mut call = REPORT.key(&self.key);
            call.arg(trace);
            for some in batch.chunks(OUTCOMES_EACH) {
                let bodies: Vec<String> = some.iter().map(encode).collect();
                call.arg(some.len()).arg(bodies.join("\n"));
            }
            let mut answer = Answer::read(call.invoke_async(&mut self.connection.clone()).await?)?;
            waiting = answer.number()? as u64;
        }
        Ok(waiting)
    }

    /// How many outcomes wait for the ledger.
    pub async fn waiting(&self) -> Result<u64> {
        let mut ends = redis::pipe();
        ask_for_ends(&mut ends, &self.key);
        let (first, last) = ends.query_async(&mut self.connection.clone()).await?;
        Ok(waiting(&entries(first)?, &entries(last)?))
    }
}
