//! The settings of the scheduler.

use campaign_runtime::{ConfigProblem, RuntimeArgs, SecretName, SecretSetting, ServiceConfig};
use campaign_store::PoolConfig;
use campaign_streams::RedisConfig;
use clap::{ArgAction, Parser};
use erp_api::{ErpClient, ErpConfig};
use std::num::NonZeroU32;
use std::time::Duration;
use whatsapp_api::{ClientConfig, ClientError, CloudApi};

campaign_runtime::secret!(
    /// Postgres: postgres://user:password@host:port/database
    pub DatabaseUrl: "DATABASE_URL", "database-url"
);
campaign_runtime::secret!(
    /// Redis: redis://host:port, or rediss:// for TLS
    pub RedisUrl: "REDIS_URL", "redis-url"
);
campaign_runtime::secret!(
    /// Bearer key of the ERP's API
    pub ErpApiKey: "ERP_API_KEY", "erp-api-key"
);

campaign_runtime::secret!(
    /// Token of the WhatsApp Business Accounts; without it nothing is read from WhatsApp
    pub AccessToken: "WHATSAPP_ACCESS_TOKEN", "whatsapp-access-token"
);

/// Requests of one preview or one schedule to the ERP. A person waits for the answer.
const ERP_ATTEMPTS: u32 = 2;
/// How long one answer of WhatsApp may take.
const WHATSAPP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one such request may take.
const ERP_TIMEOUT: Duration = Duration::from_secs(8);

/// Campaign lifecycle and REST API
#[derive(Debug, Clone, Parser)]
pub struct Config {
    /// What every service has.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Where Postgres is.
    #[command(flatten)]
    pub database_url: SecretSetting<DatabaseUrl>,

    /// Most connections to Postgres
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(2..=200))]
    pub database_max_connections: u32,

    /// Milliseconds after which Postgres ends a statement; it is given up shortly after if Postgres says nothing
    #[arg(long, env = "DATABASE_STATEMENT_TIMEOUT_MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    pub database_statement_timeout_ms: u64,

    /// Where Redis is.
    #[command(flatten)]
    pub redis_url: SecretSetting<RedisUrl>,

    /// Stands before every Redis key; the same for every service of one installation
    #[arg(long, env = "STREAM_PREFIX", default_value = "")]
    pub stream_prefix: String,

    /// Address of the ERP; /v1/customers comes after it
    #[arg(
        long,
        env = "ERP_BASE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8083"
    )]
    pub erp_base_url: String,

    /// The ERP's key.
    #[command(flatten)]
    pub erp_api_key: SecretSetting<ErpApiKey>,

    /// Token for reading from WhatsApp.
    #[command(flatten)]
    pub access_token: SecretSetting<AccessToken>,

    /// Where the WhatsApp Cloud API is; the version comes after it
    #[arg(
        long,
        env = "WHATSAPP_BASE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8084"
    )]
    pub whatsapp_base_url: String,

    /// Version of the Graph API
    #[arg(long, env = "WHATSAPP_API_VERSION", default_value = "v25.0")]
    pub whatsapp_api_version: String,

    /// Seconds between two readings of the throughput and messaging limit that WhatsApp reports of each number; 0: they
    /// are not read, and what people decided holds. Needs the token
    #[arg(long, env = "LIMIT_SYNC_SECONDS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub limit_sync_seconds: u64,

    /// Seconds between two readings of an account's templates; news and people make it sooner
    #[arg(long, env = "TEMPLATE_SYNC_SECONDS", default_value_t = 600,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub template_sync_seconds: u64,

    /// Start campaigns at their moment; without it the tick of the next full minute starts them
    #[arg(long, env = "PRECISE_WAKEUP", default_value_t = true, action = ArgAction::Set)]
    pub precise_wakeup: bool,

    /// Milliseconds without a tick after which a replica looks for due campaigns by itself
    #[arg(long, env = "TICK_SILENCE_MS", default_value_t = 90_000,
          value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    pub tick_silence_ms: u64,

    /// Milliseconds that pause, resume and cancel wait for the lane before they answer 202
    #[arg(long, env = "CONTROL_WAIT_MS", default_value_t = 900,
          value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub control_wait_ms: u64,
}

impl Config {
    /// How Postgres is used.
    pub fn pool(&self) -> Result<PoolConfig, ConfigProblem> {
        use secrecy::ExposeSecret;
        let url = self.database_url.required()?;
        let mut pool = PoolConfig::new(url.expose_secret(), "scheduler-svc");
        pool.further_roots_pem = self.runtime.trusted_roots.pem()?;
        pool.max_connections = self.database_max_connections;
        pool.statement_timeout = Duration::from_millis(self.database_statement_timeout_ms);
        Ok(pool)
    }

    /// How Redis is used.
    pub fn redis(&self) -> Result<RedisConfig, ConfigProblem> {
        use secrecy::ExposeSecret;
        let url = self.redis_url.required()?;
        let mut redis = RedisConfig::new(url.expose_secret());
        redis.further_roots_pem = self.runtime.trusted_roots.pem()?;
        redis.prefix.clone_from(&self.stream_prefix);
        Ok(redis)
    }

    /// The client for previews and for the check that a segment is not empty.
    pub fn erp(&self) -> Result<ErpClient, ConfigProblem> {
        // Settings are checked before anything else of the process is set up.
        campaign_runtime::install_tls_provider();
        let mut erp = ErpConfig::new(&self.erp_base_url, self.erp_api_key.required()?);
        erp.further_roots_pem = self.runtime.trusted_roots.pem()?;
        erp.timeout = ERP_TIMEOUT;
        erp.max_attempts = NonZeroU32::new(ERP_ATTEMPTS).expect("not zero");
        erp.max_retry_after = Duration::from_secs(2);
        ErpClient::new(erp).map_err(|invalid| {
            let setting = if invalid.setting == "api_key" {
                "ERP_API_KEY"
            } else {
                "ERP_BASE_URL"
            };
            ConfigProblem::new(setting, invalid.found, invalid.expected)
        })
    }
}

impl Config {
    /// The client that reads from WhatsApp; none without a token.
    pub fn whatsapp(&self) -> Result<Option<CloudApi>, ConfigProblem> {
        let Some(token) = self.access_token.resolve()? else {
            return Ok(None);
        };
        let mut client = ClientConfig::new(&self.whatsapp_base_url, &self.whatsapp_api_version, token);
        client.further_roots_pem = self.runtime.trusted_roots.pem()?;
        client.request_timeout = WHATSAPP_TIMEOUT;
        client.pool_max_idle = 1;
        let client = CloudApi::new(client).map_err(|error| {
            let (setting, expected) = match error {
                ClientError::BaseUrl { .. } => ("WHATSAPP_BASE_URL", "http(s)://host[:port]"),
                ClientError::Version(_) => ("WHATSAPP_API_VERSION", "a version such as v25.0"),
                ClientError::AccessToken | ClientError::Number { .. } => {
                    (AccessToken::ENV, "a token of printable characters")
                }
                ClientError::Http(_) => ("WHATSAPP_BASE_URL", "a host with root certificates"),
            };
            ConfigProblem::new(setting, error.to_string(), expected)
        })?;
        Ok(Some(client))
    }
}

impl ServiceConfig for Config {
    const DEFAULT_LISTEN_ADDR: &'static str = "0.0.0.0:8080";

    fn runtime(&self) -> &RuntimeArgs {
        &self.runtime
    }

    fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        match self.pool() {
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
            Ok(redis) if redis.check().is_err() => problems.push(ConfigProblem::new(
                "REDIS_URL",
                "an address that cannot be read",
                "redis://host:port/ or rediss://host:port/",
            )),
            Ok(_) => {}
        }
        problems.extend(self.erp().err());
        match self.whatsapp() {
            Err(problem) => problems.push(problem),
            Ok(None) if self.limit_sync_seconds > 0 => problems.push(ConfigProblem::new(
                "LIMIT_SYNC_SECONDS",
                self.limit_sync_seconds.to_string(),
                "0, or WHATSAPP_ACCESS_TOKEN too",
            )),
            Ok(_) => {}
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let config = Config::parse_from([
            "scheduler-svc",
            "--database-url=postgres://u:tell-no-one@h/d",
            "--redis-url=redis://u:tell-no-one@h/",
            "--erp-api-key=tell-no-one",
            "--whatsapp-access-token=tell-no-one",
            "--otel-exporter-otlp-endpoint=http://u:tell-no-one@h/",
        ]);
        for shown in [
            format!("{config:?}"),
            format!("{:?}", config.pool()),
            format!("{:?}", config.redis()),
            format!("{:?}", config.erp()),
        ] {
            assert!(!shown.contains("tell-no-one"), "{shown}");
        }
    }
}
