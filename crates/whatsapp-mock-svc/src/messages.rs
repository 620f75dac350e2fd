//! `POST /{version}/{phone_number_id}/messages`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::post;
use campaign_runtime::{Bytes, Path, Shutdown};

use crate::answer::{self, Refusal};
use crate::check;
use crate::faults::Fault;
use crate::mock::{Mock, Verdict};

/// Largest body; real ones are a few KB.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a request without an answer is kept before its connection is closed.
pub(crate) const MAX_HANG: Duration = Duration::from_mins(5);

/// What the handlers share.
#[derive(Clone)]
struct Api {
    mock: Arc<Mock>,
    shutdown: Shutdown,
}

pub(crate) fn router(mock: Arc<Mock>, shutdown: Shutdown) -> axum::Router {
    axum::Router::new()
        .route("/{version}/{phone_number_id}/messages", post(send))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Api { mock, shutdown })
}

async fn send(
    State(api): State<Api>,
    Path((version, phone_number_id)): Path<(String, String)>,
    headers: HeaderMap,
    Bytes(body): Bytes,
) -> Response {
    // The limit is about arrivals, so the time is taken before anything else.
    let now_us = api.mock.now_us();
    let checked =
        check_caller(&api.mock, &version, &phone_number_id, &headers).and_then(|()| check::read(&body));
    let (request, recipient) = match checked {
        Ok(checked) => checked,
        Err(refusal) => {
            count("refused", refusal.code);
            return answer::refused(refusal);
        }
    };
    let (verdict, latency) = api.mock.decide(&phone_number_id, recipient, &request, now_us);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match verdict {
        Verdict::Refused(refusal) => {
            count("refused", refusal.code);
            answer::refused(refusal)
        }
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
            let answer = |held| answer::accepted(request.to, wa_id, message_id, held);
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

fn check_caller(
    mock: &Mock,
    version: &str,
    phone_number_id: &str,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    if !token.is_some_and(|token| mock.is_authorised(token)) {
        return Err(Refusal::because(190, "the access token is missing or wrong"));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = version
        .strip_prefix('v')
        .and_then(|number| number.split_once('.'));
    if !number.is_some_and(|(major, minor)| digits(major) && digits(minor)) {
        return Err(Refusal::because(100, "the version is not like v25.0"));
    }
    if !digits(phone_number_id) || phone_number_id.len() > whatsapp_api::client::MAX_PHONE_NUMBER_ID_DIGITS {
        return Err(Refusal::because(33, "the phone number id is not a number"));
    }
    Ok(())
}

/// Codes come from a fixed table and from the profile, so the label is bounded.
fn count(outcome: &'static str, code: i64) {
    metrics::counter!("whatsapp_mock_messages_total", "outcome" => outcome, "code" => code.to_string())
        .increment(1);
}
