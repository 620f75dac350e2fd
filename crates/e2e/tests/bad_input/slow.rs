//! Clients that take their time: each is cut by a limit, so that none holds what others need.

use crate::wire::PATIENCE;
use e2e::{Stack, StackOptions};
use futures::future::join_all;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

const LIMIT_MS: u64 = 1_000;
const CONNECTIONS: u64 = 64;
const IDLE_CLIENTS: usize = 200;
/// What is sent, byte by byte, long before a limit would be over if it counted from the last byte.
const PAUSE: Duration = Duration::from_millis(150);
/// Far more than the limit, and far less than for ever: the machine may be busy.
const CUT_WITHIN: Duration = Duration::from_millis(6 * LIMIT_MS);

#[tokio::test]
async fn slow_clients_are_cut() {
    let limit = LIMIT_MS.to_string();
    let environment = vec![
        ("HTTP_MAX_CONNECTIONS", CONNECTIONS.to_string()),
        ("HTTP_HEADER_TIMEOUT_MS", limit.clone()),
        ("HTTP_BODY_TIMEOUT_MS", limit.clone()),
        ("HTTP_WRITE_TIMEOUT_MS", limit),
        ("HTTP_REQUEST_TIMEOUT_MS", (20 * LIMIT_MS).to_string()),
    ];
    let mut stack = Stack::start(StackOptions {
        customers: 10,
        environment,
        ..StackOptions::default()
    })
    .await;
    let authorization = [
        ("scheduler-svc", stack.api_key().to_owned(), "POST /v1/campaigns"),
        ("message-svc", String::new(), "POST /webhooks/whatsapp"),
        ("sender-svc", String::new(), "GET /livez"),
        ("erp-mock-svc", e2e::ERP_KEY.to_owned(), "PUT /mock/faults"),
        ("whatsapp-mock-svc", String::new(), "PUT /mock/faults"),
    ];
    let attacks = stack.services().map(|service| {
        let (name, key, route) = authorization
            .iter()
            .find(|(name, ..)| *name == service.name())
            .expect("every service has a route");
        let head = format!("{route} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\n");
        attack(name, service.address(), head)
    });
    join_all(attacks).await;
    stack.wait_ready().await;
}

async fn attack(service: &str, address: SocketAddr, head: String) {
    let cut = tokio::join!(slow_head(address), slow_body(address, head), deaf(address),);
    for (attack, after) in [
        ("a slow head", cut.0),
        ("a slow body", cut.1),
        ("a deaf client", cut.2),
    ] {
        let after = after.unwrap_or_else(|| panic!("{service}: {attack} was never cut"));
        assert!(after < CUT_WITHIN, "{service}: {attack} was cut after {after:?}");
    }
    idle_crowd(service, address).await;
}

/// A byte at a time of a head that never ends.
async fn slow_head(address: SocketAddr) -> Option<Duration> {
    let mut stream = TcpStream::connect(address).await.expect("it connects");
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        .await
        .expect("it writes");
    trickle(stream).await
}

/// A byte at a time of a body that never ends.
async fn slow_body(address: SocketAddr, head: String) -> Option<Duration> {
    let mut stream = TcpStream::connect(address).await.expect("it connects");
    let head = head + "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("it writes");
    trickle(stream).await
}

/// Writes until the connection ends; says when.
async fn trickle(stream: TcpStream) -> Option<Duration> {
    let begun = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            sleep(PAUSE).await;
        }
    });
    let mut answer = Vec::new();
    // A reset is an end too.
    let ended = timeout(PATIENCE, reader.read_to_end(&mut answer))
        .await
        .map(|_| begun.elapsed());
    writing.abort();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        !answer.starts_with("HTTP/1.1 5"),
        "the client is slow, not the service: {answer}"
    );
    ended.ok()
}

/// Asks without end, and never reads.
async fn deaf(address: SocketAddr) -> Option<Duration> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 * 1024).expect("a small buffer");
    let mut stream = socket.connect(address).await.expect("it connects");
    let begun = Instant::now();
    let asking = async {
        while stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
            .await
            .is_ok()
        {}
    };
    timeout(PATIENCE, asking).await.ok().map(|()| begun.elapsed())
}

/// More connections than there is room for, on which nothing is asked: the next client waits for some of them
/// to be cut, and is answered.
async fn idle_crowd(service: &str, address: SocketAddr) {
    let crowd: Vec<TcpStream> = join_all((0..IDLE_CLIENTS).map(|_| TcpStream::connect(address)))
        .await
        .into_iter()
        .map(|stream| stream.expect("the kernel takes it"))
        .collect();
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(PATIENCE, asked)
        .await
        .expect("in time")
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{service}: {answer}");
    let ends = crowd.into_iter().map(|mut stream| async move {
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
    });
    let ended = join_all(ends).await.into_iter().filter(|ended| *ended).count();
    assert_eq!(ended, IDLE_CLIENTS, "{service}: idle clients are cut");
}
