//! Reads control and event streams through consumer groups.
//!
//! The handler never acknowledges: it answers with a [`Verdict`], and forgetting to decide does not
//! compile. An entry that cannot be decoded, or that was retried too often, goes to the dead letters and
//! never fails the batch it came with. Entries of a consumer that died are claimed by another after
//! [`ConsumerConfig::reclaim_idle`].

use crate::dead_letters;
use crate::entry::{RawEntry, array, entries, entries_of_read, text};
use crate::{Result, Streams, StreamsError};
use redis::Value;
use redis::aio::MultiplexedConnection;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What a handler decides about an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Handled; it may go.
    Done,
    /// Not now; come back after this time.
    Retry(Duration),
    /// It can never be handled, for this reason: a dead letter.
    Reject(String),
}

/// An entry as a handler sees it.
#[derive(Debug)]
pub struct Delivery<T> {
    /// Its id in the stream.
    pub id: String,
    /// What it says.
    pub body: T,
    /// The producer's trace context; empty when not sampled.
    pub trace: String,
    /// 1 the first time.
    pub attempt: u32,
}

/// How a stream is read.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// The stream.
    pub stream: &'static str,
    /// The consumer group; made when missing, from the stream's beginning.
    pub group: &'static str,
    /// Most entries read at once.
    pub batch_max: usize,
    /// How long a read waits.
    pub block: Duration,
    /// An entry pending longer is claimed from its consumer.
    pub reclaim_idle: Duration,
    /// After so many attempts an entry becomes a dead letter.
    pub attempts_max: u32,
    /// Whether handled entries are deleted, so that the stream's length is what is left to do. Right
    /// where one group reads the stream; wrong where several do.
    pub delete_handled: bool,
}

impl ConsumerConfig {
    /// Settings that suit a stream that only this group reads.
    pub fn sole(stream: &'static str, group: &'static str) -> Self {
        Self {
            stream,
            group,
            batch_max: 64,
            block: Duration::from_secs(1),
            reclaim_idle: Duration::from_secs(30),
            attempts_max: 20,
            delete_handled: true,
        }
    }

    /// Settings that suit a stream that several groups read.
    pub fn shared(stream: &'static str, group: &'static str) -> Self {
        Self {
            delete_handled: false,
            ..Self::sole(stream, group)
        }
    }
}

/// One member of a consumer group, with a name of its own.
#[derive(Debug)]
pub struct Consumer {
    streams: Streams,
    config: ConsumerConfig,
    key: String,
    name: String,
    /// Entries whose handler asked to be called again.
    waiting: Vec<(Instant, RawEntry)>,
    attempts: HashMap<String, u32>,
    reclaim_cursor: String,
}

/// How often entries of silent consumers are looked for.
const RECLAIM_EVERY: Duration = Duration::from_secs(5);
/// Pause after Redis failed.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);
/// Most entries that wait for a retry in memory; further ones wait in Redis to be reclaimed.
const WAITING_MAX: usize = 1_000;

impl Consumer {
    /// A new consumer; its random name makes sure that it is never mistaken for one that died.
    pub fn new(streams: &Streams, config: ConsumerConfig) -> Self {
        Self {
            key: streams.keys().stream(config.stream),
            streams: streams.clone(),
            config,
            name: Uuid::new_v4().to_string(),
            waiting: Vec::new(),
            attempts: HashMap::new(),
            reclaim_cursor: "0-0".to_owned(),
        }
    }

    /// Reads until `shutdown`, then leaves the group if nothing is pending. Redis failing is logged and
    /// waited out.
    pub async fn run<T, F, Fut>(mut self, shutdown: CancellationToken, handle: F)
    where
        T: DeserializeOwned,
        F: Fn(Delivery<T>) -> Fut,
        Fut: Future<Output = Verdict>,
    {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.read_until_broken(&shutdown, &handle).await {
                tracing::warn!(stream = self.config.stream, %error, "reading stopped; connecting again");
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(RECONNECT_AFTER) => {}
                }
            }
        }
        if let Err(error) = self.leave().await {
            tracing::warn!(stream = self.config.stream, %error, "could not leave the group");
        }
    }

    async fn read_until_broken<T, F, Fut>(&mut self, shutdown: &CancellationToken, handle: &F) -> Result<()>
    where
        T: DeserializeOwned,
        F: Fn(Delivery<T>) -> Fut,
        Fut: Future<Output = Verdict>,
    {
        let mut connection = self.streams.dedicated(self.config.block).await?;
        ensure_group(&mut connection, &self.key, self.config.group).await?;
        // What an earlier, broken read was given and never heard of.
        let own = self.read(&mut connection, "0").await?;
        self.handle_all(&mut connection, own, handle).await?;
        let mut reclaim_at = Instant::now();
        while !shutdown.is_cancelled() {
            if Instant::now() >= reclaim_at {
                let claimed = self.reclaim(&mut connection).await?;
                self.handle_all(&mut connection, claimed, handle).await?;
                reclaim_at = Instant::now() + RECLAIM_EVERY;
            }
            let due = self.take_due();
            self.handle_all(&mut connection, due, handle).await?;
            let fresh = self.read(&mut connection, ">").await?;
            self.handle_all(&mut connection, fresh, handle).await?;
        }
        Ok(())
    }

    async fn read(&self, connection: &mut MultiplexedConnection, from: &str) -> Result<Vec<RawEntry>> {
        let mut command = redis::cmd("XREADGROUP");
        command
            .arg("GROUP")
            .arg(self.config.group)
            .arg(&self.name)
            .arg("COUNT")
            .arg(self.config.batch_max);
        if from == ">" {
            command.arg("BLOCK").arg(self.block_ms());
        }
        command.arg("STREAMS").arg(&self.key).arg(from);
        // Not inside a `select!`: a read that is given up still takes its entries.
        match command.query_async::<Value>(connection).await {
            Ok(reply) => entries_of_read(reply),
            Err(error) if error.code() == Some("NOGROUP") => {
                ensure_group(connection, &self.key, self.config.group).await?;
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn block_ms(&self) -> u128 {
        let next_retry = self
            .waiting
            .iter()
            .map(|(due, _)| due.saturating_duration_since(Instant::now()))
            .min();
        next_retry
            .unwrap_or(self.config.block)
            .min(self.config.block)
            .as_millis()
            .max(1)
    }

    async fn reclaim(&mut self, connection: &mut MultiplexedConnection) -> Result<Vec<RawEntry>> {
        let reply: Value = redis::cmd("XAUTOCLAIM")
            .arg(&self.key)
            .arg(self.config.group)
            .arg(&self.name)
            .arg(self.config.reclaim_idle.as_millis())
            .arg(&self.reclaim_cursor)
            .arg("COUNT")
            .arg(self.config.batch_max)
            .query_async(connection)
            .await?;
        let mut parts = array(reply, "XAUTOCLAIM reply")?.into_iter();
        self.reclaim_cursor = text(parts.next().unwrap_or(Value::Nil), "XAUTOCLAIM cursor")?;
        let claimed = entries(parts.next().unwrap_or(Value::Nil))?;
        // One of its own that waits here for its retry is in hand already.
        Ok(claimed
            .into_iter()
            .filter(|entry| !self.waiting.iter().any(|(_, held)| held.id == entry.id))
            .collect())
    }

    fn take_due(&mut self) -> Vec<RawEntry> {
        let now = Instant::now();
        let (due, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.waiting = waiting;
        let due: Vec<(Instant, RawEntry)> = due;
        due.into_iter().map(|(_, entry)| entry).collect()
    }

    async fn handle_all<T, F, Fut>(
        &mut self,
        connection: &mut MultiplexedConnection,
        batch: Vec<RawEntry>,
        handle: &F,
    ) -> Result<()>
    where
        T: DeserializeOwned,
        F: Fn(Delivery<T>) -> Fut,
        Fut: Future<Output = Verdict>,
    {
        for entry in batch {
            let attempt = self.attempts.get(&entry.id).copied().unwrap_or(0) + 1;
            let verdict = match entry.decode::<T>() {
                Ok(traced) => {
                    let delivery = Delivery {
                        id: entry.id.clone(),
                        body: traced.body,
                        trace: traced.trace,
                        attempt,
                    };
                    handle(delivery).await
                }
                Err(problem) => Verdict::Reject(format!("it cannot be read: {problem}")),
            };
            self.carry_out(connection, entry, attempt, verdict).await?;
        }
        Ok(())
    }

    async fn carry_out(
        &mut self,
        connection: &mut MultiplexedConnection,
        entry: RawEntry,
        attempt: u32,
        verdict: Verdict,
    ) -> Result<()> {
        match verdict {
            Verdict::Done => {}
            Verdict::Retry(_) if attempt >= self.config.attempts_max => {
                let reason = format!("given up after {attempt} attempts");
                dead_letters::write(
                    connection,
                    self.streams.keys(),
                    self.config.stream,
                    &entry,
                    &reason,
                )
                .await?;
            }
            Verdict::Retry(after) => {
                self.attempts.insert(entry.id.clone(), attempt);
                if self.waiting.len() < WAITING_MAX {
                    self.waiting.push((Instant::now() + after, entry));
                }
                return Ok(());
            }
            Verdict::Reject(reason) => {
                dead_letters::write(
                    connection,
                    self.streams.keys(),
                    self.config.stream,
                    &entry,
                    &reason,
                )
                .await?;
            }
        }
        self.attempts.remove(&entry.id);
        self.release(connection, &entry.id).await
    }

    async fn release(&self, connection: &mut MultiplexedConnection, id: &str) -> Result<()> {
        let mut pipeline = redis::pipe();
        pipeline
            .cmd("XACK")
            .arg(&self.key)
            .arg(self.config.group)
            .arg(id)
            .ignore();
        if self.config.delete_handled {
            pipeline.cmd("XDEL").arg(&self.key).arg(id).ignore();
        }
        pipeline.query_async::<()>(connection).await?;
        Ok(())
    }

    /// Deletes this consumer, in one step with the look whether anything is pending: deleting a consumer
    /// throws its pending entries away.
    async fn leave(&self) -> Result<()> {
        let script = redis::Script::new(
            "local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
             if pending.err or #pending > 0 then return 0 end
             redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
             return 1",
        );
        let mut connection = self.streams.pooled().await?;
        script
            .key(&self.key)
            .arg(self.config.group)
            .arg(&self.name)
            .invoke_async::<i64>(&mut connection)
            .await?;
        Ok(())
    }
}

/// Makes the group, and the stream, where they are missing. From the beginning: after a loss of data `$`
/// would pass over what was written before the group came back.
async fn ensure_group(connection: &mut MultiplexedConnection, key: &str, group: &str) -> Result<()> {
    let made: redis::RedisResult<()> = redis::cmd("XGROUP")
        .arg("CREATE")
        .arg(key)
        .arg(group)
        .arg("0")
        .arg("MKSTREAM")
        .query_async(connection)
        .await;
    match made {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
        Err(error) => Err(StreamsError::Redis(error)),
    }
}
