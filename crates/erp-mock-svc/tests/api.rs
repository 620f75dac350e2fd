//! The mock as a service: over HTTP with the engine's own ERP client, and over a real Redis.

use campaign_core::contracts::{
    CUSTOMER_EVENTS_STREAM, CustomerEvent, CustomerEventKind, MESSAGE_EVENTS_STREAM, MessageEvents,
    SENDER_GROUP, SUPPRESSION_EVENTS_STREAM, SuppressionEvent,
};
use campaign_core::customer::Customer;
use campaign_core::segment::Segment;
use campaign_runtime::{DEFAULT_DEADLINE, Problem, Runtime, Shutdown};
use campaign_streams::{Consumer, ConsumerConfig, Producer, RedisConfig, Streams, Traced, Verdict};
use clap::Parser;
use erp_api::{ErpClient, ErpConfig, ErpError};
use erp_mock_svc::{app, config::Config};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const KEY: &str = "erp-key";
const CUSTOMERS: u64 = 12_000;
/// Longest wait for something that travels through Redis.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

struct Mock {
    base_url: String,
    http: reqwest::Client,
    shutdown: Shutdown,
    service: JoinHandle<anyhow::Result<()>>,
}

impl Mock {
    async fn start(settings: &[&str]) -> Self {
        // The first test installs it; the others find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let customers = CUSTOMERS.to_string();
        let fixed = [
            "erp-mock-svc",
            "--erp-api-key",
            KEY,
            "--today",
            "2026-03-01",
            "--customers",
            &customers,
        ];
        let config = Config::parse_from(fixed.iter().chain(settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = Shutdown::new(DEFAULT_DEADLINE);
        let runtime = Runtime::for_test(listener, shutdown.clone());
        let service = tokio::spawn(app::run(config, runtime));
        Self {
            base_url,
            http: reqwest::Client::new(),
            shutdown,
            service,
        }
    }

    fn client(&self) -> ErpClient {
        let config = ErpConfig {
            requests_per_second: NonZeroU32::new(10_000).expect("not zero"),
            max_attempts: NonZeroU32::new(10).expect("not zero"),
            first_delay: Duration::from_millis(2),
            max_delay: Duration::from_millis(10),
            ..ErpConfig::new(&self.base_url, KEY.into())
        };
        ErpClient::new(config).expect("valid settings")
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base_url))
            .bearer_auth(KEY)
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.expect("JSON")
    }

    async fn problem(&self, request: RequestBuilder) -> Problem {
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let problem: Problem = response.json().await.expect("problem details");
        assert_eq!(problem.status_code(), status);
        problem
    }

    async fn set_faults(&self, plan: Value) {
        let answer = self
            .request(Method::PUT, "/mock/faults")
            .json(&plan)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{plan}");
    }

    /// Every customer of the segment, by the engine's client; panics if one comes twice.
    async fn all(&self, segment: &Segment, limit: u16) -> Vec<Customer> {
        let client = self.client();
        let (mut all, mut seen, mut cursor) = (Vec::new(), HashSet::new(), None);
        loop {
            let page = client
                .page(segment, cursor.as_deref(), limit)
                .await
                .expect("a page");
            assert!(page.customers.len() <= usize::from(limit));
            for customer in page.customers {
                assert!(seen.insert(customer.id.clone()), "{} came twice", customer.id);
                all.push(customer);
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return all;
            }
        }
    }

    async fn stop(self) {
        self.shutdown.stop();
        self.service.await.expect("no panic").expect("a clean end");
    }
}

fn of_sao_paulo() -> Segment {
    Segment {
        states: vec!["SP".into()],
        active: Some(true),
        ..Segment::default()
    }
}

#[tokio::test]
async fn paging_gives_each_customer_of_the_segment_once() {
    let mock = Mock::start(&[]).await;
    let everyone = mock.all(&Segment::default(), 5_000).await;
    assert_eq!(everyone.len() as u64, CUSTOMERS);
    let of_sao_paulo = of_sao_paulo();
    let today = chrono::NaiveDate::from_ymd_opt(2026, 3, 1).expect("a valid day");
    let expected: Vec<_> = everyone
        .into_iter()
        .filter(|customer| of_sao_paulo.matches(customer, today))
        .collect();
    assert!(expected.len() > 1_000);
    assert_eq!(mock.all(&of_sao_paulo, 137).await, expected);

    let first = mock.client().page(&of_sao_paulo, None, 1).await.expect("a page");
    let estimate = first.total_estimate.expect("the first page tells the size");
    assert!(
        estimate.abs_diff(expected.len() as u64) < 400,
        "{estimate} is far from {}",
        expected.len()
    );
    mock.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_what_would_be_right() {
    let mock = Mock::start(&[]).await;
    let page = mock.get("/v1/customers?limit=2&states=SP").await;
    let foreign = page["next_cursor"].as_str().expect("a cursor");
    for (query, field, expected) in [
        ("limit=5001", "limit", "a number from 1 to 5000"),
        ("limit=0", "limit", "a number from 1 to 5000"),
        ("limit=all", "limit", "a number from 1 to 5000"),
        ("estado=SP", "estado", "the name of a criterion"),
        ("birthday_month=13", "birthday_month", "1 to 12"),
        (
            "cursor=abc",
            "cursor",
            "the next_cursor of the page before, with the same criteria",
        ),
        (
            &format!("states=RJ&cursor={foreign}"),
            "cursor",
            "the next_cursor of the page before, with the same criteria",
        ),
    ] {
        let problem = mock
            .problem(mock.request(Method::GET, &format!("/v1/customers?{query}")))
            .await;
        assert_eq!(
            (problem.status, &*problem.errors[0].field),
            (400, field),
            "{query}"
        );
        assert_eq!(problem.errors[0].expected, expected, "{query}");
        assert!(problem.detail.contains(expected), "{query}: {}", problem.detail);
    }
    let problem = mock
        .problem(mock.request(Method::GET, "/v1/customers/C99999999"))
        .await;
    assert_eq!(problem.status, 404);

    let patch = |body: Value| mock.request(Method::PATCH, "/v1/customers/C00000001").json(&body);
    assert_eq!(mock.problem(patch(json!({"name": "x"}))).await.status, 422);
    assert_eq!(
        mock.problem(patch(json!({"phone": "1".repeat(65)}))).await.errors[0].field,
        "/phone"
    );
    let plan = mock
        .request(Method::PUT, "/mock/faults")
        .json(&json!({"truncated_share": 2}));
    assert_eq!(mock.problem(plan).await.errors[0].field, "/truncated_share");
    mock.stop().await;
}

#[tokio::test]
async fn nothing_is_told_without_the_key() {
    let mock = Mock::start(&[]).await;
    for (method, path) in [
        (Method::GET, "/v1/customers"),
        (Method::PATCH, "/v1/customers/C00000001"),
        (Method::GET, "/v1/customers/C00000001/contacts"),
        (Method::GET, "/mock/faults"),
        (Method::POST, "/mock/customers/C00000001/opt-out"),
    ] {
        let bare = mock
            .http
            .request(method.clone(), format!("{}{path}", mock.base_url));
        for request in [bare.try_clone().expect("no body"), bare.bearer_auth("erp-kez")] {
            assert_eq!(mock.problem(request).await.status, 401, "{method} {path}");
        }
    }
    mock.stop().await;
}

#[tokio::test]
async fn the_client_gets_everyone_through_every_fault() {
    let mock = Mock::start(&[]).await;
    let expected = mock.all(&of_sao_paulo(), 50).await;
    mock.set_faults(json!({
        "seed": 7,
        "rate_limited_share": 0.1,
        "rate_limited_with_retry_after_share": 0.1,
        "retry_after_s": 0,
        "server_error_share": 0.1,
        "truncated_share": 0.1,
        "repeated_page_share": 0.1,
        "slow_share": 0.2,
        "slow_ms": 5,
    }))
    .await;
    assert_eq!(mock.all(&of_sao_paulo(), 50).await, expected);
    let report = mock.get("/mock/faults").await;
    let pages = expected.len().div_ceil(50) as u64;
    let seen = report["requests_seen"].as_u64().expect("a count");
    assert!(
        seen > pages + pages / 4,
        "{seen} requests for {pages} pages: the faults did not happen"
    );
    mock.stop().await;
}

#[tokio::test]
async fn each_fault_looks_as_it_should() {
    let mock = Mock::start(&[]).await;
    let first = mock.get("/v1/customers?limit=3").await;
    let cursor = first["next_cursor"].as_str().expect("a cursor").to_owned();
    let next = || mock.request(Method::GET, &format!("/v1/customers?limit=3&cursor={cursor}"));

    mock.set_faults(json!({"rate_limited_with_retry_after_share": 1, "retry_after_s": 7, "next_n": 1}))
        .await;
    let limited = next().send().await.expect("an answer");
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"7".parse().expect("a header"))
    );
    assert_eq!(
        next().send().await.expect("an answer").status(),
        StatusCode::OK,
        "next_n is over"
    );

    mock.set_faults(json!({"repeated_page_share": 1})).await;
    let repeated: Value = next()
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("a page");
    assert_eq!(
        (&repeated["customers"], &repeated["next_cursor"]),
        (&first["customers"], &json!(cursor))
    );

    mock.set_faults(json!({"truncated_share": 1})).await;
    let cut = next()
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("a text");
    assert!(cut.starts_with("{\"customers\":[{") && serde_json::from_str::<Value>(&cut).is_err());

    mock.set_faults(json!({"expired_cursor_share": 1})).await;
    let error = mock.client().page(&Segment::default(), Some(&cursor), 3).await;
    assert!(matches!(error, Err(ErpError::CursorExpired { .. })), "{error:?}");
    mock.stop().await;
}

#[tokio::test]
async fn cursors_expire_where_that_is_configured() {
    let mock = Mock::start(&["--cursor-ttl-ms", "1"]).await;
    let page = mock
        .client()
        .page(&Segment::default(), None, 3)
        .await
        .expect("a page");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = mock
        .client()
        .page(&Segment::default(), page.next_cursor.as_deref(), 3)
        .await;
    assert!(matches!(error, Err(ErpError::CursorExpired { .. })), "{error:?}");
    mock.stop().await;
}

#[tokio::test]
async fn a_change_is_seen_and_told() {
    let redis = testkit::Redis::start().await;
    let mock = Mock::start(&["--redis-url", &redis.url(), "--stream-prefix", "t:"]).await;
    let consenting = Segment {
        marketing_consent: Some(true),
        ..Segment::default()
    };
    let customer = mock
        .client()
        .page(&consenting, None, 1)
        .await
        .expect("a page")
        .customers
        .remove(0);
    let path = format!("/mock/customers/{}/opt-out", customer.id);
    let answer = mock.request(Method::POST, &path).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);

    let shown = mock.get(&format!("/v1/customers/{}", customer.id)).await;
    assert_eq!(shown["marketing_consent"], json!(false));
    let listed = mock
        .client()
        .page(&consenting, None, 1)
        .await
        .expect("a page")
        .customers
        .remove(0);
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
