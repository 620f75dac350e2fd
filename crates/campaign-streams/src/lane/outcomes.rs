//! A lane's outcomes, as the ledger reads them: always from the head, deleted once applied.

use crate::dead_letters;
use crate::entry::{RawEntry, entries_of_read};
use crate::{LaneKeys, Result, StreamId, Streams};
use campaign_core::contracts::Outcome;
use campaign_core::ids::LaneId;
use redis::Value;
use redis::aio::MultiplexedConnection;
use std::time::Duration;

/// Reads one lane's outcomes on a connection of its own.
pub struct OutcomeReader {
    streams: Streams,
    keys: LaneKeys,
    connection: Option<MultiplexedConnection>,
    block: Duration,
}

/// An outcome and its place in the stream.
#[derive(Debug, Clone)]
pub struct OutcomeEntry {
    /// Its id.
    pub id: StreamId,
    /// What was reported.
    pub outcome: Outcome,
    /// The trace context of whoever reported it; empty when not sampled.
    pub trace: String,
}

/// What one read found.
#[derive(Debug, Clone)]
pub struct OutcomeBatch {
    /// The outcomes that could be read, oldest first.
    pub outcomes: Vec<OutcomeEntry>,
    /// Whether there was nothing more in the stream.
    pub complete: bool,
}

impl std::ops::Deref for OutcomeBatch {
    type Target = [OutcomeEntry];

    fn deref(&self) -> &Self::Target {
        &self.outcomes
    }
}

impl IntoIterator for OutcomeBatch {
    type Item = OutcomeEntry;
    type IntoIter = std::vec::IntoIter<OutcomeEntry>;

    fn into_iter(self) -> Self::IntoIter {
        self.outcomes.into_iter()
    }
}

impl OutcomeReader {
    /// A reader that waits up to `block` for something to come.
    pub fn new(streams: &Streams, lane: &LaneId, block: Duration) -> Self {
        Self {
            streams: streams.clone(),
            keys: streams.keys().lane(lane),
            connection: None,
            block,
        }
    }

    /// The first `most` outcomes there are; waits for one if there is none. What was read stays until
    /// [`Self::delete`], so reading again gives it again. An entry that cannot be read goes to the dead
    /// letters and is left out.
    pub async fn read(&mut self, most: usize) -> Result<OutcomeBatch> {
        let mut connection = self.connected().await?;
        let reply: redis::RedisResult<Value> = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(most)
            .arg("BLOCK")
            .arg(self.block.as_millis())
            .arg("STREAMS")
            .arg(self.keys.outcomes())
            .arg("0-0")
            .query_async(&mut connection)
            .await;
        let raw = match reply {
            Ok(reply) => entries_of_read(reply)?,
            Err(error) => {
                self.connection = None;
                return Err(error.into());
            }
        };
        let complete = raw.len() < most;
        let mut outcomes = Vec::with_capacity(raw.len());
        let mut refused = None;
        for entry in raw {
            match decode(&entry) {
                Ok(outcome) => outcomes.push(outcome),
                Err(problem) => {
                    if let Err(error) = self.set_aside(&mut connection, &entry, &problem).await {
                        // A Redis out of memory takes no dead letter. It must drain all the same.
                        refused = Some(error);
                    }
                }
            }
        }
        match refused {
            Some(error) if outcomes.is_empty() => Err(error),
            _ => Ok(OutcomeBatch { outcomes, complete }),
        }
    }

    async fn set_aside(
        &self,
        connection: &mut MultiplexedConnection,
        entry: &RawEntry,
        problem: &str,
    ) -> Result<()> {
        let stream = self.keys.outcomes();
        dead_letters::write(connection, self.streams.keys(), &stream, entry, problem).await?;
        redis::cmd("XDEL")
            .arg(stream)
            .arg(&entry.id)
            .query_async::<()>(connection)
            .await?;
        Ok(())
    }

    /// Deletes outcomes that the ledger has applied.
    pub async fn delete(&mut self, ids: &[StreamId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut connection = self.connected().await?;
        let mut command = redis::cmd("XDEL");
        command.arg(self.keys.outcomes());
        for id in ids {
            command.arg(id.to_string());
        }
        let deleted: redis::RedisResult<()> = command.query_async(&mut connection).await;
        if deleted.is_err() {
            self.connection = None;
        }
        Ok(deleted?)
    }

    async fn connected(&mut self) -> Result<MultiplexedConnection> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let connection = self.streams.dedicated(self.block).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }
}

fn decode(entry: &RawEntry) -> std::result::Result<OutcomeEntry, String> {
    let id = entry.id.parse().map_err(|_| "its id cannot be read".to_owned())?;
    let traced = entry.decode::<Outcome>()?;
    Ok(OutcomeEntry {
        id,
        outcome: traced.body,
        trace: traced.trace,
    })
}
