//! What is thrown at an endpoint: as requests that are well formed but for one thing.

use crate::endpoints::Endpoint;
use crate::wire::Request;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use whatsapp_api::signature::{SIGNATURE_HEADER, sign};

const JSON: &str = "application/json";
const LARGE_BYTES: usize = 10 * 1024 * 1024;
const NESTED: usize = 100_000;

/// A request under construction.
pub(crate) struct Draft<'a> {
    endpoint: &'a Endpoint,
    name: String,
    method: String,
    target: String,
    headers: Vec<u8>,
    body: Option<Vec<u8>>,
    content_type: Option<&'static str>,
    may_go_unanswered: bool,
}

impl<'a> Draft<'a> {
    /// The endpoint as it wants to be asked.
    pub(crate) fn new(endpoint: &'a Endpoint, name: impl Into<String>) -> Self {
        let body = endpoint.body.as_ref().map(|body| body.to_string().into_bytes());
        Self {
            endpoint,
            name: name.into(),
            method: endpoint.method.clone(),
            target: endpoint.good_path(),
            headers: Vec::new(),
            body,
            content_type: Some(JSON),
            may_go_unanswered: false,
        }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.extend_from_slice(name.as_bytes());
        self.headers.extend_from_slice(b": ");
        self.headers.extend_from_slice(value.as_ref());
        self.headers.extend_from_slice(b"\r\n");
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn content_type(mut self, content_type: Option<&'static str>) -> Self {
        self.content_type = content_type;
        self
    }

    /// The service refuses by closing, which may overtake its answer.
    pub(crate) fn may_go_unanswered(mut self) -> Self {
        self.may_go_unanswered = true;
        self
    }

    /// The head up to the body's headers, which some attacks write themselves.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: test\r\n", self.method, self.target).into_bytes();
        head.extend_from_slice(&self.headers);
        let authorizes = self.headers.starts_with(b"Authorization");
        if let Some(key) = self.endpoint.bearer.as_ref().filter(|_| !authorizes) {
            head.extend_from_slice(format!("Authorization: Bearer {key}\r\n").as_bytes());
        }
        if let Some(content_type) = self.content_type {
            head.extend_from_slice(format!("Content-Type: {content_type}\r\n").as_bytes());
        }
        head
    }

    /// The request as it is, with these bytes after the head's last line.
    pub(crate) fn raw(&self, rest: &[u8]) -> Request {
        Request {
            name: self.name.clone(),
            bytes: [&self.head(), rest].concat(),
            then_close: true,
            may_go_unanswered: self.may_go_unanswered,
        }
    }

    /// The request with its length, and signed where it must be.
    pub(crate) fn finish(self) -> Request {
        let body = self.body.clone().unwrap_or_default();
        let signature = self
            .endpoint
            .secret()
            .map(|secret| sign(secret.as_bytes(), &body));
        let signature = signature
            .map(|value| format!("{SIGNATURE_HEADER}: {value}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "{signature}Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Request {
            then_close: false,
            ..self.raw(&[head.as_bytes(), &body].concat())
        }
    }
}

/// Bodies that are not what the endpoint reads.
pub(crate) fn bodies(endpoint: &Endpoint, random: &mut StdRng) -> Vec<Request> {
    let noise = |random: &mut StdRng, bytes: usize| {
        let mut noise = vec![0; bytes];
        random.fill_bytes(&mut noise);
        noise
    };
    let field = endpoint.fields.first().map_or("name", String::as_str);
    let with = |value: &str| format!("{{\"{field}\":{value}}}").into_bytes();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("random bytes", noise(random, 4096)),
        ("one random byte", noise(random, 1)),
        (
            "invalid UTF-8 in a string",
            b"{\"name\":\"\xff\xfe\xc0\x80\"}".to_vec(),
        ),
        ("lists in lists", "[".repeat(NESTED).into_bytes()),
        ("objects in objects", "{\"a\":".repeat(NESTED).into_bytes()),
        (
            "lists in a field",
            with(&("[".repeat(NESTED) + &"]".repeat(NESTED))),
        ),
        ("1e400", b"1e400".to_vec()),
        ("1e400 in a field", with("1e400")),
        ("2^70 in a field", with("1180591620717411303424")),
        ("a number of 100,000 digits", with(&"9".repeat(100_000))),
        ("NUL in a string", with("\"a\\u0000b\"")),
        ("half a surrogate", with("\"\\ud800\"")),
        (
            "the same field twice",
            format!("{{\"{field}\":1,\"{field}\":2}}").into_bytes(),
        ),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a text", b"\"x\"".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("half an object", with("1")[..4].to_vec()),
        ("two objects", b"{} {}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
    ];
    let drafts = bodies
        .into_iter()
        .map(|(name, body)| Draft::new(endpoint, name).body(body));
    let types = [
        None,
        Some("text/xml"),
        Some("application/json; charset=utf-16"),
        Some("multipart/form-data"),
        Some("/"),
    ];
    let mistyped =
        types.map(|kind| Draft::new(endpoint, format!("content type {kind:?}")).content_type(kind));
    drafts.chain(mistyped).map(Draft::finish).collect()
}

/// Ten megabytes, as spaces and as one field.
pub(crate) fn large(endpoint: &Endpoint) -> Vec<Request> {
    let field = endpoint.fields.first().map_or("name", String::as_str);
    let one_field = format!("{{\"{field}\":\"{}\"}}", "x".repeat(LARGE_BYTES));
    let bodies = [
        ("10 MB of spaces", vec![b' '; LARGE_BYTES]),
        ("10 MB in one field", one_field.into_bytes()),
    ];
    let drafts = bodies.map(|(name, body)| Draft::new(endpoint, name).body(body).may_go_unanswered());
    drafts.into_iter().map(Draft::finish).collect()
}

/// Parameters of path and query that name nothing.
pub(crate) fn targets(endpoint: &Endpoint, random: &mut StdRng) -> Vec<Request> {
    let long = "9".repeat(10_000);
    let digits = random.random_range(0..u64::MAX).to_string();
    let values = [
        "",
        "%",
        "%zz",
        "%ff%fe",
        "%00",
        "a%00b",
        "..",
        "%2e%2e%2f",
        "-1",
        "0",
        "1e400",
        "99999999999999999999",
        "00000000-0000-0000-0000-000000000000",
        "not-a-uuid",
        "%F0%9F%92%A9",
        "'%20OR%201=1--",
        "%7B%7B1%7D%7D",
        "2d31",
        "00",
        "7a7a",
        "31303030303030303030303030303030303030303030303030",
        "NaN",
        "[]",
        "true",
        &digits,
        &long,
    ];
    let mut requests = Vec::new();
    if !endpoint.good.is_empty() {
        for value in values {
            let target = endpoint.path_with(|_| value.to_owned());
            requests.push(
                Draft::new(endpoint, format!("path {value:.40}"))
                    .target(target)
                    .finish(),
            );
        }
    }
    let path = endpoint.good_path();
    for name in &endpoint.query {
        for value in values {
            let target = format!("{path}?{name}={value}");
            requests.push(
                Draft::new(endpoint, format!("query {name}={value:.40}"))
                    .target(target)
                    .finish(),
            );
        }
    }
    for query in [
        "?",
        "?=",
        "?&&&",
        "?a=b=c",
        "?limit=1&limit=2",
        "?%ff=%ff",
        "?limit",
        "??",
        "?no_such=1",
    ] {
        requests.push(
            Draft::new(endpoint, format!("query {query}"))
                .target(path.clone() + query)
                .finish(),
        );
    }
    requests
}

/// Headers that say nonsense.
pub(crate) fn headers(endpoint: &Endpoint, random: &mut StdRng) -> Vec<Request> {
    let long = "k".repeat(10_000);
    let noise: Vec<u8> = (0..40).map(|_| random.random_range(0x80..=0xff)).collect();
    let values: [&[u8]; 7] = [
        b"",
        b"\xff\xfe",
        b"\t",
        b"'; DROP TABLE campaigns; --",
        "\u{1f4a9}".as_bytes(),
        &noise,
        long.as_bytes(),
    ];
    let mut requests = Vec::new();
    for value in values {
        let draft = |name: &str| {
            let shown = String::from_utf8_lossy(value);
            Draft::new(endpoint, format!("{name}: {shown:.40}"))
        };
        for name in ["Idempotency-Key", "Authorization"] {
            requests.push(draft(name).header(name, value).finish());
        }
        let others = [
            "traceparent",
            SIGNATURE_HEADER,
            "Accept",
            "Range",
            "Origin",
            "Cookie",
        ];
        let other = draft("other headers");
        requests.push(
            others
                .iter()
                .fold(other, |draft, name| draft.header(name, value))
                .finish(),
        );
    }
    for value in ["Bearer", "Bearer ", "Basic YTpi", "bearer ck_", "Bearer \u{e9}"] {
        requests.push(
            Draft::new(endpoint, format!("Authorization: {value}"))
                .header("Authorization", value)
                .finish(),
        );
    }
    for method in [
        "BREW", "get", "TRACE", "CONNECT", "OPTIONS", "HEAD", "PUT", "PATCH", "DELETE", "POST", "GET",
        "PROPFIND",
    ] {
        if method != endpoint.method {
            requests.push(
                Draft::new(endpoint, format!("method {method}"))
                    .method(method)
                    .finish(),
            );
        }
    }
    requests
}
