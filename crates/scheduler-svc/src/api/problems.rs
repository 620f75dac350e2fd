//! From what went wrong to what the caller is told.

use crate::api::change::Kept;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use campaign_core::campaign::CampaignStatus;
use campaign_core::message::UnknownName;
use campaign_runtime::{FieldProblem, Problem};
use campaign_store::StoreError;
use campaign_streams::StreamsError;
use erp_api::ErpError;
use std::str::FromStr;

/// What every handler answers.
pub(crate) type Answer = Result<Response, Stop>;

/// Why a handler stopped before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something is wrong.
    Problem(Problem),
    /// The same request, by its `Idempotency-Key`, was answered before: this is that answer.
    Repeated(Kept),
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Repeated(kept) => kept.into_response(),
        }
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Problem(match error {
            StoreError::IllegalTransition(ref illegal) => {
                let allowed: Vec<_> = illegal
                    .from
                    .allowed()
                    .iter()
                    .copied()
                    .map(CampaignStatus::as_str)
                    .collect();
                Problem::conflict(error.to_string())
                    .kind("/problems/illegal-transition", "Illegal state transition")
                    .extension("campaign_status", illegal.from.as_str())
                    .extension("allowed", allowed)
            }
            StoreError::NotFound { .. } => Problem::not_found(error.to_string()),
            StoreError::Conflict(_) => Problem::conflict(error.to_string()),
            _ if error.is_unavailable() => {
                tracing::warn!(%error, "Postgres is not available");
                Problem::unavailable("the database is not available at the moment").retry_after_s(2)
            }
            _ => Problem::internal(error),
        })
    }
}

impl From<StreamsError> for Stop {
    fn from(error: StreamsError) -> Self {
        Self::Problem(match error {
            StreamsError::NotFound { .. } => Problem::not_found(error.to_string()),
            StreamsError::UnsafeSettings(_) => Problem::conflict(error.to_string()),
            StreamsError::Redis(_) | StreamsError::Pool(_) => {
                tracing::warn!(%error, "Redis is not available");
                Problem::unavailable("the queues are not available at the moment").retry_after_s(2)
            }
            StreamsError::Undecodable { .. } => Problem::internal(error),
        })
    }
}

impl From<ErpError> for Stop {
    fn from(error: ErpError) -> Self {
        Self::Problem(if error.may_pass() {
            Problem::unavailable(error.to_string()).retry_after_s(5)
        } else {
            Problem::new(StatusCode::BAD_GATEWAY, error.to_string())
        })
    }
}

/// Everything that is wrong with a request, so that people mend it in one go.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<FieldProblem>);

impl Faults {
    /// Notes that a field is wrong: where (a JSON pointer), what was found, what would be right.
    pub(crate) fn add(
        &mut self,
        field: impl Into<String>,
        wrong: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.0.push(FieldProblem {
            field: field.into(),
            wrong: wrong.into(),
            expected: expected.into(),
        });
    }

    /// Reads the name of one of a closed set.
    pub(crate) fn name<T: FromStr<Err = UnknownName>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(known) => Some(known),
            Err(UnknownName { found, known }) => {
                self.add(field, format!("{found:?}"), format!("one of {known}"));
                None
            }
        }
    }

    /// Checks the length of a text for people and trims it.
    pub(crate) fn text(&mut self, field: &str, text: &str, max_chars: usize) -> Option<String> {
        let trimmed = text.trim();
        let chars = trimmed.chars().count();
        if (1..=max_chars).contains(&chars) && !trimmed.chars().any(char::is_control) {
            return Some(trimmed.to_owned());
        }
        self.add(
            field,
            format!("{chars} characters"),
            format!("1 to {max_chars} characters, no line breaks"),
        );
        None
    }

    /// Notes that a required field is missing.
    pub(crate) fn missing(&mut self, field: &str, expected: &str) {
        self.add(field, "missing", expected);
    }

    /// Nothing, or the problem that lists everything.
    pub(crate) fn finish(self) -> Result<(), Stop> {
        if self.0.is_empty() {
            return Ok(());
        }
        let detail = match self.0.len() {
            1 => "a field is wrong".to_owned(),
            count => format!("{count} fields are wrong"),
        };
        let mut problem = Problem::unprocessable(detail);
        problem.errors = self.0;
        Err(problem.into())
    }
}
