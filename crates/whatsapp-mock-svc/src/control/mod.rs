//! `/mock`: what tests and the demo see and change. Has no counterpart at Meta, and no password.
//!
//! - here: faults, webhooks, acceptances, messages of people;
//! - `setup`: phone numbers, accounts, statuses of templates, and what Meta reports about them.

mod setup;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use campaign_runtime::{Json, Problem, Query};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::acceptances::Summary;
use crate::accounts::AccountReport;
use crate::faults::FaultProfile;
use crate::mock::Mock;
use crate::numbers::{NumberReport, RateReport};
use crate::webhooks::{InboundRequest, MAX_INBOUND, OutboxReport, WebhookSettings};

pub(crate) fn routes() -> OpenApiRouter<Arc<Mock>> {
    OpenApiRouter::new()
        .routes(routes!(overview))
        .routes(routes!(faults, set_faults))
        .routes(routes!(webhooks, set_webhooks))
        .routes(routes!(verify))
        .routes(routes!(acceptances, forget))
        .routes(routes!(export))
        .routes(routes!(rate))
        .routes(routes!(inbound))
        .merge(setup::routes())
}

/// The mock at a glance.
#[derive(Debug, Serialize, ToSchema)]
struct Overview {
    acceptances: Summary,
    numbers: Vec<NumberReport>,
    accounts: Vec<AccountReport>,
    webhooks: OutboxReport,
    faults: FaultProfile,
}

/// Shows everything at a glance.
#[utoipa::path(get, path = "/mock", tag = "control", responses((status = 200, body = Overview)))]
async fn overview(State(mock): State<Arc<Mock>>) -> Json<Overview> {
    let (acceptances, numbers, accounts) = {
        let ledger = mock.ledger();
        (
            ledger.acceptances.summary(None),
            ledger.numbers.reports(),
            ledger.accounts.reports(),
        )
    };
    let webhooks = mock.outbox().report();
    Json(Overview {
        acceptances,
        numbers,
        accounts,
        webhooks,
        faults: (*mock.faults()).clone(),
    })
}

/// Shows what goes wrong, and how often.
#[utoipa::path(get, path = "/mock/faults", tag = "control", responses((status = 200, body = FaultProfile)))]
async fn faults(State(mock): State<Arc<Mock>>) -> Json<FaultProfile> {
    Json((*mock.faults()).clone())
}

/// Replaces the whole profile: `{}` means no latency and no faults.
#[utoipa::path(put, path = "/mock/faults", tag = "control", request_body = FaultProfile,
    responses((status = 200, body = FaultProfile)))]
async fn set_faults(
    State(mock): State<Arc<Mock>>,
    Json(profile): Json<FaultProfile>,
) -> Result<Json<FaultProfile>, Problem> {
    refuse(profile.problems())?;
    mock.set_faults(profile.clone());
    Ok(Json(profile))
}

/// Shows how statuses travel.
#[utoipa::path(get, path = "/mock/webhooks", tag = "control", responses((status = 200, body = WebhookSettings)))]
async fn webhooks(State(mock): State<Arc<Mock>>) -> Json<WebhookSettings> {
    Json((*mock.webhooks()).clone())
}

/// Changes the fields that are given; the others stay.
#[utoipa::path(put, path = "/mock/webhooks", tag = "control", request_body = WebhookSettings,
    responses((status = 200, body = WebhookSettings)))]
async fn set_webhooks(
    State(mock): State<Arc<Mock>>,
    Json(given): Json<serde_json::Map<String, Value>>,
) -> Result<Json<WebhookSettings>, Problem> {
    let current = mock.webhooks();
    let mut merged = json!(*current);
    merged["app_secret"] = json!(current.app_secret);
    for (field, value) in given {
        merged[field] = value;
    }
    let settings: WebhookSettings =
        serde_json::from_value(merged).map_err(|error| Problem::unprocessable(error.to_string()))?;
    refuse(settings.problems())?;
    mock.set_webhooks(settings.clone());
    Ok(Json(settings))
}

/// Asks the target to verify itself, as Meta does when a webhook is registered.
#[utoipa::path(post, path = "/mock/webhooks/verify", tag = "control", responses((status = 200, body = Verified)))]
async fn verify(State(mock): State<Arc<Mock>>) -> Result<Json<Verified>, Problem> {
    let token = mock
        .verify_token
        .as_ref()
        .ok_or_else(|| Problem::conflict("WHATSAPP_VERIFY_TOKEN is not set"))?;
    let challenge = mock.now_us().to_string();
    let verified = mock
        .courier
        .verify(&mock.webhooks(), token.expose_secret(), &challenge)
        .await;
    let verified =
        verified.map_err(|error| Problem::conflict(format!("the target did not answer: {error:#}")))?;
    Ok(Json(Verified { verified }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfCampaign {
    campaign: Option<String>,
}

/// Shows what was accepted, of one campaign or of all.
#[utoipa::path(get, path = "/mock/acceptances", tag = "control", params(OfCampaign),
    responses((status = 200, body = Summary)))]
async fn acceptances(State(mock): State<Arc<Mock>>, Query(of): Query<OfCampaign>) -> Json<Summary> {
    Json(mock.ledger().acceptances.summary(of.campaign.as_deref()))
}

/// NDJSON, one line per recipient; what is accepted meanwhile may be in it or not.
#[utoipa::path(get, path = "/mock/acceptances/export", tag = "control", params(OfCampaign),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
async fn export(State(mock): State<Arc<Mock>>, Query(of): Query<OfCampaign>) -> Response {
    let shards = futures::stream::iter((0..).map_while(move |shard| {
        let lines = mock.ledger().acceptances.export(shard, of.campaign.as_deref());
        lines.map(|lines| Ok::<_, std::convert::Infallible>(Bytes::from(lines)))
    }));
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(shards),
    )
        .into_response()
}

/// Forgets everything that was accepted, and its statuses; settings stay.
#[utoipa::path(delete, path = "/mock/acceptances", tag = "control", responses((status = 200, body = Forgotten)))]
async fn forget(State(mock): State<Arc<Mock>>) -> Json<Forgotten> {
    {
        let mut ledger = mock.ledger();
        ledger.acceptances = crate::acceptances::AcceptanceLog::default();
        ledger.fault_memory = crate::faults::FaultMemory::default();
        ledger.numbers.forget();
        ledger.accounts.forget();
    }
    mock.outbox().forget();
    Json(Forgotten { forgotten: true })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfNumber {
    phone_number_id: String,
}

/// Shows how fast a number accepted.
#[utoipa::path(get, path = "/mock/rate", tag = "control", params(OfNumber),
    responses((status = 200, body = RateReport)))]
async fn rate(
    State(mock): State<Arc<Mock>>,
    Query(of): Query<OfNumber>,
) -> Result<Json<RateReport>, Problem> {
    let report = mock.ledger().numbers.rate(&of.phone_number_id);
    report
        .map(Json)
        .ok_or_else(|| Problem::not_found("nothing was sent from this phone number yet"))
}

/// Has a person write to the business, or wish for no more marketing.
#[utoipa::path(post, path = "/mock/inbound", tag = "control", request_body = InboundRequest,
    responses((status = 200, body = Planned)))]
async fn inbound(
    State(mock): State<Arc<Mock>>,
    Json(request): Json<InboundRequest>,
) -> Result<Json<Planned>, Problem> {
    refuse(request.problems())?;
    if !mock.webhooks().is_on() {
        return Err(Problem::conflict(
            "webhooks are off or have no target, see /mock/webhooks",
        ));
    }
    if request.opens_window() {
        let (id, now_us) = (&request.phone_number_id, mock.now_us());
        mock.ledger().windows.open(id, request.wa_id(), now_us);
    }
    let wamid = mock.outbox().accept_inbound(request);
    wamid
        .map(|wamid| Json(Planned { wamid }))
        .ok_or_else(|| Problem::too_many_requests(format!("{MAX_INBOUND} messages wait already")))
}

/// Whether the target verified itself.
#[derive(Debug, Serialize, ToSchema)]
struct Verified {
    verified: bool,
}

/// That everything was forgotten.
#[derive(Debug, Serialize, ToSchema)]
struct Forgotten {
    forgotten: bool,
}

/// A message that will come.
#[derive(Debug, Serialize, ToSchema)]
struct Planned {
    wamid: String,
}

/// Refuses settings that are wrong, each by its field.
fn refuse(problems: Vec<(String, String, &'static str)>) -> Result<(), Problem> {
    if problems.is_empty() {
        return Ok(());
    }
    let problem = Problem::unprocessable("a setting is wrong");
    Err(problems
        .into_iter()
        .fold(problem, |problem, (field, wrong, expected)| {
            problem.field(field, wrong, expected)
        }))
}
