//! Ticks: one a minute whatever the number of schedulers, and one at each moment a campaign is due.
//!
//! The entry's id is computed from Redis's clock, and Redis refuses an id that is not greater than the
//! last. So however many replicas try, and whatever their own clocks say, each tick is written once.

use crate::Result;
use crate::Streams;
use crate::entry::encode;
use campaign_core::contracts::{BODY_FIELD, SCHEDULER_STREAM, TRACE_FIELD, Tick, TickKind};
use std::time::Duration;

/// About how many ticks are kept unread: what a day without any scheduler leaves.
const TICKS_MAX: usize = 2_000;

// The minute's tick has the id <start of the minute in ms>-0; every other tick follows whatever is last,
// also while a clock that was set back has not caught up. What the stream ends with decides, not what it
// still holds: handled ticks are deleted.
const PUBLISH: &str = r"
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local minute_ms = now_ms - now_ms % 60000
local wait_ms = string.format('%.0f', minute_ms + 60000 - now_ms)
local id = string.format('%.0f', minute_ms) .. '-0'
if ARGV[1] ~= 'minute' then id = '*' end
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], id, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
if type(added) == 'table' and added.err then
    if string.find(added.err, 'equal or smaller', 1, true) then return { 0, wait_ms } end
    return redis.error_reply(added.err)
end
return { 1, wait_ms }
";

/// What became of an attempt to publish a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether this attempt wrote the tick; if not, another replica had.
    pub written: bool,
    /// Until the next full minute, by Redis's clock.
    pub next_minute_in: Duration,
}

/// Publishes a tick, unless it stands there already.
pub async fn publish(streams: &Streams, kind: TickKind, trace: Option<String>) -> Result<Published> {
    let mut connection = streams.pooled().await?;
    let script = redis::Script::new(PUBLISH);
    let (written, wait_ms): (u8, u64) = script
        .key(streams.keys().stream(SCHEDULER_STREAM))
        .arg(kind.as_str())
        .arg(TICKS_MAX)
        .arg(BODY_FIELD)
        .arg(encode(&Tick { kind }))
        .arg(TRACE_FIELD)
        .arg(trace.unwrap_or_default())
        .invoke_async(&mut connection)
        .await?;
    Ok(Published {
        written: written == 1,
        next_minute_in: Duration::from_millis(wait_ms),
    })
}
