//! `/mock`: what tests and the demo see and change. Has no counterpart at Meta, and no password.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use campaign_runtime::{Json, Path, Problem, Query};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::acceptances::Summary;
use crate::faults::FaultProfile;
use crate::mock::Mock;
use crate::numbers::{MAX_NUMBERS, MAX_THROUGHPUT, NumberReport, NumberSettings, RateReport};
use crate::webhooks::{InboundRequest, MAX_INBOUND, OutboxReport, WebhookSettings};

pub(crate) fn router(mock: Arc<Mock>) -> axum::Router {
    axum::Router::new()
        .route("/mock", get(overview))
        .route("/mock/faults", get(faults).put(set_faults))
        .route("/mock/webhooks", get(webhooks).put(set_webhooks))
        .route("/mock/webhooks/verify", post(verify))
        .route("/mock/numbers/{phone_number_id}", put(set_number))
        .route("/mock/acceptances", get(acceptances).delete(forget))
        .route("/mock/acceptances/export", get(export))
        .route("/mock/rate", get(rate))
        .route("/mock/inbound", post(inbound))
        .with_state(mock)
}

/// The mock at a glance.
#[derive(Debug, Serialize)]
struct Overview {
    acceptances: Summary,
    numbers: Vec<NumberReport>,
    webhooks: OutboxReport,
    faults: FaultProfile,
}

async fn overview(State(mock): State<Arc<Mock>>) -> Json<Overview> {
    let (acceptances, numbers) = {
        let ledger = mock.ledger();
        (ledger.acceptances.summary(None), ledger.numbers.reports())
    };
    let webhooks = mock.outbox().report();
    Json(Overview {
        acceptances,
        numbers,
        webhooks,
        faults: (*mock.faults()).clone(),
    })
}

async fn faults(State(mock): State<Arc<Mock>>) -> Json<FaultProfile> {
    Json((*mock.faults()).clone())
}

/// Replaces the whole profile: `{}` means no latency and no faults.
async fn set_faults(
    State(mock): State<Arc<Mock>>,
    Json(profile): Json<FaultProfile>,
) -> Result<Json<FaultProfile>, Problem> {
    refuse(profile.problems())?;
    mock.set_faults(profile.clone());
    Ok(Json(profile))
}

async fn webhooks(State(mock): State<Arc<Mock>>) -> Json<WebhookSettings> {
    Json((*mock.webhooks()).clone())
}

/// Changes the fields that are given; the others stay.
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
async fn verify(State(mock): State<Arc<Mock>>) -> Result<Json<Value>, Problem> {
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
    Ok(Json(json!({ "verified": verified })))
}

async fn set_number(
    State(mock): State<Arc<Mock>>,
    Path(phone_number_id): Path<String>,
    Json(settings): Json<NumberSettings>,
) -> Result<Json<NumberReport>, Problem> {
    let mut problems = Vec::new();
    let known = !phone_number_id.is_empty() && phone_number_id.bytes().all(|byte| byte.is_ascii_digit());
    if !known || phone_number_id.len() > whatsapp_api::client::MAX_PHONE_NUMBER_ID_DIGITS {
        problems.push((
            "phone_number_id".to_owned(),
            "something else".to_owned(),
            "digits",
        ));
    }
    if let Some(throughput) = settings
        .throughput
        .filter(|rate| !(1..=MAX_THROUGHPUT).contains(rate))
    {
        problems.push((
            "/throughput".to_owned(),
            throughput.to_string(),
            "from 1 to 100000",
        ));
    }
    refuse(problems)?;
    let report = mock.ledger().numbers.set(&phone_number_id, settings);
    report.map(Json).ok_or_else(|| {
        Problem::conflict(format!(
            "this mock knows no more than {MAX_NUMBERS} phone numbers"
        ))
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCampaign {
    campaign: Option<String>,
}

async fn acceptances(State(mock): State<Arc<Mock>>, Query(of): Query<OfCampaign>) -> Json<Summary> {
    Json(mock.ledger().acceptances.summary(of.campaign.as_deref()))
}

/// NDJSON, one line per recipient; what is accepted meanwhile may be in it or not.
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
async fn forget(State(mock): State<Arc<Mock>>) -> Json<Value> {
    {
        let mut ledger = mock.ledger();
        ledger.acceptances = crate::acceptances::AcceptanceLog::default();
        ledger.fault_memory = crate::faults::FaultMemory::default();
        ledger.numbers.forget();
    }
    mock.outbox().forget();
    Json(json!({ "forgotten": true }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfNumber {
    phone_number_id: String,
}

async fn rate(
    State(mock): State<Arc<Mock>>,
    Query(of): Query<OfNumber>,
) -> Result<Json<RateReport>, Problem> {
    let report = mock.ledger().numbers.rate(&of.phone_number_id);
    report
        .map(Json)
        .ok_or_else(|| Problem::not_found("nothing was sent from this phone number yet"))
}

async fn inbound(
    State(mock): State<Arc<Mock>>,
    Json(request): Json<InboundRequest>,
) -> Result<Json<Value>, Problem> {
    refuse(request.problems())?;
    if !mock.webhooks().is_on() {
        return Err(Problem::conflict(
            "webhooks are off or have no target, see /mock/webhooks",
        ));
    }
    let wamid = mock.outbox().accept_inbound(request);
    wamid
        .map(|wamid| Json(json!({ "wamid": wamid })))
        .ok_or_else(|| Problem::too_many_requests(format!("{MAX_INBOUND} messages wait already")))
}

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
