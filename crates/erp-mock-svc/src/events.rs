//! The event streams: tells what changed, and reads who was contacted and who wants no more of it.

use crate::app::Erp;
use crate::config::Config;
use campaign_core::contracts::{
    CUSTOMER_EVENTS_STREAM, CustomerEvent, ERP_GROUP, MESSAGE_EVENTS_STREAM, MessageEvents,
    SUPPRESSION_EVENTS_STREAM, SuppressionEvent,
};
use campaign_runtime::{Runtime, current_trace_context, link_to};
use campaign_streams::{
    Consumer, ConsumerConfig, Delivery, Producer, Streams, StreamsError, Traced, Verdict,
};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::Span;

/// About how many entries `customer.events` keeps.
const CUSTOMER_EVENTS_MAX: usize = 100_000;
/// Most entries with message events read at once: there are several events for each message sent.
const MESSAGE_EVENTS_AT_ONCE: usize = 128;
/// How often Redis is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Redis as configured; None if it is not.
pub(crate) fn connect(config: &Config) -> anyhow::Result<Option<Streams>> {
    let redis = config.redis().map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(redis.map(Streams::lazy).transpose()?)
}

/// Tells the engine what changed.
#[derive(Debug)]
pub(crate) struct CustomerEvents(Option<Producer>);

impl CustomerEvents {
    pub(crate) fn new(streams: Option<&Streams>) -> Self {
        Self(streams.map(|streams| Producer::new(streams, CUSTOMER_EVENTS_STREAM, CUSTOMER_EVENTS_MAX)))
    }

    /// Without Redis there is nobody to tell.
    pub(crate) async fn publish(&self, events: Vec<CustomerEvent>) -> Result<(), StreamsError> {
        let Some(producer) = &self.0 else { return Ok(()) };
        let trace = current_trace_context();
        let entries: Vec<_> = events
            .into_iter()
            .map(|event| Traced::new(event, trace.clone()))
            .collect();
        producer.publish_all(&entries).await
    }
}

/// Keeps the contact history up to date until the service stops.
pub(crate) fn read_message_events(runtime: &Runtime, streams: &Streams, erp: &Arc<Erp>) {
    let config = ConsumerConfig {
        batch_max: MESSAGE_EVENTS_AT_ONCE,
        ..ConsumerConfig::shared(MESSAGE_EVENTS_STREAM, ERP_GROUP)
    };
    let consumer = Consumer::new(streams, config);
    let stopping = runtime.shutdown.stopping_token();
    let erp = Arc::clone(erp);
    runtime.spawn("message-events", async move {
        consumer
            .run(stopping, |delivery| std::future::ready(record(&erp, delivery)))
            .await;
        Ok(())
    });
}

fn record(erp: &Erp, delivery: Delivery<MessageEvents>) -> Verdict {
    let MessageEvents(events) = delivery.body;
    // Most come without a trace to add to, and a span of their own would say nothing.
    let span = if delivery.trace.is_empty() {
        Span::none()
    } else {
        tracing::info_span!("record_contacts", events = events.len())
    };
    link_to(&span, &delivery.trace);
    let _entered = span.enter();
    let population = erp.directory.population();
    let mut contacts = erp.contacts.lock().unwrap_or_else(PoisonError::into_inner);
    for event in events {
        // A customer of another population, after a change of settings, has no history here.
        if let Some(index) = population.index_of(&event.customer_id) {
            contacts.record(index, event);
        }
    }
    Verdict::Done
}

/// Keeps the customers' consent as they told it by WhatsApp until the service stops.
pub(crate) fn read_suppression_events(runtime: &Runtime, streams: &Streams, erp: &Arc<Erp>) {
    let consumer = Consumer::new(
        streams,
        ConsumerConfig::shared(SUPPRESSION_EVENTS_STREAM, ERP_GROUP),
    );
    let stopping = runtime.shutdown.stopping_token();
    let erp = Arc::clone(erp);
    runtime.spawn("suppression-events", async move {
        consumer
            .run(stopping, |delivery| note_wish(Arc::clone(&erp), delivery))
            .await;
        Ok(())
    });
}

async fn note_wish(erp: Arc<Erp>, delivery: Delivery<SuppressionEvent>) -> Verdict {
    let event = delivery.body;
    let _one_at_a_time = erp.changing.lock().await;
    let population = erp.directory.population();
    // By the number, as everybody who has it is meant; by the id, should the number have changed since.
    let named = event.customer_ids.iter().filter_map(|id| population.index_of(id));
    let mut customers: BTreeSet<u64> = named.collect();
    customers.extend(erp.directory.with_phone(event.phone));
    for index in &customers {
        if let Err(full) = erp.directory.note_consent(*index, !event.stop, event.at) {
            return Verdict::Reject(full.to_string());
        }
    }
    metrics::counter!("erp_mock_wishes_total").increment(1);
    tracing::info!(
        customers = customers.len(),
        stop = event.stop,
        source = event.source,
        "a wish was told"
    );
    Verdict::Done
}

/// Keeps the health check `redis` true.
pub(crate) fn watch_redis(runtime: &Runtime, streams: Streams) {
    let health = runtime.health.register("redis");
    let stopping = runtime.shutdown.stopping_token();
    runtime.spawn("redis-watch", async move {
        loop {
            match streams.ping().await {
                Ok(()) => health.ready(),
                Err(error) => health.unready(format!("Redis does not answer: {error}")),
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(PING_EVERY) => {}
            }
        }
    });
}
