//! The client of the REST API, and of the mock's control interface, which speaks the same way.
//!
//! A request that got no answer is tried again where that cannot do anything twice: reading, replacing, and
//! POST, which carries an `Idempotency-Key`.

use crate::failure::Failure;
use backon::{ExponentialBuilder, Retryable};
use campaign_runtime::Problem;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;
use uuid::Uuid;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take. Pause and cancel wait for the lane, a preview for the ERP.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an export may be silent.
const STREAM_SILENCE_MAX: Duration = Duration::from_mins(1);
/// How often a request without an answer is tried again.
const RETRIES_MAX: usize = 2;
/// The first pause before that.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(200);
/// Largest answer that is read at once; an export is not.
const ANSWER_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Most characters shown of an answer that is no problem.
const SHOWN_MAX_CHARS: usize = 300;

/// Parameters of a query.
pub(crate) type Query = Vec<(&'static str, String)>;

/// One service.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<SecretString>,
    service: &'static str,
    setting: &'static str,
}

/// A successful answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    body: String,
    service: &'static str,
}

impl Answer {
    /// The body as it came.
    pub(crate) fn body(&self) -> &str {
        &self.body
    }

    /// Whether it was accepted and will be done.
    pub(crate) fn is_still_to_come(&self) -> bool {
        self.status == StatusCode::ACCEPTED
    }

    /// What it says.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(|error| Failure::Unreadable {
            service: self.service,
            cause: error.to_string(),
        })
    }
}

impl Client {
    /// `service` and `setting` are for people: who this is, and which setting says where.
    pub(crate) fn new(
        service: &'static str,
        setting: &'static str,
        base: &str,
        key: Option<SecretString>,
        further_roots: Option<&[u8]>,
    ) -> Result<Self, Failure> {
        let wrong = || {
            // What stands before an @ may be a password.
            let shown = base.rsplit('@').next().unwrap_or_default();
            Failure::Usage(format!(
                "{setting}: found {shown:?}; expected an http:// or https:// URL without credentials"
            ))
        };
        let base = Url::parse(base).map_err(|_| wrong())?;
        let has_credentials = !base.username().is_empty() || base.password().is_some();
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() || has_credentials {
            return Err(wrong());
        }
        let local = |error: reqwest::Error| Failure::Local(error.to_string());
        let roots = reqwest::Certificate::from_pem_bundle(further_roots.unwrap_or_default());
        let http = reqwest::Client::builder()
            .tls_certs_merge(roots.map_err(local)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(STREAM_SILENCE_MAX)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()
            .map_err(local)?;
        Ok(Self {
            http,
            base,
            key,
            service,
            setting,
        })
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &[&str], query: &Query) -> Result<Answer, Failure> {
        self.persist(|| self.request(Method::GET, path).query(query))
            .await
    }

    /// Does something. Repeating it after a lost answer does nothing more.
    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> Result<Answer, Failure> {
        let name = Uuid::new_v4().to_string();
        self.persist(|| {
            self.request(Method::POST, path)
                .header("Idempotency-Key", &name)
                .json(body)
        })
        .await
    }

    /// Replaces.
    pub(crate) async fn put(&self, path: &[&str], body: &Value) -> Result<Answer, Failure> {
        self.persist(|| self.request(Method::PUT, path).json(body)).await
    }

    /// Changes the fields that are given.
    pub(crate) async fn patch(&self, path: &[&str], body: &Value) -> Result<Answer, Failure> {
        self.persist(|| self.request(Method::PATCH, path).json(body))
            .await
    }

    /// Removes. Not repeated: the second time it would not be there any more.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<Answer, Failure> {
        self.ask(self.request(Method::DELETE, path)).await
    }

    /// Reads something of any size, piece by piece.
    pub(crate) async fn stream(&self, path: &[&str], query: &Query) -> Result<Stream<'_>, Failure> {
        let request = self.request(Method::GET, path).query(query);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(Stream {
                client: self,
                response,
            });
        }
        Err(self.refused(response).await)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.http.request(method, url);
        match &self.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    async fn persist(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer, Failure> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(RETRY_PAUSE_MIN)
            .with_max_times(RETRIES_MAX)
            .with_jitter();
        (|| self.ask(request()))
            .retry(pauses)
            .when(|failure| matches!(failure, Failure::Unreachable { .. }))
            .await
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let sent = request.timeout(ANSWER_TIMEOUT).send().await;
        let response = sent.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(response).await);
        }
        let body = self.body(response).await?;
        Ok(Answer {
            status,
            body,
            service: self.service,
        })
    }

    async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes()
                .starts_with(campaign_runtime::PROBLEM_CONTENT_TYPE.as_bytes())
        });
        let body = match self.body(response).await {
            Ok(body) => body,
            Err(failure) => return failure,
        };
        let problem = is_problem.then(|| read_problem(&body, status)).flatten();
        let problem = problem.unwrap_or_else(|| {
            let shown: String = body.trim().chars().take(SHOWN_MAX_CHARS).collect();
            Problem::new(
                status,
                if shown.is_empty() {
                    "no reason was given".to_owned()
                } else {
                    shown
                },
            )
        });
        Failure::Refused {
            problem: Box::new(problem),
            body,
        }
    }

    async fn body(&self, mut response: Response) -> Result<String, Failure> {
        let unreadable = |cause: &str| Failure::Unreadable {
            service: self.service,
            cause: cause.to_owned(),
        };
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(unreadable(&format!("more than {ANSWER_MAX_BYTES} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        String::from_utf8(body).map_err(|_| unreadable("not UTF-8"))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable {
            service: self.service,
            setting: self.setting,
            url: self.base.to_string(),
            cause: root_cause(error),
        }
    }
}

/// The problem that an answer describes. Its status is that of the answer: the member of that name only repeats
/// it (RFC 9457, section 3.1.2), and an extension may have taken its place.
fn read_problem(body: &str, status: StatusCode) -> Option<Problem> {
    let mut members: Map<String, Value> = serde_json::from_str(body).ok()?;
    members.insert("status".to_owned(), status.as_u16().into());
    serde_json::from_value(members.into()).ok()
}

/// A long answer, read piece by piece.
pub(crate) struct Stream<'a> {
    client: &'a Client,
    response: Response,
}

impl Stream<'_> {
    /// The next piece; `None` after a complete answer. One that breaks off in the middle fails.
    pub(crate) async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        self.response
            .chunk()
            .await
            .map_err(|error| self.client.unreachable(&error))
    }
}

/// What lies under "error sending request": connection refused, an unknown name, a timeout.
fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_problem_is_that_of_the_answer() {
        for body in [
            r#"{"title":"T","detail":"d"}"#,
            r#"{"status":409,"detail":"d","allowed":["edit"],"status":"SENDING"}"#,
        ] {
            let problem = read_problem(body, StatusCode::CONFLICT).expect("a problem");
            assert_eq!((problem.status, &*problem.detail), (409, "d"));
        }
        assert_eq!(read_problem("[]", StatusCode::CONFLICT), None);
    }
}
