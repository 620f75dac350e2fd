//! The REST API: routes by resource, and what all of them share.
//!
//! A handler names who may call it (`auth`), checks what it was given and names every field at fault
//! (`problems`), changes within one transaction with its audit entry and the answer of its
//! `Idempotency-Key` (`change`), and lists in pages (`paging`).

mod accounts;
mod audit;
mod auth;
mod body;
mod campaigns;
mod change;
mod holds;
mod keys;
mod openapi;
mod paging;
mod phone_numbers;
mod preview;
mod prices;
mod problems;
mod queues;
mod suppressions;
mod template_syncs;
mod templates;

pub use openapi::document;

use crate::streams::Queues;
use axum::Router;
use axum::middleware::from_fn;
use campaign_store::Store;
use erp_api::ErpClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;

/// What the handlers work with.
#[derive(Debug, Clone)]
pub struct Api {
    /// Postgres.
    pub store: Store,
    /// Redis.
    pub queues: Queues,
    /// The ERP, for previews and to see that a segment is not empty.
    pub erp: ErpClient,
    /// How long pause, resume and cancel wait for the lane.
    pub control_wait: Duration,
    /// Reading templates from WhatsApp.
    pub template_sync: SyncBell,
    /// Whether campaigns start at their moment, or by the tick of the minute alone.
    pub precise_wakeup: bool,
}

/// How reading templates is asked for.
#[derive(Debug, Clone)]
pub struct SyncBell {
    /// Whether templates are read at all.
    pub enabled: bool,
    /// Rung when somebody asks.
    pub bell: Arc<Notify>,
}

/// The whole API, with its description at `/openapi.json`.
pub fn router(api: Api) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .merge(openapi::route(document))
        .layer(from_fn(change::read_idempotency_key))
        .with_state(api)
}

fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::base())
        .merge(campaigns::routes())
        .merge(preview::routes())
        .merge(prices::routes())
        .merge(template_syncs::routes())
        .merge(templates::routes())
        .merge(phone_numbers::routes())
        .merge(accounts::routes())
        .merge(suppressions::routes())
        .merge(queues::routes())
        .merge(keys::routes())
        .merge(audit::routes())
}
