//! Wires the mock together.

use std::sync::Arc;

use anyhow::anyhow;
use campaign_runtime::Runtime;

use crate::config::Config;
use crate::control;
use crate::messages;
use crate::mock::{Mock, MockSettings};
use crate::webhooks::delivery;

/// Runs the mock until it is stopped.
pub async fn run(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    // The same was checked at start; only a secret's file can have changed since.
    let settings = config.settings().map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow!("{}", problems.join("; "))
    })?;
    serve(settings, runtime).await
}

/// Runs the mock with these settings until it is stopped; what tests call.
pub async fn serve(settings: MockSettings, runtime: Runtime) -> anyhow::Result<()> {
    let mock = Arc::new(Mock::new(settings));
    runtime.spawn(
        "webhooks",
        delivery::pump(Arc::clone(&mock), runtime.shutdown.clone()),
    );
    let router = messages::router(Arc::clone(&mock), runtime.shutdown.clone()).merge(control::router(mock));
    runtime.serve(router).await
}
