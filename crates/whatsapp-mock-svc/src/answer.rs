//! Answers as Meta writes them, and answers that never come.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use whatsapp_api::GraphError;
use whatsapp_api::errors::{ErrorBody, entry};
use whatsapp_api::send::{AcceptedMessage, Contact, SendResponse};

/// JSON that ends in the middle of the wamid.
const GARBAGE: &str = r#"{"messaging_product":"whatsapp","messages":[{"id":"wamid.HBg"#;

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i64,
    pub(crate) details: Cow<'static, str>,
    pub(crate) is_transient: Option<bool>,
    pub(crate) retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal that says nothing beyond its code.
    pub(crate) fn of(code: i64) -> Self {
        Self::because(code, "")
    }

    pub(crate) fn because(code: i64, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            details: details.into(),
            is_transient: None,
            retry_after_s: None,
        }
    }

    /// As Meta writes it, with its title for the code.
    pub(crate) fn into_error(self) -> GraphError {
        let title = entry(self.code).map_or("Unknown error", |entry| entry.title);
        let details = if self.details.is_empty() {
            title
        } else {
            &*self.details
        };
        let mut error = GraphError::new(self.code, format!("(#{}) {title}", self.code)).with_details(details);
        error.fbtrace_id = Some("AMockTraceIdOfThisSize".into());
        error.is_transient = self.is_transient;
        error
    }
}

/// A refusal. The status is what Meta has been seen to use; clients must not rely on it.
pub(crate) fn refused(refusal: Refusal) -> Response {
    let status = match refusal.code {
        190 => StatusCode::UNAUTHORIZED,
        3 | 10 | 200..=299 | 368 | 131_005 | 131_031 => StatusCode::FORBIDDEN,
        4 | 80_007 | 130_429 => StatusCode::TOO_MANY_REQUESTS,
        1 | 2 | 131_000 => StatusCode::INTERNAL_SERVER_ERROR,
        131_016 | 133_004 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let retry_after_s = refusal.retry_after_s;
    let error = refusal.into_error();
    let mut response = (status, axum::Json(ErrorBody { error })).into_response();
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// An acceptance.
pub(crate) fn accepted(to: String, wa_id: u64, message_id: String, held: bool) -> Response {
    let status = if held {
        "held_for_quality_assessment"
    } else {
        "accepted"
    };
    axum::Json(SendResponse {
        messaging_product: "whatsapp".into(),
        contacts: vec![Contact {
            input: to,
            wa_id: Some(wa_id.to_string()),
            user_id: None,
        }],
        messages: vec![AcceptedMessage {
            id: message_id,
            message_status: Some(status.into()),
        }],
    })
    .into_response()
}

/// HTTP 200 with something that cannot be read.
pub(crate) fn garbage() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], GARBAGE).into_response()
}

/// No answer at all: the connection closes without a byte.
///
/// A handler cannot close its connection. But a body that fails before its first byte makes the server
/// drop the connection before the head, written just before it, is flushed: the client sees its connection
/// closed in the middle of waiting.
pub(crate) fn broken() -> Response {
    let failing =
        futures::stream::once(async { Err::<bytes::Bytes, _>("this connection is broken on purpose") });
    Response::new(Body::from_stream(failing))
}
