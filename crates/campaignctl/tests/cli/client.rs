//! How answers, refusals and silence are told.

use crate::{run, run_at};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wiremock::matchers::{body_json, header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const ID: &str = "0199aaaa-0000-7000-8000-000000000001";

fn campaign(status: &str) -> serde_json::Value {
    json!({ "id": ID, "name": "Natal", "status": status, "phone_number_id": "106540352242922" })
}

#[tokio::test]
async fn json_is_what_the_api_wrote_letter_by_letter() {
    let server = MockServer::start().await;
    let body = r#"{ "items":[],   "unknown_to_this_program": 1 }"#;
    Mock::given(method("GET"))
        .and(path("/v1/campaigns"))
        .and(query_param("status", "PAUSED"))
        .and(query_param("limit", "7"))
        .and(header("authorization", "Bearer ck_the-key-of-the-test"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(body, "application/json"))
        .expect(1)
        .mount(&server)
        .await;
    let run = run_at(&server, "--json campaign list --status paused --limit 7").await;
    assert_eq!((run.code, run.stdout.trim_end()), (0, body), "{}", run.stderr);
}

#[tokio::test]
async fn a_list_is_a_table_that_says_how_to_go_on() {
    let server = MockServer::start().await;
    let page = json!({ "items": [campaign("SENDING"), campaign("DRAFT")], "next_cursor": "c0ffee" });
    Mock::given(path("/v1/campaigns"))
        .respond_with(ResponseTemplate::new(200).set_body_json(page))
        .mount(&server)
        .await;
    let run = run_at(&server, "campaign list").await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    insta::assert_snapshot!(run.stdout);
}

#[tokio::test]
async fn a_refusal_names_the_fields_and_exits_with_3() {
    let server = MockServer::start().await;
    let problem = json!({
        "type": "about:blank", "title": "Unprocessable Entity", "status": 422, "detail": "the campaign cannot be created",
        "errors": [{ "field": "/name", "wrong": "nothing", "expected": "a name for people" }],
    });
    let answer = ResponseTemplate::new(422).set_body_raw(problem.to_string(), "application/problem+json");
    Mock::given(path("/v1/campaigns"))
        .respond_with(answer)
        .mount(&server)
        .await;

    let people = run_at(&server, "campaign create --priority high").await;
    assert_eq!((people.code, people.stdout.as_str()), (3, ""));
    assert_eq!(
        people.stderr,
        "refused: the campaign cannot be created (422 Unprocessable Entity)\n  /name: found nothing; expected a name for \
         people\n"
    );
    let program = run_at(&server, "--json campaign create --priority high").await;
    assert_eq!(
        (program.code, program.stdout.trim_end()),
        (3, problem.to_string().as_str())
    );
}

#[tokio::test]
async fn a_refusal_by_something_else_on_the_way_is_told_too() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/queues"))
        .respond_with(ResponseTemplate::new(502).set_body_string("<h1>Bad Gateway</h1>"))
        .mount(&server)
        .await;
    let run = run_at(&server, "queues").await;
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("<h1>Bad Gateway</h1> (502"), "{}", run.stderr);
}

#[tokio::test]
async fn nobody_there_exits_with_4_and_says_which_setting_to_look_at() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let run = run(&format!("http://{free}"), "queues", &[]).await;
    assert_eq!(run.code, 4);
    assert!(
        run.stderr.contains("cannot reach the API") && run.stderr.contains("API_URL"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn an_answer_of_another_shape_exits_with_4() {
    let server = MockServer::start().await;
    Mock::given(path("/v1/queues"))
        .respond_with(ResponseTemplate::new(200).set_body_string("{}"))
        .mount(&server)
        .await;
    assert_eq!(run_at(&server, "queues").await.code, 4);
}

#[tokio::test]
async fn wrong_usage_exits_with_2_before_anything_is_sent() {
    let run_of = |line| run("http://127.0.0.1:1", line, &[]);
    assert_eq!(run_of("campaign show not-an-id").await.code, 2);
    assert_eq!(run_of("campaign create").await.code, 2);
    assert_eq!(run_of("campaign create --from @/nowhere/at/all").await.code, 2);
    assert_eq!(run("nonsense", "queues", &[]).await.code, 2);
}

#[tokio::test]
async fn pause_says_whether_the_lane_follows_already() {
    let server = MockServer::start().await;
    let control = json!({ "applied": false, "campaign": campaign("PAUSED") });
    Mock::given(method("POST"))
        .and(path(format!("/v1/campaigns/{ID}/pause")))
        .and(header_exists("idempotency-key"))
        .and(body_json(json!({ "reason": null })))
        .respond_with(ResponseTemplate::new(202).set_body_json(control))
        .expect(1)
        .mount(&server)
        .await;
    let run = run_at(&server, &format!("campaign pause {ID}")).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        run.stdout,
        format!("{ID} \"Natal\" is PAUSED; the lane follows within moments\n")
    );
}

#[tokio::test]
async fn what_stands_in_a_path_cannot_leave_it() {
    let server = MockServer::start().await;
    Mock::given(method("DELETE"))
        .and(path("/v1/suppressions/+55%2011%2F..%2F3"))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;
    let run = run(&server.uri(), "suppress remove", &["+55 11/../3"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[tokio::test]
async fn a_post_whose_answer_is_lost_is_repeated_under_the_same_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        let first = lose(first).await;
        let (mut second, _) = listener.accept().await.unwrap();
        let request = read_request(&mut second).await;
        let body = campaign("DRAFT").to_string();
        let answer = format!(
            "HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        second.write_all(answer.as_bytes()).await.unwrap();
        (first, request)
    });
    let run = run(&url, "campaign clone", &[ID]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (first, second) = server.await.unwrap();
    assert_eq!(idempotency_key(&first), idempotency_key(&second));
    assert_eq!(idempotency_key(&first).len(), 36);
}

#[tokio::test]
async fn half_an_export_is_never_taken_for_a_whole_one() {
    let server = MockServer::start().await;
    let detail = detail_of_two();
    Mock::given(path(format!("/v1/campaigns/{ID}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(detail.clone()))
        .mount(&server)
        .await;
    let csv = "seq,customer_id\r\n1,C1\r\n2,C2\r\n";
    Mock::given(path(format!("/v1/campaigns/{ID}/messages")))
        .and(query_param("format", "csv"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(csv, "text/csv"))
        .mount(&server)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.csv");
    let done = run(
        &server.uri(),
        &format!("campaign export {ID} --output"),
        &[whole.to_str().unwrap()],
    )
    .await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(std::fs::read_to_string(&whole).unwrap(), csv);

    let url = breaks_off_in_the_middle(detail.to_string()).await;
    let half = folder.path().join("half.csv");
    let broken = run(
        &url,
        &format!("campaign export {ID} --output"),
        &[half.to_str().unwrap()],
    )
    .await;
    assert_eq!(broken.code, 4, "{}", broken.stderr);
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["whole.csv"]);
}

#[tokio::test]
async fn watching_a_campaign_that_ended_unbalanced_exits_with_1() {
    let server = MockServer::start().await;
    let mut detail = detail_of_two();
    detail["finished_at"] = json!("2026-12-01T12:00:20Z");
    detail["progress"]["total"] = json!(3);
    Mock::given(path(format!("/v1/campaigns/{ID}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(detail))
        .mount(&server)
        .await;
    let run = run_at(&server, &format!("campaign watch {ID}")).await;
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("audience"), "{}", run.stdout);
    assert!(
        run.stderr.contains("3 recipients, 2 in all states"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn watching_no_longer_than_asked_says_what_is_left_and_exits_with_1() {
    let server = MockServer::start().await;
    let mut detail = detail_of_two();
    detail["progress"]["by_state"] = json!({ "read": 1, "pending": 1 });
    detail["holds"] = json!([{ "scope": "campaign", "kind": "person", "reason": "a look" }]);
    Mock::given(path(format!("/v1/campaigns/{ID}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(detail))
        .mount(&server)
        .await;
    let run = run_at(&server, &format!("campaign watch {ID} --timeout-s 1")).await;
    assert_eq!(run.code, 1);
    assert!(
        run.stderr
            .contains("1 of 2 recipients are left; held: person (campaign): a look"),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn a_resend_says_who_was_left_out_and_until_when() {
    let server = MockServer::start().await;
    let answer = json!({
        "id": ID, "campaign": ID, "kind": "resend_failed", "requested_by": "ana",
        "requested_at": "2026-03-01T12:00:00Z", "applied_at": "2026-03-01T12:00:01Z", "affected": 5,
        "left_out": {"messages": 2, "until": "2026-03-02T11:00:00Z", "reason": "no marketing within 24 hours (131049)"}
    });
    Mock::given(path(format!("/v1/campaigns/{ID}/resend-failed")))
        .respond_with(ResponseTemplate::new(202).set_body_json(answer))
        .mount(&server)
        .await;
    let run = run_at(&server, &format!("campaign resend-failed {ID}")).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    for part in [
        "5 messages to be sent again; 2 left out until 2026-03-02",
        "(131049)",
    ] {
        assert!(run.stdout.contains(part), "{}", run.stdout);
    }
}

fn detail_of_two() -> serde_json::Value {
    let mut detail = campaign("COMPLETED");
    detail["template"] =
        json!({ "name": "oferta_especial", "language": "pt_BR", "version": 1, "category": "MARKETING" });
    detail["progress"] = json!({
        "total": 2, "audience_complete": true, "enqueued": 2, "by_state": { "read": 2 }, "skipped_by": {}, "rounds": 1,
        "rate_per_second": 0.0, "estimated_end_at": null,
    });
    detail
}

/// Answers with the campaign, then with an export that is shorter than it says.
async fn breaks_off_in_the_middle(detail: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let close = "Connection: close\r\n";
        for (length, body) in [
            (detail.len(), detail),
            (1_000, "seq,customer_id\r\n1,C1\r\n".to_owned()),
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            let answer = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

/// Reads a request and hangs up.
async fn lose(mut stream: TcpStream) -> String {
    read_request(&mut stream).await
}

/// The head of a request, and what of the body came with it.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut piece = [0; 4_096];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the request is whole");
        request.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(request).unwrap()
}

fn idempotency_key(request: &str) -> &str {
    let line = request
        .lines()
        .find(|line| line.to_lowercase().starts_with("idempotency-key:"));
    line.expect("the request has a name")[16..].trim()
}
