//! What the worker of a lane and all its sends share.

use crate::breaker::Breaker;
use crate::flight::Flight;
use crate::pacing::Pacing;
use crate::progress::Progress;
use crate::service::Service;
use crate::settle::Desk;
use crate::troubles::Troubles;
use campaign_core::ids::LaneId;
use std::sync::Arc;

/// One lane, as this process works on it.
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) service: Arc<Service>,
    pub(crate) flight: Arc<Flight>,
    pub(crate) progress: Arc<Progress>,
    /// Where steps are handed in.
    pub(crate) desk: Desk,
    pub(crate) breaker: Breaker,
    pub(crate) pacing: Arc<Pacing>,
    pub(crate) troubles: Troubles,
}

impl Lane {
    pub(crate) fn new(
        id: LaneId,
        service: Arc<Service>,
        flight: Arc<Flight>,
        progress: Arc<Progress>,
        desk: Desk,
        pacing: Arc<Pacing>,
    ) -> Self {
        Self {
            id,
            service,
            flight,
            progress,
            desk,
            breaker: Breaker::default(),
            pacing,
            troubles: Troubles::default(),
        }
    }
}
