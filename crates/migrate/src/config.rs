//! The settings.

use campaign_runtime::{SecretSetting, TrustedRoots};
use clap::{ArgAction, Parser};
use std::path::PathBuf;

campaign_runtime::secret!(
    /// Postgres: postgres://user:password@host:port/database
    pub DatabaseUrl: "DATABASE_URL", "database-url"
);

campaign_runtime::secret!(
    /// Password of SCHEDULER_DATABASE_ROLE, which is then made if it is missing
    pub SchedulerPassword: "SCHEDULER_DATABASE_PASSWORD", "scheduler-database-password"
);
campaign_runtime::secret!(
    /// Password of SENDER_DATABASE_ROLE, which is then made if it is missing
    pub SenderPassword: "SENDER_DATABASE_PASSWORD", "sender-database-password"
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

    /// Role of Postgres that gets exactly the rights of scheduler-svc
    #[arg(
        long,
        env = "SCHEDULER_DATABASE_ROLE",
        value_name = "ROLE",
        default_value = "",
        hide_default_value = true
    )]
    pub scheduler_database_role: String,

    /// The role's password.
    #[command(flatten)]
    pub scheduler_database_password: SecretSetting<SchedulerPassword>,

    /// Role of Postgres that gets exactly the rights of sender-svc
    #[arg(
        long,
        env = "SENDER_DATABASE_ROLE",
        value_name = "ROLE",
        default_value = "",
        hide_default_value = true
    )]
    pub sender_database_role: String,

    /// The role's password.
    #[command(flatten)]
    pub sender_database_password: SecretSetting<SenderPassword>,

    /// Also create an account, templates and phone numbers for development
    #[arg(long, env = "DEV_DATA", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true")]
    pub dev_data: bool,

    /// Seconds to wait for Postgres
    #[arg(long, env = "CONNECT_TIMEOUT_SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub connect_timeout_seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let config = Config::parse_from([
            "migrate",
            "--database-url=postgres://u:tell-no-one@h/d",
            "--scheduler-database-password=tell-no-one",
            "--sender-database-password=tell-no-one",
        ]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("tell-no-one"), "{shown}");
    }
}
