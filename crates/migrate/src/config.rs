//! The settings.

use campaign_runtime::{SecretSetting, TrustedRoots};
use clap::{ArgAction, Parser};
use std::path::PathBuf;

campaign_runtime::secret!(
    /// Postgres: postgres://user:password@host:port/database
    pub DatabaseUrl: "DATABASE_URL", "database-url"
);

/// Applies the migrations, creates the first admin key, and exits
#[derive(Debug, Clone, Parser)]
#[command(name = "migrate", version)]
pub struct Config {
    /// Where Postgres is.
    #[command(flatten)]
    pub database_url: SecretSetting<DatabaseUrl>,

    /// Whom TLS trusts.
    #[command(flatten)]
    pub trusted_roots: TrustedRoots,

    /// File that the first admin key is written to, readable by its owner alone; without it the key is
    /// printed, once
    #[arg(long, env = "ADMIN_KEY_FILE", value_name = "PATH")]
    pub admin_key_file: Option<PathBuf>,

    /// Also create an account, templates and phone numbers for development
    #[arg(long, env = "DEV_DATA", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true")]
    pub dev_data: bool,

    /// Seconds to wait for Postgres
    #[arg(long, env = "CONNECT_TIMEOUT_SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub connect_timeout_seconds: u64,
}
