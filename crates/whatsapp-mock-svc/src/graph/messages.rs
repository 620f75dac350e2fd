//! `POST /{version}/{phone_number_id}/messages` and `…/marketing_messages`.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use campaign_runtime::{Bytes, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use whatsapp_api::send::Contact;

use super::{Api, Node, Success};
use crate::answer::{self, Refusal};
use crate::check::{self, Endpoint};
use crate::faults::Fault;
use crate::mock::{Arrival, Verdict};
use crate::person;
use crate::pricing;
use crate::request::{ReadReceipt, SendRequest};

/// Largest body; real ones are a few KB.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a request without an answer is kept before its connection is closed.
const MAX_HANG: Duration = Duration::from_mins(5);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(send))
        .routes(routes!(send_marketing))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// An acceptance, as it is described; what is written is the wire type of `whatsapp-api`.
#[derive(Serialize, ToSchema)]
struct Accepted {
    messaging_product: String,
    contacts: Vec<AcceptedContact>,
    messages: Vec<AcceptedMessage>,
}

/// Who is meant, as given and as WhatsApp knows them.
#[derive(Serialize, ToSchema)]
struct AcceptedContact {
    input: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    wa_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
}

/// The message.
#[derive(Serialize, ToSchema)]
struct AcceptedMessage {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_status: Option<String>,
}

/// Sends a message, or says that one was read (then the answer is `{"success": true}`).
#[utoipa::path(post, path = "/{version}/{phone_number_id}/messages", tag = "messages",
    params(("version" = String, Path), ("phone_number_id" = String, Path)),
    request_body = SendRequest, responses((status = 200, body = Accepted)))]
async fn send(state: State<Api>, node: Node, body: Result<Bytes, Problem>) -> Response {
    answer(state, node, body, Endpoint::Messages).await
}

/// Sends a template of category MARKETING.
#[utoipa::path(post, path = "/{version}/{phone_number_id}/marketing_messages", tag = "messages",
    params(("version" = String, Path), ("phone_number_id" = String, Path)),
    request_body = SendRequest, responses((status = 200, body = Accepted)))]
async fn send_marketing(state: State<Api>, node: Node, body: Result<Bytes, Problem>) -> Response {
    answer(state, node, body, Endpoint::MarketingMessages).await
}

async fn answer(
    State(api): State<Api>,
    node: Node,
    body: Result<Bytes, Problem>,
    endpoint: Endpoint,
) -> Response {
    // The limit is about arrivals, so the time is taken before anything else.
    let now_us = api.mock.now_us();
    let body = match body {
        Ok(Bytes(body)) => body,
        Err(problem) => return refused(Refusal::because(100, problem.to_string())),
    };
    let (request, person) = match check::read(&body, endpoint) {
        Ok(checked) => checked,
        Err(refusal) => return unread(&body, endpoint, refusal),
    };
    let arrival = Arrival {
        phone_number_id: &node.id,
        endpoint,
        person,
        has_conversation: pricing::has_conversation(&node.version),
        now_us,
    };
    let (verdict, latency) = api.mock.decide(&arrival, &request);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match verdict {
        Verdict::Refused(refusal) => refused(refusal),
        Verdict::Broken(fault) => {
            count("broken", 0);
            match fault {
                Fault::GarbageBefore => answer::garbage(),
                _ => answer::broken(),
            }
        }
        Verdict::Accepted {
            message_id,
            wa_id,
            fault,
        } => {
            count("accepted", 0);
            let answer = |held| answer::accepted(contact(request, wa_id), message_id, held);
            match fault {
                Fault::Hang => {
                    api.shutdown.sleep(MAX_HANG).await;
                    answer::broken()
                }
                Fault::ResetAfter => answer::broken(),
                Fault::GarbageAfter => answer::garbage(),
                Fault::Slow(delay) => {
                    api.shutdown.sleep(delay).await;
                    answer(false)
                }
                Fault::Held => answer(true),
                _ => answer(false),
            }
        }
    }
}

/// A body that is no message may still say that one was read.
fn unread(body: &[u8], endpoint: Endpoint, refusal: Refusal) -> Response {
    match ReadReceipt::read(body) {
        Some(Ok(_)) if endpoint == Endpoint::Messages => axum::Json(Success::YES).into_response(),
        Some(Err(refusal)) => refused(refusal),
        _ => refused(refusal),
    }
}

/// Who is meant: by `wa_id` if a phone number was given, by user id if that was.
fn contact(request: SendRequest, wa_id: u64) -> Contact {
    match (request.to, request.recipient) {
        (Some(to), _) => Contact {
            input: to,
            wa_id: person::wa_id_text(wa_id),
            user_id: None,
        },
        (None, recipient) => Contact {
            input: recipient.clone().unwrap_or_default(),
            wa_id: None,
            user_id: recipient,
        },
    }
}

fn refused(refusal: Refusal) -> Response {
    count("refused", refusal.code);
    refusal.into_response()
}

/// Codes come from a fixed table and from the profile, so the label is bounded.
fn count(outcome: &'static str, code: i64) {
    metrics::counter!("whatsapp_mock_messages_total", "outcome" => outcome, "code" => code.to_string())
        .increment(1);
}
