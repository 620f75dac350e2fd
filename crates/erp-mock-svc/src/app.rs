//! Puts the parts together and runs them until the service is asked to stop.

use crate::config::Config;
use crate::contacts::Contacts;
use crate::directory::Directory;
use crate::events::{self, CustomerEvents};
use crate::faults::Faults;
use crate::http;
use crate::population::Population;
use campaign_runtime::Runtime;
use chrono::Utc;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};

/// Pages computed at a time: each takes a core and, while it lasts, some megabytes.
const PAGES_AT_A_TIME: usize = 2;

/// What the HTTP routes and the stream reader share.
#[derive(Debug)]
pub(crate) struct Erp {
    pub(crate) directory: Directory,
    pub(crate) contacts: std::sync::Mutex<Contacts>,
    pub(crate) faults: Faults,
    pub(crate) events: CustomerEvents,
    pub(crate) api_key: SecretString,
    pub(crate) cursor_ttl: Option<Duration>,
    pub(crate) page_slots: Semaphore,
    /// Held while a change is told and then kept, so that events come in the order of the changes.
    pub(crate) changing: Mutex<()>,
}

/// Runs the service.
pub async fn run(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let streams = events::connect(&config)?;
    let today = config.today.unwrap_or_else(|| Utc::now().date_naive());
    let erp = Arc::new(Erp {
        directory: Directory::new(Population::new(config.seed, config.customers, today)),
        contacts: std::sync::Mutex::default(),
        faults: Faults::default(),
        events: CustomerEvents::new(streams.as_ref()),
        api_key: config
            .api_key
            .required()
            .map_err(|problem| anyhow::anyhow!("{problem}"))?,
        cursor_ttl: config.cursor_ttl(),
        page_slots: Semaphore::new(PAGES_AT_A_TIME),
        changing: Mutex::default(),
    });
    tracing::info!(customers = config.customers, seed = config.seed, %today, "the customers are ready");
    if let Some(streams) = streams {
        events::read_message_events(&runtime, &streams, &erp);
        events::read_suppression_events(&runtime, &streams, &erp);
        events::watch_redis(&runtime, streams);
    }
    runtime.serve(http::router(erp)).await
}
