//! Creating, editing, listing, previewing; repeating a request.

use crate::harness::{Scheduler, campaign};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_draft_is_edited_cloned_and_cancelled() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let created = scheduler.post("/v1/campaigns", campaign()).await.expect(201);
    assert_eq!(created["status"], "DRAFT");
    assert_eq!(created["priority"], "normal");
    assert_eq!(created["time_zone"], "America/Sao_Paulo");
    let path = format!("/v1/campaigns/{}", created["id"].as_str().unwrap());
    let patch = json!({"priority": "high", "expires_at": "2026-12-25T00:00"});
    let edited = scheduler
        .ask("supervisor", Method::PATCH, &path, Some(patch))
        .await
        .expect(200);
    assert_eq!(
        (&edited["priority"], &edited["name"]),
        (&json!("high"), &created["name"])
    );
    assert_eq!(edited["expires_at"], "2026-12-25T03:00:00Z");
    let patch = json!({"expires_at": null});
    let edited = scheduler
        .ask("supervisor", Method::PATCH, &path, Some(patch))
        .await
        .expect(200);
    assert_eq!(edited["expires_at"], Value::Null);

    let copy = scheduler.act(&format!("{path}/clone")).await.expect(201);
    assert_eq!(
        (&copy["name"], &copy["priority"]),
        (&json!("Copy of Natal"), &json!("high"))
    );
    assert_ne!(copy["id"], created["id"]);

    let cancelled = scheduler.act(&format!("{path}/cancel")).await.expect(200);
    assert_eq!(
        (&cancelled["applied"], &cancelled["campaign"]["status"]),
        (&json!(true), &json!("CANCELLED"))
    );
    let refused = scheduler
        .ask("supervisor", Method::PATCH, &path, Some(json!({"name": "x"})))
        .await;
    let refused = refused.expect(409);
    assert_eq!(refused["allowed"], json!(["clone", "preview", "test"]));

    let events = scheduler.get(&format!("{path}/events")).await.expect(200);
    let names: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    for expected in [
        "campaign.create",
        "campaign.edit",
        "campaign.cancel",
        "status",
        "finished",
    ] {
        assert!(names.contains(&expected), "{expected} in {names:?}");
    }
}

#[tokio::test]
async fn lists_are_walked_page_by_page() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(scheduler.draft().await);
    }
    ids.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = scheduler
            .get(&format!("/v1/campaigns?limit=2{cursor}"))
            .await
            .expect(200);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    let drafts = scheduler.get("/v1/campaigns?status=DRAFT").await.expect(200);
    assert_eq!(drafts["items"].as_array().unwrap().len(), 5);
    let none = scheduler.get("/v1/campaigns?status=SENDING").await.expect(200);
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_happens_once() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let key = [("idempotency-key", "natal-2026")];
    let post = async |body: Value| {
        scheduler
            .ask_with("supervisor", Method::POST, "/v1/campaigns", Some(body), &key)
            .await
    };

    let mut wrong = campaign();
    wrong["priority"] = json!("urgent");
    post(wrong).await.expect(422);
    let first = post(campaign()).await;
    assert!(!first.replayed, "what failed did not use the key up");
    let first = first.expect(201);
    let again = post(campaign()).await;
    assert!(again.replayed);
    assert_eq!(again.expect(201), first);
    let mut other = campaign();
    other["name"] = json!("Páscoa");
    assert_eq!(post(other).await.fields(422), ["Idempotency-Key"]);
    let listed = scheduler.get("/v1/campaigns").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

/// Many at once with one key: one does it, the others hear that it is being done, or was.
#[tokio::test]
async fn a_request_sent_many_times_at_once_happens_once() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let key = [("idempotency-key", "at-once")];
    let requests = (0..8).map(|_| {
        scheduler.ask_with(
            "supervisor",
            Method::POST,
            "/v1/campaigns",
            Some(campaign()),
            &key,
        )
    });
    for answer in futures::future::join_all(requests).await {
        assert!(matches!(answer.status.as_u16(), 201 | 409), "{}", answer.text);
    }
    let listed = scheduler.get("/v1/campaigns").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_preview_renders_real_recipients_and_lists_the_skips() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let suppressed = json!({"phone": "(11) 98765-0000", "reason": "asked by phone"});
    scheduler.post("/v1/suppressions", suppressed).await.expect(201);
    let path = format!("/v1/campaigns/{id}/preview");
    let preview = scheduler.get(&path).await.expect(200);
    let recipients = preview["recipients"].as_array().unwrap();
    assert_eq!(recipients[0]["message"]["body"], "Olá Maria, de Santos.");
    assert_eq!(recipients[0]["phone"], "+5511987650001");
    // Twelve customers: three have no city, one is suppressed.
    assert_eq!(recipients.len(), 8);
    assert_eq!(
        preview["skipped_by"],
        json!({"missing_variable": 3, "opted_out": 1})
    );
    assert_eq!(preview["skipped"][1]["detail"], "cidade");
    assert_eq!(
        (&preview["customers_seen"], &preview["more"]),
        (&json!(12), &json!(false))
    );
    let masked = scheduler
        .ask("viewer", Method::POST, &path, None)
        .await
        .expect(200);
    assert_ne!(
        masked["recipients"][0]["phone"], "+5511987650001",
        "viewers see no numbers"
    );
    scheduler
        .ask(
            "supervisor",
            Method::DELETE,
            "/v1/suppressions/+5511987650000",
            None,
        )
        .await
        .expect(204);
    scheduler
        .ask(
            "supervisor",
            Method::DELETE,
            "/v1/suppressions/+5511987650000",
            None,
        )
        .await
        .expect(404);
}
