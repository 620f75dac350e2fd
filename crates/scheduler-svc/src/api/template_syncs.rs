//! `/v1/templates/sync`: reading templates from WhatsApp, and what came of it.

use crate::api::Api;
use crate::api::auth::{Supervisor, Viewer};
use crate::api::body::OptionalJson;
use crate::api::change::{Change, ok};
use crate::api::problems::{Answer, Stop};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::ids::AccountId;
use campaign_runtime::Problem;
use campaign_store::template_syncs::{self, SyncOutcome, TemplateSync};
use campaign_store::{Connection, accounts};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// Accounts that one request asks for.
const ACCOUNTS_MAX: i64 = 200;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, ask))
}

/// Where the reading of templates stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateSyncs {
    /// Whether templates are read at all: not without a `WHATSAPP_ACCESS_TOKEN`.
    enabled: bool,
    accounts: Vec<TemplateSyncView>,
}

/// Where the reading of one account's templates stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateSyncView {
    account_id: Uuid,
    next_at: DateTime<Utc>,
    /// Whether it is being read now.
    running: bool,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    /// Readings that failed since one did not.
    failures: i32,
    /// Why the last one failed; null if it did not.
    error: Option<String>,
    /// Templates in the last listing.
    listed: u64,
    /// Versions that it made: new templates, and changed ones.
    written: u64,
    /// Templates whose status changed.
    changed: u64,
    /// Templates that were in an earlier listing and are gone.
    gone: u64,
    /// Templates that this engine cannot send, and why.
    passed_over: Vec<String>,
}

impl From<TemplateSync> for TemplateSyncView {
    fn from(sync: TemplateSync) -> Self {
        let SyncOutcome {
            listed,
            written,
            changed,
            gone,
            passed_over,
        } = sync.outcome;
        Self {
            account_id: sync.account_id.0,
            next_at: sync.next_at,
            running: sync.is_running,
            started_at: sync.started_at,
            finished_at: sync.finished_at,
            failures: sync.failures,
            error: sync.error,
            listed,
            written,
            changed,
            gone,
            passed_over,
        }
    }
}

/// Whose templates are to be read.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SyncInput {
    /// One of `/v1/accounts`; all of them if not given.
    account_id: Option<Uuid>,
}

/// Shows when templates were read from WhatsApp, and what was found.
#[utoipa::path(get, path = "/v1/templates/sync", tag = "templates", responses((status = 200, body = TemplateSyncs)))]
async fn show(_: Viewer, State(api): State<Api>) -> Answer {
    let mut connection = api.store.connection().await?;
    ok(&read(&api, &mut connection, None).await?)
}

/// Asks for the templates to be read from WhatsApp now. The answer does not wait; `GET` tells what came of it.
#[utoipa::path(post, path = "/v1/templates/sync", tag = "templates", request_body = Option<SyncInput>,
    responses((status = 202, body = TemplateSyncs)))]
async fn ask(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    OptionalJson(input): OptionalJson<SyncInput>,
) -> Answer {
    if !api.template_sync.enabled {
        return Err(Problem::conflict(
            "templates are not read from WhatsApp: the scheduler has no WHATSAPP_ACCESS_TOKEN",
        )
        .into());
    }
    let mut change = Change::begin(&api, &caller).await?;
    let asked: Vec<AccountId> = match input.account_id {
        Some(id) => vec![AccountId(id)],
        None => accounts::list(change.connection(), None, ACCOUNTS_MAX)
            .await?
            .into_iter()
            .map(|account| account.id)
            .collect(),
    };
    for account in &asked {
        template_syncs::ask(change.connection(), *account).await?;
        change
            .record("template.sync", &format!("account:{account}"), json!({}))
            .await?;
    }
    let view = read(&api, change.connection(), Some(&asked)).await?;
    let answer = change.commit(StatusCode::ACCEPTED, &view).await?;
    api.template_sync.bell.notify_one();
    Ok(answer)
}

async fn read(
    api: &Api,
    connection: &mut Connection,
    only: Option<&[AccountId]>,
) -> Result<TemplateSyncs, Stop> {
    let mut syncs = template_syncs::list(connection).await?;
    syncs.retain(|sync| only.is_none_or(|only| only.contains(&sync.account_id)));
    Ok(TemplateSyncs {
        enabled: api.template_sync.enabled,
        accounts: syncs.into_iter().map(TemplateSyncView::from).collect(),
    })
}
