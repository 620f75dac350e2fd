//! Over HTTP, with the engine's own ERP client.

use crate::mock::{CUSTOMERS, Mock};
use campaign_core::segment::Segment;
use erp_api::ErpError;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

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
