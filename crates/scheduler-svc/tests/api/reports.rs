//! Progress, recipients, exports, requests, queues, dead letters.

use crate::harness::{LANE, Scheduler};
use reqwest::Method;
use serde_json::{Value, json};

const RECIPIENTS: usize = 5_000;

/// A running campaign with a ledger: every tenth failed, every hundredth uncertain.
async fn with_ledger(scheduler: &Scheduler) -> String {
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    scheduler
        .act(&format!("/v1/campaigns/{id}/schedule"))
        .await
        .expect(200);
    scheduler.wait_for_status(&id, "SENDING").await;
    let ledger = format!(
        "INSERT INTO dispatches (campaign, lane, audience_complete, next_seq, enqueued_seq)
             VALUES ('{id}', '{LANE}', true, {RECIPIENTS} + 1, 4000);
         INSERT INTO messages (campaign, seq, state, generation, customer_id, phone, phone_as_given, variables,
             error_code, error_text)
         SELECT '{id}', seq, state::message_state, 1, 'c-' || seq, '+55119' || (10000000 + seq),
             '119' || (10000000 + seq), '{{}}', CASE state WHEN 'failed' THEN '131026' END,
             CASE state WHEN 'failed' THEN 'not deliverable, said \"Meta\"' END
         FROM (SELECT seq, CASE WHEN seq % 100 = 0 THEN 'uncertain' WHEN seq % 10 = 0 THEN 'failed' WHEN seq > 4000
             THEN 'pending' ELSE 'accepted' END AS state FROM generate_series(1, {RECIPIENTS}) AS seq) AS rows;
         INSERT INTO campaign_counters (campaign, uncertain, failed, pending, accepted, total, recent, first_accepted_at,
             failed_by)
         SELECT '{id}', count(*) FILTER (WHERE state = 'uncertain'), count(*) FILTER (WHERE state = 'failed'),
             count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'accepted'), count(*),
             (SELECT jsonb_agg(jsonb_build_array(second, 90)) FROM generate_series(
                 floor(extract(epoch FROM now()))::bigint - 9, floor(extract(epoch FROM now()))::bigint + 60) AS second), now(),
             jsonb_build_object('131026', count(*) FILTER (WHERE state = 'failed'), 'timeout', 1)
         FROM messages WHERE campaign = '{id}'"
    );
    scheduler.as_sender(&ledger).await;
    id
}

#[tokio::test]
async fn progress_has_every_counter_the_rate_and_the_end() {
    let scheduler = Scheduler::start().await;
    let id = with_ledger(&scheduler).await;
    let shown = scheduler.get(&format!("/v1/campaigns/{id}")).await.expect(200);
    let progress = &shown["progress"];
    let by_state = progress["by_state"].as_object().unwrap();
    assert_eq!(by_state.len(), 11);
    assert_eq!(
        by_state
            .values()
            .map(|count| count.as_i64().unwrap())
            .sum::<i64>(),
        RECIPIENTS as i64
    );
    assert_eq!(
        (&progress["total"], &progress["enqueued"]),
        (&json!(RECIPIENTS), &json!(4000))
    );
    assert_eq!(
        (&by_state["pending"], &by_state["uncertain"]),
        (&json!(900), &json!(50))
    );
    let rate = progress["rate_per_second"].as_f64().unwrap();
    assert!((80.0..=90.0).contains(&rate), "{rate}");
    assert!(progress["estimated_end_at"].is_string());
    assert_eq!(shown["template"]["name"], "oferta");
    let failed_by = progress["failed_by"].as_array().unwrap();
    assert_eq!(
        (&failed_by[0]["code"], &failed_by[0]["recipients"]),
        (&json!("131026"), &by_state["failed"])
    );
    assert_eq!(
        (&failed_by[0]["scope"], &failed_by[0]["action"]),
        (&json!("recipient"), &json!("fail"))
    );
    assert_eq!(failed_by[0]["title"], "Message undeliverable");
    assert!(
        failed_by[0]["advice"]
            .as_str()
            .unwrap()
            .contains("not on WhatsApp")
    );
    assert_eq!(
        (&failed_by[1]["code"], &failed_by[1]["recipients"]),
        (&json!("timeout"), &json!(1))
    );
}

#[tokio::test]
async fn recipients_come_in_pages_and_as_csv() {
    let scheduler = Scheduler::start().await;
    let id = with_ledger(&scheduler).await;
    let path = format!("/v1/campaigns/{id}/messages");
    let page = scheduler
        .get(&format!("{path}?limit=3&state=failed"))
        .await
        .expect(200);
    let seqs = |page: &Value| -> Vec<i64> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["seq"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(seqs(&page), [10, 20, 30]);
    let next = page["next_cursor"].as_str().unwrap();
    let page = scheduler
        .get(&format!("{path}?limit=3&state=failed&cursor={next}"))
        .await
        .expect(200);
    assert_eq!(seqs(&page), [40, 50, 60]);
    assert_eq!(page["items"][0]["phone"], "+5511910000040");
    let advice = page["items"][0]["advice"].as_str().unwrap();
    assert!(advice.contains("not on WhatsApp"), "{advice}");
    let masked = scheduler
        .ask("viewer", Method::GET, &format!("{path}?limit=1"), None)
        .await;
    assert!(!masked.text.contains("10000001"), "{}", masked.text);
    assert_eq!(
        scheduler.get(&format!("{path}?state=lost")).await.fields(422),
        ["state"]
    );

    let csv = scheduler.get(&format!("{path}?format=csv")).await;
    assert_eq!(csv.text.lines().count(), RECIPIENTS + 1);
    let failed = csv.text.lines().nth(10).unwrap();
    assert!(
        failed.starts_with(
            "10,c-10,+5511910000010,11910000010,failed,0,131026,\"not deliverable, said \"\"Meta\"\"\""
        ),
        "{failed}"
    );
    assert!(failed.ends_with(&format!(",\"{advice}\"")), "{failed}");
    let accept = [("accept", "text/csv")];
    let uncertain = format!("{path}?state=uncertain");
    let csv = scheduler
        .ask_with("viewer", Method::GET, &uncertain, None, &accept)
        .await;
    assert_eq!(csv.text.lines().count(), 51);
    assert!(!csv.text.contains("10000100"), "viewers see no numbers");
    let listed = scheduler
        .get(&format!("/v1/campaigns/{id}/uncertain?limit=200"))
        .await
        .expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 50);
    assert_eq!(listed["next_cursor"], Value::Null);
}

#[tokio::test]
async fn requests_to_the_ledger_are_written_for_its_owner() {
    let scheduler = Scheduler::start().await;
    let id = with_ledger(&scheduler).await;
    let path = |action: &str| format!("/v1/campaigns/{id}/{action}");
    let asked = scheduler
        .post(&path("uncertain/resend"), json!({"seqs": [100, 200]}))
        .await
        .expect(202);
    assert_eq!(
        (&asked["kind"], &asked["applied_at"]),
        (&json!("resend_uncertain"), &Value::Null)
    );
    scheduler.act(&path("uncertain/write-off")).await.expect(202);
    scheduler
        .post(&path("resend-failed"), json!({"error_codes": ["131026"]}))
        .await
        .expect(202);
    assert_eq!(
        scheduler
            .post(&path("resend-failed"), json!({"error_codes": []}))
            .await
            .fields(422),
        ["/error_codes"]
    );
    assert_eq!(
        scheduler
            .post(&path("uncertain/resend"), json!({"seqs": [0]}))
            .await
            .fields(422),
        ["/seqs/0"]
    );
    scheduler
        .as_sender(
            "UPDATE requests SET applied_at = now(), affected = 2, left_out = 3, left_out_until = '2026-03-01T12:00Z'
             WHERE seqs IS NOT NULL",
        )
        .await;
    let request = scheduler
        .get(&path(&format!("requests/{}", asked["id"].as_str().unwrap())))
        .await
        .expect(200);
    assert_eq!(request["affected"], 2);
    let left_out = &request["left_out"];
    assert_eq!(
        (&left_out["messages"], &left_out["until"]),
        (&json!(3), &json!("2026-03-01T12:00:00Z"))
    );
    assert!(left_out["reason"].as_str().unwrap().contains("131049"));
    assert_eq!(asked["left_out"], Value::Null);
}

#[tokio::test]
async fn strays_are_listed_apart_from_dead_letters() {
    use campaign_core::contracts::{DeadLetter, WEBHOOK_ORIGIN};
    use campaign_streams::dead_letters::{Letters, keep_all};
    use campaign_streams::{RedisConfig, Streams};
    let scheduler = Scheduler::start().await;
    let streams = Streams::lazy(RedisConfig::new(scheduler.redis.url())).unwrap();
    let letter = DeadLetter {
        stream: WEBHOOK_ORIGIN.to_owned(),
        id: "wamid.X".to_owned(),
        reason: "callback data of another sender".to_owned(),
        fields: vec![("status".to_owned(), "read".to_owned())],
    };
    keep_all(&streams, Letters::Stray, &[letter.clone(), letter])
        .await
        .unwrap();
    let listed = scheduler.get("/v1/strays?limit=1").await.expect(200);
    let item = &listed["items"][0];
    assert_eq!(
        (&item["stream"], &item["entry_id"]),
        (&json!("webhook"), &json!("wamid.X"))
    );
    assert_eq!(item["fields"], json!([["status", "read"]]));
    let next = listed["next_cursor"].as_str().expect("there is another");
    let rest = scheduler
        .get(&format!("/v1/strays?cursor={next}"))
        .await
        .expect(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    let as_viewer = scheduler
        .ask("viewer", Method::GET, "/v1/strays", None)
        .await
        .expect(200);
    assert_eq!(as_viewer["items"][0]["fields"], Value::Null);
    let dead = scheduler.get("/v1/dead-letters").await.expect(200);
    assert_eq!(dead["items"], json!([]));
}

#[tokio::test]
async fn dead_letters_are_listed_put_back_and_thrown_away() {
    use campaign_core::contracts::{DeadLetter, SENDER_STREAM};
    use campaign_streams::{RedisConfig, Streams, dead_letters};
    let scheduler = Scheduler::start().await;
    let streams = Streams::lazy(RedisConfig::new(scheduler.redis.url())).unwrap();
    for number in 0..2 {
        let letter = DeadLetter {
            stream: SENDER_STREAM.to_owned(),
            id: format!("{number}-0"),
            reason: "it cannot be read".to_owned(),
            fields: vec![("body".to_owned(), "{}".to_owned())],
        };
        dead_letters::keep(&streams, &letter).await.unwrap();
    }
    let listed = scheduler.get("/v1/dead-letters").await.expect(200);
    let ids: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(listed["items"][0]["fields"], json!([["body", "{}"]]));
    let seen_by_viewer = scheduler
        .ask("viewer", Method::GET, "/v1/dead-letters", None)
        .await
        .expect(200);
    assert_eq!(seen_by_viewer["items"][0]["fields"], Value::Null);
    scheduler
        .act(&format!("/v1/dead-letters/{}/redrive", ids[0]))
        .await
        .expect(204);
    let path = format!("/v1/dead-letters/{}", ids[1]);
    scheduler
        .ask("supervisor", Method::DELETE, &path, None)
        .await
        .expect(204);
    scheduler
        .ask("supervisor", Method::DELETE, &path, None)
        .await
        .expect(404);
    let queues = scheduler.get("/v1/queues").await.expect(200);
    let entries = |name: &str| {
        let streams = queues["streams"].as_array().unwrap();
        streams.iter().find(|stream| stream["name"] == name).unwrap()["entries"]
            .as_i64()
            .unwrap()
    };
    assert_eq!((entries("dead-letter"), entries(SENDER_STREAM)), (0, 1));
    let log = scheduler.get("/v1/audit-log").await.expect(200);
    assert_eq!(log["items"][0]["action"], "dead_letter.discard");
}
