//! Settings, each by flag or environment variable.

use crate::population::MAX_CUSTOMERS;
use campaign_runtime::{ConfigProblem, RuntimeArgs, SecretSetting, ServiceConfig};
use campaign_streams::RedisConfig;
use chrono::NaiveDate;
use secrecy::ExposeSecret;
use std::time::Duration;

campaign_runtime::secret!(
    /// Bearer key that every request must carry.
    pub ErpApiKey: "ERP_API_KEY", "erp-api-key"
);

campaign_runtime::secret!(
    /// Redis for customer.events and message.events; without it nobody is told of changes
    pub RedisUrl: "REDIS_URL", "redis-url"
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

    #[command(flatten)]
    redis_url: SecretSetting<RedisUrl>,

    /// Stands before every Redis key, so that several installations can share a server
    #[arg(long, env = "STREAM_PREFIX", default_value = "")]
    stream_prefix: String,
}

impl Config {
    /// Where Redis is; None if nowhere.
    pub(crate) fn redis(&self) -> Result<Option<RedisConfig>, ConfigProblem> {
        let Some(url) = self.redis_url.resolve()? else {
            return Ok(None);
        };
        let mut redis = RedisConfig::new(url.expose_secret());
        redis.further_roots_pem = self.runtime.trusted_roots.pem()?;
        redis.prefix.clone_from(&self.stream_prefix);
        Ok(Some(redis))
    }

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
        match self.redis() {
            Err(problem) => problems.push(problem),
            // What is wrong with a URL is not repeated: it may hold a password.
            Ok(Some(redis)) if redis.check().is_err() => problems.push(ConfigProblem::new(
                "REDIS_URL",
                "an address that cannot be read",
                "redis://host:port/ or rediss://host:port/",
            )),
            Ok(_) => {}
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn debug_shows_no_secret() {
        let config = Config::parse_from([
            "erp-mock-svc",
            "--redis-url=redis://u:tell-no-one@h/",
            "--erp-api-key=tell-no-one",
        ]);
        for shown in [format!("{config:?}"), format!("{:?}", config.redis())] {
            assert!(!shown.contains("tell-no-one"), "{shown}");
        }
    }
}
