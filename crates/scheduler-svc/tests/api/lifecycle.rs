//! From the schedule to the end: starting, pausing, resuming, cancelling.

use crate::harness::{LANE, Scheduler};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_campaign_goes_its_way_and_no_other() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let path = |action: &str| format!("/v1/campaigns/{id}/{action}");
    for action in ["pause", "unschedule", "resend-failed", "uncertain/write-off"] {
        let refused = scheduler.act(&path(action)).await.expect(409);
        assert!(refused["allowed"].is_array(), "{refused}");
    }
    scheduler.act(&path("resume")).await.expect(409);
    let later = json!({"scheduled_at": "2026-12-24T09:00"});
    scheduler.post(&path("schedule"), later.clone()).await.expect(200);
    scheduler.act(&path("schedule")).await.expect(409);
    scheduler
        .post(&path("schedule"), json!({"scheduled_at": "2026-12-24T10:00"}))
        .await
        .expect(200);
    let paused = scheduler
        .post(&path("pause"), json!({"reason": "stock"}))
        .await
        .expect(200);
    assert_eq!(
        paused["campaign"]["status"], "SCHEDULED",
        "only what runs shows as paused"
    );
    assert_eq!(paused["campaign"]["holds"][0]["reason"], "stock");
    scheduler.act(&path("unschedule")).await.expect(200);
    scheduler.post(&path("schedule"), later).await.expect(200);

    // It is due: it starts, under the hold.
    scheduler
        .post(
            &path("schedule"),
            json!({"scheduled_at": chrono::Utc::now().to_rfc3339()}),
        )
        .await
        .expect(200);
    let shown = scheduler.wait_for_status(&id, "PAUSED").await;
    assert_eq!(shown["stored_status"], "SENDING");
    assert!(shown["started_at"].is_string());
    let refused = scheduler.act(&path("unschedule")).await.expect(409);
    assert_eq!(refused["allowed"], json!(["COMPLETED", "CANCELLED", "FAILED"]));
}

#[tokio::test]
async fn pause_and_cancel_answer_whether_the_lane_follows() {
    let scheduler = Scheduler::start_with(&["--control-wait-ms", "600"]).await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let path = |action: &str| format!("/v1/campaigns/{id}/{action}");
    scheduler.act(&path("schedule")).await.expect(200);
    scheduler.wait_for_status(&id, "SENDING").await;
    scheduler
        .as_sender(&format!(
            "INSERT INTO dispatches (campaign, lane) VALUES ('{id}', '{LANE}')"
        ))
        .await;

    let pending = scheduler.act(&path("pause")).await;
    assert_eq!(pending.status.as_u16(), 202, "{}", pending.text);
    assert_eq!(
        (&pending.body["applied"], &pending.body["campaign"]["status"]),
        (&json!(false), &json!("PAUSED"))
    );

    // A lane's owner that follows at once.
    let follow = format!("UPDATE dispatches SET control_applied = 1000 WHERE campaign = '{id}'");
    scheduler.as_sender(&follow).await;
    let begun = Instant::now();
    let resumed = scheduler.act(&path("resume")).await.expect(200);
    assert_eq!(
        (&resumed["applied"], &resumed["campaign"]["status"]),
        (&json!(true), &json!("SENDING"))
    );
    assert!(
        begun.elapsed() < Duration::from_millis(500),
        "it did not wait for nothing"
    );
    let cancelled = scheduler.act(&path("cancel")).await.expect(200);
    assert_eq!(cancelled["campaign"]["status"], "CANCELLED");
    assert_eq!(
        cancelled["campaign"]["finished_at"],
        Value::Null,
        "the sender says when nothing is left"
    );
    scheduler.act(&path("cancel")).await.expect(409);
}

#[tokio::test]
async fn a_running_campaign_that_no_sender_knows_ends_when_it_is_cancelled() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    scheduler
        .act(&format!("/v1/campaigns/{id}/schedule"))
        .await
        .expect(200);
    scheduler.wait_for_status(&id, "SENDING").await;
    let cancelled = scheduler
        .act(&format!("/v1/campaigns/{id}/cancel"))
        .await
        .expect(200);
    assert!(cancelled["campaign"]["finished_at"].is_string());
}

#[tokio::test]
async fn a_hold_on_a_number_pauses_its_campaigns() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    scheduler
        .act(&format!("/v1/campaigns/{id}/schedule"))
        .await
        .expect(200);
    scheduler.wait_for_status(&id, "SENDING").await;
    let number = format!("/v1/phone-numbers/{LANE}");
    let act = async |action: &str| {
        scheduler
            .ask("admin", Method::POST, &format!("{number}/{action}"), None)
            .await
    };
    let paused = act("pause").await.expect(200);
    assert_eq!(paused["holds"][0]["kind"], "person");
    let shown = scheduler.get(&format!("/v1/campaigns/{id}")).await.expect(200);
    assert_eq!(
        (&shown["status"], &shown["holds"][0]["scope"]),
        (&json!("PAUSED"), &json!("lane"))
    );
    let listed = scheduler.get("/v1/campaigns?status=PAUSED").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    act("resume").await.expect(200);
    act("resume").await.expect(409);
    assert_eq!(
        scheduler.get(&format!("/v1/campaigns/{id}")).await.expect(200)["status"],
        "SENDING"
    );
}

#[tokio::test]
async fn a_test_is_a_campaign_to_the_given_numbers() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let path = format!("/v1/campaigns/{id}/test");
    assert_eq!(
        scheduler.post(&path, json!({"phones": []})).await.fields(422),
        ["/phones"]
    );
    let eleven: Vec<_> = (0..11).map(|number| format!("+55119876543{number:02}")).collect();
    assert_eq!(
        scheduler.post(&path, json!({"phones": eleven})).await.fields(422),
        ["/phones"]
    );
    let wrong = json!({"phones": ["+5511987654321", "123", "(11) 98765-4321"]});
    assert_eq!(
        scheduler.post(&path, wrong).await.fields(422),
        ["/phones/1", "/phones/2"]
    );
    let test = scheduler
        .post(&path, json!({"phones": ["+5511987654321"]}))
        .await
        .expect(201);
    assert_eq!(test["name"], "Test of Natal");
    let test = scheduler
        .wait_for_status(test["id"].as_str().unwrap(), "SENDING")
        .await;
    assert_eq!(test["test_phones"], json!(["+5511987654321"]));
    let log = scheduler.get("/v1/audit-log").await;
    assert!(
        !log.text.contains("987654321"),
        "the audit log holds no number in clear"
    );
}
