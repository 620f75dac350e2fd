//! WhatsApp refusing, silent, slow and unreadable.

use crate::seconds;
use e2e::{Allowed, Fault, LANE, Plan, Stack, Trial, WABA_ID};
use reqwest::Method;
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

/// Errors after which a message goes again. "API unknown" (1) may be the message's fault, so it ends a few.
const RETRYABLE: [i64; 10] = [
    1, 2, 4, 80_007, 130_429, 131_000, 131_016, 131_056, 131_057, 133_004,
];
/// Of these, the one that makes a person wait for minutes at a late attempt: only the full trial has the time.
const PAIR_LIMIT: i64 = 131_056;

/// WhatsApp changes the number's limit three times, pauses the template once, and answers a twentieth of all sends with
/// each error after which they go again.
#[tokio::test]
async fn a_rough_day() {
    let plan = Plan {
        allowed: Allowed {
            failures: true,
            ..Allowed::default()
        },
        environment: vec![("ATTEMPTS_MAX", "20".to_owned())],
        ..Plan::default().processes(1, 1, 2).recovers_within(600)
    };
    let mut trial = Trial::prepare("a_rough_day", plan).await;
    trial.stack.register_reminder(true).await;
    // Half of all attempts fail then, and whoever fails several times waits long: the small trial has no time for that.
    let share = if trial.is_full { 0.05 } else { 0.02 };
    let errors: Vec<_> = RETRYABLE
        .iter()
        .filter(|&&code| trial.is_full || code != PAIR_LIMIT)
        .map(|code| json!({"code": code, "share": share}))
        .collect();
    let faults = trial.stack.whatsapp(Method::GET, "/mock/faults", None).await;
    let mut rough = faults.clone();
    rough["errors"] = json!(errors);
    trial
        .stack
        .whatsapp(Method::PUT, "/mock/faults", Some(rough))
        .await;
    let campaign = trial.campaign.clone();
    trial.stack.schedule(&campaign, None).await;
    let rate = trial.rate;
    for (share, throughput) in [(0.1, rate / 2), (0.3, rate / 4), (0.5, rate)] {
        trial.reach(share).await;
        let path = format!("/mock/numbers/{LANE}");
        let settings = json!({ "throughput": throughput });
        trial.stack.whatsapp(Method::PUT, &path, Some(settings)).await;
        trial.fault_is_over();
    }
    trial.reach(0.6).await;
    pause_template(&trial.stack, &campaign).await;
    trial.fault_is_over();
    let report = trial.stack.finished(&campaign, seconds(780)).await;
    let (failed, accepted) = (report.count("failed"), report.accepted());
    assert!(
        failed * 20 < accepted,
        "{failed} failed, {accepted} were accepted"
    );
    trial.verdict().await;
}

/// Meta pauses the template: the campaign is held, nobody is failed by it, and it goes on by itself afterwards.
async fn pause_template(stack: &Stack, campaign: &str) {
    let path = format!("/mock/accounts/{WABA_ID}/templates/lembrete_fatura/pt_BR");
    let paused = json!({"status": "PAUSED"});
    stack.whatsapp(Method::PUT, &path, Some(paused)).await;
    stack
        .wait_until(
            campaign,
            "the hold of a paused template",
            seconds(20),
            |campaign| {
                let holds = campaign["holds"].as_array().into_iter().flatten();
                holds.into_iter().any(|hold| hold["kind"] == "template")
            },
        )
        .await;
    tokio::time::sleep(seconds(2)).await;
    let approved = json!({"status": "APPROVED"});
    stack.whatsapp(Method::PUT, &path, Some(approved)).await;
    stack
        .wait_until(campaign, "the hold to be lifted", seconds(20), |campaign| {
            campaign["holds"].as_array().is_none_or(Vec::is_empty)
        })
        .await;
}
