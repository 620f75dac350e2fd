//! The pool of connections, each with its timeouts set.

use crate::{Result, StoreError};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

/// A connection, inside a transaction or not.
pub type Connection = sqlx::PgConnection;
/// A transaction: rolled back when dropped without a commit.
pub type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

/// How a service uses Postgres.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// `postgres://user:password@host:port/database`, with `sslmode` and `sslrootcert` as usual.
    pub url: SecretString,
    /// PEM certificates of authorities that TLS trusts besides the system's, unless the URL has `sslrootcert`.
    pub further_roots_pem: Option<Vec<u8>>,
    /// Shown in `pg_stat_activity`.
    pub application_name: &'static str,
    /// Most connections at once.
    pub max_connections: u32,
    /// A statement that takes longer is cancelled.
    pub statement_timeout: Duration,
    /// Waiting longer for a lock fails.
    pub lock_timeout: Duration,
    /// Waiting longer for a connection fails.
    pub acquire_timeout: Duration,
    /// Statements that are kept are planned once on a connection, for any parameters: planning the short ones takes almost as
    /// long as running them. And never to go through a whole table that has an index: a plan outlives the time when it was small.
    pub plans_once: bool,
}

impl PoolConfig {
    /// Settings that suit a service.
    pub fn new(url: impl Into<String>, application_name: &'static str) -> Self {
        Self {
            url: SecretString::from(url.into()),
            further_roots_pem: None,
            application_name,
            max_connections: 8,
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            acquire_timeout: Duration::from_secs(5),
            plans_once: false,
        }
    }
}

impl PoolConfig {
    /// Answers whether the URL can be read, without connecting.
    pub fn check(&self) -> Result<()> {
        self.address().map(|_| ())
    }

    fn address(&self) -> Result<PgConnectOptions> {
        let url = self.url.expose_secret();
        let options = PgConnectOptions::from_str(url)?;
        Ok(match &self.further_roots_pem {
            Some(further) if !url.contains("sslrootcert=") => options.ssl_root_cert_from_pem(further.clone()),
            _ => options,
        })
    }
}

/// How long work that [`crate::lanes::allow_long_statements`] may take.
pub const LONG_WORK: Duration = Duration::from_mins(11);

/// A connection that was idle for longer is tested before it is used again. One that was returned just now was tested
/// then, and would cost a round trip each time.
const TESTED_AFTER_IDLE: Duration = Duration::from_secs(1);

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    /// What takes longer is not slow but lost.
    answers_within: Duration,
}

impl Store {
    /// A pool that connects when first used, so that a service starts while Postgres is away.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn lazy(config: &PoolConfig) -> Result<Self> {
        let options = config
            .address()?
            .application_name(config.application_name)
            .options([
                // Short statements only: compiling one takes longer than running it.
                ("jit", "off".to_owned()),
                ("statement_timeout", milliseconds(config.statement_timeout)),
                ("lock_timeout", milliseconds(config.lock_timeout)),
                (
                    "idle_in_transaction_session_timeout",
                    milliseconds(config.statement_timeout),
                ),
            ]);
        let options = if config.plans_once {
            options.options([
                ("plan_cache_mode", "force_generic_plan"),
                ("enable_seqscan", "off"),
            ])
        } else {
            options
        };
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for >= TESTED_AFTER_IDLE {
                        sqlx::Connection::ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            answers_within: config.statement_timeout + config.lock_timeout + config.acquire_timeout,
        })
    }

    /// Does some work, of a few statements, unless Postgres falls silent meanwhile.
    ///
    /// Postgres ends what takes too long, but only while it can be reached: a connection whose other end
    /// vanished without a word would be waited on for ever.
    pub fn in_time<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = std::result::Result<T, E>>,
    ) -> impl Future<Output = std::result::Result<T, E>> {
        in_time(self.answers_within, work)
    }

    /// Opens a transaction (read committed).
    ///
    /// A caller that gives up while it waits here leaves nothing open. sqlx alone would give a connection whose
    /// BEGIN was under way back to the pool inside its transaction, and what the next one writes on it without a
    /// transaction of its own would be lost; so BEGIN is always waited for, on a task of its own.
    pub async fn begin(&self) -> Result<Transaction> {
        let pool = self.pool.clone();
        match tokio::spawn(async move { pool.begin().await }).await {
            Ok(begun) => Ok(begun?),
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime is shutting down.
            Err(_) => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    /// A connection for reads that need no transaction.
    pub async fn connection(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>> {
        Ok(self.pool.acquire().await?)
    }

    /// Answers whether Postgres answers.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("-- pool.ping\nSELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes every connection, after the statements that run.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Connections open and idle, for metrics.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }
}

/// As [`Store::in_time`], with a limit of its own.
pub fn in_time<T, E: From<StoreError>>(
    limit: Duration,
    work: impl Future<Output = std::result::Result<T, E>>,
) -> impl Future<Output = std::result::Result<T, E>> {
    let work = Box::pin(work); // such futures are large
    async move {
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::Silent { after: limit }.into()),
        }
    }
}

/// Makes a transaction's writes stand.
pub async fn commit(transaction: Transaction) -> Result<()> {
    Ok(transaction.commit().await?)
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}
