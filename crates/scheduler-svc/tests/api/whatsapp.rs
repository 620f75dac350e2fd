//! The listing of templates as WhatsApp gives it, from a list that a test writes.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// The account of the tests.
pub(crate) const WABA: &str = "102290129340398";

/// A WhatsApp that lists templates.
#[derive(Clone, Default)]
pub(crate) struct WhatsApp(Arc<Mutex<Listing>>);

#[derive(Default)]
struct Listing {
    templates: Vec<Value>,
    page_size: usize,
    refuse: bool,
    answers_after: Duration,
    requests: usize,
}

impl WhatsApp {
    /// Starts it with pages of this size and gives its address.
    pub(crate) async fn start(page_size: usize) -> (Self, String) {
        let whatsapp = Self::default();
        whatsapp.0.lock().unwrap().page_size = page_size;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v25.0/{waba}/message_templates", get(page))
            .with_state(whatsapp.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (whatsapp, url)
    }

    /// Lists these from now on.
    pub(crate) fn list(&self, templates: &[Value]) {
        self.0.lock().unwrap().templates = templates.to_vec();
    }

    /// Refuses every listing, or no longer.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.0.lock().unwrap().refuse = refuse;
    }

    /// Lets each answer wait for so long: it says what was true when it was asked.
    pub(crate) fn answer_after(&self, wait: Duration) {
        self.0.lock().unwrap().answers_after = wait;
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.0.lock().unwrap().requests
    }
}

/// A template with a body, as WhatsApp lists it.
pub(crate) fn listed(name: &str, status: &str, body: &str) -> Value {
    json!({
        "id": format!("9{name}"), "name": name, "language": "pt_BR", "status": status, "category": "MARKETING",
        "parameter_format": "NAMED",
        "components": [{"type": "BODY", "text": body,
            "example": {"body_text_named_params": [{"param_name": "nome", "example": "Ana"}]}}],
    })
}

async fn page(
    State(whatsapp): State<WhatsApp>,
    Path(waba): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let (answer, wait) = {
        let mut listing = whatsapp.0.lock().unwrap();
        listing.requests += 1;
        (answer(&listing, &waba, &query, &headers), listing.answers_after)
    };
    tokio::time::sleep(wait).await;
    answer
}

fn answer(listing: &Listing, waba: &str, query: &HashMap<String, String>, headers: &HeaderMap) -> Response {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    if token != Some("Bearer listing-token") || waba != WABA {
        let error = json!({"error": {"code": 190, "message": "Invalid OAuth access token"}});
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    if listing.refuse {
        let error = json!({"error": {"code": 80008, "message": "There have been too many calls"}});
        return (StatusCode::BAD_REQUEST, [("retry-after", "900")], Json(error)).into_response();
    }
    let start: usize = query.get("after").map_or(0, |after| after.parse().unwrap());
    let end = (start + listing.page_size).min(listing.templates.len());
    let mut paging = json!({"cursors": {"before": start.to_string(), "after": end.to_string()}});
    if end < listing.templates.len() {
        paging["next"] = json!("https://graph.facebook.com/next");
    }
    Json(json!({"data": listing.templates[start..end], "paging": paging})).into_response()
}
