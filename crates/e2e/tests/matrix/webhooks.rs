//! Webhooks late, twice, backwards and never, while some answers are lost.

use crate::seconds;
use e2e::{Allowed, Fault, Plan, Trial};
use reqwest::Method;
use serde_json::{Value, json};

async fn suffer(name: &str, plan: Plan, settings: Value) {
    let mut trial = Trial::start(name, plan).await;
    trial
        .stack
        .whatsapp(Method::PUT, "/mock/webhooks", Some(settings))
        .await;
    let during = trial.scaled(seconds(8), seconds(2));
    trial
        .suffer(Fault::Whatsapp(
            json!({"hang": 0.02, "reset_after": 0.02}),
            during,
        ))
        .await;
    trial.verdict().await;
}

#[tokio::test]
async fn webhooks_delayed() {
    let settings = json!({"late_share": 0.5, "late_ms": 6_000});
    suffer("webhooks_delayed", Plan::default(), settings).await;
}

#[tokio::test]
async fn webhooks_repeated() {
    suffer("webhooks_repeated", Plan::default(), json!({"repeat_share": 1.0})).await;
}

#[tokio::test]
async fn webhooks_reversed() {
    let settings = json!({"shuffle": true, "late_share": 0.5, "late_ms": 400, "batch_size": 7});
    suffer("webhooks_reversed", Plan::default(), settings).await;
}

#[tokio::test]
async fn webhooks_lost() {
    let plan = Plan {
        allowed: Allowed {
            unknown_acceptances: true,
            ..Allowed::default()
        },
        ..Plan::default()
    };
    suffer("webhooks_lost", plan, json!({"lost_share": 0.5})).await;
}

#[tokio::test]
async fn webhooks_off() {
    let plan = Plan {
        allowed: Allowed {
            unknown_acceptances: true,
            ..Allowed::default()
        },
        ..Plan::default()
    };
    suffer("webhooks_off", plan, json!({"lost_share": 1.0})).await;
}
