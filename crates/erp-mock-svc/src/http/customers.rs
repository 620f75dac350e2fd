//! `/v1/customers`: pages, single customers, changes, contacts.

use super::find;
use super::page::{PageRequest, now_ms, page_before, write_page};
use crate::app::Erp;
use crate::contacts::Contact;
use crate::cursor::Cursor;
use crate::directory::{CustomerPatch, MAX_PHONE_CHARS};
use crate::faults::Fault;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use campaign_core::customer::Customer;
use campaign_core::segment::Segment;
use campaign_runtime::{Json, Path, Problem, Query};
use chrono::Utc;
use erp_api::wire::{CURSOR_EXPIRED, CURSOR_PARAMETER, LIMIT_PARAMETER, MAX_PAGE_SIZE};
use metrics::counter;
use serde::Serialize;
use std::sync::{Arc, PoisonError};

/// Customers on a page when no limit is given.
const DEFAULT_PAGE_SIZE: u16 = 100;

pub(super) async fn list(
    State(erp): State<Arc<Erp>>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let fate = erp.faults.next();
    tokio::time::sleep(fate.delay).await;
    let mut request = read_request(&erp, &parameters)?;
    // These two say something about the cursor, so a request without one is spared.
    let fault = fate.fault.filter(|fault| {
        request.cursor.is_some() || !matches!(fault, Fault::RepeatedPage | Fault::ExpiredCursor)
    });
    counter!("erp_mock_pages_total", "fault" => label(fault)).increment(1);
    match fault {
        Some(Fault::RateLimited(None)) => return Err(Problem::too_many_requests("a fault on demand")),
        Some(Fault::RateLimited(Some(seconds))) => {
            return Err(Problem::too_many_requests("a fault on demand").retry_after_s(seconds));
        }
        Some(Fault::ServerError) => {
            return Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "a fault on demand",
            ));
        }
        Some(Fault::ExpiredCursor) => return Err(expired()),
        Some(Fault::RepeatedPage) => request.repeat = true,
        Some(Fault::Truncated) | None => {}
    }
    let mut json = compute(&erp, request).await?;
    if fault == Some(Fault::Truncated) {
        json.truncate(json.len() / 2);
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], Bytes::from(json)).into_response())
}

const fn label(fault: Option<Fault>) -> &'static str {
    match fault {
        None => "none",
        Some(Fault::RateLimited(_)) => "rate_limited",
        Some(Fault::ServerError) => "server_error",
        Some(Fault::Truncated) => "truncated",
        Some(Fault::RepeatedPage) => "repeated_page",
        Some(Fault::ExpiredCursor) => "expired_cursor",
    }
}

fn read_request(erp: &Erp, parameters: &[(String, String)]) -> Result<PageRequest, Problem> {
    let own = |name: &str| name == CURSOR_PARAMETER || name == LIMIT_PARAMETER;
    let criteria = parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let segment = Segment::from_query(criteria.filter(|(name, _)| !own(name))).map_err(|problems| {
        let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
        problems
            .into_iter()
            .fold(Problem::bad_request(said.join("; ")), |problem, wrong| {
                problem.field(wrong.field, wrong.found, wrong.expected)
            })
    })?;
    let value = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let limit = value(LIMIT_PARAMETER).map_or(Ok(DEFAULT_PAGE_SIZE), read_limit)?;
    let cursor = value(CURSOR_PARAMETER)
        .map(|text| read_cursor(erp, &segment, text))
        .transpose()?;
    Ok(PageRequest {
        segment,
        cursor,
        limit,
        repeat: false,
    })
}

fn read_limit(text: &str) -> Result<u16, Problem> {
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_PAGE_SIZE).contains(limit));
    limit.ok_or_else(|| {
        let found: String = text.chars().take(20).collect();
        let expected = format!("a number from 1 to {MAX_PAGE_SIZE}");
        Problem::bad_request(format!("limit: found {found:?}; expected {expected}")).field(
            LIMIT_PARAMETER,
            found,
            expected,
        )
    })
}

fn read_cursor(erp: &Erp, segment: &Segment, text: &str) -> Result<Cursor, Problem> {
    let cursor = Cursor::decode(text, erp.directory.population(), segment).ok_or_else(|| {
        let expected = "the next_cursor of the page before, with the same criteria";
        Problem::bad_request(format!(
            "cursor: found a foreign or mistyped one; expected {expected}"
        ))
        .field(CURSOR_PARAMETER, "a foreign or mistyped cursor", expected)
        .extension("code", "cursor_invalid")
    })?;
    let age_ms = now_ms().saturating_sub(cursor.issued_at_ms);
    let too_old = erp
        .cursor_ttl
        .is_some_and(|ttl| u128::from(age_ms) > ttl.as_millis());
    if too_old { Err(expired()) } else { Ok(cursor) }
}

fn expired() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "the cursor has expired; start again without one",
    )
    .extension("code", CURSOR_EXPIRED)
}

/// The page as JSON. Takes a core for its time, so it runs beside the tasks, a few at a time.
async fn compute(erp: &Arc<Erp>, request: PageRequest) -> Result<Vec<u8>, Problem> {
    let _slot = erp.page_slots.acquire().await.map_err(Problem::internal)?;
    let erp = Arc::clone(erp);
    let page = move || {
        if request.repeat {
            page_before(&erp, &request)
        } else {
            write_page(&erp, &request)
        }
    };
    tokio::task::spawn_blocking(page).await.map_err(Problem::internal)
}

pub(super) async fn show(
    State(erp): State<Arc<Erp>>,
    Path(id): Path<String>,
) -> Result<Json<Customer>, Problem> {
    let index = find(&erp, &id)?;
    Ok(Json(erp.directory.customer(index)))
}

pub(super) async fn change(
    State(erp): State<Arc<Erp>>,
    Path(id): Path<String>,
    Json(patch): Json<CustomerPatch>,
) -> Result<Json<Customer>, Problem> {
    let too_long = |phone: &String| phone.chars().count() > MAX_PHONE_CHARS;
    if patch
        .phone
        .as_ref()
        .and_then(Option::as_ref)
        .is_some_and(too_long)
    {
        return Err(Problem::unprocessable("a field of the body is wrong").field(
            "/phone",
            "a longer text",
            format!("at most {MAX_PHONE_CHARS} characters, or null"),
        ));
    }
    apply(&erp, &id, patch).await.map(Json)
}

/// Tells the change first and makes it then: what nobody could be told of has not happened.
pub(super) async fn apply(erp: &Erp, id: &str, patch: CustomerPatch) -> Result<Customer, Problem> {
    let index = find(erp, id)?;
    let _one_at_a_time = erp.changing.lock().await;
    let change = erp
        .directory
        .plan(index, patch, Utc::now())
        .map_err(|full| Problem::new(StatusCode::INSUFFICIENT_STORAGE, full.to_string()))?;
    erp.events.publish(change.events.clone()).await.map_err(|error| {
        tracing::warn!(%error, "a change could not be told, so it was not made");
        Problem::unavailable("the change could not be told to anybody, so it was not made; try again")
    })?;
    Ok(erp.directory.keep(change))
}

/// What became of the messages to one customer.
#[derive(Debug, Serialize)]
pub(super) struct ContactHistory {
    customer_id: String,
    /// Newest first.
    contacts: Vec<Contact>,
}

pub(super) async fn contacts(
    State(erp): State<Arc<Erp>>,
    Path(id): Path<String>,
) -> Result<Json<ContactHistory>, Problem> {
    let index = find(&erp, &id)?;
    let contacts = erp
        .contacts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .of(index);
    Ok(Json(ContactHistory {
        customer_id: id,
        contacts,
    }))
}
