//! Counters: one row a campaign, changed in the transaction that changes the rows they count.
//!
//! `(SELECT $1)` hides from the planner how many campaigns there are, so that one plan serves all, as in [`crate::costs`].

use crate::{Connection, Result, StoreError};
use campaign_core::ids::CampaignId;
use campaign_core::message::{MessageState, SkipReason};
use chrono::{DateTime, Utc};
use sqlx::Row;
use std::collections::BTreeMap;

/// The seconds for which acceptances are kept one by one, to tell the rate.
pub const RECENT_SECONDS: i64 = 12;

/// Error codes that are counted one by one.
pub const FAILED_CODES_MAX: usize = 200;
/// Stands for codes beyond those.
const OTHER_CODES: &str = "other";
/// Stands for the code of a failure that has none.
const UNKNOWN_CODE: &str = "unknown";

/// A change of a campaign's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CounterDelta {
    by_state: BTreeMap<MessageState, i64>,
    skipped_by: BTreeMap<SkipReason, i64>,
    failed_by: BTreeMap<String, i64>,
    accepted_in: BTreeMap<i64, i64>,
    accepted_between: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl CounterDelta {
    /// A row was added in this state.
    pub fn added(&mut self, state: MessageState) {
        *self.by_state.entry(state).or_default() += 1;
    }

    /// A row went from one state to another.
    pub fn moved(&mut self, from: MessageState, to: MessageState) {
        if from != to {
            *self.by_state.entry(from).or_default() -= 1;
            *self.by_state.entry(to).or_default() += 1;
        }
    }

    /// A row was skipped, or (negative) no longer is.
    pub fn skipped(&mut self, reason: SkipReason, count: i64) {
        *self.skipped_by.entry(reason).or_default() += count;
    }

    /// A message failed or was not delivered, with this code, or (negative) no longer is so.
    pub fn failed(&mut self, code: Option<&str>, count: i64) {
        let code = code.unwrap_or(UNKNOWN_CODE).to_owned();
        *self.failed_by.entry(code).or_default() += count;
    }

    /// A message was accepted for the first time that anyone heard of.
    pub fn accepted(&mut self, at: DateTime<Utc>) {
        *self.accepted_in.entry(at.timestamp()).or_default() += 1;
        self.accepted_between = Some(
            self.accepted_between
                .map_or((at, at), |(first, last)| (first.min(at), last.max(at))),
        );
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// Adds a change of one campaign, as [`apply_all`] does.
pub async fn apply(connection: &mut Connection, campaign: CampaignId, delta: &CounterDelta) -> Result<()> {
    apply_all(connection, &[(campaign, delta)]).await
}

/// Adds changes, of each campaign one. Call it last: these rows are what all writers of a campaign queue for.
///
/// # Errors
/// When one of the campaigns has no counters.
pub async fn apply_all(connection: &mut Connection, deltas: &[(CampaignId, &CounterDelta)]) -> Result<()> {
    let deltas: BTreeMap<CampaignId, &CounterDelta> = deltas
        .iter()
        .copied()
        .filter(|(_, delta)| !delta.is_empty())
        .collect();
    if deltas.is_empty() {
        return Ok(());
    }
    let locked = lock(&mut *connection, deltas.keys().copied()).await?;
    if let Some(missing) = deltas.keys().find(|campaign| !locked.contains_key(campaign)) {
        return Err(StoreError::NotFound {
            what: "counters of campaign",
            id: missing.to_string(),
        });
    }
    let changed: Vec<(CampaignId, &CounterDelta, Tallies)> = locked
        .into_iter()
        .filter_map(|(campaign, tallies)| {
            let delta = *deltas.get(&campaign)?;
            Some((campaign, delta, tallies.plus(delta)))
        })
        .collect();
    write(connection, &changed).await
}

/// What is counted by more than a column.
struct Tallies {
    skipped_by: BTreeMap<String, i64>,
    failed_by: BTreeMap<String, i64>,
    recent: Vec<(i64, i64)>,
}

impl Tallies {
    fn plus(mut self, delta: &CounterDelta) -> Self {
        for (reason, count) in &delta.skipped_by {
            *self.skipped_by.entry(reason.as_str().to_owned()).or_default() += count;
        }
        self.skipped_by.retain(|_, count| *count != 0);
        Self {
            skipped_by: self.skipped_by,
            failed_by: add_failed(self.failed_by, &delta.failed_by),
            recent: add_recent(self.recent, &delta.accepted_in),
        }
    }
}

/// In the order of the campaigns, so that two writers cannot wait for each other.
async fn lock(
    connection: &mut Connection,
    campaigns: impl Iterator<Item = CampaignId>,
) -> Result<BTreeMap<CampaignId, Tallies>> {
    let rows = sqlx::query(
        "-- counters.lock
         SELECT campaign, skipped_by, failed_by, recent FROM campaign_counters
         WHERE campaign = ANY((SELECT $1::uuid[])::uuid[]) ORDER BY campaign FOR UPDATE",
    )
    .bind(campaigns.map(|campaign| campaign.0).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let tallies = Tallies {
                skipped_by: crate::read::json(row, "skipped_by")?,
                failed_by: crate::read::json(row, "failed_by")?,
                recent: crate::read::json(row, "recent")?,
            };
            Ok((CampaignId(row.try_get("campaign")?), tallies))
        })
        .collect()
}

async fn write(connection: &mut Connection, changed: &[(CampaignId, &CounterDelta, Tallies)]) -> Result<()> {
    macro_rules! column {
        ($change:pat => $value:expr) => {
            changed.iter().map(|$change| $value).collect::<Vec<_>>()
        };
    }
    let of_state = |state| column!((_, delta, _) => delta.by_state.get(&state).copied().unwrap_or_default());
    let (first, last): (Vec<_>, Vec<_>) = changed
        .iter()
        .map(|(_, delta, _)| delta.accepted_between.unzip())
        .unzip();
    sqlx::query(
        "-- counters.write
         UPDATE campaign_counters AS c SET
             pending = c.pending + u.pending, deferred = c.deferred + u.deferred,
             uncertain = c.uncertain + u.uncertain, failed = c.failed + u.failed, skipped = c.skipped + u.skipped,
             cancelled = c.cancelled + u.cancelled, accepted = c.accepted + u.accepted, sent = c.sent + u.sent,
             undelivered = c.undelivered + u.undelivered, delivered = c.delivered + u.delivered,
             read = c.read + u.read, total = c.total + u.total,
             skipped_by = u.skipped_by, failed_by = u.failed_by, recent = u.recent,
             first_accepted_at = LEAST(c.first_accepted_at, u.first_accepted_at),
             last_accepted_at = GREATEST(c.last_accepted_at, u.last_accepted_at)
         FROM UNNEST((SELECT $1::uuid[]), $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                 $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::jsonb[],
                 $15::jsonb[], $16::jsonb[], $17::timestamptz[], $18::timestamptz[])
             AS u (campaign, pending, deferred, uncertain, failed, skipped, cancelled, accepted, sent, undelivered,
                 delivered, read, total, skipped_by, failed_by, recent, first_accepted_at, last_accepted_at)
         WHERE c.campaign = u.campaign",
    )
    .bind(column!((campaign, ..) => campaign.0))
    .bind(of_state(MessageState::Pending))
    .bind(of_state(MessageState::Deferred))
    .bind(of_state(MessageState::Uncertain))
    .bind(of_state(MessageState::Failed))
    .bind(of_state(MessageState::Skipped))
    .bind(of_state(MessageState::Cancelled))
    .bind(of_state(MessageState::Accepted))
    .bind(of_state(MessageState::Sent))
    .bind(of_state(MessageState::Undelivered))
    .bind(of_state(MessageState::Delivered))
    .bind(of_state(MessageState::Read))
    .bind(column!((_, delta, _) => delta.by_state.values().sum::<i64>()))
    .bind(column!((.., tallies) => crate::read::to_json(&tallies.skipped_by)))
    .bind(column!((.., tallies) => crate::read::to_json(&tallies.failed_by)))
    .bind(column!((.., tallies) => crate::read::to_json(&tallies.recent)))
    .bind(first)
    .bind(last)
    .execute(connection)
    .await?;
    Ok(())
}

/// Rows that are pending or deferred, as of this transaction.
pub async fn unsettled(connection: &mut Connection, campaign: CampaignId) -> Result<i64> {
    let row = sqlx::query(
        "-- counters.unsettled\nSELECT pending + deferred FROM campaign_counters WHERE campaign = $1",
    )
    .bind(campaign.0)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get(0)?)
}

/// Beyond so many codes, new ones are counted as one: Meta's table has about 60, and a code comes from outside.
fn add_failed(mut failed_by: BTreeMap<String, i64>, delta: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    for (code, count) in delta {
        let is_known = failed_by.contains_key(code) || failed_by.len() < FAILED_CODES_MAX;
        let code = if is_known { code.as_str() } else { OTHER_CODES };
        *failed_by.entry(code.to_owned()).or_default() += count;
    }
    failed_by.retain(|_, count| *count > 0);
    failed_by
}

fn add_recent(recent: Vec<(i64, i64)>, accepted_in: &BTreeMap<i64, i64>) -> Vec<(i64, i64)> {
    let mut seconds: BTreeMap<i64, i64> = recent.into_iter().collect();
    for (second, count) in accepted_in {
        *seconds.entry(*second).or_default() += count;
    }
    let newest = seconds.last_key_value().map_or(0, |(second, _)| *second);
    seconds
        .into_iter()
        .filter(|(second, _)| *second > newest - RECENT_SECONDS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_seconds_are_kept() {
        let kept = add_recent(
            vec![(10, 1), (95, 2), (100, 3)],
            &BTreeMap::from([(100, 4), (101, 5)]),
        );
        assert_eq!(kept, [(95, 2), (100, 7), (101, 5)]);
    }

    #[test]
    fn failures_are_counted_by_code_and_the_codes_are_bounded() {
        let mut delta = CounterDelta::default();
        delta.failed(Some("131026"), 2);
        delta.failed(None, 1);
        let counted = add_failed(BTreeMap::new(), &delta.failed_by);
        let expected = BTreeMap::from([("131026".to_owned(), 2), ("unknown".to_owned(), 1)]);
        assert_eq!(counted, expected);
        let mut resent = CounterDelta::default();
        resent.failed(Some("131026"), -2);
        let counted = add_failed(counted, &resent.failed_by);
        assert_eq!(counted, BTreeMap::from([("unknown".to_owned(), 1)]));
        let many = (0..2 * FAILED_CODES_MAX)
            .map(|code| (code.to_string(), 1))
            .collect();
        let counted = add_failed(counted, &many);
        assert_eq!(counted.len(), FAILED_CODES_MAX + 1);
        assert_eq!(counted.values().sum::<i64>(), 1 + 2 * FAILED_CODES_MAX as i64);
    }

    #[test]
    fn a_move_within_a_state_is_nothing() {
        let mut delta = CounterDelta::default();
        delta.moved(MessageState::Sent, MessageState::Sent);
        assert!(delta.is_empty());
    }
}
