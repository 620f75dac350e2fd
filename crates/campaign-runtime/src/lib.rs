//! How a process lives: configuration, telemetry, health, shutdown, problem details.
//!
//! Every service's `main.rs` is one call of [`run`]; everything that is the same in all of them is
//! here, so that a service holds only what it alone does. The crate knows neither Redis nor SQL:
//! a service registers its own checks with [`Health`] and spawns its own tasks on [`Runtime`].
//!
//! ```text
//! run ── parse flags and environment ── --check-config, --healthcheck
//!  └── telemetry, metrics, signals
//!       └── body(config, Runtime)
//!            ├── runtime.health.register("redis")   readiness means progress
//!            ├── runtime.spawn("feeder", …)         a task that fails stops the service
//!            └── runtime.serve(router)              /livez /readyz /metrics, drains on SIGTERM
//! ```

mod body_deadline;
mod config;
mod descriptors;
mod extract;
mod fault;
mod health;
mod healthcheck;
mod http_settings;
mod layers;
mod metrics;
mod nul;
mod problem;
mod process;
mod runtime;
mod secret;
mod server;
mod shutdown;
mod telemetry;
mod trace_context;
mod trusted_roots;
mod write_timeout;

pub use config::{ConfigProblem, LogFormat, ParseFailure, RuntimeArgs, ServiceConfig, parse};
pub use extract::{Bytes, Json, Path, Query};
pub use health::{CheckReport, Health, HealthHandle, HealthReport};
pub use healthcheck::ask_readiness;
pub use http_settings::{HttpSettings, Limits};
pub use metrics::install_recorder;
pub use problem::{CONTENT_TYPE as PROBLEM_CONTENT_TYPE, FieldProblem, Problem};
pub use process::{install_tls_provider, run};
pub use runtime::{Runtime, Spawner};
pub use secret::{SecretName, SecretSetting, read_secret_file};
pub use server::CLIENT_IDLE_TIMEOUT;
pub use shutdown::{DEFAULT_DEADLINE, Shutdown};
pub use telemetry::{Telemetry, TraceSettings};
pub use trace_context::{current_trace_context, link_only, link_to};
pub use trusted_roots::TrustedRoots;
