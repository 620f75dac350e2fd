//! `customer.events`: what the ERP says about its customers, as far as it concerns who may be messaged.

use crate::app::Sender;
use crate::wishes;
use campaign_core::contracts::{CUSTOMER_EVENTS_STREAM, CustomerEvent, CustomerEventKind, SENDER_GROUP};
use campaign_core::phone::{CanonicalPhone, Region, canonicalise};
use campaign_store::suppressions::{self, Suppression};
use campaign_streams::lane::{directory, tell_optouts};
use campaign_streams::{Consumer, ConsumerConfig, Delivery, Verdict};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long an event waits that could not be recorded.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Records opt-outs until `stopping`.
pub(crate) async fn consume(sender: Arc<Sender>, stopping: CancellationToken) -> anyhow::Result<()> {
    let config = ConsumerConfig::shared(CUSTOMER_EVENTS_STREAM, SENDER_GROUP);
    Consumer::new(&sender.streams, config)
        .run(stopping, |delivery: Delivery<CustomerEvent>| {
            record(sender.clone(), delivery)
        })
        .await;
    Ok(())
}

async fn record(sender: Arc<Sender>, delivery: Delivery<CustomerEvent>) -> Verdict {
    let event = delivery.body;
    let stop = match event.kind {
        CustomerEventKind::OptedOut => true,
        CustomerEventKind::OptedIn => false,
        CustomerEventKind::Changed => return Verdict::Done,
    };
    let phone = event
        .phone
        .as_deref()
        .map(|phone| canonicalise(phone, Region::Brazil));
    let Some(Ok(phone)) = phone else {
        return Verdict::Reject("an opt-out needs the customer's phone, with area code".to_owned());
    };
    // By a clock that is ahead a wish could not be undone by what is said next.
    let at = event.at.min(Utc::now());
    let applied = apply(&sender, phone, stop, Some(event.customer_id), at);
    match sender.store.in_time(applied).await {
        Ok(()) => Verdict::Done,
        Err(error) => {
            tracing::warn!(%error, "an opt-out could not be recorded; trying again");
            Verdict::Retry(RETRY_AFTER)
        }
    }
}

async fn apply(
    sender: &Sender,
    phone: CanonicalPhone,
    stop: bool,
    customer_id: Option<String>,
    at: DateTime<Utc>,
) -> anyhow::Result<()> {
    let mut connection = sender.store.connection().await?;
    if stop {
        let suppression = Suppression {
            phone,
            reason: "the customer opted out at the ERP".to_owned(),
            source: "erp".to_owned(),
            customer_id,
            created_at: at,
        };
        suppressions::add(&mut connection, &[suppression]).await?;
    } else {
        suppressions::remove(&mut connection, &phone, at).await?;
    }
    // The lanes hear of it after Postgres has it: what is fed from now on is checked there, and what lies in
    // a lane already is checked against the lane's own list when it is taken. An event that comes late, or again,
    // may have changed nothing.
    let standing = wishes::standing(&mut connection, &[phone]).await?;
    drop(connection);
    let lanes = directory(&sender.streams).await?;
    tell_optouts(&sender.streams, &lanes, &standing, Utc::now()).await?;
    Ok(())
}
