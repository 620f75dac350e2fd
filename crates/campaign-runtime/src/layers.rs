//! What stands around every route: limits, panics, problems for what is not there, and the numbers.
//!
//! From the outside in: explained (404 and 405 as problems), observed (span and metrics), panics
//! caught, time limited, body limited. The probes stand beside all but the first, so that they answer
//! when everything else is slow.

use std::{
    any::Any,
    convert::Infallible,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    extract::Json, health::Health, http_settings::Limits, metrics, problem::Problem, shutdown::Shutdown,
    trace_context,
};

/// The text format of Prometheus that `/metrics` is written in.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `router` with everything around it, and the probes beside it.
pub(crate) fn surround(router: Router, limits: &Limits, health: Health, shutdown: Shutdown) -> Router {
    let service = router
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(from_fn_with_state(limits.request_timeout, limit_time))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(observe));
    // In this order the service's own fallback, if it has one, is the one that stays.
    probes(health, shutdown).merge(service)
}

fn probes(health: Health, shutdown: Shutdown) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness))
        .route(
            "/metrics",
            get(|| async { ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], metrics::render()) }),
        )
        .with_state((health, shutdown))
}

async fn readiness(State((health, shutdown)): State<(Health, Shutdown)>) -> Response {
    let mut report = health.report();
    report.ready &= !shutdown.is_stopping();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}

async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable(format!(
            "not done within {} s; whether it took effect is not known",
            limit.as_secs_f64()
        ))
        .into_response(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that the layer asks for")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    Problem::internal(format_args!("a handler panicked: {}", panic_text(&*panic))).into_response()
}

/// What a panic said, if it said it in text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// Asks `app`, and puts into words what its router itself answers (no such route, no such method).
///
/// Those answers have neither body nor type; those of handlers have one or the other, and are left
/// alone. It stands outside the router because only there the `Allow` header is known.
pub(crate) async fn answer(app: Router, request: Request) -> Result<Response, Infallible> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = app.oneshot(request).await?;
    let from_router = !response.headers().contains_key(header::CONTENT_TYPE)
        && response.body().size_hint().exact() == Some(0);
    Ok(match response.status() {
        StatusCode::NOT_FOUND if from_router => {
            let path = crate::fault::echo(uri.path());
            Problem::not_found(format!("there is nothing at {path}")).into_response()
        }
        StatusCode::METHOD_NOT_ALLOWED if from_router => method_not_allowed(&method, &response),
        _ => response,
    })
}

fn method_not_allowed(method: &Method, response: &Response) -> Response {
    let allowed = response.headers().get(header::ALLOW);
    let names = allowed.and_then(|value| value.to_str().ok());
    let mut problem = Problem::method_not_allowed(format!(
        "{} is not allowed here; allowed: {}",
        method_label(method),
        names.unwrap_or("no method"),
    ))
    .into_response();
    if let Some(allowed) = allowed {
        problem.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    problem
}

async fn observe(request: Request, next: Next) -> Response<Body> {
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!(
        "http_request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    let caller = request.headers().get("traceparent");
    if let Some(caller) = caller.and_then(|value| value.to_str().ok()) {
        trace_context::link_only(&span, caller);
    }

    let begun = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    ::metrics::histogram!(
        "http_server_request_seconds",
        "method" => method,
        "route" => route.to_owned(),
        "status" => status.as_str().to_owned(),
    )
    .record(begun.elapsed().as_secs_f64());
    response
}

/// A method of the caller's invention must not become a label of its own.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
