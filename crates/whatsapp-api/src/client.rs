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

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};

use crate::client_config::{ClientConfig, ClientError, Routes};
use crate::errors::{Decision, ErrorBody, GraphError, decide};
use crate::request_check::RequestProblem;
use crate::send::{MessageRequest, ProductPolicy, SendResponse};
use crate::write_once::{Gate, WriteOnce};

/// Largest answer that is read; real ones are under 1 KB.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Longest `Retry-After` that is believed.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Longest phone number id; Meta's have 15 to 17 digits.
pub const MAX_PHONE_NUMBER_ID_DIGITS: usize = 32;

/// The rate-limit code that stands for an HTTP 429 without a body of its own.
const RATE_LIMIT_CODE: i64 = 130_429;
/// The code for a request that is malformed.
const INVALID_PARAMETER_CODE: i64 = 100;

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

/// A client for any number of phone numbers; cheap to clone, shares its connections.
#[derive(Clone, Debug)]
pub struct CloudApi {
    http: reqwest::Client,
    routes: Arc<Routes>,
    write_timeout: Duration,
    answer_timeout: Duration,
}

impl CloudApi {
    /// Checks the configuration and prepares the connection pool; connects to nothing yet.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "no copy of the token outlives the making"
    )]
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let routes = Routes::new(&config)?;
        // Fails only if another provider is installed already, which is what we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let json = HeaderValue::from_static("application/json");
        let mut builder = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([
                (CONTENT_TYPE, json.clone()),
                (ACCEPT, json),
            ]))
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
        if routes.are_plain() {
            // No TLS, so no root certificates: small images that talk to a mock have none.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            http: builder.build()?,
            routes: Arc::new(routes),
            write_timeout: config.write_timeout,
            answer_timeout: config.answer_timeout,
        })
    }

    /// What a template of the category MARKETING must say when it is sent from this number; `None` where it goes
    /// to `/messages`, as everything else.
    pub fn marketing_policy(&self, phone_number_id: &str) -> Option<ProductPolicy> {
        self.routes.of(phone_number_id).marketing.policy()
    }

    /// `GET {prefix}/{path}`, as this number would ask; none: with the settings that hold for all.
    pub(crate) fn get(
        &self,
        phone_number_id: Option<&str>,
        path: &str,
        query: &[(&str, &str)],
    ) -> reqwest::RequestBuilder {
        let route = self.routes.of(phone_number_id.unwrap_or_default());
        let mut url = route.prefix.clone();
        url.set_path(&format!("{}/{path}", route.prefix.path()));
        url.query_pairs_mut().extend_pairs(query);
        self.http.get(url).header(AUTHORIZATION, route.bearer.clone())
    }

    /// Sends one message from one business phone number, once.
    ///
    /// Dropping the future (a shutdown, for instance) leaves the result unknown to everyone.
    pub async fn send(&self, phone_number_id: &str, body: &MessageRequest) -> SendOutcome {
        let digits = phone_number_id.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || phone_number_id.is_empty() || phone_number_id.len() > MAX_PHONE_NUMBER_ID_DIGITS {
            return not_sent("the phone number id is not a number of up to 32 digits");
        }
        if let Err(problem) = body.check() {
            return refused_here(&problem);
        }
        let bytes = match serde_json::to_vec(body) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return not_sent(format!("the message cannot be written as JSON: {error}")),
        };
        let route = self.routes.of(phone_number_id);
        let endpoint = if body.product_policy.is_some() {
            "marketing_messages"
        } else {
            "messages"
        };
        let mut url = route.prefix.clone();
        url.set_path(&format!("{}/{phone_number_id}/{endpoint}", route.prefix.path()));

        let (body, gate) = WriteOnce::new(bytes);
        let request = self.http.post(url).header(AUTHORIZATION, route.bearer.clone());
        let answered = async {
            match request.body(reqwest::Body::wrap(body)).send().await {
                Ok(response) => read(response).await,
                Err(error) => Err(describe(error)),
            }
        };
        let answer = tokio::select! {
            answer = answered => answer,
            reason = self.too_late(&gate) => Err(reason),
        };
        match answer.and_then(Answer::classify) {
            Ok(outcome) => outcome,
            Err(reason) if gate.revoke() => SendOutcome::NotSent { reason },
            Err(reason) => SendOutcome::Unknown { reason },
        }
    }

    /// Returns when a phase of the send has lasted too long, with the reason.
    async fn too_late(&self, gate: &Gate) -> String {
        if tokio::time::timeout(self.write_timeout, gate.handed_over())
            .await
            .is_err()
        {
            return "timed out before a connection took the request".to_owned();
        }
        tokio::time::sleep(self.answer_timeout).await;
        "timed out waiting for the answer".to_owned()
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

/// What Meta would refuse is refused here, with the code that it would give.
fn refused_here(problem: &RequestProblem) -> SendOutcome {
    let error = GraphError::new(INVALID_PARAMETER_CODE, problem.to_string());
    let decision = decide(&error);
    SendOutcome::Refused(error, decision, None)
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
    fn debug_does_not_show_the_token() {
        let config = ClientConfig::new("http://h", "v25.0", "tell-no-one".to_owned().into());
        assert!(!format!("{config:?}").contains("tell-no-one"));
        let client = CloudApi::new(config).expect("builds");
        assert!(!format!("{client:?}").contains("tell-no-one"));
    }
}
