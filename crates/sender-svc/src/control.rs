//! `campaign.sender`: a campaign became `SENDING`.

use crate::app::Sender;
use campaign_core::contracts::{SENDER_GROUP, SENDER_STREAM, SendCampaign};
use campaign_runtime::{current_trace_context, link_to};
use campaign_store::{StoreError, dispatches};
use campaign_streams::wake::{self, Audience};
use campaign_streams::{Consumer, ConsumerConfig, Delivery, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// How long a campaign waits that could not be taken up.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Takes campaigns up until `stopping`.
pub(crate) async fn consume(sender: Arc<Sender>, stopping: CancellationToken) -> anyhow::Result<()> {
    let consumer = Consumer::new(&sender.streams, ConsumerConfig::sole(SENDER_STREAM, SENDER_GROUP));
    consumer
        .run(stopping, |delivery: Delivery<SendCampaign>| {
            let span = tracing::info_span!("take up campaign", campaign_id = %delivery.body.campaign);
            link_to(&span, &delivery.trace);
            take_up(sender.clone(), delivery).instrument(span)
        })
        .await;
    Ok(())
}

/// Opens the campaign's ledger and wakes whoever owns its lane.
async fn take_up(sender: Arc<Sender>, delivery: Delivery<SendCampaign>) -> Verdict {
    let SendCampaign { campaign, lane } = delivery.body;
    let trace = current_trace_context().unwrap_or_default();
    match sender
        .store
        .in_time(create(&sender, campaign, &lane, &trace))
        .await
    {
        Ok(()) => {}
        // What it says can never be stored.
        Err(error) if error.is_data_error() => return Verdict::Reject(error.to_string()),
        Err(error) => {
            tracing::warn!(%error, "the campaign could not be taken up; trying again");
            return Verdict::Retry(RETRY_AFTER);
        }
    }
    if let Err(error) = wake::publish(&sender.streams, Audience::Senders, Some(&lane)).await {
        tracing::debug!(%error, "the owner was not woken; it will look by itself");
    }
    Verdict::Done
}

async fn create(
    sender: &Sender,
    campaign: campaign_core::ids::CampaignId,
    lane: &campaign_core::ids::LaneId,
    trace: &str,
) -> Result<(), StoreError> {
    let mut connection = sender.store.connection().await?;
    dispatches::create(&mut connection, &[campaign], lane, trace).await
}
