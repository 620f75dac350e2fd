//! The demo against an engine and a mock that the test plays.

use crate::{Run, run};
use serde_json::{Value, json};
use wiremock::matchers::{body_json, body_partial_json, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const ID: &str = "0199aaaa-0000-7000-8000-000000000001";
const NUMBER: &str = "106540352242922";

fn answer(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

async fn engine(read: i64) -> MockServer {
    let server = MockServer::start().await;
    let number = json!({ "phone_number_id": NUMBER, "display_number": "n", "throughput_per_second": 1_000, "active": true });
    Mock::given(path(format!("/v1/phone-numbers/{NUMBER}")))
        .respond_with(answer(number))
        .mount(&server)
        .await;
    let draft = json!({ "id": ID, "name": "Demo", "status": "DRAFT", "phone_number_id": NUMBER });
    let segment = json!({ "states": ["SP"], "active": true, "marketing_consent": true });
    Mock::given(method("POST"))
        .and(path("/v1/campaigns"))
        .and(body_partial_json(
            json!({ "segment": segment, "phone_number_id": NUMBER }),
        ))
        .respond_with(ResponseTemplate::new(201).set_body_json(&draft))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path(format!("/v1/campaigns/{ID}/schedule")))
        .respond_with(answer(draft))
        .expect(1)
        .mount(&server)
        .await;
    let detail = json!({
        "id": ID, "name": "Demo", "status": "COMPLETED", "phone_number_id": NUMBER,
        "started_at": "2026-12-01T12:00:00Z", "finished_at": "2026-12-01T12:00:20Z",
        "template": { "name": "oferta_especial", "language": "pt_BR", "version": 1, "category": "MARKETING" },
        "progress": {
            "total": read + 5, "audience_complete": true, "enqueued": read + 5, "rounds": 1,
            "by_state": { "read": read, "skipped": 5 }, "skipped_by": { "landline": 5 },
            "rate_per_second": 0.0, "estimated_end_at": null,
        },
    });
    Mock::given(method("GET"))
        .and(path(format!("/v1/campaigns/{ID}")))
        .respond_with(answer(detail))
        .mount(&server)
        .await;
    server
}

async fn whatsapp(accepted: i64, people: i64, most: i64) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("DELETE"))
        .and(path("/mock/acceptances"))
        .respond_with(answer(json!({})))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path("/mock/webhooks"))
        .and(body_json(
            json!({ "enabled": true, "url": "http://127.0.0.1:9/webhooks" }),
        ))
        .respond_with(answer(json!({ "url": "http://127.0.0.1:9/webhooks" })))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(path(format!("/mock/numbers/{NUMBER}")))
        .and(body_json(json!({ "throughput": 1_000 })))
        .respond_with(answer(json!({})))
        .expect(1)
        .mount(&server)
        .await;
    let outbox = json!({ "pending": 0, "ready": 0, "inbound": 0, "delivering": 0, "dropped": 0 });
    Mock::given(path("/mock"))
        .respond_with(answer(json!({ "webhooks": outbox })))
        .mount(&server)
        .await;
    let log = json!({
        "accepted": accepted, "unique_recipients": people, "unique_callback_data": accepted, "max_per_recipient": most,
        "duplicates": [], "more_duplicates": false, "first_at_ms": 1_000, "last_at_ms": 21_000,
        "peak_in_one_second": 1_003, "overflow": false,
    });
    Mock::given(method("GET"))
        .and(path("/mock/acceptances"))
        .and(query_param("campaign", ID))
        .respond_with(answer(log))
        .mount(&server)
        .await;
    server
}

async fn demo(engine: &MockServer, whatsapp: &MockServer, more: &str) -> Run {
    let uri = whatsapp.uri();
    let flags = [
        "--webhook-url",
        "http://127.0.0.1:9/webhooks",
        "--whatsapp-mock-url",
        &uri,
    ];
    run(&engine.uri(), &format!("demo {more}"), &flags).await
}

#[tokio::test]
async fn a_demo_in_which_all_is_so_exits_with_0() {
    let (engine, whatsapp) = (engine(19_989).await, whatsapp(19_989, 19_989, 1).await);
    let run = demo(&engine, &whatsapp, "").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout.contains("✓ each phone got exactly one message") && !run.stdout.contains('✗'),
        "{}",
        run.stdout
    );
}

#[tokio::test]
async fn somebody_who_got_two_messages_fails_the_demo() {
    let (engine, whatsapp) = (engine(19_989).await, whatsapp(19_990, 19_989, 2).await);
    let run = demo(&engine, &whatsapp, "").await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr
            .contains("each phone got exactly one message: 19,990 messages to 19,989 people"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn a_message_that_the_database_does_not_know_of_fails_the_demo_for_programs_too() {
    let (engine, whatsapp) = (engine(19_989).await, whatsapp(19_990, 19_990, 1).await);
    let run = demo(&engine, &whatsapp, "--json").await;
    assert_eq!(run.code, 1, "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["all_is_so"], false);
}

#[tokio::test]
async fn whoever_is_no_mock_is_not_sent_a_campaign() {
    let engine = MockServer::start().await;
    let number = json!({ "phone_number_id": NUMBER, "display_number": "n", "throughput_per_second": 80, "active": true });
    Mock::given(method("GET"))
        .respond_with(answer(number))
        .mount(&engine)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(500))
        .expect(0)
        .mount(&engine)
        .await;
    let real = MockServer::start().await;
    assert_eq!(demo(&engine, &real, "").await.code, 3);
}
