//! How much lies in each queue, and how old the oldest of it is: for people and for autoscaling.

use crate::entry::{RawEntry, entries};
use crate::lane::{Pace, ask_for_ends, waiting};
use crate::{Result, StreamId, Streams};
use campaign_core::contracts::{
    ACCOUNT_EVENTS_STREAM, CUSTOMER_EVENTS_STREAM, DEAD_LETTER_STREAM, MESSAGE_EVENTS_STREAM,
    SCHEDULER_STREAM, SENDER_STREAM, STRAYS_STREAM, SUPPRESSION_EVENTS_STREAM,
};
use campaign_core::ids::{CampaignId, LaneId};
use redis::Value;
use serde::Serialize;

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamDepth {
    /// Its name.
    pub name: String,
    /// Entries in it.
    pub entries: u64,
    /// Age of the first one, in milliseconds by Redis's clock; none when it is empty.
    pub oldest_age_ms: Option<u64>,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneDepth {
    /// The number.
    pub lane: LaneId,
    /// Whether the lane is built on this Redis, so that messages can be taken.
    pub verified: bool,
    /// Members that may take.
    pub members: u64,
    /// Outcomes that the ledger has not applied.
    pub outcomes: u64,
    /// Age of the oldest of them, in milliseconds by Redis's clock; none when there are none.
    pub oldest_outcome_age_ms: Option<u64>,
    /// How fast it goes.
    #[serde(flatten)]
    pub pace: Pace,
    /// Messages fed and not settled, by campaign.
    pub campaigns: Vec<CampaignDepth>,
}

/// One campaign of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CampaignDepth {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its messages fed and not settled.
    pub outstanding: u64,
    /// Of these, parked for a retry.
    pub parked: u64,
}

/// The control and event streams.
pub async fn of_streams(streams: &Streams) -> Result<Vec<StreamDepth>> {
    const NAMES: [&str; 8] = [
        SCHEDULER_STREAM,
        SENDER_STREAM,
        CUSTOMER_EVENTS_STREAM,
        ACCOUNT_EVENTS_STREAM,
        MESSAGE_EVENTS_STREAM,
        SUPPRESSION_EVENTS_STREAM,
        DEAD_LETTER_STREAM,
        STRAYS_STREAM,
    ];
    let mut depths = Vec::with_capacity(NAMES.len());
    for name in NAMES {
        let (entries, oldest_age_ms) = of_key(streams, &streams.keys().stream(name)).await?;
        depths.push(StreamDepth {
            name: name.to_owned(),
            entries,
            oldest_age_ms,
        });
    }
    Ok(depths)
}

async fn of_key(streams: &Streams, key: &str) -> Result<(u64, Option<u64>)> {
    let mut connection = streams.pooled().await?;
    let mut look = redis::pipe();
    look.cmd("XLEN").arg(key);
    ask_for_ends(&mut look, key);
    let (length, first, _, time): (u64, Value, Value, (u64, u64)) =
        look.cmd("TIME").query_async(&mut connection).await?;
    Ok((length, age_ms(&entries(first)?, time)))
}

/// Outcomes that wait, and the age of the oldest entry.
async fn of_outcomes(streams: &Streams, key: &str) -> Result<(u64, Option<u64>)> {
    let mut connection = streams.pooled().await?;
    let mut look = redis::pipe();
    ask_for_ends(&mut look, key);
    let (first, last, time): (Value, Value, (u64, u64)) =
        look.cmd("TIME").query_async(&mut connection).await?;
    let first = entries(first)?;
    Ok((waiting(&first, &entries(last)?), age_ms(&first, time)))
}

fn age_ms(first: &[RawEntry], time: (u64, u64)) -> Option<u64> {
    let now_ms = time.0 * 1000 + time.1 / 1000;
    let id = first.first()?.id.parse::<StreamId>().ok()?;
    Some(now_ms.saturating_sub(id.high))
}

/// The lanes that have an owner.
pub async fn of_lanes(streams: &Streams) -> Result<Vec<LaneDepth>> {
    let mut connection = streams.pooled().await?;
    let mut lanes: Vec<String> = redis::cmd("SMEMBERS")
        .arg(streams.keys().lanes())
        .query_async(&mut connection)
        .await?;
    drop(connection);
    lanes.sort();
    let mut depths = Vec::with_capacity(lanes.len());
    for lane in lanes.iter().filter_map(|lane| lane.parse().ok()) {
        depths.push(of_lane(streams, &lane).await?);
    }
    Ok(depths)
}

async fn of_lane(streams: &Streams, lane: &LaneId) -> Result<LaneDepth> {
    let keys = streams.keys().lane(lane);
    let (outcomes, oldest_outcome_age_ms) = of_outcomes(streams, &keys.outcomes()).await?;
    let pace = Pace::of(streams, lane).await?;
    let mut connection = streams.pooled().await?;
    let (identity, members, running): (Option<String>, u64, Vec<String>) = redis::pipe()
        .cmd("HGET")
        .arg(keys.header())
        .arg("identity")
        .cmd("HLEN")
        .arg(keys.members())
        .cmd("ZRANGE")
        .arg(keys.running())
        .arg(0)
        .arg(-1)
        .query_async(&mut connection)
        .await?;
    let mut campaigns = Vec::with_capacity(running.len());
    for campaign in running.iter().filter_map(|id| id.parse::<CampaignId>().ok()) {
        let (outstanding, parked): (u64, u64) = redis::pipe()
            .cmd("XLEN")
            .arg(keys.messages(campaign))
            .cmd("ZCARD")
            .arg(keys.alarms(campaign))
            .query_async(&mut connection)
            .await?;
        campaigns.push(CampaignDepth {
            campaign,
            outstanding,
            parked,
        });
    }
    Ok(LaneDepth {
        lane: lane.clone(),
        verified: identity.is_some(),
        members,
        outcomes,
        oldest_outcome_age_ms,
        pace,
        campaigns,
    })
}
