//! Over a real Redis: what the mock tells, and what it hears.

use crate::mock::Mock;
use campaign_core::contracts::{
    CUSTOMER_EVENTS_STREAM, CustomerEvent, CustomerEventKind, MESSAGE_EVENTS_STREAM, MessageEvents,
    SENDER_GROUP, SUPPRESSION_EVENTS_STREAM, SuppressionEvent,
};
use campaign_core::segment::Segment;
use campaign_streams::{Consumer, ConsumerConfig, Producer, RedisConfig, Streams, Traced, Verdict};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest wait for something that travels through Redis.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_change_is_seen_and_told() {
    let redis = testkit::Redis::start().await;
    let mock = Mock::start(&["--redis-url", &redis.url(), "--stream-prefix", "t:"]).await;
    let consenting = Segment {
        marketing_consent: Some(true),
        ..Segment::default()
    };
    let customer = mock.first_of(&consenting).await;
    let path = format!("/mock/customers/{}/opt-out", customer.id);
    let answer = mock.request(Method::POST, &path).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);

    let shown = mock.get(&format!("/v1/customers/{}", customer.id)).await;
    assert_eq!(shown["marketing_consent"], json!(false));
    let listed = mock.first_of(&consenting).await;
    assert_ne!(listed.id, customer.id, "who opted out is no longer listed");

    let event = first_customer_event(&streams(&redis)).await;
    assert_eq!(
        (event.kind, &event.customer_id, &event.phone),
        (CustomerEventKind::OptedOut, &customer.id, &customer.phone)
    );
    mock.stop().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_told_is_not_made() {
    let nobody = format!("redis://127.0.0.1:{}/", testkit::free_port());
    let mock = Mock::start(&["--redis-url", &nobody]).await;
    let before = mock.get("/v1/customers/C00000002").await;
    let patch = json!({"phone": "+5511987654321", "active": false});
    let problem = mock
        .problem(
            mock.request(Method::PATCH, "/v1/customers/C00000002")
                .json(&patch),
        )
        .await;
    assert_eq!(problem.status, 503);
    assert_eq!(mock.get("/v1/customers/C00000002").await, before);
    mock.stop().await;
}

#[tokio::test]
async fn message_events_become_the_contact_history() {
    let redis = testkit::Redis::start().await;
    let mock = Mock::start(&["--redis-url", &redis.url(), "--stream-prefix", "t:"]).await;
    let event = |customer: &str, state: &str| {
        json!({
            "campaign": uuid::Uuid::nil(), "seq": 5, "customer_id": customer, "state": state,
            "at": "2026-03-01T12:00:00Z",
        })
    };
    let entry = |body: Value| -> Traced<MessageEvents> {
        Traced::new(serde_json::from_value(body).expect("events"), None)
    };
    let events = [
        entry(event("C00000007", "accepted")),
        entry(json!([
            event("someone else's", "accepted"),
            event("C00000007", "read"),
            event("C00000007", "accepted"),
        ])),
        entry(json!([event("C00000008", "failed")])),
    ];
    let producer = Producer::new(&streams(&redis), MESSAGE_EVENTS_STREAM, 1_000);
    producer.publish_all(&events).await.expect("Redis takes it");

    let arrived = async {
        while mock.get("/v1/customers/C00000008/contacts").await["contacts"] == json!([]) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(ARRIVES_WITHIN, arrived)
        .await
        .expect("the events arrive");
    let history = mock.get("/v1/customers/C00000007/contacts").await;
    let contacts = history["contacts"].as_array().expect("a list");
    let states: Vec<_> = contacts.iter().map(|contact| contact["state"].as_str()).collect();
    assert_eq!(states, [Some("accepted"), Some("read")], "{history}");
    mock.stop().await;
}

/// What people told by WhatsApp becomes their consent, whoever has the number; nobody is told again.
#[tokio::test]
async fn a_wish_told_by_whatsapp_changes_the_consent_of_everybody_with_the_number() {
    let redis = testkit::Redis::start().await;
    let mock = Mock::start(&["--redis-url", &redis.url(), "--stream-prefix", "t:"]).await;
    for (customer, phone) in [
        ("C00000007", "(31) 8765-4321"),
        ("C00000009", "+55 31 98765-4321"),
    ] {
        let patch = json!({"phone": phone});
        let of_customer = format!("/v1/customers/{customer}");
        let changed = mock
            .request(Method::PATCH, &of_customer)
            .json(&patch)
            .send()
            .await;
        assert!(changed.expect("the mock answers").status().is_success());
    }
    let streams = streams(&redis);
    let producer = Producer::new(&streams, SUPPRESSION_EVENTS_STREAM, 1_000);
    let consents = async || {
        let mut consents = Vec::new();
        for customer in ["C00000007", "C00000009", "C00000010"] {
            let customer = mock.get(&format!("/v1/customers/{customer}")).await;
            consents.push(customer["marketing_consent"].as_bool().expect("a flag"));
        }
        consents
    };
    for (stop, seconds) in [(true, 10), (false, 20), (true, 30)] {
        let event = SuppressionEvent {
            phone: "+5531987654321".parse().expect("a phone"),
            customer_ids: vec!["C00000010".to_owned(), "of another ERP".to_owned()],
            stop,
            source: "keyword".to_owned(),
            at: chrono::Utc::now() + chrono::TimeDelta::seconds(seconds),
        };
        producer
            .publish(&Traced::new(event, None))
            .await
            .expect("Redis takes it");
        let arrived = async {
            while consents().await != [!stop; 3] {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(ARRIVES_WITHIN, arrived)
            .await
            .expect("it is taken");
    }
    let depths = campaign_streams::depths::of_streams(&streams)
        .await
        .expect("looked");
    let told = depths.iter().find(|depth| depth.name == CUSTOMER_EVENTS_STREAM);
    assert_eq!(
        told.map(|depth| depth.entries),
        Some(2),
        "the two new phones, and no echo"
    );
    mock.stop().await;
}

fn streams(redis: &testkit::Redis) -> Streams {
    let config = RedisConfig {
        prefix: "t:".into(),
        ..RedisConfig::new(redis.url())
    };
    Streams::lazy(config).expect("a readable address")
}

async fn first_customer_event(streams: &Streams) -> CustomerEvent {
    let (heard, mut hear) = mpsc::unbounded_channel();
    let consumer = Consumer::new(
        streams,
        ConsumerConfig::sole(CUSTOMER_EVENTS_STREAM, SENDER_GROUP),
    );
    let stop = tokio_util::sync::CancellationToken::new();
    let reading = tokio::spawn(consumer.run(stop.clone(), move |delivery| {
        // Who listens has heard enough after the first.
        let _ = heard.send(delivery.body);
        std::future::ready(Verdict::Done)
    }));
    let event = tokio::time::timeout(ARRIVES_WITHIN, hear.recv())
        .await
        .expect("it arrives")
        .expect("an event");
    stop.cancel();
    reading.await.expect("no panic");
    event
}
