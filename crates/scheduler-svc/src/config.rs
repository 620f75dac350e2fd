//! The settings of the scheduler.

use campaign_runtime::{ConfigProblem, RuntimeArgs, SecretSetting, ServiceConfig};
use campaign_store::PoolConfig;
use campaign_streams::RedisConfig;
use clap::{ArgAction, Parser};
use erp_api::{ErpClient, ErpConfig};
use std::num::NonZeroU32;
use std::time::Duration;
use whatsapp_api::CloudApi;
use whatsapp_api::settings::WhatsappSettings;

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

    /// Most requests a second to the ERP, by this replica: one or a few for each campaign that is scheduled or previewed
    #[arg(long, env = "ERP_REQUESTS_PER_SECOND", default_value_t = NonZeroU32::new(20).expect("20 is not zero"))]
    pub erp_requests_per_second: NonZeroU32,

    /// Where templates and limits are read; without a token they are not.
    #[command(flatten)]
    pub whatsapp: WhatsappSettings,

    /// Seconds between two readings of the throughput and messaging limit that WhatsApp reports of each number; 0: they
    /// are not read, and what people decided holds. Needs the token
    #[arg(long, env = "LIMIT_SYNC_SECONDS", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub limit_sync_seconds: u64,

    /// Seconds between two readings of an account's templates; news and people make it sooner. Needs the token
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
        erp.requests_per_second = self.erp_requests_per_second;
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
        let Some(mut client) = self.whatsapp.client_config_if_any()? else {
            return Ok(None);
        };
        client.further_roots_pem = self.runtime.trusted_roots.pem()?;
        client.request_timeout = WHATSAPP_TIMEOUT;
        client.pool_max_idle = 1;
        self.whatsapp.client(client).map(Some)
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
    use campaign_runtime::ParseFailure;

    fn problems(flags: &[&str]) -> Vec<String> {
        let args = [
            "scheduler-svc",
            "--database-url=postgres://u@h/d",
            "--redis-url=redis://h/",
            "--erp-api-key=k",
        ];
        let args = args.iter().chain(flags).map(std::ffi::OsString::from);
        match campaign_runtime::parse::<Config>("scheduler-svc", "0", args) {
            Ok(_) => Vec::new(),
            Err(ParseFailure::Problems(problems)) => problems,
            Err(ParseFailure::Answered(answer)) => panic!("{answer}"),
        }
    }

    #[test]
    fn the_numbers_file_is_read_at_start_and_a_problem_names_it_and_the_number() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().display().to_string();
        let flag = format!("--whatsapp-numbers-file={path}");
        let flags = ["--whatsapp-access-token=t", flag.as_str()];
        std::fs::write(file.path(), r#"{"7": {"version": "v26.0"}}"#).expect("written");
        assert_eq!(problems(&flags), Vec::<String>::new());
        assert!(problems(&flags[1..])[0].starts_with("WHATSAPP_ACCESS_TOKEN:"));
        std::fs::write(file.path(), r#"{"7": {"version": "26"}}"#).expect("written");
        let found = problems(&flags);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].starts_with("WHATSAPP_NUMBERS_FILE:")
                && found[0].contains(&path)
                && found[0].contains("phone number 7"),
            "{found:#?}"
        );
    }

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
