//! What is not quite HTTP: the framing of requests, and how proxies and servers can be made to disagree on it.

use crate::attacks::Draft;
use crate::endpoints::Endpoint;
use crate::wire::Request;

/// Requests whose body is framed wrongly. Each ends with the client's end of the connection.
pub(crate) fn framing(endpoint: &Endpoint) -> Vec<Request> {
    let second = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    let rests: Vec<(&str, String)> = vec![
        (
            "chunks that are none",
            "Transfer-Encoding: chunked\r\n\r\nZZZ\r\n{}\r\n0\r\n\r\n".into(),
        ),
        (
            "a chunk of 2^64",
            "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n{}".into(),
        ),
        (
            "a chunk of 2^68",
            "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}".into(),
        ),
        (
            "a chunk with a negative size",
            "Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n".into(),
        ),
        (
            "an endless extension of a chunk",
            format!("Transfer-Encoding: chunked\r\n\r\n2;{}", "x".repeat(200_000)),
        ),
        (
            "endless trailers",
            format!(
                "Transfer-Encoding: chunked\r\n\r\n0\r\n{}",
                "a: b\r\n".repeat(50_000)
            ),
        ),
        ("a body cut off", "Content-Length: 1000\r\n\r\n{\"name\":".into()),
        (
            "chunks cut off",
            "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a".into(),
        ),
        ("a head cut off", "Content-Le".into()),
        (
            "both framings",
            format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"),
        ),
        (
            "both framings, the other way",
            format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{second}"),
        ),
        (
            "two lengths",
            format!("Content-Length: 2\r\nContent-Length: 40\r\n\r\n{{}}{second}"),
        ),
        (
            "two lengths in one",
            format!("Content-Length: 2, 40\r\n\r\n{{}}{second}"),
        ),
        (
            "an unknown encoding",
            format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{second}"),
        ),
        (
            "chunked first",
            format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{second}"),
        ),
        (
            "a space before the colon",
            format!("Content-Length : 40\r\n\r\n{second}"),
        ),
        (
            "a folded header",
            format!("X-Fold: a\r\n b\r\nContent-Length: 0\r\n\r\n{second}"),
        ),
        (
            "a bare line feed",
            "X-Line: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        (
            "a bare carriage return",
            "X-Line: a\rContent-Length: 0\r\n\r\n".into(),
        ),
        (
            "NUL in a header",
            "X-Null: a\0b\r\nContent-Length: 0\r\n\r\n".into(),
        ),
        ("a negative length", "Content-Length: -1\r\n\r\n{}".into()),
        (
            "a length of 2^70",
            "Content-Length: 1180591620717411303424\r\n\r\n{}".into(),
        ),
        (
            "a length of 2^63",
            "Content-Length: 9223372036854775808\r\n\r\n{}".into(),
        ),
        ("a length in hexadecimal", "Content-Length: 0x2\r\n\r\n{}".into()),
        ("a length with a plus", "Content-Length: +2\r\n\r\n{}".into()),
        (
            "an expectation",
            "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n".into(),
        ),
        (
            "another expectation",
            "Expect: a miracle\r\nContent-Length: 2\r\n\r\n{}".into(),
        ),
        (
            "an upgrade",
            "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n".into(),
        ),
        (
            "a header of 100 KB",
            format!("X-Long: {}\r\n\r\n", "x".repeat(100_000)),
        ),
        (
            "a header's name of 100 KB",
            format!("{}: x\r\n\r\n", "x".repeat(100_000)),
        ),
        (
            "ten thousand headers",
            format!("{}\r\n", "X-Many: x\r\n".repeat(10_000)),
        ),
    ];
    let draft = |(name, rest): (&str, String)| {
        Draft::new(endpoint, name)
            .may_go_unanswered()
            .raw(rest.as_bytes())
    };
    rests.into_iter().map(draft).collect()
}

/// First lines that are none, and other protocols.
pub(crate) fn first_lines(endpoint: &Endpoint) -> Vec<Request> {
    let path = endpoint.good_path();
    let long = "a".repeat(100_000);
    let lines: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("line ends alone", b"\r\n\r\n\r\n".to_vec()),
        ("HTTP/0.9", format!("GET {path}\r\n\r\n").into_bytes()),
        (
            "HTTP/9.9",
            format!("GET {path} HTTP/9.9\r\nHost: test\r\n\r\n").into_bytes(),
        ),
        ("HTTP/1.0", format!("GET {path} HTTP/1.0\r\n\r\n").into_bytes()),
        ("no host", format!("GET {path} HTTP/1.1\r\n\r\n").into_bytes()),
        (
            "two hosts",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").into_bytes(),
        ),
        (
            "a path of 100 KB",
            format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes(),
        ),
        (
            "a query of 100 KB",
            format!("GET {path}?q={long} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes(),
        ),
        (
            "a path of 60 KB",
            format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", &long[..60_000]).into_bytes(),
        ),
        (
            "a query of 60 KB",
            format!("GET {path}?q={} HTTP/1.1\r\nHost: test\r\n\r\n", &long[..60_000]).into_bytes(),
        ),
        (
            "NUL in the path",
            b"GET /\0 HTTP/1.1\r\nHost: test\r\n\r\n".to_vec(),
        ),
        (
            "bytes in the path",
            b"GET /\xff\xfe HTTP/1.1\r\nHost: test\r\n\r\n".to_vec(),
        ),
        (
            "dots in the path",
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: test\r\n\r\n".to_vec(),
        ),
        (
            "a whole address",
            format!("GET http://elsewhere{path} HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes(),
        ),
        (
            "an authority",
            b"CONNECT elsewhere:80 HTTP/1.1\r\nHost: test\r\n\r\n".to_vec(),
        ),
        ("a star", b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n".to_vec()),
        (
            "a method of 100 KB",
            format!("{long} / HTTP/1.1\r\nHost: test\r\n\r\n").into_bytes(),
        ),
        (
            "the start of TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        (
            "the start of HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        ),
        ("a Redis command", b"*1\r\n$8\r\nFLUSHALL\r\n".to_vec()),
    ];
    let request = |(name, bytes): (&str, Vec<u8>)| Request {
        name: name.to_owned(),
        bytes,
        then_close: true,
        may_go_unanswered: true,
    };
    lines.into_iter().map(request).collect()
}
