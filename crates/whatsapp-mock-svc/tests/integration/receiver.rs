//! A webhook's endpoint that checks signatures and remembers what it was told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use whatsapp_api::signature;
use whatsapp_api::webhook::{self, Status, Update};

pub(crate) const APP_SECRET: &str = "an-app-secret";

#[derive(Clone, Default)]
pub(crate) struct Receiver {
    addr: Option<SocketAddr>,
    /// Answers 500 as many times.
    failures_left: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    unsigned: Arc<AtomicUsize>,
    bodies: Arc<Mutex<Vec<Vec<Update>>>>,
    raw: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub(crate) async fn start(failures: usize) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            addr: Some(listener.local_addr().unwrap()),
            failures_left: Arc::new(AtomicUsize::new(failures)),
            ..Self::default()
        };
        let router = axum::Router::new()
            .route("/webhooks/whatsapp", axum::routing::post(receive).get(verify))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        // By name, so that resolving is part of the test.
        format!("http://localhost:{}/webhooks/whatsapp", self.addr.unwrap().port())
    }

    pub(crate) fn bodies(&self) -> Vec<Vec<Update>> {
        self.bodies.lock().unwrap().clone()
    }

    /// All bodies as they came.
    pub(crate) fn raw(&self) -> String {
        self.raw.lock().unwrap().join("\n")
    }

    /// What stands in this part of the values of all changes, as it came.
    pub(crate) fn values(&self, part: &str) -> Vec<serde_json::Value> {
        let mut found = Vec::new();
        for raw in self.raw.lock().unwrap().iter() {
            let body: serde_json::Value = serde_json::from_str(raw).unwrap();
            for entry in body["entry"].as_array().unwrap() {
                for change in entry["changes"].as_array().unwrap() {
                    found.extend(change["value"][part].as_array().into_iter().flatten().cloned());
                }
            }
        }
        found
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        let updates = self.bodies().into_iter().flatten();
        updates
            .filter_map(|update| match update {
                Update::Status(status) => Some(status),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn unsigned(&self) -> usize {
        self.unsigned.load(Ordering::Relaxed)
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = headers
        .get(signature::SIGNATURE_HEADER)
        .and_then(|value| value.to_str().ok());
    if !header.is_some_and(|header| signature::verify(APP_SECRET.as_bytes(), &body, header)) {
        receiver.unsigned.fetch_add(1, Ordering::Relaxed);
        return StatusCode::FORBIDDEN;
    }
    let fails = receiver
        .failures_left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if fails.is_ok() {
        receiver.refused.fetch_add(1, Ordering::Relaxed);
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let webhook = webhook::parse(&body).unwrap();
    assert_eq!(webhook.unreadable, 0);
    let raw = String::from_utf8(body.to_vec()).unwrap();
    receiver.raw.lock().unwrap().push(raw);
    receiver.bodies.lock().unwrap().push(webhook.updates);
    StatusCode::OK
}

async fn verify(Query(query): Query<std::collections::HashMap<String, String>>) -> (StatusCode, String) {
    if query["hub.mode"] == "subscribe" && query["hub.verify_token"] == "verify" {
        (StatusCode::OK, query["hub.challenge"].clone())
    } else {
        (StatusCode::FORBIDDEN, String::new())
    }
}
