//! Opt-outs, told to the lanes: what is queued already for a person is not sent.
//!
//! Told twice, by the `message-svc` that receives the wish, at once, and by the ledger once Postgres has it, which
//! also knows whether it still stands.

use super::script::OPTOUT;
use crate::{Result, Streams};
use campaign_core::ids::LaneId;
use campaign_core::phone::CanonicalPhone;
use chrono::{DateTime, Utc};
use redis::Value;

/// People told in one call.
const CALL_MAX: usize = 500;

/// Tells every lane that a person opted out (or in again).
pub async fn tell_optout(
    streams: &Streams,
    lanes: &[LaneId],
    phone: &CanonicalPhone,
    stop: bool,
    at: DateTime<Utc>,
) -> Result<()> {
    tell_optouts(streams, lanes, &[(*phone, stop)], at).await
}

/// Tells every lane who opted out (`true`) and who opted in again.
pub async fn tell_optouts(
    streams: &Streams,
    lanes: &[LaneId],
    wishes: &[(CanonicalPhone, bool)],
    at: DateTime<Utc>,
) -> Result<()> {
    if wishes.is_empty() {
        return Ok(());
    }
    let mut connection = streams.pooled().await?;
    for lane in lanes {
        for wishes in wishes.chunks(CALL_MAX) {
            let mut call = OPTOUT.key(streams.keys().lane(lane).optouts());
            call.arg(at.timestamp_millis());
            for (phone, stop) in wishes {
                call.arg(i32::from(*stop)).arg(phone.as_str());
            }
            call.invoke_async::<Value>(&mut connection).await?;
        }
    }
    Ok(())
}
