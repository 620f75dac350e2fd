//! `GET` and `POST /webhooks/whatsapp`: what WhatsApp reports after a message was sent.
//!
//! A webhook is answered 200 only after everything in it is in Redis; otherwise WhatsApp sends it again.
//! What concerns nothing here is counted and answered 200 too, since sending it again would not help; some of it
//! is kept for a person to look at.

use crate::config::WebhookSecrets;
use crate::measures;
use crate::service::Service;
use crate::webhook_outcomes::{NotTaken, WebhookOutcomes};
use crate::webhook_sorting::{NoLane, Sorted, Sorter, StrayLimit};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use campaign_core::contracts::ACCOUNT_EVENTS_STREAM;
use campaign_runtime::{Bytes, Problem, Query, current_trace_context};
use campaign_streams::Producer;
use campaign_streams::dead_letters::{self, Letters};
use campaign_streams::lane::tell_optouts;
use chrono::Utc;
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;
use whatsapp_api::signature::{SIGNATURE_HEADER, verify};
use whatsapp_api::webhook::{MAX_WEBHOOK_BYTES, WebhookError, parse};

/// When WhatsApp may try again, if it asks.
const RETRY_AFTER_S: u16 = 5;

/// About how many reports about accounts are kept for a scheduler that fell behind.
const ACCOUNT_EVENTS_MAX: usize = 10_000;

struct Endpoint {
    service: Arc<Service>,
    secrets: WebhookSecrets,
    outcomes: WebhookOutcomes,
    strays: StrayLimit,
    account_events: Producer,
}

/// The endpoint's routes.
pub(crate) fn router(service: Arc<Service>, secrets: WebhookSecrets) -> Router {
    let endpoint = Endpoint {
        outcomes: WebhookOutcomes::new(Arc::clone(&service)),
        account_events: Producer::new(&service.streams, ACCOUNT_EVENTS_STREAM, ACCOUNT_EVENTS_MAX),
        service,
        secrets,
        strays: StrayLimit::default(),
    };
    Router::new()
        .route("/webhooks/whatsapp", get(verify_address).post(receive))
        .layer(DefaultBodyLimit::max(MAX_WEBHOOK_BYTES))
        .with_state(Arc::new(endpoint))
}

/// Meta's way of asking whether this address expects its webhooks.
#[derive(Deserialize)]
struct Verification {
    #[serde(rename = "hub.mode")]
    mode: String,
    #[serde(rename = "hub.verify_token")]
    verify_token: String,
    #[serde(rename = "hub.challenge")]
    challenge: String,
}

async fn verify_address(
    State(endpoint): State<Arc<Endpoint>>,
    asked: Result<Query<Verification>, Problem>,
) -> Result<String, Problem> {
    let Query(asked) = asked.inspect_err(|_| measures::webhook_refused("verify_token"))?;
    let expected = endpoint.secrets.verify_token.as_ref();
    let is_ours = expected.is_some_and(|expected| {
        let expected = expected.expose_secret().as_bytes();
        expected.ct_eq(asked.verify_token.as_bytes()).into()
    });
    if asked.mode == "subscribe" && is_ours {
        return Ok(asked.challenge);
    }
    measures::webhook_refused("verify_token");
    Err(Problem::forbidden(
        "hub.mode must be subscribe and hub.verify_token the configured one",
    ))
}

async fn receive(
    State(endpoint): State<Arc<Endpoint>>,
    headers: HeaderMap,
    body: Result<Bytes, Problem>,
) -> Result<&'static str, Problem> {
    let Bytes(raw) = body.inspect_err(count_unread)?;
    let received = Instant::now();
    endpoint.check_signature(&headers, &raw)?;
    let webhook = parse(&raw).map_err(|error| refuse_unreadable(&error))?;
    drop(raw);
    let rules = Sorter {
        lanes: &endpoint.service.lanes,
        words: &endpoint.service.opt_out_words,
        strays: &endpoint.strays,
        now: Utc::now(),
        instant: received,
    };
    let sorted = rules.sort(webhook).map_err(refuse_homeless)?;
    let taken = endpoint.take(sorted).await;
    taken.map_err(|error| refuse_untaken(&error))?;
    measures::webhook_taken(received.elapsed());
    Ok("ok")
}

impl Endpoint {
    fn check_signature(&self, headers: &HeaderMap, raw: &[u8]) -> Result<(), Problem> {
        let Some(secret) = &self.secrets.app_secret else {
            measures::webhook_refused("no_secret");
            return Err(Problem::unauthorized(
                "no app secret is configured, so no webhook can be believed",
            ));
        };
        let Some(signature) = headers.get(SIGNATURE_HEADER) else {
            measures::webhook_refused("unsigned");
            return Err(Problem::unauthorized(
                "the webhook is not signed: expected the header X-Hub-Signature-256",
            ));
        };
        let secret = secret.expose_secret().as_bytes();
        if signature
            .to_str()
            .is_ok_and(|signature| verify(secret, raw, signature))
        {
            return Ok(());
        }
        measures::webhook_refused("signature");
        Err(Problem::unauthorized(
            "X-Hub-Signature-256 does not sign this body with the app secret",
        ))
    }

    /// Writes everything. The lanes hear first of who stopped: what is queued for them does not wait for the
    /// ledger.
    async fn take(&self, sorted: Sorted) -> Result<(), NotTaken> {
        let streams = &self.service.streams;
        tell_optouts(streams, &self.service.lanes.all(), &sorted.stops, Utc::now()).await?;
        dead_letters::keep_all(streams, Letters::Dead, &sorted.nameless).await?;
        self.account_events.publish_all(&sorted.account_events).await?;
        let trace = current_trace_context().unwrap_or_default();
        for (lane, outcomes) in &sorted.outcomes {
            self.outcomes.publish(lane, outcomes, &trace).await?;
        }
        match dead_letters::keep_all(streams, Letters::Stray, &sorted.strays).await {
            // Nobody's state hangs on them, so they are not worth having the whole webhook again.
            Err(error) if error.is_out_of_memory() => Ok(()),
            kept => Ok(kept?),
        }
    }
}

/// The body was not read to its end.
fn count_unread(problem: &Problem) {
    measures::webhook_refused(match problem.status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::REQUEST_TIMEOUT => "too_slow",
        _ => "truncated",
    });
}

fn refuse_unreadable(error: &WebhookError) -> Problem {
    let (reason, is_too_large) = match error {
        WebhookError::TooLarge(_) => ("too_large", true),
        WebhookError::TooManyUpdates => ("too_many_updates", true),
        WebhookError::NotJson(_) => ("not_json", false),
        WebhookError::NoEntry => ("not_a_webhook", false),
    };
    measures::webhook_refused(reason);
    if is_too_large {
        Problem::too_large(error.to_string())
    } else {
        Problem::bad_request(error.to_string())
    }
}

fn refuse_homeless(_: NoLane) -> Problem {
    measures::webhook_refused("no_lane");
    Problem::unavailable("no lane has an owner yet").retry_after_s(RETRY_AFTER_S)
}

fn refuse_untaken(error: &NotTaken) -> Problem {
    let reason = match error {
        NotTaken::Full { .. } => "full",
        NotTaken::Streams(_) => "redis",
    };
    measures::webhook_refused(reason);
    tracing::warn!(%error, "a webhook was not taken; it comes again");
    Problem::unavailable("what this webhook reports cannot be kept now").retry_after_s(RETRY_AFTER_S)
}
