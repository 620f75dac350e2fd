//! A lane's outcomes, as the ledger reads them: from the head, deleted once applied.
//!
//! An entry holds up to [`OUTCOMES_EACH`] outcomes, a line of JSON each: writing, reading and deleting an entry costs
//! about the same however many they are. Field `trace` has as many lines, or is empty; field `count` says how many.

use crate::dead_letters;
use crate::entry::{RawEntry, entries, entries_of_read};
use crate::{LaneKeys, Result, StreamId, Streams};
use campaign_core::contracts::{BODY_FIELD, Outcome, TRACE_FIELD};
use campaign_core::ids::LaneId;
use redis::aio::MultiplexedConnection;
use std::collections::HashSet;
use std::time::Duration;

/// Most outcomes in one entry, as in `scripts/outcomes.lua`.
pub(super) const OUTCOMES_EACH: usize = 64;
/// Entries asked for first. Each further read asks for twice as many: what one outcome weighs is not known before.
const ENTRIES_FIRST: usize = 64;
/// The field that says how many outcomes an entry holds.
const COUNT_FIELD: &str = "count";

/// Reads one lane's outcomes on a connection of its own.
pub struct OutcomeReader {
    streams: Streams,
    keys: LaneKeys,
    connection: Option<MultiplexedConnection>,
    block: Duration,
    /// Entries that are not deleted yet and of which something is among the dead letters.
    set_aside: HashSet<String>,
}

/// An outcome and its place in the stream.
#[derive(Debug, Clone)]
pub struct OutcomeEntry {
    /// The id of its entry.
    pub id: StreamId,
    /// Whether it is the last of its entry: once it is applied, the entry may be deleted.
    pub closes: bool,
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
            set_aside: HashSet::new(),
        }
    }

    /// The first outcomes there are, `most` and those of the last entry; waits for one if there is none. What was read
    /// stays until [`Self::delete`], so reading again gives it again. One that cannot be read goes to the dead
    /// letters and is left out.
    pub async fn read(&mut self, most: usize) -> Result<OutcomeBatch> {
        self.read_from(None, most).await
    }

    /// As [`Self::read`], those behind the entry `last`, and without waiting.
    pub async fn read_behind(&mut self, last: StreamId, most: usize) -> Result<OutcomeBatch> {
        self.read_from(Some(last.to_string()), most).await
    }

    async fn read_from(&mut self, mut last: Option<String>, most: usize) -> Result<OutcomeBatch> {
        let mut connection = self.connected().await?;
        let mut batch = OutcomeBatch {
            outcomes: Vec::new(),
            complete: false,
        };
        let (mut wanted, mut refused) = (ENTRIES_FIRST, None);
        while !batch.complete && batch.outcomes.len() < most {
            let raw = match self
                .entries_behind(&mut connection, last.as_deref(), wanted)
                .await
            {
                Ok(raw) => raw,
                Err(error) => {
                    self.connection = None;
                    return Err(error);
                }
            };
            batch.complete = raw.len() < wanted;
            for entry in raw {
                if batch.outcomes.len() >= most {
                    batch.complete = false;
                    break;
                }
                let decoded = decode(&entry);
                match self.set_aside(&mut connection, &entry, &decoded).await {
                    // A Redis out of memory takes no dead letter. It must drain all the same.
                    Err(error) if error.is_out_of_memory() => refused = Some(error),
                    set_aside => set_aside?,
                }
                batch.outcomes.extend(decoded.outcomes);
                last = Some(entry.id);
            }
            wanted = (2 * wanted).min(most.saturating_sub(batch.outcomes.len()));
        }
        match refused {
            Some(error) if batch.outcomes.is_empty() => Err(error),
            _ => Ok(batch),
        }
    }

    /// The next entries; only for the first ones of all it is waited.
    async fn entries_behind(
        &self,
        connection: &mut MultiplexedConnection,
        last: Option<&str>,
        most: usize,
    ) -> Result<Vec<RawEntry>> {
        let Some(last) = last else {
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(most);
            command.arg("BLOCK").arg(self.block.as_millis());
            command.arg("STREAMS").arg(self.keys.outcomes()).arg("0-0");
            return entries_of_read(command.query_async(connection).await?);
        };
        let mut command = redis::cmd("XRANGE");
        command.arg(self.keys.outcomes()).arg(format!("({last}")).arg("+");
        command.arg("COUNT").arg(most);
        entries(command.query_async(connection).await?)
    }

    /// Keeps what cannot be read of an entry for a person. Nothing else of it is left if nothing can be read.
    async fn set_aside(
        &mut self,
        connection: &mut MultiplexedConnection,
        entry: &RawEntry,
        decoded: &Decoded,
    ) -> Result<()> {
        if decoded.unreadable.is_empty() || self.set_aside.contains(&entry.id) {
            return Ok(());
        }
        let stream = self.keys.outcomes();
        for (letter, problem) in &decoded.unreadable {
            dead_letters::write(connection, self.streams.keys(), &stream, letter, problem).await?;
        }
        if decoded.outcomes.is_empty() {
            let mut command = redis::cmd("XDEL");
            command.arg(stream).arg(&entry.id);
            command.query_async::<()>(connection).await?;
        } else {
            self.set_aside.insert(entry.id.clone());
        }
        Ok(())
    }

    /// Deletes what the ledger has applied: the entries of which it has everything.
    pub async fn delete(&mut self, applied: &[OutcomeEntry]) -> Result<()> {
        let mut command = redis::cmd("XDEL");
        command.arg(self.keys.outcomes());
        let mut any = false;
        for outcome in applied.iter().filter(|outcome| outcome.closes) {
            let id = outcome.id.to_string();
            self.set_aside.remove(&id);
            command.arg(id);
            any = true;
        }
        if !any {
            return Ok(());
        }
        let mut connection = self.connected().await?;
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

/// What an entry holds.
#[derive(Default)]
struct Decoded {
    outcomes: Vec<OutcomeEntry>,
    /// What cannot be read, each as an entry of its own, and why.
    unreadable: Vec<(RawEntry, String)>,
}

fn decode(entry: &RawEntry) -> Decoded {
    let mut decoded = Decoded::default();
    let whole = |problem: String| Decoded {
        outcomes: Vec::new(),
        unreadable: vec![(entry.clone(), problem)],
    };
    let Ok(id) = entry.id.parse() else {
        return whole("its id cannot be read".to_owned());
    };
    let Some(body) = entry.field(BODY_FIELD) else {
        return whole(format!("it has no field {BODY_FIELD:?}"));
    };
    let traces = entry.field(TRACE_FIELD).unwrap_or_default();
    let mut traces = traces.split(|byte| *byte == b'\n');
    for line in body.split(|byte| *byte == b'\n') {
        let trace = traces.next().unwrap_or_default();
        match serde_json::from_slice(line) {
            Ok(outcome) => decoded.outcomes.push(OutcomeEntry {
                id,
                closes: false,
                outcome,
                trace: String::from_utf8_lossy(trace).into_owned(),
            }),
            Err(problem) => {
                let letter = RawEntry {
                    id: entry.id.clone(),
                    fields: vec![
                        (BODY_FIELD.into(), line.to_vec()),
                        (TRACE_FIELD.into(), trace.to_vec()),
                    ],
                };
                decoded.unreadable.push((letter, problem.to_string()));
            }
        }
    }
    if let Some(last) = decoded.outcomes.last_mut() {
        last.closes = true;
    }
    decoded
}

/// Asks for the first and the last entry of a stream.
pub(crate) fn ask_for_ends(pipeline: &mut redis::Pipeline, key: &str) {
    for (command, from, to) in [("XRANGE", "-", "+"), ("XREVRANGE", "+", "-")] {
        let look = pipeline.cmd(command).arg(key).arg(from).arg(to);
        look.arg("COUNT").arg(1);
    }
}

/// How many outcomes wait for the ledger, by the first and the last entry: the number behind the dash counts the
/// outcomes ever appended, those of the entry included.
pub(crate) fn waiting(first: &[RawEntry], last: &[RawEntry]) -> u64 {
    let id = |entries: &[RawEntry]| entries.first()?.id.parse::<StreamId>().ok();
    let (Some(first_id), Some(last_id)) = (id(first), id(last)) else {
        return 0;
    };
    let held = first.first().and_then(|entry| {
        let count = std::str::from_utf8(entry.field(COUNT_FIELD)?).ok()?;
        count.parse().ok()
    });
    last_id.low.saturating_sub(first_id.low) + held.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_and_reader_agree_on_how_many_an_entry_holds() {
        let script = include_str!("scripts/outcomes.lua");
        assert!(script.contains(&format!("local OUTCOMES_EACH = {OUTCOMES_EACH}\n")));
    }
}
