//! One consumer's place in its group: what it is given, keeps, lets go and takes over.
//!
//! How often an entry was attempted is kept in its pending entry, so that it is known to whoever claims it.

use crate::entry::{RawEntry, array, entries_of_read, number, text};
use crate::{Result, StreamsError};
use redis::Value;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use std::collections::HashSet;
use std::time::Duration;

// KEYS: stream. ARGV: group, consumer, idle ms, cursor, most.
const CLAIM: &str = r"
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
local claimed = {}
for _, entry in ipairs(reply[2]) do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1)[1]
    table.insert(claimed, { entry, pending and pending[4] or 1 })
end
return { reply[1], claimed }
";

// KEYS: stream. ARGV: group, consumer, then id and attempts (empty: as they are) of each entry. Answers
// which of them the consumer still owns; claiming another's back would make two handlings of one entry.
const KEEP: &str = r"
local kept = {}
for i = 3, #ARGV, 2 do
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
    if pending and pending[2] == ARGV[2] then
        local attempts = ARGV[i + 1] ~= '' and ARGV[i + 1] or pending[4]
        redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', attempts, 'JUSTID')
        table.insert(kept, ARGV[i])
    end
end
return kept
";

// KEYS: stream. ARGV: group, consumer. Look and deletion are one step: deleting a consumer throws its
// pending entries away.
const LEAVE: &str = r"
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if pending.err or #pending > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
";

// KEYS: stream. ARGV: group, consumer, silent ms. Each answer of XINFO CONSUMERS reads name, pending, idle.
const FORGET_SILENT: &str = r"
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    if consumer[2] ~= ARGV[2] and consumer[4] == 0 and consumer[6] > tonumber(ARGV[3]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer[2])
    end
end
return 1
";

/// A name in a group of a stream.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) key: String,
    pub(super) group: &'static str,
    pub(super) name: String,
}

/// Entries of silent consumers that are this one's now.
pub(super) struct Claimed {
    /// Where to go on looking.
    pub(super) cursor: String,
    /// Each with the number of the attempt that it is in now.
    pub(super) entries: Vec<(RawEntry, u32)>,
}

impl Membership {
    /// Makes the group, and the stream, where they are missing. From the beginning: after a loss of data
    /// `$` would pass over what was written before the group came back.
    pub(super) async fn ensure_group(&self, connection: &mut MultiplexedConnection) -> Result<()> {
        let made: redis::RedisResult<()> = redis::cmd("XGROUP")
            .arg("CREATE")
            .arg(&self.key)
            .arg(self.group)
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

    /// New entries; waits for one up to `block` if there is none.
    pub(super) async fn read_new(
        &self,
        connection: &mut MultiplexedConnection,
        most: usize,
        block: Duration,
    ) -> Result<Vec<RawEntry>> {
        let mut command = self.read(most);
        command.arg("BLOCK").arg(block.as_millis().max(1));
        command.arg("STREAMS").arg(&self.key).arg(">");
        // Not inside a `select!`: a read that is given up still takes its entries.
        match command.query_async::<Value>(connection).await {
            Ok(reply) => entries_of_read(reply),
            Err(error) if error.code() == Some("NOGROUP") => {
                self.ensure_group(connection).await?;
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// This consumer's pending entries after the one named.
    pub(super) async fn read_own(
        &self,
        connection: &mut MultiplexedConnection,
        most: usize,
        after: &str,
    ) -> Result<Vec<RawEntry>> {
        let mut command = self.read(most);
        command.arg("STREAMS").arg(&self.key).arg(after);
        entries_of_read(command.query_async(connection).await?)
    }

    fn read(&self, most: usize) -> redis::Cmd {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(self.group).arg(&self.name);
        command.arg("COUNT").arg(most);
        command
    }

    /// Takes over entries that have been pending longer than `idle`. Atomic: of many that try at once, each
    /// entry goes to one.
    pub(super) async fn claim(
        &self,
        connection: &mut MultiplexedConnection,
        idle: Duration,
        cursor: &str,
        most: usize,
    ) -> Result<Claimed> {
        let script = redis::Script::new(CLAIM);
        let mut call = script.key(&self.key);
        call.arg(self.group).arg(&self.name).arg(idle.as_millis());
        call.arg(cursor).arg(most);
        let reply: Value = call.invoke_async(connection).await?;
        let mut parts = array(reply, "claim answer")?.into_iter();
        let mut next = || parts.next().unwrap_or(Value::Nil);
        let cursor = text(next(), "claim cursor")?;
        let claimed = array(next(), "claimed entries")?.into_iter().map(|pair| {
            let mut pair = array(pair, "claimed entry")?.into_iter();
            let mut next = || pair.next().unwrap_or(Value::Nil);
            let entry = RawEntry::from_value(next())?;
            let attempt = number(next(), "deliveries")?;
            Ok((entry, u32::try_from(attempt).unwrap_or(u32::MAX)))
        });
        Ok(Claimed {
            cursor,
            entries: claimed.collect::<Result<_>>()?,
        })
    }

    /// Keeps entries from being claimed by others for another while, and notes attempts made. Answers the
    /// ids of those that are still this consumer's.
    pub(super) async fn keep(
        &self,
        connection: &mut MultiplexedConnection,
        entries: &[(&str, Option<u32>)],
    ) -> Result<HashSet<String>> {
        let script = redis::Script::new(KEEP);
        let mut call = script.key(&self.key);
        call.arg(self.group).arg(&self.name);
        for (id, attempts) in entries {
            let attempts = attempts.map_or_else(String::new, |attempts| attempts.to_string());
            call.arg(*id).arg(attempts);
        }
        Ok(call.invoke_async(connection).await?)
    }

    /// Acknowledges entries, and deletes them where only this group reads the stream.
    pub(super) async fn release(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[String],
        delete: bool,
    ) -> Result<()> {
        let mut pipeline = redis::pipe();
        let acknowledge = pipeline.cmd("XACK").arg(&self.key).arg(self.group).arg(ids);
        acknowledge.ignore();
        if delete {
            pipeline.cmd("XDEL").arg(&self.key).arg(ids).ignore();
        }
        Ok(pipeline.query_async::<()>(connection).await?)
    }

    /// Deletes this consumer, unless something is pending.
    pub(super) async fn leave(&self, connection: &mut impl ConnectionLike) -> Result<()> {
        let script = redis::Script::new(LEAVE);
        let mut call = script.key(&self.key);
        call.arg(self.group).arg(&self.name);
        call.invoke_async::<i64>(connection).await?;
        Ok(())
    }

    /// Deletes consumers that have nothing pending and were not heard of for so long: processes that died.
    pub(super) async fn forget_silent(
        &self,
        connection: &mut MultiplexedConnection,
        silent: Duration,
    ) -> Result<()> {
        let script = redis::Script::new(FORGET_SILENT);
        let mut call = script.key(&self.key);
        call.arg(self.group).arg(&self.name).arg(silent.as_millis());
        call.invoke_async::<i64>(connection).await?;
        Ok(())
    }
}
