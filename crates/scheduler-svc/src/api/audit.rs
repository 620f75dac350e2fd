//! `/v1/audit-log`: who changed what.

use crate::api::Api;
use crate::api::auth::Viewer;
use crate::api::change::ok;
use crate::api::paging::{self, Page};
use crate::api::problems::Answer;
use axum::extract::State;
use campaign_runtime::Query;
use campaign_store::audit::{self, AuditEntry, AuditFilter};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntryView {
    id: i64,
    at: DateTime<Utc>,
    /// Name of the API key, or of the service.
    actor: String,
    /// As in `campaign.pause`.
    action: String,
    /// As in `campaign:<id>`.
    subject: String,
    #[schema(value_type = Object)]
    details: Value,
}

impl From<AuditEntry> for AuditEntryView {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry {
            id,
            at,
            actor,
            action,
            subject,
            details,
        } = entry;
        Self {
            id,
            at,
            actor,
            action,
            subject,
            details,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListAuditEntries {
    actor: Option<String>,
    /// As in `campaign.pause`.
    action: Option<String>,
    /// As in `campaign:<id>`.
    subject: Option<String>,
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Lists changes, newest first.
#[utoipa::path(get, path = "/v1/audit-log", tag = "audit log", params(ListAuditEntries),
    responses((status = 200, body = Page<AuditEntryView>)))]
async fn list(_: Viewer, State(api): State<Api>, Query(query): Query<ListAuditEntries>) -> Answer {
    let limit = paging::limit(query.limit)?;
    let filter = AuditFilter {
        actor: query.actor,
        action: query.action,
        subject: query.subject,
        before: paging::position(query.cursor.as_deref())?,
    };
    let mut connection = api.store.connection().await?;
    let rows = audit::list(&mut connection, &filter, paging::one_more(limit)).await?;
    ok(&paging::page(rows, limit, |row| row.id, AuditEntryView::from))
}
