//! A control stream and the people around it, for the tests of consumers.

use crate::ground::{PATIENCE, raw, streams};
use campaign_streams::{Consumer, ConsumerConfig, Delivery, Producer, Streams, Traced, Verdict};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use testkit::{Redis, wait_for};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The stream of these tests; its bodies are numbers.
pub(crate) const STREAM: &str = "numbers";
/// Its group.
pub(crate) const GROUP: &str = "readers";

/// A Redis with a stream of numbers.
pub(crate) struct Numbers {
    pub(crate) redis: Redis,
    pub(crate) streams: Streams,
    /// Who handled what, in order: the number, and the attempt.
    pub(crate) handled: Handled,
    readers: Vec<Reader>,
}

/// Counts what was handled.
#[derive(Clone, Default)]
pub(crate) struct Handled(Arc<Mutex<Vec<(u64, u32)>>>);

impl Handled {
    pub(crate) fn note(&self, delivery: &Delivery<u64>) {
        let mut handled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handled.push((delivery.body, delivery.attempt));
    }

    /// In order.
    pub(crate) fn all(&self) -> Vec<(u64, u32)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often each number was handled.
    pub(crate) fn counts(&self) -> BTreeMap<u64, usize> {
        let mut counts = BTreeMap::new();
        for (number, _) in self.all() {
            *counts.entry(number).or_default() += 1;
        }
        counts
    }

    pub(crate) async fn wait_until(&self, what: &str, mut fine: impl FnMut(&BTreeMap<u64, usize>) -> bool) {
        wait_for(PATIENCE, what, async || fine(&self.counts()).then_some(())).await;
    }
}

/// A consumer at work.
pub(crate) struct Reader {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Reader {
    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("it ends")
            .expect("without panic");
    }

    /// Ends it in the middle of whatever it does, as a crash would.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Quick enough for tests to wait for.
pub(crate) fn config() -> ConsumerConfig {
    ConsumerConfig {
        batch_max: 16,
        block: Duration::from_millis(50),
        reclaim_idle: Duration::from_millis(300),
        ..ConsumerConfig::sole(STREAM, GROUP)
    }
}

impl Numbers {
    pub(crate) async fn new() -> Self {
        Self::on(Redis::start().await)
    }

    pub(crate) fn on(redis: Redis) -> Self {
        Self {
            streams: streams(&redis),
            redis,
            handled: Handled::default(),
            readers: Vec::new(),
        }
    }

    pub(crate) fn producer(&self) -> Producer {
        Producer::new(&self.streams, STREAM, 100_000)
    }

    pub(crate) async fn publish(&self, numbers: impl IntoIterator<Item = u64>) {
        let entries: Vec<_> = numbers
            .into_iter()
            .map(|number| Traced::new(number, None))
            .collect();
        self.producer().publish_all(&entries).await.expect("published");
    }

    /// Starts a consumer whose every handling is noted, then decided by `decide`.
    pub(crate) fn start<F, Fut>(&self, config: ConsumerConfig, decide: F) -> Reader
    where
        F: Fn(Delivery<u64>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Verdict> + Send + 'static,
    {
        let consumer = Consumer::new(&self.streams, config);
        let (shutdown, handled) = (CancellationToken::new(), self.handled.clone());
        let stopping = shutdown.clone();
        let task = tokio::spawn(async move {
            consumer
                .run(stopping, |delivery: Delivery<u64>| {
                    handled.note(&delivery);
                    decide(delivery)
                })
                .await;
        });
        Reader { shutdown, task }
    }

    /// Starts a consumer that is content with everything, and lives as long as the test.
    pub(crate) fn read_all(&mut self) {
        let reader = self.start(config(), async |_| Verdict::Done);
        self.readers.push(reader);
    }

    /// Waits until every entry was handled and let go.
    pub(crate) async fn wait_until_empty(&self) {
        wait_for(PATIENCE, "the stream to be empty", async || {
            (self.length().await == 0).then_some(())
        })
        .await;
    }

    pub(crate) async fn length(&self) -> u64 {
        raw(&self.redis, &["XLEN", STREAM]).await
    }

    /// The group's consumers, each with the number of its pending entries.
    pub(crate) async fn consumers(&self) -> Vec<(String, usize)> {
        let reply: redis::streams::StreamInfoConsumersReply =
            raw(&self.redis, &["XINFO", "CONSUMERS", STREAM, GROUP]).await;
        let consumers = reply.consumers.into_iter();
        consumers
            .map(|consumer| (consumer.name, consumer.pending))
            .collect()
    }
}
