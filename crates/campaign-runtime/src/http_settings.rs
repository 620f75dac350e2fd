//! The bounds of a service's HTTP listener, and the settings that change them.

use std::time::Duration;

use crate::config::ConfigProblem;

/// The longest of the timeouts: more would be none.
const MAX_TIMEOUT_MS: u64 = 60 * 60 * 1000;
/// Each connection takes a descriptor and a task.
const MAX_CONNECTIONS: u64 = 65_536;

/// Heading of these settings in `--help`; set on each, as those of traces are.
const HTTP: &str = "HTTP";

/// The bounds of a service's listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take for the head of its request, and stay idle between two requests.
    pub header_read_timeout: Duration,
    /// How long a client may take for the body of its request.
    pub body_read_timeout: Duration,
    /// How long a request may take until its answer begins.
    pub request_timeout: Duration,
    /// How long a client may take nothing of the answer that waits for it.
    pub write_timeout: Duration,
    /// The largest body, in bytes. A router that takes more says so with
    /// [`axum::extract::DefaultBodyLimit::max`].
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            header_read_timeout: Duration::from_secs(30),
            body_read_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            body_bytes: 1024 * 1024,
        }
    }
}

/// What of the [`Limits`] can be set. The size of bodies is a matter of each route.
#[derive(Clone, Debug, clap::Args)]
pub struct HttpSettings {
    /// Connections at a time; further ones wait until one ends
    #[arg(long, env = "HTTP_MAX_CONNECTIONS", help_heading = HTTP, default_value_t = 1024,
          value_parser = clap::value_parser!(u64).range(1..=MAX_CONNECTIONS))]
    pub http_max_connections: u64,

    /// Milliseconds that a client may take for the head of a request, and stay idle between two
    #[arg(long, env = "HTTP_HEADER_TIMEOUT_MS", help_heading = HTTP, default_value_t = 30_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_MS))]
    pub http_header_timeout_ms: u64,

    /// Milliseconds that a client may take for the body of a request
    #[arg(long, env = "HTTP_BODY_TIMEOUT_MS", help_heading = HTTP, default_value_t = 20_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_MS))]
    pub http_body_timeout_ms: u64,

    /// Milliseconds until the answer to a request begins
    #[arg(long, env = "HTTP_REQUEST_TIMEOUT_MS", help_heading = HTTP, default_value_t = 30_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_MS))]
    pub http_request_timeout_ms: u64,

    /// Milliseconds for which a client may take nothing of its answer
    #[arg(long, env = "HTTP_WRITE_TIMEOUT_MS", help_heading = HTTP, default_value_t = 30_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_MS))]
    pub http_write_timeout_ms: u64,
}

impl HttpSettings {
    /// The bounds that these settings make.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: usize::try_from(self.http_max_connections).unwrap_or(usize::MAX),
            header_read_timeout: Duration::from_millis(self.http_header_timeout_ms),
            body_read_timeout: Duration::from_millis(self.http_body_timeout_ms),
            request_timeout: Duration::from_millis(self.http_request_timeout_ms),
            write_timeout: Duration::from_millis(self.http_write_timeout_ms),
            ..Limits::default()
        }
    }

    pub(crate) fn problems(&self) -> Vec<ConfigProblem> {
        if self.http_body_timeout_ms < self.http_request_timeout_ms {
            return Vec::new();
        }
        vec![ConfigProblem::new(
            "HTTP_BODY_TIMEOUT_MS",
            self.http_body_timeout_ms.to_string(),
            format!(
                "less than HTTP_REQUEST_TIMEOUT_MS ({}), or a slow client would be told that the service is slow",
                self.http_request_timeout_ms
            ),
        )]
    }
}
