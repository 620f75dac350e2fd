//! What Meta answers: messages, templates and phone numbers, for whoever brings the token.
//!
//! - `messages`: `POST /{version}/{phone_number_id}/messages` and `…/marketing_messages`;
//! - `templates`: `/{version}/{account_id}/message_templates`;
//! - `nodes`: `GET /{version}/{id}`, of a number, a template or an account, and an account's numbers;
//! - `fields`, `paging`: the Graph API's ways to ask for less.

mod fields;
mod messages;
mod nodes;
mod paging;
mod templates;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use campaign_runtime::{Problem, Query, Shutdown};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::answer::Refusal;
use crate::mock::Mock;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Api {
    mock: Arc<Mock>,
    shutdown: Shutdown,
}

impl Api {
    pub(crate) fn new(mock: Arc<Mock>, shutdown: Shutdown) -> Self {
        Self { mock, shutdown }
    }
}

/// An answer, or a refusal.
pub(super) type Answer<T> = Result<axum::Json<T>, Refusal>;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(messages::routes())
        .merge(templates::routes())
        .merge(nodes::routes())
}

/// What is answered where nothing is.
pub(crate) fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
}

async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::unknown_path(uri.path())
}

/// Under `/mock` the runtime says what is allowed; Meta does not tell.
async fn unknown_method(method: Method, uri: Uri) -> Response {
    let mut parts = uri.path().split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("mock" | "openapi.json"), _) => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        (Some(version), Some(id)) if is_version(version) => {
            Refusal::no_such_object(&method, id).into_response()
        }
        _ => Refusal::unknown_path(uri.path()).into_response(),
    }
}

/// The object that is asked about, by someone who may.
struct Node {
    version: String,
    id: String,
    method: Method,
}

impl Node {
    /// The object exists as far as this token knows: an account, as the mock is strict, must be known.
    fn account(self, mock: &Mock) -> Result<String, Refusal> {
        if mock.is_strict && !mock.ledger().accounts.is_known(&self.id) {
            return Err(Refusal::no_such_object(&self.method, &self.id));
        }
        Ok(self.id)
    }
}

impl FromRequestParts<Api> for Node {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        let path = || Refusal::unknown_path(parts.uri.path());
        let mut segments = parts.uri.path().split('/').skip(1);
        let (Some(version), Some(id)) = (segments.next(), segments.next()) else {
            return Err(path());
        };
        if !is_version(version) {
            return Err(path());
        }
        check_token(&api.mock, &parts.headers)?;
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if !is_id || id.len() > whatsapp_api::client::MAX_PHONE_NUMBER_ID_DIGITS {
            return Err(Refusal::no_such_object(&parts.method, id));
        }
        Ok(Self {
            version: version.to_owned(),
            id: id.to_owned(),
            method: parts.method.clone(),
        })
    }
}

/// The parameters of the query; those that are not known are left out, as with Meta.
struct Parameters<T>(T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refusal> {
        let Query(parameters) = Query::from_request_parts(parts, api)
            .await
            .map_err(|problem: Problem| Refusal::parameter(problem.to_string()))?;
        Ok(Self(parameters))
    }
}

fn check_token(mock: &Mock, headers: &HeaderMap) -> Result<(), Refusal> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    if token.is_some_and(|token| mock.is_authorised(token)) {
        return Ok(());
    }
    Err(Refusal::because(190, "the access token is missing or wrong"))
}

fn is_version(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.strip_prefix('v').and_then(|number| number.split_once('.'));
    number.is_some_and(|(major, minor)| digits(major) && digits(minor))
}

/// That something was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Success {
    success: bool,
}

impl Success {
    const YES: Self = Self { success: true };
}

/// The address of a list, with what was asked of it but without its page.
fn list_url(uri: &Uri, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let query = uri.query().unwrap_or_default();
    let of_page = ["limit=", "after=", "before="];
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !of_page.iter().any(|name| pair.starts_with(name)))
        .collect();
    let separator = if kept.is_empty() { "" } else { "?" };
    format!(
        "http://{}{}{separator}{}",
        host.unwrap_or("localhost"),
        uri.path(),
        kept.join("&")
    )
}
