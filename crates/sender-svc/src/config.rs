//! Settings, each by flag or environment variable.

use crate::lane::Limits;
use campaign_runtime::{ConfigProblem, RuntimeArgs, SecretSetting, ServiceConfig};
use campaign_store::PoolConfig;
use campaign_streams::RedisConfig;
use erp_api::ErpConfig;
use std::num::NonZeroU32;
use std::time::Duration;

campaign_runtime::secret!(
    /// Where Postgres is: postgres://user:password@host:port/database
    pub DatabaseUrl: "DATABASE_URL", "database-url"
);
campaign_runtime::secret!(
    /// Where Redis is: redis://user:password@host:port/ or rediss://
    pub RedisUrl: "REDIS_URL", "redis-url"
);
campaign_runtime::secret!(
    /// Bearer key of the ERP's API
    pub ErpApiKey: "ERP_API_KEY", "erp-api-key"
);

/// Fetches audiences, feeds the lanes and keeps the ledger
#[derive(Debug, clap::Parser)]
pub struct Config {
    #[command(flatten)]
    runtime: RuntimeArgs,

    #[command(flatten)]
    database_url: SecretSetting<DatabaseUrl>,

    #[command(flatten)]
    redis_url: SecretSetting<RedisUrl>,

    #[command(flatten)]
    erp_api_key: SecretSetting<ErpApiKey>,

    /// Where the ERP is; /v1/customers comes after it
    #[arg(
        long,
        env = "ERP_BASE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8083"
    )]
    erp_base_url: String,

    /// Most requests a second to the ERP, by this replica
    #[arg(long, env = "ERP_REQUESTS_PER_SECOND", default_value_t = NonZeroU32::new(20).expect("20 is not zero"))]
    erp_requests_per_second: NonZeroU32,

    /// Customers asked for in one request to the ERP
    #[arg(long, env = "ERP_PAGE_SIZE", default_value_t = 2_000, value_parser = clap::value_parser!(u16).range(1..=5_000))]
    pub(crate) erp_page_size: u16,

    /// Stands before every Redis key, so that several installations can share a server
    #[arg(long, env = "STREAM_PREFIX", default_value = "")]
    stream_prefix: String,

    /// Most connections to Postgres
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", default_value_t = 12, value_parser = clap::value_parser!(u32).range(3..=500))]
    database_connections: u32,

    /// Milliseconds after which Postgres ends a statement; it is given up shortly after if Postgres says nothing
    #[arg(long, env = "DATABASE_STATEMENT_TIMEOUT_MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    database_statement_timeout_ms: u64,

    /// Most messages of one campaign that lie in its lane at a time; a slow number gets fewer
    #[arg(long, env = "FEED_WINDOW", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    pub(crate) feed_window: u32,

    /// Milliseconds after which a lane whose owner is silent passes to another replica
    #[arg(long, env = "LANE_LEASE_MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(500..=120_000))]
    lane_lease_ms: u64,

    /// Milliseconds after which a message that was taken and never reported becomes uncertain
    #[arg(long, env = "RECLAIM_IDLE_MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    reclaim_idle_ms: u64,

    /// Milliseconds that evidence of an uncertain message is waited for
    #[arg(long, env = "GRACE_MS", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(100..=86_400_000))]
    grace_ms: u64,

    /// Milliseconds that a person counts towards a portfolio's messaging limit: WhatsApp's 24 hours; only a test of the
    /// limit has reason to shorten it
    #[arg(long, env = "MESSAGING_LIMIT_WINDOW_MS", default_value_t = 86_400_000, value_parser = clap::value_parser!(u64).range(1_000..=86_400_000))]
    messaging_limit_window_ms: u64,

    /// Last messages of a campaign whose errors are counted; 0 never holds a campaign because of errors
    #[arg(long, env = "BREAKER_WINDOW", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    breaker_window: u32,

    /// Messages that must have ended before a campaign is held because of errors
    #[arg(long, env = "BREAKER_MINIMUM", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    breaker_minimum: u32,

    /// Percentage of final errors of the message that holds a campaign
    #[arg(long, env = "BREAKER_ERROR_PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=100))]
    breaker_error_percent: u8,

    /// Percentage of recipients that cannot be sent to that holds a campaign
    #[arg(long, env = "BREAKER_RECIPIENT_PERCENT", default_value_t = 60, value_parser = clap::value_parser!(u8).range(1..=100))]
    breaker_recipient_percent: u8,
}

impl Config {
    pub(crate) fn postgres(&self) -> Result<PoolConfig, ConfigProblem> {
        let url = secrecy::ExposeSecret::expose_secret(&self.database_url.required()?).to_owned();
        let mut pool = PoolConfig::new(url, "sender-svc");
        pool.plans_once = true;
        pool.further_roots_pem = self.runtime.trusted_roots.pem()?;
        pool.max_connections = self.database_connections;
        pool.statement_timeout = Duration::from_millis(self.database_statement_timeout_ms);
        Ok(pool)
    }

    pub(crate) fn redis(&self) -> Result<RedisConfig, ConfigProblem> {
        let url = secrecy::ExposeSecret::expose_secret(&self.redis_url.required()?).to_owned();
        let mut redis = RedisConfig::new(url);
        redis.further_roots_pem = self.runtime.trusted_roots.pem()?;
        redis.prefix.clone_from(&self.stream_prefix);
        Ok(redis)
    }

    pub(crate) fn erp(&self) -> Result<ErpConfig, ConfigProblem> {
        let mut erp = ErpConfig::new(self.erp_base_url.clone(), self.erp_api_key.required()?);
        erp.further_roots_pem = self.runtime.trusted_roots.pem()?;
        erp.requests_per_second = self.erp_requests_per_second;
        Ok(erp)
    }

    pub(crate) fn lane_lease(&self) -> Duration {
        Duration::from_millis(self.lane_lease_ms)
    }

    pub(crate) fn reclaim_idle(&self) -> Duration {
        Duration::from_millis(self.reclaim_idle_ms)
    }

    pub(crate) fn messaging_limit_window(&self) -> Duration {
        Duration::from_millis(self.messaging_limit_window_ms)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    pub(crate) fn breaker(&self) -> Limits {
        Limits {
            window: self.breaker_window as usize,
            minimum: self.breaker_minimum as usize,
            message_percent: self.breaker_error_percent.into(),
            recipient_percent: self.breaker_recipient_percent.into(),
        }
    }
}

impl ServiceConfig for Config {
    const DEFAULT_LISTEN_ADDR: &'static str = "0.0.0.0:8082";

    fn runtime(&self) -> &RuntimeArgs {
        &self.runtime
    }

    fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        match self.postgres() {
            Err(problem) => problems.push(problem),
            // What is wrong with a URL is not repeated: it may hold a password.
            Ok(pool) if pool.check().is_err() => problems.push(ConfigProblem::new(
                "DATABASE_URL",
                "an address that cannot be read",
                "postgres://user:password@host:port/database",
            )),
            Ok(_) => {}
        }
        match self.redis() {
            Err(problem) => problems.push(problem),
            Ok(redis) if redis.check().is_err() => {
                problems.push(ConfigProblem::new(
                    "REDIS_URL",
                    "an address that cannot be read",
                    "redis://host:port/ or rediss://host:port/",
                ));
            }
            Ok(_) => {}
        }
        match self.erp() {
            Err(problem) => problems.push(problem),
            Ok(erp) => problems.extend(
                erp_api::ErpClient::new(erp)
                    .err()
                    .map(|invalid| ConfigProblem::new("ERP_BASE_URL", invalid.found, invalid.expected)),
            ),
        }
        if self.reclaim_idle_ms > self.grace_ms {
            problems.push(ConfigProblem::new(
                "GRACE_MS",
                self.grace_ms.to_string(),
                format!("at least RECLAIM_IDLE_MS ({})", self.reclaim_idle_ms),
            ));
        }
        if self.breaker_window > 0 && self.breaker_minimum > self.breaker_window {
            problems.push(ConfigProblem::new(
                "BREAKER_MINIMUM",
                self.breaker_minimum.to_string(),
                format!("at most BREAKER_WINDOW ({})", self.breaker_window),
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn a_breaker_that_could_never_trip_is_refused() {
        let problems = |flags: &[&str]| {
            let arguments = [
                "sender-svc",
                "--database-url=postgres://h/d",
                "--redis-url=redis://h/",
            ];
            let config = Config::parse_from(arguments.iter().chain(flags));
            config
                .problems()
                .iter()
                .filter(|problem| problem.to_string().starts_with("BREAKER"))
                .count()
        };
        assert_eq!(problems(&["--breaker-window=100", "--breaker-minimum=101"]), 1);
        assert_eq!(problems(&["--breaker-window=0", "--breaker-minimum=101"]), 0);
        assert_eq!(problems(&[]), 0);
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = Config::parse_from([
            "sender-svc",
            "--database-url=postgres://u:tell-no-one@h/d",
            "--redis-url=redis://u:tell-no-one@h/",
            "--erp-api-key=tell-no-one",
            "--otel-exporter-otlp-endpoint=http://u:tell-no-one@h/",
        ]);
        for shown in [
            format!("{config:?}"),
            format!("{:?}", config.postgres()),
            format!("{:?}", config.redis()),
            format!("{:?}", config.erp()),
        ] {
            assert!(!shown.contains("tell-no-one"), "{shown}");
        }
    }
}
