//! What the scheduler writes to Redis: ticks, campaigns to send, and wake-ups.

use campaign_core::campaign::Campaign;
use campaign_core::contracts::{
    CUSTOMER_EVENTS_STREAM, CustomerEvent, SENDER_STREAM, SUPPRESSION_EVENTS_MAX, SUPPRESSION_EVENTS_STREAM,
    SendCampaign, SuppressionEvent, TickKind,
};
use campaign_core::ids::LaneId;
use campaign_runtime::current_trace_context;
use campaign_streams::ticks::{self, Published};
use campaign_streams::wake::{self, Audience};
use campaign_streams::{Producer, Result, Streams, Traced};

/// About how many announcements the sender's stream keeps. A campaign that falls out is announced again by
/// the next tick.
const SENDER_STREAM_MAX: usize = 100_000;

/// About how many events of customers are kept for readers that fell behind.
const CUSTOMER_EVENTS_MAX: usize = 100_000;

/// The scheduler's side of Redis. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queues {
    streams: Streams,
    sender: Producer,
    customers: Producer,
    suppressions: Producer,
}

impl Queues {
    /// Writes through these connections.
    pub fn new(streams: Streams) -> Self {
        Self {
            sender: Producer::new(&streams, SENDER_STREAM, SENDER_STREAM_MAX),
            customers: Producer::new(&streams, CUSTOMER_EVENTS_STREAM, CUSTOMER_EVENTS_MAX),
            suppressions: Producer::new(&streams, SUPPRESSION_EVENTS_STREAM, SUPPRESSION_EVENTS_MAX),
            streams,
        }
    }

    /// The connections themselves, for consumers and for looking into the queues.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Publishes a tick.
    pub async fn tick(&self, kind: TickKind) -> Result<Published> {
        ticks::publish(&self.streams, kind, current_trace_context()).await
    }

    /// Tells the senders of campaigns that became `SENDING`.
    pub async fn announce(&self, campaigns: &[Campaign]) -> Result<()> {
        let announcements: Vec<_> = campaigns
            .iter()
            .map(|campaign| SendCampaign {
                campaign: campaign.id,
                lane: campaign.phone_number_id.clone(),
            })
            .map(|body| Traced::new(body, current_trace_context()))
            .collect();
        self.sender.publish_all(&announcements).await
    }

    /// Tells the senders what a person decided about a customer, as the ERP would.
    pub async fn customer_changed(&self, event: CustomerEvent) -> Result<()> {
        self.customers
            .publish(&Traced::new(event, current_trace_context()))
            .await
    }

    /// Tells the ERP what a person decided about a customer, as it hears what the customer says by WhatsApp.
    pub async fn suppression_changed(&self, event: SuppressionEvent) -> Result<()> {
        self.suppressions
            .publish(&Traced::new(event, current_trace_context()))
            .await
    }

    /// Wakes the owner of a lane. It looks each second by itself, so a lost wake-up costs only time.
    pub async fn wake_lane(&self, lane: &LaneId) {
        if let Err(error) = wake::publish(&self.streams, Audience::Senders, Some(lane)).await {
            tracing::warn!(%lane, %error, "the lane's owner could not be woken; it will look by itself");
        }
    }

    /// Wakes the schedulers that sleep until the next campaign: there may be an earlier one now.
    pub async fn wake_schedulers(&self) {
        if let Err(error) = wake::publish(&self.streams, Audience::Schedulers, None).await {
            tracing::warn!(%error, "the schedulers could not be woken; they will look by themselves");
        }
    }
}
