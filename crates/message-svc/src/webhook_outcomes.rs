//! Puts what webhooks report onto the outcomes of the lanes it concerns.
//!
//! Apart from the lanes' workers: a webhook must be taken while this instance is no member, and a burst of
//! statuses must not delay the settling of sends.

use crate::service::{OUTCOMES_MAX, Service};
use campaign_core::contracts::Outcome;
use campaign_core::ids::LaneId;
use campaign_streams::StreamsError;
use campaign_streams::lane::{LaneMember, Step};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most outcomes of one settle.
const EVENTS_MAX: usize = 500;
/// Most lanes whose connections are kept open.
const LANES_MAX: usize = 1_000;
/// No member joined: such events say nothing about entries, so whether they are trusted does not matter.
const NOT_JOINED: &str = "";

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
    lanes: Mutex<HashMap<LaneId, Arc<tokio::sync::Mutex<Outbox>>>>,
}

/// One lane's connection.
struct Outbox {
    member: LaneMember,
    /// Outcomes in the lane, as of the last answer.
    waiting: u64,
}

impl WebhookOutcomes {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            lanes: Mutex::default(),
        }
    }

    /// Writes outcomes of one lane, all of them or an error; an error may leave some written, which is no
    /// harm when they come again.
    pub(crate) async fn publish(
        &self,
        lane: &LaneId,
        outcomes: Vec<Outcome>,
        trace: &str,
    ) -> Result<(), NotTaken> {
        let outbox = self.outbox(lane)?;
        let mut outbox = outbox.lock().await;
        if outbox.waiting > OUTCOMES_MAX {
            outbox.waiting = outbox.member.settle(NOT_JOINED, &[]).await?.outcomes;
        }
        if outbox.waiting > OUTCOMES_MAX {
            return Err(NotTaken::Full {
                lane: lane.clone(),
                outcomes: outbox.waiting,
            });
        }
        let steps: Vec<Step> = outcomes
            .into_iter()
            .map(|outcome| Step::Event {
                outcome,
                trace: trace.to_owned(),
            })
            .collect();
        for steps in steps.chunks(EVENTS_MAX) {
            outbox.waiting = outbox.member.settle(NOT_JOINED, steps).await?.outcomes;
        }
        Ok(())
    }

    fn outbox(&self, lane: &LaneId) -> Result<Arc<tokio::sync::Mutex<Outbox>>, StreamsError> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outbox) = lanes.get(lane) {
            return Ok(Arc::clone(outbox));
        }
        if lanes.len() >= LANES_MAX {
            lanes.clear();
        }
        let outbox = Arc::new(tokio::sync::Mutex::new(Outbox {
            member: LaneMember::new(&self.service.streams, lane.clone(), self.service.instance)?,
            waiting: 0,
        }));
        lanes.insert(lane.clone(), Arc::clone(&outbox));
        Ok(outbox)
    }
}
