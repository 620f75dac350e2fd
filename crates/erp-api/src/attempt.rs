//! One request, and what its failure means: whether to ask again, and when.

use crate::error::ErpError;
use crate::retry_after;
use crate::wire::{CURSOR_EXPIRED, CustomerPage, ErpProblem};
use chrono::Utc;
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use std::time::Duration;

/// Most bytes read of an error answer.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// Most characters kept of what the ERP says about an error.
const MAX_DETAIL_CHARS: usize = 300;

/// Why one attempt gave no page.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// Passes by itself: ask again, not before `retry_after` if the ERP named a time.
    Passing {
        why: Passing,
        retry_after: Option<Duration>,
    },
    /// Asking again gives the same.
    Final(ErpError),
}

/// The failures that pass by themselves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Passing {
    #[error("status {0}")]
    Status(u16),
    #[error("no answer in time")]
    Timeout,
    #[error("no connection: {0}")]
    Connection(String),
    #[error("the answer broke off")]
    Truncated,
    #[error("the answer cannot be decoded: {0}")]
    Undecodable(String),
    #[error("the same page again")]
    RepeatedPage,
}

impl AttemptError {
    /// The outcome as a metric label.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Passing { why, .. } => match why {
                Passing::Status(429) => "rate_limited",
                Passing::Status(_) => "server_error",
                Passing::Timeout => "timeout",
                Passing::Connection(_) => "connection",
                Passing::Truncated => "truncated",
                Passing::Undecodable(_) => "undecodable",
                Passing::RepeatedPage => "repeated_page",
            },
            Self::Final(ErpError::Refused { .. }) => "refused",
            Self::Final(ErpError::CursorExpired { .. }) => "cursor_expired",
            Self::Final(_) => "bad_answer",
        }
    }

    /// What the caller learns after the last attempt.
    pub(crate) fn into_error(self, attempts: u32) -> ErpError {
        match self {
            Self::Final(error) => error,
            Self::Passing {
                why: Passing::RepeatedPage,
                ..
            } => ErpError::RepeatedPage { attempts },
            Self::Passing {
                why: why @ Passing::Undecodable(_),
                ..
            } => ErpError::BadAnswer {
                detail: format!("{why} ({attempts} attempts)"),
            },
            Self::Passing { why, .. } => ErpError::Unavailable {
                attempts,
                last: why.to_string(),
            },
        }
    }
}

impl From<Passing> for AttemptError {
    fn from(why: Passing) -> Self {
        Self::Passing {
            why,
            retry_after: None,
        }
    }
}

impl From<reqwest::Error> for AttemptError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Passing::Timeout.into();
        }
        if error.is_body() || error.is_decode() {
            return Passing::Truncated.into();
        }
        // The innermost cause says what happened; the outer ones repeat the address.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Passing::Connection(cause.to_string()).into()
    }
}

/// The page in an answer to a request that was made with `cursor`.
pub(crate) async fn read_page(
    response: Response,
    cursor: Option<&str>,
    max_bytes: usize,
) -> Result<CustomerPage, AttemptError> {
    if response.status() != StatusCode::OK {
        return Err(read_error(response).await);
    }
    let (body, complete) = read_body(response, max_bytes).await?;
    if !complete {
        let detail = format!("it is longer than {max_bytes} bytes");
        return Err(AttemptError::Final(ErpError::BadAnswer { detail }));
    }
    let page: CustomerPage = serde_json::from_slice(&body).map_err(|error| {
        if error.is_eof() {
            Passing::Truncated
        } else {
            Passing::Undecodable(where_json_is_wrong(&error))
        }
    })?;
    if cursor.is_some() && page.next_cursor.as_deref() == cursor {
        return Err(Passing::RepeatedPage.into());
    }
    Ok(page)
}

/// Place and kind only: serde's own message can quote the value it met, which may be a phone number.
fn where_json_is_wrong(error: &serde_json::Error) -> String {
    format!(
        "{:?} error at line {}, column {}",
        error.classify(),
        error.line(),
        error.column()
    )
}

async fn read_error(response: Response) -> AttemptError {
    let status = response.status();
    if passes(status) {
        let header = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| retry_after::parse(value, Utc::now()));
        return AttemptError::Passing {
            why: Passing::Status(status.as_u16()),
            retry_after,
        };
    }
    if !status.is_client_error() {
        let detail = format!("status {status} instead of 200");
        return AttemptError::Final(ErpError::BadAnswer { detail });
    }
    // What the ERP says about the refusal is a courtesy; the status decides even if it cannot be read.
    let body = read_body(response, MAX_ERROR_BYTES)
        .await
        .map(|(body, _)| body)
        .unwrap_or_default();
    let problem: ErpProblem = serde_json::from_slice(&body).unwrap_or_default();
    let said = if problem.detail.is_empty() {
        String::from_utf8_lossy(&body).into_owned()
    } else {
        problem.detail
    };
    let detail: String = said.chars().take(MAX_DETAIL_CHARS).collect();
    let expired = status == StatusCode::GONE
        || (status == StatusCode::BAD_REQUEST && problem.code.as_deref() == Some(CURSOR_EXPIRED));
    AttemptError::Final(if expired {
        ErpError::CursorExpired { detail }
    } else {
        ErpError::Refused {
            status: status.as_u16(),
            detail,
        }
    })
}

fn passes(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY
        )
}

/// The body up to `max_bytes`, and whether that is all of it.
async fn read_body(mut response: Response, max_bytes: usize) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let announced = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    let mut body = Vec::with_capacity(announced.unwrap_or_default().min(max_bytes));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}
