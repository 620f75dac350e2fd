//! Writes to control and event streams.

use crate::entry::{Traced, encode};
use crate::{Result, Streams};
use campaign_core::contracts::{BODY_FIELD, TRACE_FIELD};
use redis::Cmd;
use serde::Serialize;

/// Writes one kind of body to one stream.
#[derive(Debug, Clone)]
pub struct Producer {
    streams: Streams,
    key: String,
    max_entries: usize,
}

/// Entries sent to Redis in one go.
const BATCH_MAX: usize = 500;

impl Producer {
    /// A writer to `stream`, which keeps about `max_entries`: the oldest give way.
    pub fn new(streams: &Streams, stream: &str, max_entries: usize) -> Self {
        Self {
            streams: streams.clone(),
            key: streams.keys().stream(stream),
            max_entries,
        }
    }

    /// Appends one entry.
    ///
    /// # Errors
    /// When Redis does not confirm. The entry may have been written all the same, so consumers of these
    /// streams take an entry that comes twice.
    pub async fn publish<T: Serialize>(&self, entry: &Traced<T>) -> Result<()> {
        self.publish_all(std::slice::from_ref(entry)).await
    }

    /// Appends entries in order.
    pub async fn publish_all<T: Serialize>(&self, entries: &[Traced<T>]) -> Result<()> {
        self.publish_weighed(entries, |_| 1).await
    }

    /// Appends entries in order, each of which counts as `weight` entries: when it is appended, about so many times
    /// fewer are kept. Entries of different weight come to twice as much as is kept of one weight, at most.
    pub async fn publish_weighed<T: Serialize>(
        &self,
        entries: &[Traced<T>],
        weight: impl Fn(&T) -> usize,
    ) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut connection = self.streams.pooled().await?;
        for batch in entries.chunks(BATCH_MAX) {
            let mut pipeline = redis::pipe();
            for entry in batch {
                pipeline
                    .add_command(self.append(entry, weight(&entry.body)))
                    .ignore();
            }
            pipeline.query_async::<()>(&mut connection).await?;
        }
        Ok(())
    }

    fn append<T: Serialize>(&self, entry: &Traced<T>, weight: usize) -> Cmd {
        let mut command = redis::cmd("XADD");
        command
            .arg(&self.key)
            .arg("MAXLEN")
            .arg("~")
            .arg(self.max_entries / weight.max(1))
            .arg("*");
        command
            .arg(BODY_FIELD)
            .arg(encode(&entry.body))
            .arg(TRACE_FIELD)
            .arg(&entry.trace);
        command
    }
}
