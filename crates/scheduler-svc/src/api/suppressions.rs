//! `/v1/suppressions`: people who are not to be messaged.
//!
//! A change is written to Postgres, where feeding looks. It is told to the senders as an event of the customer, so that
//! what is already queued in the lanes is stopped too; and to the ERP, as what the customer says by WhatsApp is.

use crate::api::Api;
use crate::api::auth::Supervisor;
use crate::api::change::{Change, ok};
use crate::api::paging::{self, Page};
use crate::api::problems::{Answer, Faults, Stop};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::contracts::{CustomerEvent, CustomerEventKind, SuppressionEvent};
use campaign_core::phone::{CanonicalPhone, Region, canonicalise};
use campaign_runtime::{Json, Path, Problem, Query};
use campaign_store::messages;
use campaign_store::suppressions::{self, Suppression};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Longest reason, and longest id of a customer.
const TEXT_MAX_CHARS: usize = 200;
/// Source of what is written here.
const SOURCE: &str = "api";

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(remove))
}

/// A person who is not to be messaged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SuppressionView {
    phone: String,
    reason: String,
    /// Who said so: `whatsapp`, `erp` or `api`.
    source: String,
    customer_id: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<Suppression> for SuppressionView {
    fn from(row: Suppression) -> Self {
        Self {
            phone: row.phone.to_string(),
            reason: row.reason,
            source: row.source,
            customer_id: row.customer_id,
            created_at: row.created_at,
        }
    }
}

/// A person who must not be messaged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSuppression {
    /// In any usual form, as in `+55 31 98765-4321`.
    phone: String,
    /// For people.
    reason: String,
    #[serde(default)]
    customer_id: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListSuppressions {
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Lists suppressed people in the order of their numbers. Not for viewers, who see no numbers.
#[utoipa::path(get, path = "/v1/suppressions", tag = "suppressions", params(ListSuppressions),
    responses((status = 200, body = Page<SuppressionView>)))]
async fn list(_: Supervisor, State(api): State<Api>, Query(query): Query<ListSuppressions>) -> Answer {
    let limit = paging::limit(query.limit)?;
    let after: Option<CanonicalPhone> = paging::position(query.cursor.as_deref())?;
    let mut connection = api.store.connection().await?;
    let rows = suppressions::list(&mut connection, after.as_ref(), paging::one_more(limit)).await?;
    ok(&paging::page(rows, limit, |row| row.phone, SuppressionView::from))
}

/// Suppresses a person. One who is suppressed already stays so. The ERP is told.
#[utoipa::path(post, path = "/v1/suppressions", tag = "suppressions", request_body = NewSuppression,
    responses((status = 201, body = SuppressionView)))]
async fn create(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Json(new): Json<NewSuppression>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let mut faults = Faults::default();
    let phone = canonicalise(&new.phone, Region::Brazil);
    if let Err(problem) = &phone {
        faults.add("/phone", "cannot be messaged at all", problem.to_string());
    }
    let reason = faults.text("/reason", &new.reason, TEXT_MAX_CHARS);
    let customer_id = new
        .customer_id
        .as_deref()
        .and_then(|id| faults.text("/customer_id", id, TEXT_MAX_CHARS));
    faults.finish()?;
    let (Ok(phone), Some(reason)) = (phone, reason) else {
        return Err(Problem::internal("a wrong phone or reason is a fault").into());
    };
    let row = Suppression {
        phone,
        reason,
        source: SOURCE.to_owned(),
        customer_id,
        created_at: Utc::now(),
    };
    if suppressions::add(change.connection(), std::slice::from_ref(&row)).await? == 0 {
        let ahead =
            "this person allowed messages again this very moment, by a clock that may be ahead; try again";
        return Err(Problem::conflict(ahead).into());
    }
    change
        .record(
            "suppression.add",
            &subject(&phone),
            json!({ "reason": row.reason }),
        )
        .await?;
    tell(&api, &mut change, Decision::of(&row)).await?;
    change
        .commit(StatusCode::CREATED, &SuppressionView::from(row))
        .await
}

/// Allows a person to be messaged again. The ERP is told.
#[utoipa::path(delete, path = "/v1/suppressions/{phone}", tag = "suppressions", params(("phone" = String, Path)),
    responses((status = 204)))]
async fn remove(Supervisor(caller): Supervisor, State(api): State<Api>, Path(phone): Path<String>) -> Answer {
    let phone = canonicalise(&phone, Region::Brazil).map_err(|problem| {
        Problem::bad_request("a parameter of the path is wrong").field(
            "phone",
            "not a phone number",
            problem.to_string(),
        )
    })?;
    let mut change = Change::begin(&api, &caller).await?;
    let at = Utc::now();
    if !suppressions::remove(change.connection(), &phone, at).await? {
        return Err(Problem::not_found("this person is not suppressed").into());
    }
    change
        .record("suppression.remove", &subject(&phone), json!({}))
        .await?;
    let decision = Decision {
        phone,
        customer_id: None,
        stop: false,
        at,
    };
    tell(&api, &mut change, decision).await?;
    change.commit(StatusCode::NO_CONTENT, &()).await
}

/// Whether somebody is to be messaged, as a user of this engine decided.
struct Decision {
    phone: CanonicalPhone,
    customer_id: Option<String>,
    stop: bool,
    at: DateTime<Utc>,
}

impl Decision {
    fn of(row: &Suppression) -> Self {
        Self {
            phone: row.phone,
            customer_id: row.customer_id.clone(),
            stop: true,
            at: row.created_at,
        }
    }
}

/// Tells the senders, who stop what is queued, and the ERP.
async fn tell(api: &Api, change: &mut Change<'_>, decision: Decision) -> Result<(), Stop> {
    let Decision {
        phone,
        customer_id,
        stop,
        at,
    } = decision;
    let mut known = messages::customers_with(change.connection(), &[phone]).await?;
    let mut customer_ids = known.remove(&phone).unwrap_or_default();
    customer_ids.extend(customer_id.clone());
    let for_senders = CustomerEvent {
        kind: if stop {
            CustomerEventKind::OptedOut
        } else {
            CustomerEventKind::OptedIn
        },
        customer_id: customer_id.unwrap_or_default(),
        phone: Some(phone.to_string()),
        at,
    };
    api.queues.customer_changed(for_senders).await?;
    let for_erp = SuppressionEvent {
        phone,
        customer_ids: customer_ids.into_iter().collect(),
        stop,
        source: SOURCE.to_owned(),
        at,
    };
    api.queues.suppression_changed(for_erp).await?;
    Ok(())
}

fn subject(phone: &CanonicalPhone) -> String {
    format!("suppression:{}", phone.masked())
}
