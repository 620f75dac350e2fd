//! Who may do what: every route with every role.

use crate::harness::{LANE, Scheduler};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ID: &str = "00000000-0000-7000-8000-000000000000";

/// Every operation of the API, and the least role that may call it.
const ROUTES: [(&str, &str, &str); 50] = [
    ("GET", "/v1/campaigns", "viewer"),
    ("POST", "/v1/campaigns", "supervisor"),
    ("GET", "/v1/campaigns/{id}", "viewer"),
    ("PATCH", "/v1/campaigns/{id}", "supervisor"),
    ("POST", "/v1/campaigns/{id}/clone", "supervisor"),
    ("POST", "/v1/campaigns/{id}/schedule", "supervisor"),
    ("POST", "/v1/campaigns/{id}/unschedule", "supervisor"),
    ("POST", "/v1/campaigns/{id}/test", "supervisor"),
    ("POST", "/v1/campaigns/{id}/pause", "supervisor"),
    ("POST", "/v1/campaigns/{id}/resume", "supervisor"),
    ("POST", "/v1/campaigns/{id}/cancel", "supervisor"),
    ("GET", "/v1/campaigns/{id}/preview", "viewer"),
    ("POST", "/v1/campaigns/{id}/preview", "viewer"),
    ("GET", "/v1/campaigns/{id}/messages", "viewer"),
    ("GET", "/v1/campaigns/{id}/events", "viewer"),
    ("GET", "/v1/campaigns/{id}/uncertain", "viewer"),
    ("POST", "/v1/campaigns/{id}/uncertain/resend", "supervisor"),
    ("POST", "/v1/campaigns/{id}/uncertain/write-off", "supervisor"),
    ("POST", "/v1/campaigns/{id}/resend-failed", "supervisor"),
    ("GET", "/v1/campaigns/{id}/requests/{request}", "viewer"),
    ("GET", "/v1/campaigns/{id}/estimate", "viewer"),
    ("PUT", "/v1/campaigns/{id}/budget", "supervisor"),
    ("GET", "/v1/prices", "viewer"),
    ("PUT", "/v1/prices", "admin"),
    ("GET", "/v1/templates", "viewer"),
    ("POST", "/v1/templates", "admin"),
    ("GET", "/v1/templates/sync", "viewer"),
    ("POST", "/v1/templates/sync", "supervisor"),
    ("GET", "/v1/templates/{id}", "viewer"),
    ("PUT", "/v1/templates/{id}/status", "admin"),
    ("GET", "/v1/phone-numbers", "viewer"),
    ("POST", "/v1/phone-numbers", "admin"),
    ("GET", "/v1/phone-numbers/{id}", "viewer"),
    ("PATCH", "/v1/phone-numbers/{id}", "admin"),
    ("POST", "/v1/phone-numbers/{id}/pause", "admin"),
    ("POST", "/v1/phone-numbers/{id}/resume", "admin"),
    ("GET", "/v1/accounts", "viewer"),
    ("POST", "/v1/accounts", "admin"),
    ("GET", "/v1/accounts/{id}", "viewer"),
    ("PATCH", "/v1/accounts/{id}", "admin"),
    ("GET", "/v1/suppressions", "supervisor"),
    ("POST", "/v1/suppressions", "supervisor"),
    ("DELETE", "/v1/suppressions/{phone}", "supervisor"),
    ("GET", "/v1/queues", "viewer"),
    ("GET", "/v1/dead-letters", "viewer"),
    ("GET", "/v1/strays", "viewer"),
    ("POST", "/v1/dead-letters/{id}/redrive", "supervisor"),
    ("DELETE", "/v1/dead-letters/{id}", "supervisor"),
    ("GET", "/v1/audit-log", "viewer"),
    ("GET", "/v1/api-keys", "admin"),
];

/// The others, which the table has no room to repeat the resource of.
const KEY_ROUTES: [(&str, &str, &str); 2] = [
    ("POST", "/v1/api-keys", "admin"),
    ("DELETE", "/v1/api-keys/{id}", "admin"),
];

fn routes() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    ROUTES.into_iter().chain(KEY_ROUTES)
}

#[test]
fn the_table_has_every_operation_of_the_description() {
    let document = serde_json::to_value(scheduler_svc::api::document()).unwrap();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            described.insert(format!("{} {path}", method.to_uppercase()));
            assert!(
                operation["responses"]["default"].is_object(),
                "{method} {path} describes no problem"
            );
        }
    }
    let table: BTreeSet<_> = routes()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    assert_eq!(described, table);
    assert!(document["components"]["schemas"]["Problem"].is_object());
}

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let scheduler = Scheduler::start().await;
    let order = ["", "viewer", "supervisor", "admin"];
    for (method, path, least) in routes() {
        let least = order.iter().position(|role| *role == least).unwrap();
        let lane = path.starts_with("/v1/phone-numbers");
        let url = path
            .replace("{id}", if lane { "1" } else { ID })
            .replace("{request}", ID)
            .replace("{phone}", "+5511987654321");
        let body = matches!(method, "POST" | "PATCH" | "PUT").then(|| json!({}));
        for (rank, role) in order.into_iter().enumerate() {
            let method: Method = method.parse().unwrap();
            let answer = scheduler.ask(role, method.clone(), &url, body.clone()).await;
            let refused = matches!(answer.status.as_u16(), 401 | 403);
            assert_eq!(
                refused,
                rank < least,
                "{role:?} on {method} {path}: {}",
                answer.text
            );
            assert_eq!(
                answer.status.as_u16() == 401,
                rank == 0,
                "{role:?} on {method} {path}"
            );
            assert!(
                answer.status.as_u16() < 500,
                "{role:?} on {method} {path}: {}",
                answer.text
            );
        }
    }
}

/// Whether something exists, or could, is nobody's business who may not ask.
#[tokio::test]
async fn who_may_not_ask_is_told_the_same_whatever_exists() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let campaign = scheduler.draft().await;
    let templates = scheduler.get("/v1/templates").await.expect(200);
    let template = templates["items"][0]["id"].as_str().unwrap();
    let stranger = [("authorization", "Bearer ck_0000")];
    for (method, path, least) in routes().filter(|(_, path, _)| path.contains('{')) {
        let existing = match path.split('/').nth(2) {
            Some("campaigns") => campaign.as_str(),
            Some("templates") => template,
            Some("phone-numbers") => LANE,
            _ => ID,
        };
        let mut answers = BTreeSet::new();
        let mut refusals = BTreeSet::new();
        for id in [existing, ID, "not-an-id", "%00"] {
            let url = path
                .replace("{id}", id)
                .replace("{request}", id)
                .replace("{phone}", id);
            let method: Method = method.parse().unwrap();
            for body in [None, Some(json!({"unheard": "of"}))] {
                for headers in [&[][..], &stranger] {
                    let answer = scheduler
                        .ask_with("", method.clone(), &url, body.clone(), headers)
                        .await
                        .expect(401);
                    answers.insert(answer["detail"].to_string());
                }
                if least != "viewer" {
                    let refused = scheduler
                        .ask("viewer", method.clone(), &url, body)
                        .await
                        .expect(403);
                    refusals.insert(refused.to_string());
                }
            }
        }
        assert_eq!(
            answers.len(),
            2,
            "no key, and a wrong key: {method} {path}: {answers:#?}"
        );
        assert!(refusals.len() <= 1, "{method} {path}: {refusals:#?}");
    }
}

#[tokio::test]
async fn a_key_works_from_its_creation_to_its_revocation() {
    let scheduler = Scheduler::start().await;
    let wrong = [
        ("authorization", "Bearer ck_0000"),
        ("authorization", "Basic abc"),
        ("authorization", "ck_"),
    ];
    for header in wrong {
        let answer = scheduler
            .ask_with("", Method::GET, "/v1/campaigns", None, &[header])
            .await;
        assert_eq!(answer.status.as_u16(), 401, "{header:?}");
    }
    let new = json!({"name": "painel", "role": "viewer"});
    let header = [("idempotency-key", "key-1")];
    let created = scheduler
        .ask_with("admin", Method::POST, "/v1/api-keys", Some(new.clone()), &header)
        .await
        .expect(201);
    let key = created["key"].as_str().unwrap();
    assert_eq!(key.len(), "ck_".len() + 64);
    let repeated = scheduler
        .ask_with("admin", Method::POST, "/v1/api-keys", Some(new), &header)
        .await;
    assert!(repeated.replayed);
    assert_eq!(repeated.body["key"], Value::Null, "the key is shown once");
    assert_eq!(repeated.body["id"], created["id"]);

    let bearer = format!("Bearer {key}");
    let with_key = [("authorization", bearer.as_str())];
    scheduler
        .ask_with("", Method::GET, "/v1/campaigns", None, &with_key)
        .await
        .expect(200);
    let path = format!("/v1/api-keys/{}", created["id"].as_str().unwrap());
    scheduler
        .ask("admin", Method::DELETE, &path, None)
        .await
        .expect(204);
    scheduler
        .ask_with("", Method::GET, "/v1/campaigns", None, &with_key)
        .await
        .expect(401);
    let listed = scheduler.ask("admin", Method::GET, "/v1/api-keys", None).await;
    assert!(!listed.text.contains(key), "a list never shows a key");
    let log = scheduler.get("/v1/audit-log").await.expect(200);
    let actions: Vec<_> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["api_key.revoke", "api_key.create"]);
}
