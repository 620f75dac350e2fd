//! Puts the parts together and runs them until the service is asked to stop.

use crate::config::Config;
use crate::lane::{Limits, OWN_ROWS_BYTES_MAX};
use crate::{control, customers, fleet};
use campaign_core::contracts::{
    MESSAGE_EVENTS_MAX, MESSAGE_EVENTS_STREAM, MessageEvent, MessageEvents, SUPPRESSION_EVENTS_MAX,
    SUPPRESSION_EVENTS_STREAM, SuppressionEvent,
};
use campaign_core::ids::InstanceId;
use campaign_runtime::{HealthHandle, Runtime, Shutdown};
use campaign_store::Store;
use campaign_streams::wake::{Audience, Waker};
use campaign_streams::{Producer, Streams, Traced, require_safe_settings};
use erp_api::ErpClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// How often the requirements are tried while Redis or Postgres is away.
const REQUIREMENTS_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether they still answer.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// What every part of the service uses.
pub(crate) struct Sender {
    pub(crate) store: Store,
    pub(crate) streams: Streams,
    pub(crate) erp: ErpClient,
    pub(crate) events: Producer,
    pub(crate) suppressions: Producer,
    pub(crate) waker: Waker,
    pub(crate) instance: InstanceId,
    pub(crate) lane_lease: Duration,
    pub(crate) reclaim_idle: Duration,
    pub(crate) grace: Duration,
    pub(crate) feed_window: u32,
    pub(crate) messaging_limit_window: Duration,
    pub(crate) erp_page_size: u16,
    pub(crate) breaker: Limits,
    /// Bytes that the fetches of all lanes may remember their rows in.
    pub(crate) own_rows_memory: Arc<Semaphore>,
}

impl Sender {
    fn new(config: &Config) -> anyhow::Result<Self> {
        let problem = |problem: campaign_runtime::ConfigProblem| anyhow::anyhow!("{problem}");
        let streams = Streams::lazy(config.redis().map_err(problem)?)?;
        Ok(Self {
            store: Store::lazy(&config.postgres().map_err(problem)?)?,
            erp: ErpClient::new(config.erp().map_err(problem)?)?,
            events: Producer::new(&streams, MESSAGE_EVENTS_STREAM, MESSAGE_EVENTS_MAX),
            suppressions: Producer::new(&streams, SUPPRESSION_EVENTS_STREAM, SUPPRESSION_EVENTS_MAX),
            streams,
            waker: Waker::new(),
            instance: InstanceId(Uuid::new_v4()),
            lane_lease: config.lane_lease(),
            reclaim_idle: config.reclaim_idle(),
            grace: config.grace(),
            feed_window: config.feed_window,
            messaging_limit_window: config.messaging_limit_window(),
            erp_page_size: config.erp_page_size,
            breaker: config.breaker(),
            own_rows_memory: Arc::new(Semaphore::new(OWN_ROWS_BYTES_MAX)),
        })
    }

    /// Tells the outside what the ledger recorded.
    pub(crate) async fn publish(&self, events: Vec<MessageEvent>) -> campaign_streams::Result<()> {
        let entries = untraced(MessageEvents::in_entries(events));
        self.events
            .publish_weighed(&entries, |events| events.0.len())
            .await
    }

    /// Tells the ERP what people said by WhatsApp.
    pub(crate) async fn publish_suppressions(
        &self,
        events: Vec<SuppressionEvent>,
    ) -> campaign_streams::Result<()> {
        self.suppressions.publish_all(&untraced(events)).await
    }
}

fn untraced<T>(events: Vec<T>) -> Vec<Traced<T>> {
    events.into_iter().map(|event| Traced::new(event, None)).collect()
}

/// Runs the service.
pub async fn run(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let sender = Arc::new(Sender::new(&config)?);
    let stopping = runtime.shutdown.stopping_token();
    tracing::info!(instance = %sender.instance, "this is the instance");

    let health = runtime.health.register("postgres and redis");
    let lanes = runtime.health.register("lanes");
    lanes.unready("no lane was looked at yet");
    let spawner = runtime.spawner();
    let (listener, parts) = (sender.clone(), spawner.clone());
    runtime.spawn("wake-ups", async move {
        listener
            .waker
            .clone()
            .listen(listener.streams.clone(), Audience::Senders, stopping)
            .await;
        Ok(())
    });
    let shutdown = runtime.shutdown.clone();
    runtime.spawn("start", async move {
        let met = shutdown
            .run_until_stopping(Box::pin(meet_requirements(&sender, &health)))
            .await;
        let Some(met) = met else { return Ok(()) };
        met?;
        parts.spawn(
            "campaign.sender",
            control::consume(sender.clone(), shutdown.stopping_token()),
        );
        parts.spawn(
            "customer.events",
            customers::consume(sender.clone(), shutdown.stopping_token()),
        );
        parts.spawn("watch", watch(sender.clone(), health, shutdown.clone()));
        parts.spawn("lanes", fleet::run(sender, shutdown, lanes));
        Ok(())
    });
    runtime.serve(axum::Router::new()).await
}

/// Waits until Redis and Postgres answer and are fit to use. Unfit is an error, away is not.
async fn meet_requirements(sender: &Sender, health: &HealthHandle) -> anyhow::Result<()> {
    loop {
        match check_requirements(sender).await {
            Ok(()) => {
                health.ready();
                return Ok(());
            }
            Err(Unmet::Unfit(error)) => return Err(error),
            Err(Unmet::Away(reason)) => {
                health.unready(reason);
                tokio::time::sleep(REQUIREMENTS_EVERY).await;
            }
        }
    }
}

/// Says whether Redis and Postgres answer, until the service stops.
async fn watch(sender: Arc<Sender>, health: HealthHandle, shutdown: Shutdown) -> anyhow::Result<()> {
    while shutdown.sleep(WATCH_EVERY).await {
        let answered = match sender.streams.ping().await {
            Ok(()) => {
                let pinged = sender.store.in_time(sender.store.ping()).await;
                pinged.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match answered {
            Ok(()) => health.ready(),
            Err(reason) => health.unready(reason),
        }
    }
    Ok(())
}

enum Unmet {
    Away(String),
    Unfit(anyhow::Error),
}

async fn check_requirements(sender: &Sender) -> Result<(), Unmet> {
    match require_safe_settings(&sender.streams, sender.grace).await {
        Err(error @ campaign_streams::StreamsError::UnsafeSettings(_)) => {
            return Err(Unmet::Unfit(error.into()));
        }
        Err(error) => return Err(Unmet::Away(error.to_string())),
        Ok(()) => {}
    }
    let away = |error: campaign_store::StoreError| Unmet::Away(error.to_string());
    let mut connection = sender.store.connection().await.map_err(away)?;
    match campaign_store::require_migrated(&mut connection).await {
        Err(error @ campaign_store::StoreError::Conflict(_)) => Err(Unmet::Unfit(
            anyhow::Error::from(error).context("the schema is not ready"),
        )),
        other => other.map_err(away),
    }
}
