//! Puts what webhooks report onto the outcomes of the lanes it concerns.
//!
//! Apart from the lanes' workers: a webhook must be taken while this instance is no member, and a burst of
//! statuses must not delay the settling of sends. Several webhooks are under way at a time.

use crate::service::{OUTCOMES_MAX, Service};
use campaign_core::contracts::Outcome;
use campaign_core::ids::LaneId;
use campaign_streams::StreamsError;
use campaign_streams::lane::{OutcomeReporter, Step};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most lanes whose connections are kept open.
const LANES_MAX: usize = 1_000;

/// Why an outcome was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// The ledger is too far behind.
    #[error("lane {lane} has {outcomes} outcomes waiting for the ledger, more than {OUTCOMES_MAX}")]
    Full { lane: LaneId, outcomes: u64 },
    /// Redis failed.
    #[error(transparent)]
    Streams(#[from] StreamsError),
}

/// The lanes that webhooks have named.
pub(crate) struct WebhookOutcomes {
    service: Arc<Service>,
    lanes: Mutex<HashMap<LaneId, Arc<Outbox>>>,
}

/// One lane's connection.
struct Outbox {
    reporter: OutcomeReporter,
    /// Outcomes in the lane, as of the last answer.
    waiting: AtomicU64,
}

impl WebhookOutcomes {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            lanes: Mutex::default(),
        }
    }

    /// Writes outcomes of one lane, all of them or an error; an error may leave some written, which is no
    /// harm when they come again. People's wishes are few, and taken however far behind the ledger is.
    pub(crate) async fn publish(
        &self,
        lane: &LaneId,
        outcomes: &[Outcome],
        trace: &str,
    ) -> Result<(), NotTaken> {
        let outbox = self.outbox(lane)?;
        let only_wishes = outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::OptOut(_)));
        if !only_wishes && outbox.waiting.load(Ordering::Relaxed) > OUTCOMES_MAX {
            let outcomes = outbox.reporter.waiting().await?;
            outbox.waiting.store(outcomes, Ordering::Relaxed);
            if outcomes > OUTCOMES_MAX {
                let lane = lane.clone();
                return Err(NotTaken::Full { lane, outcomes });
            }
        }
        let waiting = outbox.reporter.append(outcomes, trace).await?;
        outbox.waiting.store(waiting, Ordering::Relaxed);
        self.keep_wishes(lane, outcomes, trace);
        Ok(())
    }

    /// Should Redis be lost before the ledger has them, statuses are evidence lost, but a wish must not be. They are
    /// published a second time, which changes nothing.
    fn keep_wishes(&self, lane: &LaneId, outcomes: &[Outcome], trace: &str) {
        let wishes = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::OptOut(_)));
        let steps: Vec<Step> = wishes
            .map(|wish| Step::Event {
                outcome: wish.clone(),
                trace: trace.to_owned(),
            })
            .collect();
        if !steps.is_empty() {
            self.service.lanes.keep(lane, steps);
        }
    }

    fn outbox(&self, lane: &LaneId) -> Result<Arc<Outbox>, StreamsError> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outbox) = lanes.get(lane) {
            return Ok(Arc::clone(outbox));
        }
        if lanes.len() >= LANES_MAX {
            lanes.clear();
        }
        let outbox = Arc::new(Outbox {
            reporter: OutcomeReporter::new(&self.service.streams, lane)?,
            waiting: AtomicU64::new(0),
        });
        lanes.insert(lane.clone(), Arc::clone(&outbox));
        Ok(outbox)
    }
}
