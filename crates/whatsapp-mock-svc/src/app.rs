//! Wires the mock together.

use std::sync::Arc;

use anyhow::anyhow;
use campaign_runtime::Runtime;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;

use crate::config::Config;
use crate::mock::{Mock, MockSettings};
use crate::webhooks::delivery;
use crate::{control, graph, openapi};

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
    let api = graph::Api::new(Arc::clone(&mock), runtime.shutdown.clone());
    runtime.serve(router(api, mock)).await
}

fn router(api: graph::Api, mock: Arc<Mock>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(openapi::base())
        .merge(graph::routes().with_state(api))
        .merge(control::routes().with_state(mock))
        .split_for_parts();
    graph::with_fallbacks(router.merge(openapi::route(document)))
}
