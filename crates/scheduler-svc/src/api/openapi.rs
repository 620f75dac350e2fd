//! `/openapi.json`: the API's description, made from the handlers themselves.

use crate::api::Api;
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

/// Name of the one way to say who asks.
const API_KEY: &str = "api_key";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Campaign engine",
        description = "Campaigns over the WhatsApp Business Cloud API: create, schedule, watch, pause, resume, \
            cancel. Every POST takes an `Idempotency-Key`: the same key with the same request gets the same \
            answer, for a day. Lists come in pages; `next_cursor` leads to the next one. Errors are problem \
            details (RFC 9457) that name the fields at fault."
    ),
    components(schemas(ProblemDocument, FieldProblemDocument))
)]
struct Base;

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
    /// A JSON pointer into the body, or the name of a parameter.
    field: String,
    /// What was wrong.
    wrong: String,
    /// What would be right.
    expected: String,
}

/// The description of this API.
pub fn document() -> Document {
    finish(crate::api::routes().into_openapi())
}

pub(super) fn base() -> Document {
    Base::openapi()
}

pub(super) fn route(document: Document) -> Router<Api> {
    let json = finish(document).to_json().expect("a description is always JSON");
    let json = axum::body::Bytes::from(json);
    Router::new().route(
        "/openapi.json",
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], json) }),
    )
}

/// Adds what is the same for every operation: who asks, and how errors look.
fn finish(mut document: Document) -> Document {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document
        .components
        .get_or_insert_default()
        .add_security_scheme(API_KEY, scheme);
    document.security = Some(vec![SecurityRequirement::new(API_KEY, Vec::<String>::new())]);
    let problem = ResponseBuilder::new()
        .description("What went wrong")
        .content(
            "application/problem+json",
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build(),
        )
        .build();
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        operation
            .responses
            .responses
            .insert("default".to_owned(), problem.clone().into());
    }
    document
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut path.get,
        &mut path.put,
        &mut path.post,
        &mut path.delete,
        &mut path.patch,
    ]
    .into_iter()
    .flatten()
}
