//! One change: what it does, its entry in the audit log and the kept answer of its `Idempotency-Key` are one
//! transaction.
//!
//! A request that fails leaves nothing behind, not even its key, so it can be repeated as it is. Only
//! answers to changes that took place are kept.

use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::problems::{Answer, Stop};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use campaign_runtime::{Bytes, Json, Problem};
use campaign_store::idempotency::{self, Earlier};
use campaign_store::{Connection, Transaction, audit};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The header that names a request.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key that is taken.
const IDEMPOTENCY_KEY_MAX_CHARS: usize = 255;
/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What names a request, and stands for its content.
#[derive(Debug, Clone)]
pub(crate) struct Idempotency {
    key: String,
    fingerprint: [u8; 32],
}

/// An answer that was given before.
#[derive(Debug)]
pub(crate) struct Kept {
    status: u16,
    body: Value,
}

impl IntoResponse for Kept {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, Json(self.body)).into_response();
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

/// Reads the `Idempotency-Key` of a POST, and the body that it stands for, into the request's extensions.
pub(crate) async fn read_idempotency_key(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let Some(key) = request.headers().get(&IDEMPOTENCY_KEY) else {
        return next.run(request).await;
    };
    let key = match key.to_str() {
        Ok(key) if (1..=IDEMPOTENCY_KEY_MAX_CHARS).contains(&key.len()) => key.to_owned(),
        _ => {
            return Problem::bad_request("the Idempotency-Key cannot be used")
                .field(
                    "Idempotency-Key",
                    "empty, too long or not ASCII",
                    format!("1 to {IDEMPOTENCY_KEY_MAX_CHARS} visible ASCII characters, such as a UUID"),
                )
                .into_response();
        }
    };
    match with_fingerprint(key, request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn with_fingerprint(key: String, request: Request) -> Result<Request, Problem> {
    use axum::extract::FromRequest;
    let (mut parts, body) = request.into_parts();
    // The clone keeps the extensions, where the limit of the body is.
    let Bytes(bytes) = Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await?;
    let mut hash = Sha256::new();
    for part in [
        parts.method.as_str().as_bytes(),
        parts.uri.to_string().as_bytes(),
        &bytes[..],
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    parts.extensions.insert(Idempotency {
        key,
        fingerprint: hash.finalize().into(),
    });
    Ok(Request::from_parts(parts, bytes.into()))
}

/// A change under way.
pub(crate) struct Change<'a> {
    transaction: Transaction,
    caller: &'a Caller,
}

impl<'a> Change<'a> {
    /// Begins a change, unless the same request was answered before.
    pub(crate) async fn begin(api: &Api, caller: &'a Caller) -> Result<Self, Stop> {
        let mut transaction = api.store.begin().await?;
        if let Some(Idempotency { key, fingerprint }) = &caller.idempotency {
            match idempotency::begin(&mut transaction, caller.key, key, fingerprint).await? {
                Earlier::Nothing => {}
                Earlier::Answered { status, body } => return Err(Stop::Repeated(Kept { status, body })),
                Earlier::InProgress => {
                    let detail =
                        "a request with this Idempotency-Key is being handled; ask again in a moment";
                    return Err(Problem::conflict(detail).retry_after_s(1).into());
                }
                Earlier::Other => {
                    return Err(
                        Problem::unprocessable("this Idempotency-Key was used with another request")
                            .field(
                                "Idempotency-Key",
                                "used with another request",
                                "a new key for a new request",
                            )
                            .into(),
                    );
                }
            }
        }
        Ok(Self { transaction, caller })
    }

    /// Answers a request that was answered before, without holding anything afterwards: for handlers that
    /// ask someone else before they change anything.
    pub(crate) async fn unless_repeated(api: &Api, caller: &Caller) -> Result<(), Stop> {
        if caller.idempotency.is_some() {
            Change::begin(api, caller).await?;
        }
        Ok(())
    }

    /// The transaction's connection.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// Writes the change into the audit log.
    pub(crate) async fn record(&mut self, action: &str, subject: &str, details: Value) -> Result<(), Stop> {
        audit::record(
            &mut self.transaction,
            &self.caller.name,
            action,
            subject,
            &details,
        )
        .await?;
        Ok(())
    }

    /// Keeps the answer, commits, and answers.
    pub(crate) async fn commit(self, status: StatusCode, body: &impl Serialize) -> Answer {
        let body = to_value(body);
        self.commit_keeping(status, &body, &body).await
    }

    /// As [`Self::commit`], where what is kept must differ from what is answered this once.
    pub(crate) async fn commit_keeping(mut self, status: StatusCode, body: &Value, kept: &Value) -> Answer {
        if let Some(Idempotency { key, fingerprint }) = &self.caller.idempotency {
            let key_id = self.caller.key;
            idempotency::keep(
                &mut self.transaction,
                key_id,
                key,
                fingerprint,
                status.as_u16(),
                kept,
            )
            .await?;
        }
        self.transaction
            .commit()
            .await
            .map_err(campaign_store::StoreError::from)?;
        Ok(answer(status, body))
    }
}

/// Replaces the answer that was kept: the change took place, and now more is known about it.
pub(crate) async fn keep_later_answer(
    api: &Api,
    caller: &Caller,
    status: StatusCode,
    body: &Value,
) -> Result<(), Stop> {
    if let Some(Idempotency { key, fingerprint }) = &caller.idempotency {
        let mut connection = api.store.connection().await?;
        idempotency::keep(
            &mut connection,
            caller.key,
            key,
            fingerprint,
            status.as_u16(),
            body,
        )
        .await?;
    }
    Ok(())
}

/// An answer in JSON; without a body where the status has none.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    if status == StatusCode::NO_CONTENT {
        return status.into_response();
    }
    (status, axum::Json(body)).into_response()
}

/// The answer 200.
#[expect(
    clippy::unnecessary_wraps,
    reason = "the last expression of handlers, which answer a result"
)]
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    Ok(answer(StatusCode::OK, body))
}

pub(crate) fn to_value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("answers are always JSON")
}
