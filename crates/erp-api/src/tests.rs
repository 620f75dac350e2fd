//! The client against a server that behaves as badly as an ERP can.

use crate::{CustomerPage, ErpClient, ErpConfig, ErpError};
use campaign_core::segment::Segment;
use secrecy::SecretString;
use serde_json::json;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const ATTEMPTS: u32 = 3;

fn config(base_url: &str) -> ErpConfig {
    // The first caller installs it; the others find it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ErpConfig {
        max_attempts: NonZeroU32::new(ATTEMPTS).expect("not zero"),
        first_delay: Duration::from_millis(5),
        max_delay: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        requests_per_second: NonZeroU32::new(10_000).expect("not zero"),
        ..ErpConfig::new(base_url, SecretString::from("erp-key"))
    }
}

fn client(base_url: &str) -> ErpClient {
    ErpClient::new(config(base_url)).expect("valid settings")
}

fn good_page() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "customers": [{"id": "1", "name": "Ana", "updated_at": "2026-01-01T00:00:00Z", "unheard_of": true}],
        "next_cursor": "after-1",
        "total_estimate": 2,
    }))
}

#[tokio::test]
async fn an_erp_is_believed_only_if_a_trusted_authority_vouches_for_its_name() {
    let server = server(good_page(), 1).await;
    let ca = testkit::PrivateCa::new();
    let upstream = server.address().to_string();
    let proxy = testkit::TlsProxy::start(upstream, &ca.certify(&["localhost"])).await;
    let roots = std::fs::read(ca.file()).expect("the authority's file");
    let ask = async |host: &str, roots: Option<&[u8]>| {
        let mut config = config(&format!("https://{host}:{}", proxy.port()));
        config.further_roots_pem = roots.map(<[u8]>::to_vec);
        let client = ErpClient::new(config).expect("valid settings");
        client.page(&Segment::default(), None, 10).await
    };

    let page = ask("localhost", Some(&roots)).await.expect("a page");
    assert_eq!(page.customers.len(), 1);
    for (host, roots, expected) in [
        ("localhost", None, "UnknownIssuer"),
        ("127.0.0.1", Some(&roots[..]), "not valid for name"),
    ] {
        let error = ask(host, roots).await.expect_err(host).to_string();
        assert!(
            error.contains("certificate") && error.contains(expected),
            "{host}: {error}"
        );
    }
    let asked = server.received_requests().await.expect("requests are kept");
    assert_eq!(asked.len(), 1, "no key was told to a stranger");
}

/// A server that answers with `first` for `times` requests, then with a good page.
async fn server(first: ResponseTemplate, times: u64) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(first)
        .up_to_n_times(times)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .respond_with(good_page())
        .mount(&server)
        .await;
    server
}

async fn ask(server: &MockServer) -> Result<CustomerPage, ErpError> {
    client(&server.uri())
        .page(&Segment::default(), Some("start"), 10)
        .await
}

async fn requests(server: &MockServer) -> usize {
    server.received_requests().await.expect("recorded").len()
}

#[tokio::test]
async fn a_page_is_asked_for_with_criteria_cursor_limit_and_key() {
    let server = MockServer::start().await;
    Mock::given(path("/erp/v1/customers"))
        .and(query_param("cities", "São Paulo"))
        .and(query_param("active", "true"))
        .and(query_param("cursor", "a/b+c="))
        .and(query_param("limit", "10"))
        .and(header("authorization", "Bearer erp-key"))
        .respond_with(good_page())
        .expect(1)
        .mount(&server)
        .await;
    let segment = Segment {
        cities: vec!["São Paulo".into()],
        active: Some(true),
        ..Segment::default()
    };
    let page = client(&format!("{}/erp/", server.uri()))
        .page(&segment, Some("a/b+c="), 10)
        .await
        .expect("a page");
    assert_eq!(page.customers[0].name.as_deref(), Some("Ana"));
    assert_eq!(
        (page.next_cursor.as_deref(), page.total_estimate),
        (Some("after-1"), Some(2))
    );
}

#[tokio::test]
async fn what_passes_is_asked_for_again() {
    for first in [
        ResponseTemplate::new(429),
        ResponseTemplate::new(500),
        ResponseTemplate::new(503),
        ResponseTemplate::new(200).set_body_string(r#"{"customers": [{"id": "1", "na"#),
        ResponseTemplate::new(200).set_body_string("<html>maintenance</html>"),
        ResponseTemplate::new(200).set_body_json(json!({"customers": [], "next_cursor": "start"})),
        good_page().set_delay(Duration::from_secs(2)),
    ] {
        let server = server(first, u64::from(ATTEMPTS) - 1).await;
        assert!(ask(&server).await.is_ok());
        assert_eq!(requests(&server).await, ATTEMPTS as usize);
    }
}

#[tokio::test]
async fn attempts_are_bounded_and_the_error_says_what_kept_failing() {
    let cases = [
        (
            ResponseTemplate::new(502),
            "the ERP did not answer in 3 attempts; the last one: status 502",
        ),
        (
            good_page().set_delay(Duration::from_secs(2)),
            "the ERP did not answer in 3 attempts; the last one: no answer in time",
        ),
        (
            ResponseTemplate::new(200).set_body_string(r#"{"customers": ["+5511987654321"]}"#),
            "the ERP's answer is no page: the answer cannot be decoded: Data error at line 1, column 31 (3 attempts)",
        ),
        (
            ResponseTemplate::new(200).set_body_json(json!({"customers": [], "next_cursor": "start"})),
            "the ERP repeated a page in each of 3 attempts",
        ),
    ];
    for (always, expected) in cases {
        let server = server(always, u64::MAX).await;
        let error = ask(&server).await.expect_err("no page");
        assert_eq!(error.to_string(), expected);
        assert!(error.may_pass());
        assert_eq!(requests(&server).await, ATTEMPTS as usize);
    }
}

#[tokio::test]
async fn a_refusal_is_final() {
    for status in [400, 401, 403, 404, 422] {
        let answer = ResponseTemplate::new(status).set_body_json(json!({"detail": "no such thing"}));
        let server = server(answer, u64::MAX).await;
        let error = ask(&server).await.expect_err("refused");
        assert_eq!(
            error,
            ErpError::Refused {
                status,
                detail: "no such thing".into()
            }
        );
        assert!(!error.may_pass());
        assert_eq!(
            requests(&server).await,
            1,
            "status {status} must not be asked for again"
        );
    }
}

#[tokio::test]
async fn an_expired_cursor_is_told_apart() {
    let body = json!({"detail": "too old", "code": "cursor_expired"});
    for status in [400, 410] {
        let server = server(ResponseTemplate::new(status).set_body_json(&body), u64::MAX).await;
        assert_eq!(
            ask(&server).await,
            Err(ErpError::CursorExpired {
                detail: "too old".into()
            })
        );
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_up_to_its_cap() {
    let limited = |seconds: &str| ResponseTemplate::new(429).insert_header("retry-after", seconds);
    let started = Instant::now();
    assert!(ask(&server(limited("1"), 1).await).await.is_ok());
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "asked again after {:?}",
        started.elapsed()
    );

    let server = server(limited("86400"), 1).await;
    let config = ErpConfig {
        max_retry_after: Duration::from_millis(50),
        ..config(&server.uri())
    };
    let asking = ErpClient::new(config).expect("valid settings");
    let page = tokio::time::timeout(Duration::from_secs(10), asking.page(&Segment::default(), None, 1)).await;
    assert!(page.expect("a day must not be waited for").is_ok());
}

#[tokio::test]
async fn an_oversized_page_is_not_read() {
    let server = server(
        ResponseTemplate::new(200).set_body_string("x".repeat(2_000)),
        u64::MAX,
    )
    .await;
    let config = ErpConfig {
        max_page_bytes: 1_999,
        ..config(&server.uri())
    };
    let error = ErpClient::new(config)
        .expect("valid settings")
        .page(&Segment::default(), None, 1)
        .await;
    assert_eq!(
        error,
        Err(ErpError::BadAnswer {
            detail: "it is longer than 1999 bytes".into()
        })
    );
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_key() {
    let elsewhere = server(good_page(), u64::MAX).await;
    let redirect = ResponseTemplate::new(302).insert_header("location", elsewhere.uri());
    let error = ask(&server(redirect, u64::MAX).await).await.expect_err("no page");
    assert!(matches!(error, ErpError::BadAnswer { .. }), "{error}");
    assert_eq!(requests(&elsewhere).await, 0);
}

#[tokio::test]
async fn a_connection_that_breaks_or_never_comes_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let breaking = tokio::spawn(async move {
        for _ in 0..ATTEMPTS {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"customers\"")
                .await;
        }
    });
    let client = client(&address);
    let error = client
        .page(&Segment::default(), None, 1)
        .await
        .expect_err("truncated");
    assert_eq!(
        error,
        ErpError::Unavailable {
            attempts: ATTEMPTS,
            last: "the answer broke off".into()
        }
    );

    breaking.await.expect("the listener is gone now");
    let error = client
        .page(&Segment::default(), None, 1)
        .await
        .expect_err("nobody listens");
    assert!(
        error.to_string().contains("no connection: Connection refused"),
        "{error}"
    );
}

#[tokio::test]
async fn the_request_rate_binds() {
    let server = server(good_page(), u64::MAX).await;
    let config = ErpConfig {
        requests_per_second: NonZeroU32::new(20).expect("not zero"),
        ..config(&server.uri())
    };
    let client = ErpClient::new(config).expect("valid settings");
    let started = Instant::now();
    for _ in 0..9 {
        client.page(&Segment::default(), None, 1).await.expect("a page");
    }
    // The first goes at once; a burst holds at most 2.
    assert!(
        started.elapsed() >= Duration::from_millis(300),
        "9 requests in {:?}",
        started.elapsed()
    );
}

#[test]
fn settings_that_cannot_work_are_refused_without_showing_secrets() {
    for (base_url, key) in [
        ("erp.example", "k"),
        ("ftp://erp", "k"),
        ("http://me:pw@erp", "k"),
        ("http://erp", "a\nb"),
    ] {
        let error = ErpClient::new(ErpConfig::new(base_url, SecretString::from(key))).expect_err(base_url);
        assert!(!error.to_string().contains("pw"), "{error}");
    }
    assert!(!format!("{:?}", client("http://erp.example")).contains("erp-key"));
}
