//! Reads control and event streams through consumer groups.
//!
//! The handler never acknowledges: it answers with a [`Verdict`], and forgetting to decide does not
//! compile. An entry that cannot be decoded, or that was retried too often, goes to the dead letters and
//! never fails the batch it came with. Entries of a consumer that died are claimed by another after
//! [`ConsumerConfig::reclaim_idle`]; a consumer that lives keeps its own, however long their handling takes.
//! What is done is acknowledged together with its batch, or a moment after it was done if the batch takes longer.

mod done;
mod membership;

use crate::dead_letters;
use crate::entry::RawEntry;
use crate::{Result, Streams};
use done::{Done, RELEASE_AFTER};
use membership::Membership;
use redis::aio::MultiplexedConnection;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
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
    /// An entry whose consumer was silent for so long is claimed from it.
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
    membership: Membership,
    /// Entries that are done and not yet acknowledged.
    done: Done,
    /// Entries whose handler asked to be called again.
    waiting: Vec<(Instant, RawEntry)>,
    /// Attempts before this one, of entries in hand that had any.
    attempts: HashMap<String, u32>,
    reclaim_cursor: String,
    /// When the entries in hand were last kept from being claimed by others.
    kept_at: Instant,
}

/// How often entries of silent consumers are looked for, at most.
const RECLAIM_EVERY: Duration = Duration::from_secs(5);
/// Pause after Redis failed.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);
/// Most entries that wait for a retry in memory; further ones wait in Redis to be reclaimed.
const WAITING_MAX: usize = 1_000;
/// In one reclaim idle time, what is in hand is kept so often: one time may fail.
const KEEPS_PER_RECLAIM_IDLE: u32 = 3;
/// After so many reclaim idle times a silent consumer without entries is forgotten.
const FORGET_AFTER_RECLAIM_IDLES: u32 = 10;

impl Consumer {
    /// A new consumer; its random name makes sure that it is never mistaken for one that died.
    pub fn new(streams: &Streams, config: ConsumerConfig) -> Self {
        Self {
            membership: Membership {
                key: streams.keys().stream(config.stream),
                group: config.group,
                name: Uuid::new_v4().to_string(),
            },
            streams: streams.clone(),
            config,
            done: Done::default(),
            waiting: Vec::new(),
            attempts: HashMap::new(),
            reclaim_cursor: "0-0".to_owned(),
            kept_at: Instant::now(),
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
        self.membership.ensure_group(&mut connection).await?;
        // What an earlier, broken read was given and never heard of.
        let own = self.unhandled_own(&mut connection).await?;
        self.release(&mut connection).await?;
        self.handle_all(&mut connection, own, handle).await?;
        let mut reclaim_at = Instant::now();
        while !shutdown.is_cancelled() {
            if Instant::now() >= reclaim_at {
                let claimed = self.reclaim(&mut connection).await?;
                self.handle_all(&mut connection, claimed, handle).await?;
                reclaim_at = Instant::now() + RECLAIM_EVERY.min(self.config.reclaim_idle);
            }
            let due = self.take_due();
            self.handle_all(&mut connection, due, handle).await?;
            let block = self.block();
            let fresh = self
                .membership
                .read_new(&mut connection, self.config.batch_max, block)
                .await?;
            self.handle_all(&mut connection, fresh, handle).await?;
        }
        Ok(())
    }

    /// Its pending entries, without those that are done or wait here for their retry. Forgets what is done and
    /// not pending any more: it is another's now, or went with the data of its Redis.
    async fn unhandled_own(&mut self, connection: &mut MultiplexedConnection) -> Result<Vec<RawEntry>> {
        let mut own = Vec::new();
        let mut after = "0".to_owned();
        loop {
            let page = self
                .membership
                .read_own(connection, self.config.batch_max, &after)
                .await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.id);
            own.extend(page.into_iter().filter(|entry| !self.is_waiting(&entry.id)));
        }
        self.done.compare(&mut own);
        Ok(own)
    }

    fn is_waiting(&self, id: &str) -> bool {
        self.waiting.iter().any(|(_, held)| held.id == id)
    }

    /// How long a read may wait: not past the next retry, nor past the time to keep what waits for one.
    fn block(&self) -> Duration {
        let next_retry = self
            .waiting
            .iter()
            .map(|(due, _)| due.saturating_duration_since(Instant::now()))
            .min();
        next_retry.map_or(self.config.block, |next_retry| {
            next_retry.min(self.keep_every()).min(self.config.block)
        })
    }

    fn keep_every(&self) -> Duration {
        self.config.reclaim_idle / KEEPS_PER_RECLAIM_IDLE
    }

    async fn reclaim(&mut self, connection: &mut MultiplexedConnection) -> Result<Vec<RawEntry>> {
        self.keep(connection, None, &mut VecDeque::new()).await?;
        let idle = self.config.reclaim_idle;
        let claimed = self
            .membership
            .claim(connection, idle, &self.reclaim_cursor, self.config.batch_max)
            .await?;
        self.reclaim_cursor = claimed.cursor;
        let mut entries = Vec::with_capacity(claimed.entries.len());
        for (entry, attempt) in claimed.entries {
            self.attempts.insert(entry.id.clone(), attempt.saturating_sub(1));
            entries.push(entry);
        }
        let silent = idle * FORGET_AFTER_RECLAIM_IDLES;
        self.membership.forget_silent(connection, silent).await?;
        Ok(entries)
    }

    fn take_due(&mut self) -> Vec<RawEntry> {
        let now = Instant::now();
        let (due, waiting): (Vec<_>, _) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.waiting = waiting;
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
        let mut batch = VecDeque::from(batch);
        loop {
            self.tend(connection, None, &mut batch).await?;
            let Some(entry) = batch.pop_front() else {
                return self.release(connection).await;
            };
            let attempt = self.attempts.get(&entry.id).copied().unwrap_or(0) + 1;
            let verdict = if attempt > self.config.attempts_max {
                // Whoever attempted it last did not live to say so.
                Verdict::Retry(Duration::ZERO)
            } else {
                self.handle_one(connection, &entry, attempt, &mut batch, handle)
                    .await
            };
            self.carry_out(connection, entry, attempt, verdict).await?;
        }
    }

    async fn handle_one<T, F, Fut>(
        &mut self,
        connection: &mut MultiplexedConnection,
        entry: &RawEntry,
        attempt: u32,
        behind: &mut VecDeque<RawEntry>,
        handle: &F,
    ) -> Verdict
    where
        T: DeserializeOwned,
        F: Fn(Delivery<T>) -> Fut,
        Fut: Future<Output = Verdict>,
    {
        let traced = match entry.decode::<T>() {
            Ok(traced) => traced,
            Err(problem) => return Verdict::Reject(format!("it cannot be read: {problem}")),
        };
        let mut handling = pin!(handle(Delivery {
            id: entry.id.clone(),
            body: traced.body,
            trace: traced.trace,
            attempt,
        }));
        loop {
            tokio::select! {
                biased;
                verdict = &mut handling => return verdict,
                () = tokio::time::sleep_until(self.tend_at()) => {}
            }
            let tended = tokio::select! {
                biased;
                // Not held up by a Redis that is silent. What is sent is sent, and sending it again does no harm.
                verdict = &mut handling => return verdict,
                tended = self.tend(connection, Some(entry), behind) => tended,
            };
            if let Err(error) = tended {
                tracing::warn!(stream = self.config.stream, %error, "entries in hand could not be kept or let go");
                self.kept_at = Instant::now();
                self.done.postpone(self.kept_at + self.keep_every());
            }
        }
    }

    /// When [`Consumer::tend`] has something to do.
    fn tend_at(&self) -> Instant {
        let keep_at = self.kept_at + self.keep_every();
        self.done.release_at().map_or(keep_at, |at| at.min(keep_at))
    }

    /// Lets go of what is done, and keeps what is in hand, if it is time to.
    async fn tend(
        &mut self,
        connection: &mut MultiplexedConnection,
        current: Option<&RawEntry>,
        behind: &mut VecDeque<RawEntry>,
    ) -> Result<()> {
        let now = Instant::now();
        if self.done.release_at().is_some_and(|at| at <= now) {
            self.release(connection).await?;
        }
        if now >= self.kept_at + self.keep_every() {
            self.keep(connection, current, behind).await?;
        }
        Ok(())
    }

    /// Acknowledges what is done.
    async fn release(&mut self, connection: &mut MultiplexedConnection) -> Result<()> {
        if !self.done.is_empty() {
            self.membership
                .release(connection, self.done.ids(), self.config.delete_handled)
                .await?;
            self.done.clear();
        }
        Ok(())
    }

    /// Tells Redis that what is in hand is in good hands: `current`, which is being handled, those `behind`
    /// it, and those that wait for a retry. Lets go of what another consumer has claimed all the same.
    async fn keep(
        &mut self,
        connection: &mut MultiplexedConnection,
        current: Option<&RawEntry>,
        behind: &mut VecDeque<RawEntry>,
    ) -> Result<()> {
        let waiting = self.waiting.iter().map(|(_, entry)| entry);
        let in_hand: Vec<(&str, Option<u32>)> = current
            .into_iter()
            .chain(&*behind)
            .chain(waiting)
            .map(|entry| (entry.id.as_str(), None))
            .collect();
        if !in_hand.is_empty() {
            let kept = self.membership.keep(connection, &in_hand).await?;
            behind.retain(|entry| kept.contains(&entry.id));
            self.waiting.retain(|(_, entry)| kept.contains(&entry.id));
            self.attempts.retain(|id, _| kept.contains(id));
        }
        self.kept_at = Instant::now();
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
                let attempts = attempt.min(self.config.attempts_max);
                let reason = format!("given up after {attempts} attempts");
                self.give_up(connection, &entry, &reason).await?;
            }
            Verdict::Retry(after) => {
                let kept = self
                    .membership
                    .keep(connection, &[(&entry.id, Some(attempt))])
                    .await?;
                if kept.contains(&entry.id) && self.waiting.len() < WAITING_MAX {
                    self.attempts.insert(entry.id.clone(), attempt);
                    self.waiting.push((Instant::now() + after, entry));
                } else {
                    self.attempts.remove(&entry.id);
                }
                return Ok(());
            }
            Verdict::Reject(reason) => self.give_up(connection, &entry, &reason).await?,
        }
        self.attempts.remove(&entry.id);
        // Sooner than others could take it for one of a silent consumer.
        let wait = RELEASE_AFTER.min(self.keep_every());
        self.done.add(entry.id, Instant::now(), wait);
        Ok(())
    }

    async fn give_up(
        &self,
        connection: &mut MultiplexedConnection,
        entry: &RawEntry,
        reason: &str,
    ) -> Result<()> {
        dead_letters::write(connection, self.streams.keys(), self.config.stream, entry, reason).await
    }

    async fn leave(&mut self) -> Result<()> {
        let mut connection = self.streams.pooled().await?;
        if !self.done.is_empty() {
            self.unhandled_own(&mut connection).await?;
            self.release(&mut connection).await?;
        }
        self.membership.leave(&mut *connection).await
    }
}
