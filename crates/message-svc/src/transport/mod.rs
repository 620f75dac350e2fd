//! The ways by which a message leaves.

mod simulate;

pub(crate) use simulate::Simulate;

use campaign_core::ids::LaneId;
use whatsapp_api::{CloudApi, MessageRequest, ProductPolicy, SendOutcome};

/// One way.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// Over HTTP, to the WhatsApp Cloud API or its mock.
    CloudApi(CloudApi),
    /// Nowhere: acceptance is made up here.
    Simulate(Simulate),
}

impl Transport {
    /// What a marketing template must say when it is sent from this lane, if it has an endpoint of its own.
    pub(crate) fn marketing_policy(&self, lane: &LaneId) -> Option<ProductPolicy> {
        match self {
            Self::CloudApi(client) => client.marketing_policy(lane.as_str()),
            Self::Simulate(_) => None,
        }
    }

    /// Hands one message over, once. Dropping the future leaves the result unknown.
    pub(crate) async fn send(&self, lane: &LaneId, message: &MessageRequest) -> SendOutcome {
        match self {
            Self::CloudApi(client) => client.send(lane.as_str(), message).await,
            Self::Simulate(simulate) => simulate.send(message).await,
        }
    }
}
