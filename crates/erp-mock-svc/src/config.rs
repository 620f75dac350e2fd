//! Settings, each by flag or environment variable.

use crate::population::MAX_CUSTOMERS;
use campaign_runtime::{ConfigProblem, RuntimeArgs, SecretSetting, ServiceConfig};
use chrono::NaiveDate;
use std::time::Duration;

campaign_runtime::secret!(
    /// Bearer key that every request must carry.
    pub ErpApiKey: "ERP_API_KEY", "erp-api-key"
);

/// A deterministic ERP for development and tests
#[derive(Debug, clap::Parser)]
pub struct Config {
    #[command(flatten)]
    runtime: RuntimeArgs,

    #[command(flatten)]
    pub(crate) api_key: SecretSetting<ErpApiKey>,

    /// How many customers there are
    #[arg(long, env = "ERP_MOCK_CUSTOMERS", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_CUSTOMERS))]
    pub(crate) customers: u64,

    /// Which customers they are: the same seed gives the same ones
    #[arg(long, env = "ERP_MOCK_SEED", default_value_t = 1)]
    pub(crate) seed: u64,

    /// The day that all dates are relative to, as YYYY-MM-DD [default: the day of the start]
    #[arg(long, env = "ERP_MOCK_TODAY")]
    pub(crate) today: Option<NaiveDate>,

    /// Milliseconds until a cursor expires [default: never]
    #[arg(long, env = "ERP_MOCK_CURSOR_TTL_MS", value_parser = clap::value_parser!(u64).range(1..))]
    cursor_ttl_ms: Option<u64>,

    /// Redis for customer.events and message.events; without it nobody is told of changes
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub(crate) redis_url: Option<String>,

    /// Stands before every Redis key, so that several installations can share a server
    #[arg(long, env = "STREAM_PREFIX", default_value = "")]
    pub(crate) stream_prefix: String,
}

impl Config {
    pub(crate) fn cursor_ttl(&self) -> Option<Duration> {
        self.cursor_ttl_ms.map(Duration::from_millis)
    }
}

impl ServiceConfig for Config {
    const DEFAULT_LISTEN_ADDR: &'static str = "0.0.0.0:8083";

    fn runtime(&self) -> &RuntimeArgs {
        &self.runtime
    }

    fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems: Vec<_> = self.api_key.required().err().into_iter().collect();
        // Only the position of the fault is told: the address may hold a password.
        if self.redis_url.is_some() && crate::events::connect(self).is_err() {
            let expected = "redis://host:port/ or rediss://host:port/";
            problems.push(ConfigProblem::new(
                "REDIS_URL",
                "an address that cannot be read",
                expected,
            ));
        }
        problems
    }
}
