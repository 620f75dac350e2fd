//! Why the work on a lane stopped.

use campaign_store::StoreError;
use campaign_streams::StreamsError;
use campaign_streams::lane::OwnerReply;

/// An error of the work on a lane.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    /// Redis knows a higher epoch.
    #[error("another owner wrote to the lane with a higher epoch")]
    Superseded,
    /// The Redis that answers is not the one that the lane was built on.
    #[error("the lane is not built on the Redis {identity}")]
    Unverified { identity: String },
    /// A campaign's stream does not end where it was believed to; opening it again finds out why.
    #[error("opening again: {0}")]
    Reopen(String),
    /// The lane in Redis lacks what it should have.
    #[error("the lane lost data: {0}")]
    Lost(String),
    /// A campaign's keys in Redis cannot be used.
    #[error("the campaign's keys are broken: {0}")]
    Broken(String),
    /// Postgres and Redis say things that cannot both be; a person must look.
    #[error("Postgres and Redis contradict each other: {0}")]
    Contradiction(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Streams(#[from] StreamsError),
}

impl LaneError {
    /// Whether this replica has nothing more to do with the lane.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Superseded | Self::Store(StoreError::LeaseLost { .. }))
    }

    /// Whether nothing can be done for any campaign of the lane; otherwise the others go on.
    pub(crate) fn concerns_the_lane(&self) -> bool {
        match self {
            Self::Superseded | Self::Unverified { .. } | Self::Lost(_) | Self::Streams(_) => true,
            Self::Store(error) => matches!(error, StoreError::LeaseLost { .. }) || error.is_unavailable(),
            Self::Reopen(_) | Self::Broken(_) | Self::Contradiction(_) => false,
        }
    }

    /// Turns every answer but the good one into an error.
    pub(crate) fn check<T>(reply: OwnerReply<T>) -> Result<T, Self> {
        match reply {
            OwnerReply::Ok(value) => Ok(value),
            OwnerReply::Superseded => Err(Self::Superseded),
            OwnerReply::Unverified { identity } => Err(Self::Unverified { identity }),
        }
    }
}
