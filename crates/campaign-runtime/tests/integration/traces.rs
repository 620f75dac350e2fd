//! Spans on their way to a receiver: a real OTLP request over HTTP, and one trace from a producer to
//! its consumer.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use campaign_runtime::{Telemetry, TraceSettings, current_trace_context, link_to};
use clap::Parser;
use tracing_subscriber::layer::SubscriberExt;

use crate::http::PATIENCE;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    traces: TraceSettings,
}

fn settings(flags: &[&str]) -> TraceSettings {
    Settings::try_parse_from(["test-svc"].iter().chain(flags))
        .expect("the flags are right")
        .traces
}

/// Takes one request and gives its head and body.
fn receiver() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the exporter connects");
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let read = stream.read(&mut chunk).expect("it sends");
            bytes.extend_from_slice(&chunk[..read]);
            if let Some(request) = complete(&bytes) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(answer).expect("it reads");
                sender.send(request).expect("the test waits");
                return;
            }
            assert_ne!(read, 0, "the request is incomplete");
        }
    });
    (format!("http://{address}"), received)
}

fn complete(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    let body = &bytes[end + 4..];
    (body.len() >= length.parse().ok()?).then(|| (head.clone(), body.to_vec()))
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Inside an asynchronous runtime, as in a service: there a blocking client must not be used by the
/// runtime's own threads.
#[tokio::test(flavor = "multi_thread")]
async fn spans_are_exported_and_one_trace_runs_from_producer_to_consumer() {
    let (endpoint, received) = receiver();
    let flags = [
        &*format!("--otel-exporter-otlp-endpoint={endpoint}"),
        "--otel-traces-sampler-arg=1",
    ];
    let telemetry =
        Telemetry::exporting("test-svc", "1.2.3", &settings(&flags)).expect("an exporter is built");
    let subscriber = tracing_subscriber::registry().with(telemetry.layer());
    let (producer, consumer) = tracing::subscriber::with_default(subscriber, || {
        let producer = tracing::info_span!("produce-entry")
            .in_scope(current_trace_context)
            .expect("the span is sampled");
        let span = tracing::info_span!("consume-entry");
        link_to(&span, &producer);
        let consumer = span.in_scope(current_trace_context);
        (producer, consumer.expect("the span is sampled"))
    });
    let ids = |traceparent: &str| {
        let mut parts = traceparent.split('-').map(str::to_owned);
        (parts.nth(1), parts.next())
    };
    let ((producer_trace, producer_span), (consumer_trace, consumer_span)) = (ids(&producer), ids(&consumer));
    assert_eq!(producer_trace, consumer_trace, "one trace");
    assert_ne!(producer_span, consumer_span);

    tokio::task::spawn_blocking(|| telemetry.flush())
        .await
        .expect("flushing ends");
    let (head, body) = received.recv_timeout(PATIENCE).expect("a request came");
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    for text in ["produce-entry", "consume-entry", "test-svc", "1.2.3"] {
        assert!(contains(&body, text), "{text} in the request");
    }
    // The parent and the link: beside its own record, the producer's span id stands twice.
    let id = u64::from_str_radix(&producer_span.expect("an id"), 16).expect("it is hexadecimal");
    let id = id.to_be_bytes();
    assert_eq!(body.windows(8).filter(|part| *part == id).count(), 3);
}

#[test]
fn nothing_is_exported_unless_a_receiver_is_named() {
    assert_eq!(settings(&["--otel-exporter-otlp-endpoint="]).traces_url(), None);
    let named = "--otel-exporter-otlp-endpoint=http://collector:4318/";
    let url = settings(&[named]).traces_url();
    assert_eq!(url.as_deref(), Some("http://collector:4318/v1/traces"));
    let own = "--otel-exporter-otlp-traces-endpoint=http://collector/own";
    let url = settings(&[named, own]).traces_url();
    assert_eq!(url.as_deref(), Some("http://collector/own"));
    assert_eq!(settings(&[named, "--otel-sdk-disabled=true"]).traces_url(), None);
}
