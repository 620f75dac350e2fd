//! Problem details (RFC 9457): what an HTTP API answers when it cannot do what was asked.
//!
//! A problem says what was wrong, where, and what would be right. Services return it as the error of
//! their handlers; clients of the API read it back into the same type.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The media type of a problem, by RFC 9457, section 3.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// The type of a problem that its status alone describes, by RFC 9457, section 4.2.1.
const ABOUT_BLANK: &str = "about:blank";

/// An answer that says what went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem; `about:blank` if the status says it all.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: Cow<'static, str>,
    /// The kind of problem, for people. The same for every problem of one type.
    #[serde(default)]
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, for people.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub detail: Box<str>,
    /// The fields at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// What else helps the caller's program, such as the transitions that are allowed now.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, Value>,
    /// Seconds for the `Retry-After` header.
    #[serde(skip)]
    retry_after_s: Option<u16>,
}

/// One field at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldProblem {
    /// A JSON pointer into the body (`/segment/states/0`), or the name of a query or path parameter.
    pub field: String,
    /// What was wrong.
    pub wrong: String,
    /// What would be right.
    pub expected: String,
}

impl Problem {
    /// A problem of this status, with a detail for people.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: about_blank(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: detail.into().into_boxed_str(),
            errors: Vec::new(),
            extensions: BTreeMap::new(),
            retry_after_s: None,
        }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: nobody said who asks, or nobody by that key is known.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: who asks may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405: the thing is there, but not for this method.
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    /// 408: the request did not come in time.
    pub fn request_timeout(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, detail)
    }

    /// 409: not in the state that the thing is in now.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 413: more than is taken at once.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// 415: a body of another media type than the one that is read.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// 422: understood, but some field is wrong.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 429: too much in too short a time.
    pub fn too_many_requests(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    /// 500: our fault. `cause` is logged here and not told to the caller.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(cause = %cause, "a request failed inside");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "something failed on our side; the logs say what",
        )
    }

    /// 503: not now; the same request may work later.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Adds a field at fault: where (a JSON pointer or a parameter's name), what was wrong, what would
    /// be right.
    #[must_use]
    pub fn field(
        mut self,
        field: impl Into<String>,
        wrong: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        self.errors.push(FieldProblem {
            field: field.into(),
            wrong: wrong.into(),
            expected: expected.into(),
        });
        self
    }

    /// Names the kind of problem, where programs must tell it from others of the same status.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>, title: impl Into<Cow<'static, str>>) -> Self {
        self.kind = kind.into();
        self.title = title.into();
        self
    }

    /// Adds a member for the caller's program. `value` must be representable in JSON.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Says when to ask again, in the `Retry-After` header.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u16) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The HTTP status; 500 if what a server sent as one is none.
    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn about_blank() -> Cow<'static, str> {
    Cow::Borrowed(ABOUT_BLANK)
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.status, self.title)?;
        if !self.detail.is_empty() {
            write!(formatter, ": {}", self.detail)?;
        }
        for FieldProblem {
            field,
            wrong,
            expected,
        } in &self.errors
        {
            write!(formatter, "; {field}: {wrong}, expected {expected}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(format_args!("{error:#}"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status_code();
        let body = serde_json::to_vec(&self).expect("a problem is always representable in JSON");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 15.5.2: a 401 names the scheme that would be accepted.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_is_written_as_rfc_9457_says_and_read_back() {
        let problem = Problem::conflict("the campaign is SENDING")
            .kind("/problems/illegal-transition", "Illegal transition")
            .field("/status", "SENDING", "DRAFT or SCHEDULED")
            .extension("allowed", json!(["pause", "cancel"]));
        let written = serde_json::to_value(&problem).expect("it is JSON");
        assert_eq!(
            written,
            json!({
                "type": "/problems/illegal-transition",
                "title": "Illegal transition",
                "status": 409,
                "detail": "the campaign is SENDING",
                "errors": [{"field": "/status", "wrong": "SENDING", "expected": "DRAFT or SCHEDULED"}],
                "allowed": ["pause", "cancel"],
            })
        );
        let read: Problem = serde_json::from_value(written).expect("it reads back");
        assert_eq!(read, problem);
    }

    #[test]
    fn the_response_carries_the_headers_that_its_status_asks_for() {
        let response = Problem::unauthorized("no key").into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let response = Problem::unavailable("later").retry_after_s(7).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
    }

    #[test]
    fn an_internal_problem_does_not_tell_its_cause() {
        let problem = Problem::from(anyhow::anyhow!("password authentication failed"));
        assert!(!problem.to_string().contains("password"), "{problem}");
    }

    #[test]
    fn a_result_with_a_problem_stays_cheap_to_move() {
        assert!(size_of::<Problem>() < 128, "{}", size_of::<Problem>());
    }
}
