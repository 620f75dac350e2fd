//! `/v1/phone-numbers`: business phone numbers, their throughput, and the holds on their lanes.

use crate::api::Api;
use crate::api::auth::{Admin, Viewer};
use crate::api::body::OptionalJson;
use crate::api::change::{Change, ok, to_value};
use crate::api::holds::{HoldKinds, HoldView, Pause};
use crate::api::paging::{self, Page};
use crate::api::problems::{Answer, Faults, Stop};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::campaign::HoldKind;
use campaign_core::ids::{AccountId, LaneId};
use campaign_runtime::{Json, Path, Problem, Query};
use campaign_store::phone_numbers::{self, PhoneNumber, THROUGHPUT_MAX_PER_SECOND};
use campaign_store::{Connection, StoreError, accounts, holds};
use campaign_streams::lane::Pace;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// Meta starts every number at this throughput.
const THROUGHPUT_DEFAULT_PER_SECOND: i32 = 80;
/// Longest display number.
const DISPLAY_NUMBER_MAX_CHARS: usize = 40;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// A business phone number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PhoneNumberView {
    /// Meta's id of the number.
    phone_number_id: String,
    account_id: Uuid,
    /// The number as people read it.
    display_number: String,
    /// Messages a second, over all replicas: the ceiling that people decided.
    throughput_per_second: i32,
    /// The ceiling that WhatsApp reported last; the lower one holds.
    reported_throughput_per_second: Option<i32>,
    /// Messages a second that the lane hands out now: lower than the ceiling after WhatsApp found it too fast, or slow.
    /// Null while the lane is not built, or Redis is away.
    pace_per_second: Option<f64>,
    /// Whether campaigns may be sent from it.
    active: bool,
    /// What stops everything that is sent from it.
    holds: Vec<HoldView>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A new number.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPhoneNumber {
    /// Meta's id of the number: digits.
    phone_number_id: String,
    account_id: Uuid,
    display_number: String,
    /// Messages a second; Meta starts at 80.
    #[serde(default)]
    throughput_per_second: Option<i32>,
}

/// What changes; what is not given stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhoneNumberPatch {
    #[serde(default)]
    display_number: Option<String>,
    #[serde(default)]
    throughput_per_second: Option<i32>,
    #[serde(default)]
    active: Option<bool>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListPhoneNumbers {
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Lists phone numbers.
#[utoipa::path(get, path = "/v1/phone-numbers", tag = "phone numbers", params(ListPhoneNumbers),
    responses((status = 200, body = Page<PhoneNumberView>)))]
async fn list(_: Viewer, State(api): State<Api>, Query(query): Query<ListPhoneNumbers>) -> Answer {
    let limit = paging::limit(query.limit)?;
    let after: Option<LaneId> = paging::position(query.cursor.as_deref())?;
    let mut connection = api.store.connection().await?;
    let rows = phone_numbers::list(&mut connection, after.as_ref(), paging::one_more(limit)).await?;
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        views.push(view(&api, &mut connection, row).await?);
    }
    ok(&paging::page(
        views,
        limit,
        |view| view.phone_number_id.clone(),
        |view| view,
    ))
}

/// Shows a phone number.
#[utoipa::path(get, path = "/v1/phone-numbers/{id}", tag = "phone numbers", params(("id" = String, Path)),
    responses((status = 200, body = PhoneNumberView)))]
async fn get(_: Viewer, State(api): State<Api>, Path(id): Path<LaneId>) -> Answer {
    let mut connection = api.store.connection().await?;
    let number = phone_numbers::get(&mut connection, &id).await?;
    ok(&view(&api, &mut connection, number).await?)
}

/// Makes a phone number known.
#[utoipa::path(post, path = "/v1/phone-numbers", tag = "phone numbers", request_body = NewPhoneNumber,
    responses((status = 201, body = PhoneNumberView)))]
async fn create(Admin(caller): Admin, State(api): State<Api>, Json(new): Json<NewPhoneNumber>) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let mut faults = Faults::default();
    let id = new.phone_number_id.parse::<LaneId>();
    if let Err(invalid) = &id {
        faults.add(
            "/phone_number_id",
            format!("{:?}", new.phone_number_id),
            invalid.to_string(),
        );
    }
    let account_id = AccountId(new.account_id);
    match accounts::get(change.connection(), account_id).await {
        Ok(_) => {}
        Err(StoreError::NotFound { .. }) => {
            faults.add("/account_id", "unknown", "the id of one of /v1/accounts");
        }
        Err(error) => return Err(error.into()),
    }
    let throughput = new.throughput_per_second.unwrap_or(THROUGHPUT_DEFAULT_PER_SECOND);
    check(&mut faults, &new.display_number, throughput);
    faults.finish()?;
    let number = PhoneNumber {
        phone_number_id: id.map_err(|invalid| Problem::unprocessable(invalid.to_string()))?,
        account_id,
        display_number: new.display_number.trim().to_owned(),
        throughput_per_second: throughput,
        reported_throughput_per_second: None,
        active: true,
        created_at: Utc::now(),
        updated_at: Utc::now(),
    };
    phone_numbers::create(change.connection(), &number).await?;
    finish(
        &api,
        change,
        &number.phone_number_id,
        "phone_number.create",
        StatusCode::CREATED,
    )
    .await
}

/// Changes a phone number.
#[utoipa::path(patch, path = "/v1/phone-numbers/{id}", tag = "phone numbers", params(("id" = String, Path)),
    request_body = PhoneNumberPatch, responses((status = 200, body = PhoneNumberView)))]
async fn update(
    Admin(caller): Admin,
    State(api): State<Api>,
    Path(id): Path<LaneId>,
    Json(patch): Json<PhoneNumberPatch>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let mut number = phone_numbers::get(change.connection(), &id).await?;
    number.display_number = patch.display_number.unwrap_or(number.display_number);
    number.throughput_per_second = patch
        .throughput_per_second
        .unwrap_or(number.throughput_per_second);
    number.active = patch.active.unwrap_or(number.active);
    let mut faults = Faults::default();
    check(&mut faults, &number.display_number, number.throughput_per_second);
    faults.finish()?;
    phone_numbers::update(change.connection(), &number).await?;
    let answer = finish(&api, change, &id, "phone_number.update", StatusCode::OK).await?;
    api.queues.wake_lane(&id).await;
    Ok(answer)
}

/// Stops everything that is sent from a number.
#[utoipa::path(post, path = "/v1/phone-numbers/{id}/pause", tag = "phone numbers", params(("id" = String, Path)),
    request_body = Option<Pause>, responses((status = 200, body = PhoneNumberView)))]
async fn pause(
    Admin(caller): Admin,
    State(api): State<Api>,
    Path(id): Path<LaneId>,
    OptionalJson(pause): OptionalJson<Pause>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    phone_numbers::get(change.connection(), &id).await?;
    let reason = pause.reason()?;
    holds::raise_lane(
        change.connection(),
        &id,
        HoldKind::Person,
        &reason,
        &caller.name,
        None,
    )
    .await?;
    change
        .record("phone_number.pause", &subject(&id), json!({ "reason": reason }))
        .await?;
    let shown = shown(&api, &mut change, &id).await?;
    let answer = change.commit(StatusCode::OK, &shown).await?;
    api.queues.wake_lane(&id).await;
    Ok(answer)
}

/// Lifts holds from a number: those of the given kinds, or all of them.
#[utoipa::path(post, path = "/v1/phone-numbers/{id}/resume", tag = "phone numbers", params(("id" = String, Path)),
    request_body = Option<HoldKinds>, responses((status = 200, body = PhoneNumberView)))]
async fn resume(
    Admin(caller): Admin,
    State(api): State<Api>,
    Path(id): Path<LaneId>,
    OptionalJson(asked): OptionalJson<HoldKinds>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    phone_numbers::get(change.connection(), &id).await?;
    let kinds = asked.kinds_or(HoldKind::ALL)?;
    let mut lifted = Vec::new();
    for kind in kinds {
        if holds::lift_lane(change.connection(), &id, kind).await? {
            lifted.push(kind.as_str());
        }
    }
    if lifted.is_empty() {
        return Err(Problem::conflict("no such hold stands on this number").into());
    }
    change
        .record("phone_number.resume", &subject(&id), json!({ "lifted": lifted }))
        .await?;
    let shown = shown(&api, &mut change, &id).await?;
    let answer = change.commit(StatusCode::OK, &shown).await?;
    api.queues.wake_lane(&id).await;
    Ok(answer)
}

fn check(faults: &mut Faults, display_number: &str, throughput_per_second: i32) {
    faults.text("/display_number", display_number, DISPLAY_NUMBER_MAX_CHARS);
    if !(1..=THROUGHPUT_MAX_PER_SECOND).contains(&throughput_per_second) {
        let expected = format!("1 to {THROUGHPUT_MAX_PER_SECOND} messages a second");
        faults.add(
            "/throughput_per_second",
            throughput_per_second.to_string(),
            expected,
        );
    }
}

async fn finish(api: &Api, mut change: Change<'_>, id: &LaneId, action: &str, status: StatusCode) -> Answer {
    let shown = shown(api, &mut change, id).await?;
    change.record(action, &subject(id), to_value(&shown)).await?;
    change.commit(status, &shown).await
}

async fn shown(api: &Api, change: &mut Change<'_>, id: &LaneId) -> Result<PhoneNumberView, Stop> {
    let number = phone_numbers::get(change.connection(), id).await?;
    view(api, change.connection(), number).await
}

async fn view(api: &Api, connection: &mut Connection, number: PhoneNumber) -> Result<PhoneNumberView, Stop> {
    let holds = holds::of_lane(connection, &number.phone_number_id).await?;
    let pace = match Pace::of(api.queues.streams(), &number.phone_number_id).await {
        Ok(pace) => pace.pace_per_second,
        Err(error) => {
            tracing::debug!(lane = %number.phone_number_id, %error, "the pace cannot be read");
            None
        }
    };
    Ok(PhoneNumberView {
        phone_number_id: number.phone_number_id.into(),
        account_id: number.account_id.0,
        display_number: number.display_number,
        throughput_per_second: number.throughput_per_second,
        reported_throughput_per_second: number.reported_throughput_per_second,
        pace_per_second: pace,
        active: number.active,
        holds: holds.into_iter().map(HoldView::from).collect(),
        created_at: number.created_at,
        updated_at: number.updated_at,
    })
}

fn subject(id: &LaneId) -> String {
    format!("phone_number:{id}")
}
