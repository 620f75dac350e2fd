//! WhatsApp refusing, silent, slow and unreadable.

use crate::seconds;
use e2e::{Fault, Plan, Trial};
use serde_json::{Value, json};
use std::time::Duration;

/// The profile stands for `during`, or until nearly everything is sent.
async fn suffer(name: &str, plan: Plan, profile: Value, during: impl FnOnce(&Trial) -> Duration) {
    let mut trial = Trial::start(name, plan).await;
    let during = during(&trial);
    trial.suffer(Fault::Whatsapp(profile, during)).await;
    trial.verdict().await;
}

fn long(trial: &Trial) -> Duration {
    trial.scaled(seconds(10), seconds(3))
}

#[tokio::test]
async fn a_tenth_transient_errors() {
    let profile = json!({"errors": [{"code": 131_000, "share": 0.05}, {"code": 2, "share": 0.05}]});
    suffer("a_tenth_transient_errors", Plan::default(), profile, long).await;
}

#[tokio::test]
async fn nothing_but_errors() {
    let profile = json!({"errors": [{"code": 131_000, "share": 1.0}]});
    let during = |trial: &Trial| trial.scaled(seconds(20), seconds(3));
    suffer("nothing_but_errors", Plan::default(), profile, during).await;
}

#[tokio::test]
async fn the_rate_limit_for_all() {
    let profile = json!({"errors": [{"code": 130_429, "share": 1.0}]});
    suffer("the_rate_limit_for_all", Plan::default(), profile, long).await;
}

#[tokio::test]
async fn accepted_and_never_answered() {
    suffer(
        "accepted_and_never_answered",
        Plan::default(),
        json!({"hang": 0.02}),
        long,
    )
    .await;
}

#[tokio::test]
async fn reset_before_acceptance() {
    let profile = json!({"reset_before": 0.02});
    suffer("reset_before_acceptance", Plan::default(), profile, long).await;
}

#[tokio::test]
async fn reset_after_acceptance() {
    let profile = json!({"reset_after": 0.02});
    suffer("reset_after_acceptance", Plan::default(), profile, long).await;
}

#[tokio::test]
async fn unreadable_answers() {
    let profile = json!({"garbage_before": 0.02, "garbage_after": 0.02});
    suffer("unreadable_answers", Plan::default(), profile, long).await;
}

#[tokio::test]
async fn five_seconds_until_each_answer() {
    let plan = Plan {
        environment: vec![
            ("HTTP_TIMEOUT_MS", "10000".to_owned()),
            ("ENTRY_LEASE_MS", "15000".to_owned()),
            ("RECLAIM_IDLE_MS", "20000".to_owned()),
            ("GRACE_MS", "20000".to_owned()),
        ],
        ..Plan::default().recovers_within(7)
    };
    suffer(
        "five_seconds_until_each_answer",
        plan,
        json!({"latency_ms": 5_000}),
        long,
    )
    .await;
}

/// With `resend`, what is uncertain and was not accepted goes again by itself; nobody gets two.
#[tokio::test]
async fn lost_before_acceptance_and_sent_again() {
    let plan = Plan {
        campaign: json!({"on_uncertain": "resend"}),
        ..Plan::default()
    };
    let mut trial = Trial::start("lost_before_acceptance_and_sent_again", plan).await;
    let profile = json!({"reset_before": 0.02, "reset_after": 0.02});
    let during = long(&trial);
    trial.suffer(Fault::Whatsapp(profile, during)).await;
    let campaign = trial.campaign.clone();
    let report = trial.stack.finished(&campaign, seconds(120)).await;
    assert_eq!(report.count("uncertain"), 0, "webhooks are complete: {report:?}");
    trial.verdict().await;
}

#[tokio::test]
async fn whatsapp_away() {
    let mut trial = Trial::start("whatsapp_away", Plan::default().recovers_within(5)).await;
    let during = trial.scaled(seconds(10), seconds(3));
    let fault = Fault::Wire(e2e::Wire::MessengerToWhatsapp, testkit::Mode::Refuse, during);
    trial.suffer(fault).await;
    trial.verdict().await;
}
