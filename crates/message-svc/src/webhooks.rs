//! `GET` and `POST /webhooks/whatsapp`: what WhatsApp reports after a message was sent.
//!
//! A webhook is answered 200 only after everything in it is in Redis; otherwise WhatsApp sends it again.
//! What concerns nothing here is counted and answered 200 too, since sending it again would not help.

use crate::config::WebhookSecrets;
use crate::measures;
use crate::service::Service;
use crate::webhook_outcomes::{NotTaken, WebhookOutcomes};
use crate::webhook_reading::{Reading, read};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::routing::get;
use campaign_core::contracts::{ACCOUNT_EVENTS_STREAM, AccountEvent, Outcome};
use campaign_core::ids::LaneId;
use campaign_runtime::{Bytes, Problem, Query, current_trace_context};
use campaign_streams::{Producer, Traced};
use chrono::Utc;
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use whatsapp_api::signature::{SIGNATURE_HEADER, verify};
use whatsapp_api::webhook::{MAX_WEBHOOK_BYTES, Webhook, WebhookError, parse};

/// When WhatsApp may try again, if it asks.
const RETRY_AFTER_S: u16 = 5;

/// About how many reports about accounts are kept for a scheduler that fell behind.
const ACCOUNT_EVENTS_MAX: usize = 10_000;

/// What is written to each lane's outcomes.
type ByLane = BTreeMap<LaneId, Vec<Outcome>>;

struct Endpoint {
    service: Arc<Service>,
    secrets: WebhookSecrets,
    outcomes: WebhookOutcomes,
    account_events: Producer,
}

/// The endpoint's routes.
pub(crate) fn router(service: Arc<Service>, secrets: WebhookSecrets) -> Router {
    let endpoint = Endpoint {
        outcomes: WebhookOutcomes::new(Arc::clone(&service)),
        account_events: Producer::new(&service.streams, ACCOUNT_EVENTS_STREAM, ACCOUNT_EVENTS_MAX),
        service,
        secrets,
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
    Query(asked): Query<Verification>,
) -> Result<String, Problem> {
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
    Bytes(raw): Bytes,
) -> Result<&'static str, Problem> {
    endpoint.check_signature(&headers, &raw)?;
    let webhook = parse(&raw).map_err(|error| refuse_unreadable(&error))?;
    drop(raw);
    let (by_lane, account_events) = endpoint.sort(webhook)?;
    let trace = current_trace_context().unwrap_or_default();
    let reported = endpoint.account_events.publish_all(&account_events).await;
    reported.map_err(|error| refuse_untaken(&error.into()))?;
    for (lane, outcomes) in by_lane {
        let published = endpoint.outcomes.publish(&lane, outcomes, &trace).await;
        published.map_err(|error| refuse_untaken(&error))?;
    }
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
        let signature = headers
            .get(SIGNATURE_HEADER)
            .and_then(|value| value.to_str().ok());
        let secret = secret.expose_secret().as_bytes();
        if signature.is_some_and(|signature| verify(secret, raw, signature)) {
            return Ok(());
        }
        measures::webhook_refused("signature");
        Err(Problem::unauthorized(
            "X-Hub-Signature-256 does not sign this body with the app secret",
        ))
    }

    /// What is to be written: by lane, and about accounts.
    fn sort(&self, webhook: Webhook) -> Result<(ByLane, Vec<Traced<AccountEvent>>), Problem> {
        let mut by_lane = ByLane::new();
        let mut account_events = Vec::new();
        let now = Utc::now();
        if webhook.unreadable > 0 {
            measures::webhook_unknown("unreadable", webhook.unreadable);
        }
        for update in webhook.updates {
            let Reading {
                kind,
                status,
                opt_out,
                account_event,
                unknown,
            } = read(update, &self.service.opt_out_words, now);
            measures::webhook_update(kind);
            if let Some(reason) = unknown {
                measures::webhook_unknown(reason, 1);
            }
            if let Some((lane, outcome)) = status {
                by_lane.entry(lane).or_default().push(Outcome::Message(outcome));
            }
            account_events.extend(account_event.map(|event| Traced::new(event, current_trace_context())));
            if let Some((named, opt_out)) = opt_out {
                let lane = self.lane_for(named)?;
                by_lane.entry(lane).or_default().push(Outcome::OptOut(opt_out));
            }
        }
        Ok((by_lane, account_events))
    }

    /// A person's wish holds for all lanes, so any that has an owner will do.
    fn lane_for(&self, named: Option<LaneId>) -> Result<LaneId, Problem> {
        let lanes = &self.service.lanes;
        let lane = named.filter(|lane| lanes.knows(lane)).or_else(|| lanes.any());
        lane.ok_or_else(|| {
            measures::webhook_refused("no_lane");
            Problem::unavailable("no lane has an owner yet").retry_after_s(RETRY_AFTER_S)
        })
    }
}

fn refuse_unreadable(error: &WebhookError) -> Problem {
    measures::webhook_refused("unreadable");
    match error {
        WebhookError::TooLarge(_) | WebhookError::TooManyUpdates => Problem::too_large(error.to_string()),
        WebhookError::NotJson(_) | WebhookError::NoEntry => Problem::bad_request(error.to_string()),
    }
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
