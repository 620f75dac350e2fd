//! Extractors that answer with a [`Problem`] naming the field at fault.
//!
//! axum's own answer in plain text, and stop at "failed to deserialize". These tell apart what a
//! caller must do differently: another media type, well-formed JSON, another type in this field, no
//! such field, less of it.

use axum::{
    body::Bytes as BodyBytes,
    extract::{
        FromRequest, FromRequestParts, Request,
        path::ErrorKind,
        rejection::{BytesRejection, PathRejection},
    },
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;

use crate::{
    body_deadline::BodyTooSlow,
    fault::{Fault, echo},
    nul,
    problem::Problem,
};

/// A JSON body, as a request or as an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json<T>(pub T);

/// The parameters of the query string.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(pub T);

/// The parameters of the path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<T>(pub T);

/// The body as it came, for what is signed or not JSON.
#[derive(Clone, Debug, Default)]
pub struct Bytes(pub BodyBytes);

impl<S: Send + Sync> FromRequest<S> for Bytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        BodyBytes::from_request(request, state)
            .await
            .map(Self)
            .map_err(|rejection| unread_body(&rejection))
    }
}

fn unread_body(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::too_large("the body is larger than is taken here")
    } else if BodyTooSlow::caused(rejection) {
        Problem::request_timeout("the body did not come in time")
    } else {
        Problem::bad_request("the body ended before it was complete")
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let Bytes(body) = Bytes::from_request(request, state).await?;
        if body.is_empty() {
            return Err(Problem::bad_request("the body is empty; expected a JSON value"));
        }
        if !is_json {
            return Err(Problem::unsupported_media_type(
                "expected the header `Content-Type: application/json`",
            ));
        }
        nul::check_json(&body)?;
        from_json(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, error) = (error.path().clone(), error.into_inner());
        match error.classify() {
            Category::Data => Fault::from_message(&error.to_string())
                .at(&path, Problem::unprocessable("a field of the body is wrong")),
            Category::Syntax | Category::Eof | Category::Io => malformed(&error),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let what = message
        .rsplit_once(" at line ")
        .map_or(&*message, |(what, _)| what);
    Problem::bad_request(format!(
        "malformed JSON at line {}, column {}: {what}",
        error.line(),
        error.column(),
    ))
    .extension("line", error.line())
    .extension("column", error.column())
}

/// `application/json`, or another type that ends with `+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let Some(text) = content_type.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        for (name, value) in pairs {
            nul::check_parameter(&name, &value)?;
        }
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
            .map(Self)
            .map_err(|error| {
                let fault = Fault::from_message(&error.inner().to_string());
                // Query parameters are flat: the path is one name, or none where one is missing.
                let name = match fault.member {
                    Some(member) => member,
                    None => echo(&error.path().to_string()),
                };
                Problem::bad_request("a query parameter is wrong").field(name, fault.wrong, fault.expected)
            })
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        nul::check_path(parts.uri.path())?;
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(rejection)) => {
                Err(wrong_path(rejection.into_kind()))
            }
            Err(rejection) => Err(Problem::internal(rejection)),
        }
    }
}

fn wrong_path(kind: ErrorKind) -> Problem {
    let problem = Problem::bad_request("a parameter of the path is wrong");
    match kind {
        ErrorKind::ParseErrorAtKey {
            key,
            value,
            expected_type,
        } => problem.field(key, echo(&value), expected_type),
        ErrorKind::ParseErrorAtIndex {
            index,
            value,
            expected_type,
        } => problem.field(index.to_string(), echo(&value), expected_type),
        ErrorKind::ParseError { value, expected_type } => problem.field("path", echo(&value), expected_type),
        ErrorKind::DeserializeError { key, message, .. } => {
            let fault = Fault::from_message(&message);
            problem.field(key, fault.wrong, fault.expected)
        }
        ErrorKind::InvalidUtf8InPathParam { key } => problem.field(key, "not UTF-8", "percent-encoded UTF-8"),
        ErrorKind::Message(message) => {
            let fault = Fault::from_message(&message);
            problem.field("path", fault.wrong, fault.expected)
        }
        // The route and its handler disagree about the parameters: no caller can mend that.
        other => Problem::internal(other),
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::Body,
        extract::DefaultBodyLimit,
        http::Request,
        routing::{get, post},
    };
    use http_body_util::BodyExt;
    use serde::Deserialize;
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;
    use crate::problem::FieldProblem;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[expect(dead_code, reason = "only its type matters")]
        items: Vec<Item>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[expect(dead_code, reason = "only its type matters")]
        count: u32,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        #[expect(dead_code, reason = "only its type matters")]
        limit: u32,
    }

    fn router() -> Router {
        Router::new()
            .route("/orders", post(|_: Json<Order>| async { "taken" }))
            .route("/orders/{id}", get(|_: Path<u64>| async { "found" }))
            .route("/pages", get(|_: Query<Page>| async { "page" }))
            .layer(DefaultBodyLimit::max(100))
    }

    async fn answer(request: Request<Body>) -> Problem {
        let response = router().oneshot(request).await.expect("routers answer");
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            crate::PROBLEM_CONTENT_TYPE
        );
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body");
        let problem: Problem = serde_json::from_slice(&body.to_bytes()).expect("a problem");
        assert_eq!(problem.status_code(), status);
        problem
    }

    async fn post_json(body: &str) -> Problem {
        let request = Request::post("/orders")
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .body(Body::from(body.to_owned()));
        answer(request.expect("a request")).await
    }

    async fn get_path(path: &str) -> Problem {
        answer(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    fn field(field: &str, wrong: &str, expected: &str) -> Vec<FieldProblem> {
        vec![FieldProblem {
            field: field.to_owned(),
            wrong: wrong.to_owned(),
            expected: expected.to_owned(),
        }]
    }

    #[tokio::test]
    async fn a_wrong_type_is_named_by_its_json_pointer() {
        let problem = post_json(r#"{"items":[{"count":1},{"count":"two"}]}"#).await;
        assert_eq!(problem.status, 422);
        assert_eq!(problem.errors, field("/items/1/count", "string \"two\"", "u32"));
    }

    #[tokio::test]
    async fn unknown_and_missing_fields_are_named() {
        let unknown = post_json(r#"{"items":[{"count":1,"colour":"red"}]}"#).await;
        assert_eq!(
            unknown.errors,
            field("/items/0/colour", "an unknown field", "count")
        );
        let missing = post_json(r#"{"items":[{}]}"#).await;
        assert_eq!(missing.errors, field("/items/0/count", "missing", "a value"));
    }

    #[tokio::test]
    async fn malformed_json_says_where() {
        let problem = post_json("{\n  \"items\": oops}").await;
        assert_eq!(problem.status, 400);
        assert_eq!(problem.extensions["line"], json!(2));
        assert!(problem.detail.contains("line 2, column 12"), "{problem}");
        let trailing = post_json(r#"{"items":[]} more"#).await;
        assert_eq!(trailing.status, 400);
    }

    #[tokio::test]
    async fn a_missing_body_media_type_or_too_much_of_it_are_told_apart() {
        assert_eq!(post_json("").await.status, 400);
        let untyped = Request::post("/orders").body(Body::from("{}"));
        assert_eq!(answer(untyped.expect("a request")).await.status, 415);
        let large = format!(r#"{{"items":[{}]}}"#, " ".repeat(100));
        assert_eq!(post_json(&large).await.status, 413);
    }

    #[tokio::test]
    async fn query_parameters_are_named() {
        let wrong = get_path("/pages?limit=many").await;
        assert_eq!(wrong.status, 400);
        assert_eq!(wrong.errors[0].field, "limit");
        let missing = get_path("/pages").await;
        assert_eq!(missing.errors, field("limit", "missing", "a value"));
        let unknown = get_path("/pages?limit=1&sort=up").await;
        assert_eq!(unknown.errors, field("sort", "an unknown field", "limit"));
    }

    #[tokio::test]
    async fn path_parameters_are_named() {
        let problem = get_path("/orders/first").await;
        assert_eq!(problem.status, 400);
        assert_eq!(problem.errors[0].wrong, "first");
        assert_eq!(problem.errors[0].expected, "u64");
    }
}
