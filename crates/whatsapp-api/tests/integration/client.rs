use std::collections::HashMap;
use std::time::Duration;

use whatsapp_api::{Action, ClientConfig, CloudApi, MessageRequest, SendOutcome};

use crate::misbehaving_server::{Behaviour, GOOD_ANSWER, Server};

const PHONE_NUMBER_ID: &str = "106540352242922";

fn client(addr: std::net::SocketAddr) -> CloudApi {
    let mut config = ClientConfig::new(format!("http://{addr}"), "v25.0", "token".to_owned().into());
    config.request_timeout = Duration::from_millis(500);
    config.system_proxy = false;
    CloudApi::new(config).unwrap()
}

fn message(text: &str) -> MessageRequest {
    MessageRequest::text("+5511987654321", text, false).with_callback_data(text)
}

async fn send_to(behaviour: Behaviour) -> (SendOutcome, Vec<String>) {
    let server = Server::start(behaviour).await;
    let outcome = client(server.addr).send(PHONE_NUMBER_ID, &message("one")).await;
    (outcome, server.bodies())
}

#[tokio::test]
async fn a_good_answer_is_acceptance_and_the_request_is_whole() {
    let (outcome, bodies) = send_to(Behaviour::Answer(GOOD_ANSWER)).await;
    let SendOutcome::Accepted { wamid, wa_id, held } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        (wamid.as_str(), wa_id.as_deref(), held),
        ("wamid.TEST.1234", Some("1"), false)
    );
    let sent: MessageRequest = serde_json::from_str(&bodies[0]).unwrap();
    assert_eq!(sent, message("one"));
}

#[tokio::test]
async fn a_refused_connection_is_certainly_not_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let outcome = client(addr).send(PHONE_NUMBER_ID, &message("one")).await;
    assert!(matches!(outcome, SendOutcome::NotSent { .. }), "{outcome:?}");
}

#[tokio::test]
async fn an_unknown_host_is_certainly_not_sent() {
    let mut config = ClientConfig::new("http://no-such-host.invalid", "v25.0", "token".to_owned().into());
    config.system_proxy = false;
    let outcome = CloudApi::new(config)
        .unwrap()
        .send(PHONE_NUMBER_ID, &message("one"))
        .await;
    assert!(matches!(outcome, SendOutcome::NotSent { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_tls_handshake_that_fails_is_certainly_not_sent() {
    let server = Server::start(Behaviour::ResetAtOnce).await;
    let mut config = ClientConfig::new(format!("https://{}", server.addr), "v25.0", "t".to_owned().into());
    config.system_proxy = false;
    // Without root certificates on this machine there is no HTTPS client to test.
    let Ok(client) = CloudApi::new(config) else { return };
    let outcome = client.send(PHONE_NUMBER_ID, &message("one")).await;
    assert!(matches!(outcome, SendOutcome::NotSent { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_server_is_believed_only_if_a_trusted_authority_vouches_for_its_name() {
    let server = Server::start(Behaviour::Answer(GOOD_ANSWER)).await;
    let ca = testkit::PrivateCa::new();
    let proxy = testkit::TlsProxy::start(server.addr.to_string(), &ca.certify(&["localhost"])).await;
    let roots = std::fs::read(ca.file()).unwrap();
    let send = async |host: &str, roots: Option<&[u8]>| {
        let base_url = format!("https://{host}:{}", proxy.port());
        let mut config = ClientConfig::new(base_url, "v25.0", "t".to_owned().into());
        config.system_proxy = false;
        config.further_roots_pem = roots.map(<[u8]>::to_vec);
        CloudApi::new(config)
            .unwrap()
            .send(PHONE_NUMBER_ID, &message("one"))
            .await
    };

    let outcome = send("localhost", Some(&roots)).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    for (host, roots, expected) in [
        ("localhost", None, "UnknownIssuer"),
        ("127.0.0.1", Some(&roots[..]), "not valid for name"),
    ] {
        let outcome = send(host, roots).await;
        let SendOutcome::NotSent { reason } = outcome else {
            panic!("{host}: {outcome:?}");
        };
        assert!(
            reason.contains("certificate") && reason.contains(expected),
            "{host}: {reason}"
        );
    }
    assert_eq!(server.bodies().len(), 1, "nothing was told to a stranger");
}

#[tokio::test]
async fn a_timeout_while_waiting_for_the_answer_is_unknown() {
    let (outcome, bodies) = send_to(Behaviour::Hang).await;
    assert!(matches!(outcome, SendOutcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(bodies.len(), 1, "never tried again");
}

/// Each phase has its own end: what no connection took is certainly not sent, what was written is unknown.
#[tokio::test]
async fn a_phase_that_lasts_too_long_ends_the_send_as_what_is_known_of_it() {
    let server = Server::start(Behaviour::Hang).await;
    let mut config = ClientConfig::new(format!("http://{}", server.addr), "v25.0", "t".to_owned().into());
    config.system_proxy = false;
    config.answer_timeout = Duration::from_millis(200);
    let started = std::time::Instant::now();
    let outcome = CloudApi::new(config)
        .unwrap()
        .send(PHONE_NUMBER_ID, &message("one"))
        .await;
    let SendOutcome::Unknown { reason } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("timed out waiting for the answer"), "{reason}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );

    // Listens, and never finishes a handshake: no connection takes the request.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}", deaf.local_addr().unwrap());
    let mut config = ClientConfig::new(base_url, "v25.0", "t".to_owned().into());
    config.system_proxy = false;
    config.further_roots_pem = Some(std::fs::read(testkit::PrivateCa::new().file()).unwrap());
    config.write_timeout = Duration::from_millis(200);
    let outcome = CloudApi::new(config)
        .unwrap()
        .send(PHONE_NUMBER_ID, &message("one"))
        .await;
    let SendOutcome::NotSent { reason } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        reason.contains("before a connection took the request"),
        "{reason}"
    );
}

#[tokio::test]
async fn many_sends_to_one_server_share_a_connection() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let counted = std::sync::Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::spawn(answer_each(stream));
        }
    });
    let client = client(addr);
    for number in 0..20 {
        let outcome = client.send(PHONE_NUMBER_ID, &message(&number.to_string())).await;
        assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// Answers every request of a connection; each comes in one piece or two.
async fn answer_each(mut stream: tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut read = Vec::new();
    let mut piece = [0_u8; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        read.extend_from_slice(&piece[..count]);
        // A request of these tests ends with its callback data, which ends the object.
        if read.ends_with(b"\"}") {
            read.clear();
            let body = r#"{"messages":[{"id":"wamid.A"}]}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_meta_would_refuse_is_refused_before_it_is_written() {
    let server = Server::start(Behaviour::Answer(GOOD_ANSWER)).await;
    let outcome = client(server.addr)
        .send(PHONE_NUMBER_ID, &message(&"x".repeat(5_000)))
        .await;
    let SendOutcome::Refused(error, decision, None) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!((error.code, decision.action), (100, Action::Fail));
    assert!(error.message.contains("4096"), "{}", error.message);
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn a_connection_reset_before_the_answer_is_unknown_and_not_tried_again() {
    let (outcome, bodies) = send_to(Behaviour::ResetAfterReading).await;
    assert!(matches!(outcome, SendOutcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(bodies.len(), 1, "never tried again");
}

#[tokio::test]
async fn answers_that_prove_nothing_are_unknown() {
    for answer in [
        "garbage\r\n\r\n",
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"messages\":[{\"id\":\"wamid.cut",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>",
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\n<html>",
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let (outcome, bodies) = send_to(Behaviour::Answer(answer)).await;
        assert!(
            matches!(outcome, SendOutcome::Unknown { .. }),
            "{answer:?}: {outcome:?}"
        );
        assert_eq!(bodies.len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_at_its_bound() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_owned() + &" ".repeat(200_000);
    let (outcome, _) = send_to(Behaviour::Answer(endless.leak())).await;
    let SendOutcome::Unknown { reason } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("more than"), "{reason}");
}

#[tokio::test]
async fn a_graph_error_is_a_refusal_with_its_decision_and_delay() {
    let (outcome, _) = send_to(Behaviour::Answer(concat!(
        "HTTP/1.1 400 Bad Request\r\nretry-after: 7\r\ncontent-length: 43\r\n\r\n",
        r#"{"error":{"code":130429,"message":"limit"}}"#
    )))
    .await;
    match outcome {
        SendOutcome::Refused(error, decision, delay) => {
            assert_eq!(error.code, 130_429);
            assert_eq!(decision.action, Action::SlowLane);
            assert_eq!(delay, Some(Duration::from_secs(7)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_phone_number_id_that_is_a_path_is_not_sent() {
    let server = Server::start(Behaviour::Answer(GOOD_ANSWER)).await;
    for id in ["", "../me", "1/2", "१२", &"1".repeat(33)] {
        let outcome = client(server.addr).send(id, &message("one")).await;
        assert!(
            matches!(outcome, SendOutcome::NotSent { .. }),
            "{id:?}: {outcome:?}"
        );
    }
    assert!(server.bodies().is_empty());
}

/// The promise behind P4: whatever the HTTP stack does with connections that die under it, no message is
/// written twice, and none that arrived is called not sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_close_silently_never_double_a_message_nor_hide_one() {
    let server = Server::start(Behaviour::AnswerThenCloseSilently).await;
    let client = client(server.addr);
    let mut outcomes = HashMap::new();
    for round in 0..60 {
        let sends = (0..8).map(|slot| {
            let client = client.clone();
            tokio::spawn(async move {
                let text = format!("{round}-{slot}");
                let outcome = client.send(PHONE_NUMBER_ID, &message(&text)).await;
                (text, outcome)
            })
        });
        for send in sends.collect::<Vec<_>>() {
            let (text, outcome) = send.await.unwrap();
            outcomes.insert(text, outcome);
        }
    }
    let mut arrived: HashMap<String, u32> = HashMap::new();
    for body in server.bodies() {
        let request: MessageRequest = serde_json::from_str(&body).unwrap();
        *arrived
            .entry(request.biz_opaque_callback_data.unwrap())
            .or_default() += 1;
    }
    assert!(
        arrived.values().all(|&count| count == 1),
        "a message was written twice"
    );
    for (text, outcome) in outcomes {
        match outcome {
            SendOutcome::Accepted { .. } => assert!(arrived.contains_key(&text)),
            SendOutcome::NotSent { .. } => assert!(!arrived.contains_key(&text), "{text} did arrive"),
            SendOutcome::Unknown { .. } => {}
            SendOutcome::Refused(..) => panic!("the server refuses nothing"),
        }
    }
}
