//! The owner's look at the campaigns of its lane: what lies in it, and what became of it.

use super::PARKED_CONSUMER;
use super::owner::{LaneOwner, OwnerReply, read, stream_id};
use super::script::{Answer, SURVEY};
use crate::entry::array;
use crate::{Result, StreamId, StreamsError};
use campaign_core::contracts::MESSAGE_GROUP;
use campaign_core::ids::CampaignId;
use redis::Value;
use std::time::Duration;

/// Most campaigns that one script looks at: Redis does nothing else meanwhile.
const CAMPAIGNS_MAX: usize = 64;
/// Most abandoned entries that a script settles for each consumer of a campaign, and after so many in all it looks at
/// no further campaign.
const SETTLED_MAX: usize = 200;

/// What a survey found, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Messages fed and not settled.
    pub outstanding: u64,
    /// Of these, in somebody's hands.
    pub in_flight: u64,
    /// Of these, parked.
    pub parked: u64,
    /// Abandoned entries that became uncertain in this survey.
    pub reclaimed: u64,
    /// When the oldest outstanding message was fed (ms).
    pub oldest_fed_ms: Option<i64>,
    /// The last id ever written to the outcomes, in the same step: what the campaign reported is not behind it.
    pub last_outcome: StreamId,
    /// Outcomes not applied yet, of all campaigns.
    pub outcomes: u64,
}

/// The answer about one campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Surveyed {
    /// It is there.
    Found(Survey),
    /// The lane has no stream of it.
    Missing,
    /// A key of it cannot be read or written, in Redis's words.
    Broken(String),
}

impl LaneOwner {
    /// Looks at campaigns; what was taken longer than `idle` ago and never reported becomes uncertain. Answers for
    /// each of them, in their order.
    pub async fn survey(
        &self,
        campaigns: &[CampaignId],
        idle: Duration,
    ) -> Result<OwnerReply<Vec<Surveyed>>> {
        let mut surveyed = Vec::with_capacity(campaigns.len());
        while surveyed.len() < campaigns.len() {
            let rest = &campaigns[surveyed.len()..];
            match self
                .survey_some(&rest[..rest.len().min(CAMPAIGNS_MAX)], idle)
                .await?
            {
                OwnerReply::Ok(some) => surveyed.extend(some),
                OwnerReply::Superseded => return Ok(OwnerReply::Superseded),
                OwnerReply::Unverified { identity } => return Ok(OwnerReply::Unverified { identity }),
            }
        }
        Ok(OwnerReply::Ok(surveyed))
    }

    /// One script: at least the first of them, and as many more as it may.
    async fn survey_some(
        &self,
        campaigns: &[CampaignId],
        idle: Duration,
    ) -> Result<OwnerReply<Vec<Surveyed>>> {
        let mut call = SURVEY.key(self.keys.header());
        call.key(self.keys.outcomes());
        call.arg(self.epoch)
            .arg(MESSAGE_GROUP)
            .arg(PARKED_CONSUMER)
            .arg(idle.as_millis())
            .arg(SETTLED_MAX);
        for &campaign in campaigns {
            call.key(self.keys.messages(campaign))
                .key(self.keys.alarms(campaign))
                .arg(campaign.to_string());
        }
        let answer = Answer::read(call.invoke_async(&mut self.connection.clone()).await?)?;
        read(answer, |answer| {
            let last_outcome = stream_id(&answer.text()?)?;
            let outcomes = answer.number()? as u64;
            let records = answer.list()?;
            if records.is_empty() || records.len() > campaigns.len() {
                return Err(StreamsError::undecodable(
                    "survey",
                    format!("{} records of {} campaigns", records.len(), campaigns.len()),
                ));
            }
            records
                .into_iter()
                .map(|record| read_record(record, last_outcome, outcomes))
                .collect()
        })
    }
}

fn read_record(record: Value, last_outcome: StreamId, outcomes: u64) -> Result<Surveyed> {
    let mut record = Answer::read(Value::Array(array(record, "survey")?))?;
    match record.word.as_str() {
        "ok" => Ok(Surveyed::Found(Survey {
            outstanding: record.number()? as u64,
            in_flight: record.number()? as u64,
            parked: record.number()? as u64,
            reclaimed: record.number()? as u64,
            oldest_fed_ms: record.text()?.parse().ok(),
            last_outcome,
            outcomes,
        })),
        "missing" => Ok(Surveyed::Missing),
        "broken" => Ok(Surveyed::Broken(record.text()?)),
        _ => record.unexpected(),
    }
}
