//! Prepares the database: applies the migrations, creates the first admin key, and, for development, what a
//! campaign needs. Everything it does, it does once; running it again is harmless.

pub mod admin_key;
pub mod config;
pub mod dev_data;
mod roles;

use anyhow::Context;
use campaign_runtime::ConfigProblem;
use campaign_store::{Connection, PoolConfig, Store};
use config::Config;
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// A migration may rewrite a table; a person watches.
const STATEMENT_TIMEOUT: Duration = Duration::from_hours(1);

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The versions that were applied.
    pub applied: Vec<i64>,
    /// The roles that were given their rights.
    pub roles: Vec<String>,
    /// The admin key that was created, unless it was written to a file.
    pub shown_key: Option<String>,
    /// Whether a key was written to the file.
    pub key_written: bool,
    /// Whether anything of the development data was missing.
    pub dev_data_created: bool,
}

/// Prepares the database.
pub async fn run(config: &Config) -> anyhow::Result<Outcome> {
    let store = Store::lazy(&pool(config)?)?;
    let outcome = prepare(&store, config).await;
    store.close().await;
    outcome
}

async fn prepare(store: &Store, config: &Config) -> anyhow::Result<Outcome> {
    wait_for_postgres(store, Duration::from_secs(config.connect_timeout_seconds)).await?;
    let mut connection = store.connection().await?;
    let applied = campaign_store::migrate(&mut connection)
        .await
        .context("the migrations failed")?;
    let roles = roles::grant(&mut connection, config).await?;
    drop(connection);
    let key = admin_key::ensure(store, config.admin_key_file.as_deref()).await?;
    let dev_data_created = if config.dev_data {
        dev_data::ensure(store).await?
    } else {
        false
    };
    Ok(Outcome {
        applied,
        roles,
        key_written: key == admin_key::Created::Written,
        shown_key: if let admin_key::Created::Shown(key) = key {
            Some(key)
        } else {
            None
        },
        dev_data_created,
    })
}

fn pool(config: &Config) -> anyhow::Result<PoolConfig> {
    use secrecy::ExposeSecret;
    let wrong = |problem: ConfigProblem| anyhow::anyhow!("{problem}");
    let url = config.database_url.required().map_err(wrong)?;
    let mut pool = PoolConfig::new(url.expose_secret(), "migrate");
    pool.further_roots_pem = config.trusted_roots.pem().map_err(wrong)?;
    pool.max_connections = 2;
    pool.statement_timeout = STATEMENT_TIMEOUT;
    pool.lock_timeout = STATEMENT_TIMEOUT;
    Ok(pool)
}

/// Containers start together; Postgres may need a while.
async fn wait_for_postgres(store: &Store, timeout: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        match store.ping().await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() < deadline => tracing::info!(%error, "Postgres does not answer yet"),
            Err(error) => return Err(error).context(format!("Postgres did not answer within {timeout:?}")),
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

/// What every function here runs on.
type Step<'a> = &'a mut Connection;
