use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whatsapp_api::send::{Component, Language, Parameter, TemplateMessage};
use whatsapp_api::{Action, MessageRequest, SendOutcome};
use whatsapp_mock_svc::{ErrorFault, FaultProfile};

use crate::harness::{Mock, PHONE_NUMBER_ID, client, message};

fn error(code: i64, share: f64) -> ErrorFault {
    ErrorFault {
        code,
        share,
        retry_after_s: Some(3),
        is_transient: None,
    }
}

fn refused_code(outcome: &SendOutcome) -> i64 {
    match outcome {
        SendOutcome::Refused(error, ..) => error.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_accepted_message_is_answered_and_logged_exactly() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let SendOutcome::Accepted { wamid, wa_id, held } = mock.send(&message("c", 1)).await else {
        panic!("not accepted");
    };
    assert!(wamid.starts_with("wamid."));
    assert_eq!((wa_id.as_deref(), held), (Some("5511900000001"), false));
    let mineiro = MessageRequest::text("+5531987654321", "hi", false);
    let outcome = mock.send(&mineiro).await;
    assert!(matches!(outcome, SendOutcome::Accepted { wa_id: Some(id), .. } if id == "553187654321"));

    let twice = message("c", 2);
    let (first, second) = tokio::join!(mock.send(&twice), mock.send(&twice));
    assert_ne!(first, second, "each acceptance has a wamid of its own");
    let log = mock.get("/mock/acceptances?campaign=c").await;
    assert_eq!(
        (
            &log["accepted"],
            &log["unique_recipients"],
            &log["unique_callback_data"],
            &log["max_per_recipient"]
        ),
        (&json!(3), &json!(2), &json!(2), &json!(2))
    );
    assert_eq!(
        log["duplicates"],
        json!([{"recipient": "+5511900000002", "count": 2, "callback_data": "c:1:2"}])
    );
    assert_eq!(
        (&log["overflow"], &mock.get("/mock/acceptances").await["accepted"]),
        (&json!(false), &json!(4))
    );

    let export = mock.get_text("/mock/acceptances/export?campaign=c").await;
    assert_eq!(export.lines().count(), 2);
    assert!(
        export.contains(r#""recipient":"+5511900000001","count":1,"callback_data":"c:1:1""#),
        "{export}"
    );

    mock.delete("/mock/acceptances").await;
    assert_eq!(mock.get("/mock/acceptances").await["accepted"], 0);
}

#[tokio::test]
async fn wrong_callers_and_shapes_are_refused_and_not_logged() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let stranger = client(mock.addr, "another-token");
    assert_eq!(
        refused_code(&stranger.send(PHONE_NUMBER_ID, &message("c", 1)).await),
        190
    );
    let template = TemplateMessage {
        name: "hello".into(),
        language: Language { code: "pt_BR".into() },
        components: vec![Component::Body {
            parameters: vec![Parameter::positional("two\nlines")],
        }],
    };
    let two_lines = MessageRequest::template("+5511987654321", template);
    assert_eq!(refused_code(&mock.send(&two_lines).await), 132_018);
    let no_number = MessageRequest::text("+12", "hi", false);
    assert_eq!(refused_code(&mock.send(&no_number).await), 131_009);
    assert_eq!(mock.get("/mock/acceptances").await["accepted"], 0);
}

#[tokio::test]
async fn a_number_accepts_its_throughput_and_refuses_the_rest() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let path = format!("/mock/numbers/{PHONE_NUMBER_ID}");
    let (status, number) = mock.put(&path, json!({"throughput": 40})).await;
    assert_eq!((status, &number["throughput"]), (200, &json!(40)));
    let begun = tokio::time::Instant::now();
    let mut accepted = 0;
    for seq in 0..60 {
        match mock.send(&message("c", seq)).await {
            SendOutcome::Accepted { .. } => accepted += 1,
            SendOutcome::Refused(error, decision, _) => {
                assert_eq!((error.code, decision.action), (130_429, Action::SlowLane));
            }
            other => panic!("{other:?}"),
        }
    }
    // On a machine so slow that 60 sends take a second, the window has moved on.
    if begun.elapsed() < Duration::from_millis(900) {
        assert_eq!(accepted, 42, "105% of the throughput in one second");
    }
    let rate = mock
        .get(&format!("/mock/rate?phone_number_id={PHONE_NUMBER_ID}"))
        .await;
    assert_eq!(rate["accepted"], accepted);
    assert_eq!(rate["max_in_one_second"], 42);
    let counts = rate["counts"].as_array().unwrap();
    assert_eq!(
        counts.iter().filter_map(serde_json::Value::as_u64).sum::<u64>(),
        accepted
    );

    let (status, _) = mock.put(&path, json!({"state": "locked"})).await;
    assert_eq!(status, 200);
    assert_eq!(refused_code(&mock.send(&message("c", 99)).await), 131_031);
    let (status, problem) = mock.put(&path, json!({"throughput": 0})).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("/throughput"))
    );
}

#[tokio::test]
async fn faults_without_acceptance_leave_no_trace_in_the_log() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    for (faults, expect_refused) in [
        (
            json!({"errors": [{"code": 131_016, "share": 1.0, "retry_after_s": 3}]}),
            true,
        ),
        (json!({"reset_before": 1.0}), false),
        (json!({"garbage_before": 1.0}), false),
    ] {
        assert_eq!(mock.put("/mock/faults", faults.clone()).await.0, 200);
        match mock.send(&message("c", 1)).await {
            SendOutcome::Refused(error, decision, retry_after) if expect_refused => {
                assert_eq!((error.code, decision.action), (131_016, Action::RetryTransient));
                assert_eq!(retry_after, Some(Duration::from_secs(3)));
            }
            SendOutcome::Unknown { .. } if !expect_refused => {}
            other => panic!("{faults}: {other:?}"),
        }
    }
    assert_eq!(mock.get("/mock/acceptances").await["accepted"], 0);
}

#[tokio::test]
async fn faults_after_acceptance_are_unknown_to_the_client_and_known_to_the_log() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    for (seq, faults) in [
        (1, json!({"hang": 1.0})),
        (2, json!({"reset_after": 1.0})),
        (3, json!({"garbage_after": 1.0})),
        (4, json!({"slow": 1.0, "slow_ms": 10_000})),
    ] {
        assert_eq!(mock.put("/mock/faults", faults.clone()).await.0, 200);
        let outcome = mock.send(&message("c", seq)).await;
        assert!(
            matches!(outcome, SendOutcome::Unknown { .. }),
            "{faults}: {outcome:?}"
        );
        assert_eq!(mock.get("/mock/acceptances").await["accepted"], seq, "{faults}");
    }
    mock.put("/mock/faults", json!({"held": 1.0})).await;
    let outcome = mock.send(&message("c", 5)).await;
    assert!(
        matches!(outcome, SendOutcome::Accepted { held: true, .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_broken_connection_gives_not_a_single_byte() {
    let mock = Mock::with_faults(FaultProfile {
        reset_after: 1.0,
        ..FaultProfile::default()
    })
    .await;
    let body = serde_json::to_string(&message("c", 1)).unwrap();
    let mut stream = tokio::net::TcpStream::connect(mock.addr).await.unwrap();
    let request = format!(
        "POST /v25.0/{PHONE_NUMBER_ID}/messages HTTP/1.1\r\nhost: mock\r\nauthorization: Bearer a-token\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good as a close here.
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(String::from_utf8_lossy(&answer), "");
    assert_eq!(mock.get("/mock/acceptances").await["accepted"], 1);
}

#[tokio::test]
async fn the_same_seed_breaks_the_same_messages_and_retries_succeed() {
    let faults = FaultProfile {
        errors: vec![error(131_000, 0.3), error(130_429, 0.2)],
        ..FaultProfile::default()
    };
    let mut fates = Vec::new();
    for _ in 0..2 {
        let mock = Mock::with_faults(faults.clone()).await;
        let mut fate = Vec::new();
        for seq in 0..40 {
            let mut tries = 1;
            while !matches!(mock.send(&message("c", seq)).await, SendOutcome::Accepted { .. }) {
                tries += 1;
                assert!(tries < 50);
            }
            fate.push(tries);
        }
        fates.push(fate);
        assert_eq!(mock.get("/mock/acceptances").await["max_per_recipient"], 1);
    }
    assert_eq!(fates[0], fates[1]);
    assert!(fates[0].iter().any(|&tries| tries > 1));
}

#[tokio::test]
async fn wrong_settings_are_refused_by_name() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let (status, problem) = mock.put("/mock/faults", json!({"hang": 0.7, "slow": 0.7})).await;
    assert_eq!(status, 422, "{problem}");
    let (status, problem) = mock.put("/mock/faults", json!({"hnag": 0.7})).await;
    assert_eq!(status, 422, "{problem}");
    let (status, problem) = mock.put("/mock/webhooks", json!({"batch_size": 0})).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("/batch_size"))
    );
}
