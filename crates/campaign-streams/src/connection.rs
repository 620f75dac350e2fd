//! Connections: a pool for short commands, and dedicated ones for blocking reads and for the lanes.

use crate::keys::Keys;
use crate::roots;
use crate::{Result, StreamsError};
use deadpool_redis::{Manager, Pool, Runtime};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisFuture, RedisResult, TlsCertificates, Value,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a service uses Redis.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `redis://` or `rediss://`, with user, password and database as usual.
    pub url: SecretString,
    /// PEM certificates of authorities that `rediss://` trusts besides the system's.
    pub further_roots_pem: Option<Vec<u8>>,
    /// Stands before every key; empty outside tests.
    pub prefix: String,
    /// Most pooled connections.
    pub pool_size: usize,
    /// Connecting longer fails.
    pub connect_timeout: Duration,
    /// Waiting longer for an answer fails (blocking reads: their block time on top).
    pub response_timeout: Duration,
}

impl RedisConfig {
    /// Settings that suit a service.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: SecretString::from(url.into()),
            further_roots_pem: None,
            prefix: String::new(),
            pool_size: 8,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
        }
    }

    /// Checks that the URL can be read, without connecting.
    ///
    /// # Errors
    /// When it cannot. The error may quote parts of the URL.
    pub fn check(&self) -> Result<()> {
        connection_info(self.url.expose_secret()).map(|_| ())
    }

    /// The client, which connects to nothing yet. Its addresses carry what TLS needs.
    fn client(&self) -> Result<Client> {
        let info = connection_info(self.url.expose_secret())?;
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        Ok(match &self.further_roots_pem {
            Some(further) if is_tls => Client::build_with_tls(
                info,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(roots::with_system(further)),
                },
            )?,
            _ => Client::open(info)?,
        })
    }
}

/// Redis, as the services see it: cheap to clone, connects when first used.
#[derive(Clone)]
pub struct Streams {
    client: Client,
    pool: Pool,
    keys: Keys,
    config: RedisConfig,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Streams")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl Streams {
    /// Nothing is connected yet, so that a service starts while Redis is away.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn lazy(config: RedisConfig) -> Result<Self> {
        let client = config.client()?;
        let info = client.get_connection_info().clone();
        let manager = Manager::new_with_config(info, async_config(&config, Duration::ZERO))?;
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            .wait_timeout(Some(config.response_timeout))
            .create_timeout(Some(config.connect_timeout))
            .recycle_timeout(Some(config.response_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StreamsError::Pool(error.to_string()))?;
        Ok(Self {
            client,
            pool,
            keys: Keys::new(config.prefix.clone()),
            config,
        })
    }

    /// The names of the keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// A pooled connection, for a short command.
    pub(crate) async fn pooled(&self) -> Result<deadpool_redis::Connection> {
        Ok(self.pool.get().await?)
    }

    /// A connection of one's own for blocking reads of up to `block`.
    pub(crate) async fn dedicated(&self, block: Duration) -> Result<MultiplexedConnection> {
        Ok(self
            .client
            .get_multiplexed_async_connection_with_config(&async_config(&self.config, block))
            .await?)
    }

    /// A connection that is made anew when it breaks or falls silent. A command that was under way then
    /// fails; it is not repeated.
    pub(crate) fn managed(&self) -> Result<ManagedConnection> {
        Ok(ManagedConnection {
            manager: Arc::new(Mutex::new(self.manager()?)),
            streams: self.clone(),
        })
    }

    fn manager(&self) -> redis::RedisResult<ConnectionManager> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.response_timeout))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(200));
        ConnectionManager::new_lazy_with_config(self.client.clone(), config)
    }

    pub(crate) async fn subscriber(&self) -> Result<redis::aio::PubSub> {
        Ok(self.client.get_async_pubsub().await?)
    }

    /// Answers whether Redis answers.
    pub async fn ping(&self) -> Result<()> {
        let mut connection = self.pooled().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(())
    }
}

/// See [`Streams::managed`]. The client's own manager connects again when a connection breaks, but keeps one
/// that answers nothing for as long as TCP does, which is many minutes after a failover.
#[derive(Clone)]
pub(crate) struct ManagedConnection {
    streams: Streams,
    manager: Arc<Mutex<ConnectionManager>>,
}

impl ManagedConnection {
    fn current(&self) -> ConnectionManager {
        self.manager
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn renew_if_silent<T>(&self, answer: RedisResult<T>) -> RedisResult<T> {
        if answer.as_ref().is_err_and(redis::RedisError::is_timeout) {
            let anew = self.streams.manager()?;
            *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = anew;
        }
        answer
    }
}

impl ConnectionLike for ManagedConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let mut manager = self.current();
        Box::pin(async move { self.renew_if_silent(manager.req_packed_command(command).await) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let mut manager = self.current();
        Box::pin(
            async move { self.renew_if_silent(manager.req_packed_commands(commands, offset, count).await) },
        )
    }

    fn get_db(&self) -> i64 {
        self.current().get_db()
    }
}

fn connection_info(url: &str) -> Result<ConnectionInfo> {
    // Small requests that wait for answers: with Nagle's algorithm each would wait for the last one's.
    Ok(url
        .into_connection_info()?
        .set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn async_config(config: &RedisConfig, block: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.response_timeout + block))
}
