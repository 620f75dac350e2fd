//! What is not quite HTTP: the framing of requests, and how proxies and servers can be made to disagree on it.

use crate::attacks::Draft;
use crate::endpoints::Endpoint;
use crate::wire::Request;

/// Requests whose body is framed wrongly. Each ends with the client's end of the connection.
pub(crate) fn framing(endpoint: &Endpoint) -> Vec<Request> {
    let rests = [chunks(), smuggled(), lengths(), headers()];
    let draft = |(name, rest): (&str, String)| {
        Draft::new(endpoint, name)
            .may_go_unanswered()
            .raw(rest.as_bytes())
    };
    rests.into_iter().flatten().map(draft).collect()
}

fn chunks() -> Vec<(&'static str, String)> {
    let chunked = |rest: &str| format!("Transfer-Encoding: chunked\r\n\r\n{rest}");
    vec![
        ("chunks that are none", chunked("ZZZ\r\n{}\r\n0\r\n\r\n")),
        ("a chunk of 2^64", chunked("FFFFFFFFFFFFFFFF\r\n{}")),
        ("a chunk of 2^68", chunked("FFFFFFFFFFFFFFFFF\r\n{}")),
        ("a chunk with a negative size", chunked("-1\r\n{}\r\n0\r\n\r\n")),
        (
            "an endless extension of a chunk",
            chunked(&format!("2;{}", "x".repeat(200_000))),
        ),
        (
            "endless trailers",
            chunked(&format!("0\r\n{}", "a: b\r\n".repeat(50_000))),
        ),
        ("chunks cut off", chunked("5\r\n{\"a")),
    ]
}

/// Where a proxy and a server may disagree on where a request ends, the rest of the one is another.
fn smuggled() -> Vec<(&'static str, String)> {
    let second = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    let before = |headers: &str| format!("{headers}\r\n\r\n0\r\n\r\n{second}");
    vec![
        (
            "both framings",
            before("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ),
        (
            "both framings, the other way",
            before("Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ),
        ("two lengths", before("Content-Length: 2\r\nContent-Length: 40")),
        ("two lengths in one", before("Content-Length: 2, 40")),
        ("an unknown encoding", before("Transfer-Encoding: xchunked")),
        ("chunked first", before("Transfer-Encoding: chunked, identity")),
        ("a space before the colon", before("Content-Length : 40")),
        ("a folded header", before("X-Fold: a\r\n b\r\nContent-Length: 5")),
        (
            "a bare line feed",
            before("X-Line: a\nTransfer-Encoding: chunked"),
        ),
        ("a bare carriage return", before("X-Line: a\rContent-Length: 5")),
    ]
}

fn lengths() -> Vec<(&'static str, String)> {
    let length = |length: &str| format!("Content-Length: {length}\r\n\r\n{{}}");
    vec![
        ("a body cut off", length("1000")),
        ("a negative length", length("-1")),
        ("a length of 2^63", length("9223372036854775808")),
        ("a length of 2^70", length("1180591620717411303424")),
        ("a length in hexadecimal", length("0x2")),
        ("a length with a plus", length("+2")),
    ]
}

fn headers() -> Vec<(&'static str, String)> {
    let long = "x".repeat(100_000);
    vec![
        ("a head cut off", "Content-Le".into()),
        (
            "NUL in a header",
            "X-Null: a\0b\r\nContent-Length: 0\r\n\r\n".into(),
        ),
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
        ("a header of 100 KB", format!("X-Long: {long}\r\n\r\n")),
        ("a header's name of 100 KB", format!("{long}: x\r\n\r\n")),
        (
            "ten thousand headers",
            format!("{}\r\n", "X-Many: x\r\n".repeat(10_000)),
        ),
    ]
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
