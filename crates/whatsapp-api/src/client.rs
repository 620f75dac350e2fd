//! Sends one message and says what is *known* about the result.
//!
//! The Cloud API has no idempotency key, so a send may be tried again only when it is certain that it
//! was not accepted. This client therefore sorts every possible end into four kinds ([`SendOutcome`]),
//! never retries, never follows a redirect, and hands a request's bytes out at most once
//! (the body is written once or not at all, whatever the layers below do).
//!
//! | what happened | outcome |
//! |---|---|
//! | 2xx with a wamid | `Accepted` |
//! | a Graph error, whatever the HTTP status | `Refused` |
//! | HTTP 429 without a Graph error | `Refused`: its definition (RFC 6585 §4) is that the request was not served |
//! | the body never left: refused connection, DNS, TLS, connect timeout, a dead pooled connection | `NotSent` |
//! | anything else once the body left: timeout, broken connection, 2xx without wamid, other 4xx and 5xx or garbage without a Graph error | `Unknown` |
//!
//! The last line is deliberate: a gateway's 502 or 403 page says nothing about what happened behind it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::errors::{Decision, ErrorBody, GraphError, decide};
use crate::send::{MessageRequest, SendResponse};
use crate::write_once::WriteOnce;

/// Largest answer that is read; real ones are under 1 KB.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Longest `Retry-After` that is believed.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Longest phone number id; Meta's have 15 to 17 digits.
pub const MAX_PHONE_NUMBER_ID_DIGITS: usize = 32;

/// The rate-limit code that stands for an HTTP 429 without a body of its own.
const RATE_LIMIT_CODE: i64 = 130_429;

/// Where and how to send.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `https://graph.facebook.com`, or the mock.
    pub base_url: String,
    /// Graph API version, such as `v25.0`.
    pub version: String,
    /// Sent as `Authorization: Bearer …`; never shown.
    pub access_token: SecretString,
    /// PEM certificates of authorities that `https://` trusts besides the system's.
    pub further_roots_pem: Option<Vec<u8>>,
    /// From the call to the last byte of the answer. A message older than this is uncertain.
    pub request_timeout: Duration,
    /// TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long written bytes may stay unacknowledged before the kernel aborts the connection
    /// (`TCP_USER_TIMEOUT`): must be under the grace period, so that a message given up as uncertain
    /// cannot leave a socket's buffer afterwards.
    pub tcp_user_timeout: Duration,
    /// How long an idle connection is kept: must be under the server's keep-alive, or requests meet
    /// connections that are just being closed and end as uncertain for nothing.
    pub pool_idle_timeout: Duration,
    /// Idle connections kept; the number of concurrent sends is a good value.
    pub pool_max_idle: usize,
    /// Whether `HTTPS_PROXY` and its like are obeyed.
    pub system_proxy: bool,
}

impl ClientConfig {
    /// A configuration with the defaults that suit Meta's servers.
    pub fn new(base_url: impl Into<String>, version: impl Into<String>, access_token: SecretString) -> Self {
        Self {
            base_url: base_url.into(),
            version: version.into(),
            access_token,
            further_roots_pem: None,
            request_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            tcp_user_timeout: Duration::from_secs(15),
            pool_idle_timeout: Duration::from_secs(20),
            pool_max_idle: 256,
            system_proxy: true,
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is not one.
    #[error("the WhatsApp base URL {found:?} is not an http(s) URL without a query: {reason}")]
    BaseUrl {
        /// As configured, without credentials.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The version is not one.
    #[error("the WhatsApp API version {0:?} is not like v25.0")]
    Version(String),
    /// The token cannot stand in a header.
    #[error("the WhatsApp access token is empty or holds characters that no header can carry")]
    AccessToken,
    /// The HTTP client refused its settings (no root certificates, for instance).
    #[error("the HTTP client cannot be built: {0}")]
    Http(#[from] reqwest::Error),
}

/// What is known after a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// Meta has it.
    Accepted {
        /// The message's id.
        wamid: String,
        /// Who Meta understood is meant; may differ from the number given.
        wa_id: Option<String>,
        /// Accepted, but held for a quality assessment or paused: it may be delivered much later, or fail.
        held: bool,
    },
    /// Certainly not accepted, and the answer says why.
    Refused(GraphError, Decision, Option<Duration>),
    /// Certainly never written.
    NotSent {
        /// For people; holds no recipient.
        reason: String,
    },
    /// Maybe accepted. Never sent again without evidence or a person's word.
    Unknown {
        /// For people; holds no recipient.
        reason: String,
    },
}

/// A client for one access token; cheap to clone, shares its connections.
#[derive(Clone, Debug)]
pub struct CloudApi {
    pub(crate) http: reqwest::Client,
    /// `{base}/{version}`, without a slash at the end.
    pub(crate) prefix: Url,
}

impl CloudApi {
    /// Checks the configuration and prepares the connection pool; connects to nothing yet.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let prefix = prefix(&config.base_url, &config.version)?;
        // Fails only if another provider is installed already, which is what we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers(config.access_token)?)
            .timeout(config.request_timeout)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(config.pool_idle_timeout)
            .pool_max_idle_per_host(config.pool_max_idle)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only();
        #[cfg(target_os = "linux")]
        {
            builder = builder.tcp_user_timeout(config.tcp_user_timeout);
        }
        if !config.system_proxy {
            builder = builder.no_proxy();
        }
        let further = config.further_roots_pem.as_deref().unwrap_or_default();
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(further)?);
        if prefix.scheme() == "http" {
            // No TLS, so no root certificates: small images that talk to a mock have none.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            http: builder.build()?,
            prefix,
        })
    }

    /// Sends one message from one business phone number, once.
    ///
    /// Dropping the future (a shutdown, for instance) leaves the result unknown to everyone.
    pub async fn send(&self, phone_number_id: &str, body: &MessageRequest) -> SendOutcome {
        let digits = phone_number_id.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || phone_number_id.is_empty() || phone_number_id.len() > MAX_PHONE_NUMBER_ID_DIGITS {
            return not_sent("the phone number id is not a number of up to 32 digits");
        }
        let bytes = match serde_json::to_vec(body) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return not_sent(format!("the message cannot be written as JSON: {error}")),
        };
        let mut url = self.prefix.clone();
        url.set_path(&format!("{}/{phone_number_id}/messages", self.prefix.path()));

        let (body, gate) = WriteOnce::new(bytes);
        let answer = match self.http.post(url).body(reqwest::Body::wrap(body)).send().await {
            Ok(response) => read(response).await,
            Err(error) => Err(describe(error)),
        };
        match answer.and_then(Answer::classify) {
            Ok(outcome) => outcome,
            Err(reason) if gate.revoke() => SendOutcome::NotSent { reason },
            Err(reason) => SendOutcome::Unknown { reason },
        }
    }
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: BytesMut,
}

impl Answer {
    /// What the answer proves; the reason if it proves nothing.
    fn classify(self) -> Result<SendOutcome, String> {
        if let Ok(ErrorBody { error }) = serde_json::from_slice(&self.body) {
            let decision = decide(&error);
            return Ok(SendOutcome::Refused(error, decision, self.retry_after));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            let error = GraphError::new(RATE_LIMIT_CODE, "HTTP 429 without a Graph error");
            let decision = decide(&error);
            return Ok(SendOutcome::Refused(error, decision, self.retry_after));
        }
        if !self.status.is_success() {
            return Err(format!("HTTP {} without a Graph error", self.status.as_u16()));
        }
        let answer: SendResponse = serde_json::from_slice(&self.body)
            .map_err(|_| format!("HTTP {} with an unreadable body", self.status.as_u16()))?;
        let message = answer.messages.into_iter().next();
        let message = message
            .filter(|message| !message.id.is_empty())
            .ok_or_else(|| format!("HTTP {} without a wamid", self.status.as_u16()))?;
        Ok(SendOutcome::Accepted {
            wamid: message.id,
            wa_id: answer
                .contacts
                .into_iter()
                .next()
                .and_then(|contact| contact.wa_id),
            held: matches!(
                message.message_status.as_deref(),
                Some("held_for_quality_assessment" | "paused")
            ),
        })
    }
}

async fn read(mut response: reqwest::Response) -> Result<Answer, String> {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(retry_after);
    let body = read_answer(&mut response, MAX_ANSWER_BYTES).await?;
    Ok(Answer {
        status,
        retry_after,
        body,
    })
}

/// The whole body, unless it is larger than `max_bytes`.
pub(crate) async fn read_answer(
    response: &mut reqwest::Response,
    max_bytes: usize,
) -> Result<BytesMut, String> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(describe)? {
        if body.len() + chunk.len() > max_bytes {
            let status = response.status().as_u16();
            return Err(format!("HTTP {status} with more than {max_bytes} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Seconds only: Meta does not use dates, and a date would need this host's clock to be right.
pub(crate) fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

fn prefix(base_url: &str, version: &str) -> Result<Url, ClientError> {
    let refuse = |reason: &str| ClientError::BaseUrl {
        // What stands before an @ may be a password.
        found: base_url.rsplit('@').next().unwrap_or_default().to_owned(),
        reason: reason.to_owned(),
    };
    let mut url = Url::parse(base_url).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("its scheme is neither http nor https"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a query or a fragment"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it has credentials"));
    }
    let number = version
        .strip_prefix('v')
        .and_then(|number| number.split_once('.'));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !number.is_some_and(|(major, minor)| numeric(major) && numeric(minor)) {
        return Err(ClientError::Version(version.to_owned()));
    }
    let path = format!("{}/{version}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn headers(token: SecretString) -> Result<HeaderMap, ClientError> {
    if token.expose_secret().trim().is_empty() {
        return Err(ClientError::AccessToken);
    }
    let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
    drop(token);
    let mut bearer = bearer.map_err(|_| ClientError::AccessToken)?;
    bearer.set_sensitive(true);
    Ok(HeaderMap::from_iter([
        (AUTHORIZATION, bearer),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (ACCEPT, HeaderValue::from_static("application/json")),
    ]))
}

/// The chain of causes in one line, without the URL (it names the phone number).
pub(crate) fn describe(error: reqwest::Error) -> String {
    use std::error::Error as _;

    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn not_sent(reason: impl Into<String>) -> SendOutcome {
    SendOutcome::NotSent {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(status: u16, body: &str) -> Result<SendOutcome, String> {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            retry_after: None,
            body: body.as_bytes().into(),
        }
        .classify()
    }

    #[test]
    fn only_a_wamid_is_acceptance() {
        let accepted = classify(
            200,
            r#"{"messaging_product":"whatsapp","contacts":[{"input":"+55","wa_id":"55"}],
               "messages":[{"id":"wamid.A","message_status":"held_for_quality_assessment"}]}"#,
        );
        assert_eq!(
            accepted,
            Ok(SendOutcome::Accepted {
                wamid: "wamid.A".into(),
                wa_id: Some("55".into()),
                held: true
            })
        );
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"messages":[]}"#,
            r#"{"messages":[{"id":""}]}"#,
            "<html>",
        ] {
            assert!(classify(200, body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_graph_error_decides_whatever_the_status() {
        for status in [200, 400, 401, 429, 500, 503] {
            let outcome = classify(status, r#"{"error":{"code":131049,"message":"m"}}"#);
            assert!(
                matches!(&outcome, Ok(SendOutcome::Refused(error, _, None)) if error.code == 131_049),
                "{status}: {outcome:?}"
            );
        }
    }

    #[test]
    fn a_status_without_a_graph_error_proves_nothing_except_429() {
        for status in [301, 400, 401, 403, 404, 408, 500, 502, 503, 504] {
            assert!(classify(status, "<html>").is_err(), "{status}");
        }
        let limited = classify(429, "");
        assert!(matches!(limited, Ok(SendOutcome::Refused(error, ..)) if error.code == RATE_LIMIT_CODE));
    }

    #[test]
    fn the_prefix_keeps_a_path_and_refuses_what_is_no_base() {
        let prefix_of = |base| prefix(base, "v25.0").map(|url| url.to_string()).ok();
        assert_eq!(prefix_of("http://h:1"), Some("http://h:1/v25.0".into()));
        assert_eq!(prefix_of("http://h/mock/"), Some("http://h/mock/v25.0".into()));
        for base in ["", "h:1", "ftp://h", "http://h?x=1", "http://u:p@h"] {
            assert_eq!(prefix_of(base), None, "{base:?}");
        }
        let error = prefix("http://user:tell-no-one@h", "v25.0").expect_err("it has credentials");
        assert!(!error.to_string().contains("tell-no-one"), "{error}");
        for version in ["", "25.0", "v25", "v25.", "v25.0/x", "va.b"] {
            assert!(prefix("http://h", version).is_err(), "{version:?}");
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let config = ClientConfig::new("http://h", "v25.0", "tell-no-one".to_owned().into());
        assert!(!format!("{config:?}").contains("tell-no-one"));
        let client = CloudApi::new(config).expect("builds");
        assert!(!format!("{client:?}").contains("tell-no-one"));
    }
}
