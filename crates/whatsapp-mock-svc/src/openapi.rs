//! `/openapi.json`: the mock's description, made from the handlers themselves.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde::Serialize;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, OpenApi as Document, PathItem, Ref, ResponseBuilder, SecurityRequirement,
};
use utoipa::{OpenApi, ToSchema};

/// The one way to say who asks; `/mock` asks nobody.
const ACCESS_TOKEN: &str = "access_token";
/// Where tests turn the knobs.
const CONTROL: &str = "/mock";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "WhatsApp Cloud API mock",
        description = "What Meta's Cloud API answers about messages, templates and phone numbers; and, under \
            /mock, what tests see and change. Errors are the Graph API's, under /mock problem details \
            (RFC 9457)."
    ),
    components(schemas(GraphErrorDocument, GraphErrorBody, ProblemDocument, FieldProblemDocument))
)]
struct Base;

/// An error of the Graph API.
#[derive(Serialize, ToSchema)]
#[schema(as = GraphError)]
struct GraphErrorDocument {
    error: GraphErrorBody,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct GraphErrorBody {
    message: String,
    r#type: String,
    code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_subcode: Option<i64>,
    /// Of messages: `messaging_product` and `details`.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error_data: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_user_title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_user_msg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_transient: Option<bool>,
    fbtrace_id: String,
}

/// Problem details (RFC 9457), as campaign-runtime writes them.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
struct ProblemDocument {
    /// A URI that names the kind of problem; `about:blank` if the status says it all.
    r#type: String,
    title: String,
    status: u16,
    /// What went wrong this time, for people.
    detail: String,
    /// The fields at fault, where it is about fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblemDocument>,
}

/// A field at fault.
#[derive(Serialize, ToSchema)]
#[schema(as = FieldProblem)]
struct FieldProblemDocument {
    field: String,
    wrong: String,
    expected: String,
}

pub(crate) fn base() -> Document {
    Base::openapi()
}

pub(crate) fn route(document: Document) -> Router {
    let json = finish(document).to_json().expect("a description is always JSON");
    let json = axum::body::Bytes::from(json);
    Router::new().route(
        "/openapi.json",
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], json) }),
    )
}

/// Adds what is the same for every operation of a side: who asks, and how errors look.
fn finish(mut document: Document) -> Document {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document
        .components
        .get_or_insert_default()
        .add_security_scheme(ACCESS_TOKEN, scheme);
    for (path, item) in &mut document.paths.paths {
        let is_control = path.starts_with(CONTROL);
        let (content_type, name) = if is_control {
            ("application/problem+json", "Problem")
        } else {
            ("application/json", "GraphError")
        };
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(name)))
            .build();
        let error = ResponseBuilder::new()
            .description("What went wrong")
            .content(content_type, content)
            .build();
        for operation in operations(item) {
            let responses = &mut operation.responses.responses;
            responses.insert("default".to_owned(), error.clone().into());
            if !is_control {
                let required = SecurityRequirement::new(ACCESS_TOKEN, Vec::<String>::new());
                operation.security = Some(vec![required]);
            }
        }
    }
    document
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.put, &mut path.post, &mut path.delete]
        .into_iter()
        .flatten()
}
