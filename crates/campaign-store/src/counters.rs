//! Counters: one row a campaign, changed in the transaction that changes the rows they count.

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

/// Adds a change. Call it last: the row is what all writers of a campaign queue for.
pub async fn apply(connection: &mut Connection, campaign: CampaignId, delta: &CounterDelta) -> Result<()> {
    if delta.is_empty() {
        return Ok(());
    }
    let row = sqlx::query(
        "-- counters.lock
         SELECT skipped_by, failed_by, recent FROM campaign_counters WHERE campaign = $1 FOR UPDATE",
    )
    .bind(campaign.0)
    .fetch_optional(&mut *connection)
    .await?
    .ok_or_else(|| StoreError::NotFound {
        what: "counters of campaign",
        id: campaign.to_string(),
    })?;
    let mut skipped_by: BTreeMap<String, i64> = crate::read::json(&row, "skipped_by")?;
    for (reason, count) in &delta.skipped_by {
        *skipped_by.entry(reason.as_str().to_owned()).or_default() += count;
    }
    skipped_by.retain(|_, count| *count != 0);
    let failed_by = add_failed(crate::read::json(&row, "failed_by")?, &delta.failed_by);
    let recent = add_recent(crate::read::json(&row, "recent")?, &delta.accepted_in);
    let change = |state| delta.by_state.get(&state).copied().unwrap_or_default();
    let (first, last) = delta.accepted_between.unzip();
    sqlx::query(
        "-- counters.apply
         UPDATE campaign_counters SET
             pending = pending + $2, deferred = deferred + $3, uncertain = uncertain + $4, failed = failed + $5,
             skipped = skipped + $6, cancelled = cancelled + $7, accepted = accepted + $8, sent = sent + $9,
             undelivered = undelivered + $10, delivered = delivered + $11, read = read + $12, total = total + $13,
             skipped_by = $14, recent = $15, failed_by = $18,
             first_accepted_at = LEAST(first_accepted_at, $16), last_accepted_at = GREATEST(last_accepted_at, $17)
         WHERE campaign = $1",
    )
    .bind(campaign.0)
    .bind(change(MessageState::Pending))
    .bind(change(MessageState::Deferred))
    .bind(change(MessageState::Uncertain))
    .bind(change(MessageState::Failed))
    .bind(change(MessageState::Skipped))
    .bind(change(MessageState::Cancelled))
    .bind(change(MessageState::Accepted))
    .bind(change(MessageState::Sent))
    .bind(change(MessageState::Undelivered))
    .bind(change(MessageState::Delivered))
    .bind(change(MessageState::Read))
    .bind(delta.by_state.values().sum::<i64>())
    .bind(crate::read::to_json(&skipped_by))
    .bind(crate::read::to_json(&recent))
    .bind(first)
    .bind(last)
    .bind(crate::read::to_json(&failed_by))
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
