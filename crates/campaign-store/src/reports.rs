//! Reading the ledger for people: progress, recipients, what is uncertain. Nothing here writes.

use crate::{Connection, Result, StoreError, read};
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::MessageState;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::BTreeMap;

/// How far a campaign is. All zero until a sender has taken it up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Recipients in each state. States without any are there, with 0.
    pub by_state: BTreeMap<MessageState, i64>,
    /// The audience so far: the sum of `by_state`.
    pub total: i64,
    /// Skipped recipients, by reason.
    pub skipped_by: BTreeMap<String, i64>,
    /// Failed and undelivered recipients, by error code.
    pub failed_by: BTreeMap<String, i64>,
    /// Whether the ERP has named everyone.
    pub audience_complete: bool,
    /// Recipients that were appended to the lane at least once, or passed over.
    pub enqueued: i64,
    /// The round, from 1; 0 until a sender has taken it up.
    pub generation: i32,
    /// Accepted in each of the last seconds: second since 1970, messages.
    pub recent: Vec<(i64, i64)>,
    /// When the first message was accepted.
    pub first_accepted_at: Option<DateTime<Utc>>,
    /// When the latest message was accepted.
    pub last_accepted_at: Option<DateTime<Utc>>,
}

impl Progress {
    /// Recipients in one state.
    pub fn count(&self, state: MessageState) -> i64 {
        self.by_state.get(&state).copied().unwrap_or_default()
    }
}

/// Reads how far a campaign is.
pub async fn progress(connection: &mut Connection, id: CampaignId) -> Result<Progress> {
    let row = sqlx::query(
        "-- reports.progress
         SELECT counters.*, dispatches.audience_complete, dispatches.generation,
             CASE WHEN dispatches.pass = 'audience' THEN dispatches.enqueued_seq ELSE dispatches.next_seq - 1 END
                 AS enqueued
         FROM campaigns
         LEFT JOIN campaign_counters AS counters ON counters.campaign = campaigns.id
         LEFT JOIN dispatches ON dispatches.campaign = campaigns.id
         WHERE campaigns.id = $1",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| StoreError::NotFound { what: "campaign", id: id.to_string() })?;
    let count =
        |column: &str| Ok::<_, StoreError>(row.try_get::<Option<i64>, _>(column)?.unwrap_or_default());
    let mut by_state = BTreeMap::new();
    for state in MessageState::ALL {
        by_state.insert(*state, count(state.as_str())?);
    }
    let counted = row.try_get::<Option<i64>, _>("total")?.is_some();
    Ok(Progress {
        by_state,
        total: count("total")?,
        skipped_by: if counted {
            read::json(&row, "skipped_by")?
        } else {
            BTreeMap::new()
        },
        failed_by: if counted {
            read::json(&row, "failed_by")?
        } else {
            BTreeMap::new()
        },
        audience_complete: row
            .try_get::<Option<bool>, _>("audience_complete")?
            .unwrap_or_default(),
        enqueued: count("enqueued")?,
        generation: row.try_get::<Option<i32>, _>("generation")?.unwrap_or_default(),
        recent: if counted {
            read::json(&row, "recent")?
        } else {
            Vec::new()
        },
        first_accepted_at: row.try_get("first_accepted_at")?,
        last_accepted_at: row.try_get("last_accepted_at")?,
    })
}

/// One recipient of a campaign, and what became of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Position in the audience.
    pub seq: Seq,
    /// The ERP's id of the customer.
    pub customer_id: String,
    /// The phone as the ERP has it.
    pub phone_as_given: Option<String>,
    /// The phone as it is sent to; none if it cannot be, or if another row has it.
    pub phone: Option<String>,
    /// The row that has the phone, for a duplicate.
    pub duplicate_of: Option<Seq>,
    /// Where the message stands.
    pub state: MessageState,
    /// How often it was offered to WhatsApp.
    pub attempts: i32,
    /// Cloud API error code, or why it was skipped.
    pub error_code: Option<String>,
    /// What the error said.
    pub error_text: Option<String>,
    /// WhatsApp's id of the message.
    pub wamid: Option<String>,
    /// When it left the state pending for one that is not evidence of acceptance.
    pub settled_at: Option<DateTime<Utc>>,
    /// When WhatsApp accepted it.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When it was reported sent.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it was reported delivered.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When it was reported read.
    pub read_at: Option<DateTime<Utc>>,
}

/// Most rows that one call of [`recipients`] looks at. No index knows the states (updates stay cheap that
/// way), so looking for a rare one reads rows in order, a bounded stretch at a time.
pub const RECIPIENTS_SCANNED_MAX: i64 = 50_000;

/// Recipients in the order of the audience, from behind `after`, at most `limit` of them and none beyond
/// [`RECIPIENTS_SCANNED_MAX`] rows. An empty page is therefore the end only if `after` is at least
/// [`Progress::total`] less that stretch.
pub async fn recipients(
    connection: &mut Connection,
    campaign: CampaignId,
    state: Option<MessageState>,
    after: Seq,
    limit: i64,
) -> Result<Vec<Recipient>> {
    let rows = sqlx::query(
        "-- reports.recipients
         SELECT seq, customer_id, phone_as_given, phone, duplicate_of, state::text AS state, attempts, error_code,
             error_text, wamid, settled_at, accepted_at, sent_at, delivered_at, read_at
         FROM messages
         WHERE campaign = $1 AND seq > $2 AND seq <= $2 + $3 AND ($4::text IS NULL OR state = $4::message_state)
         ORDER BY seq LIMIT $5",
    )
    .bind(campaign.0)
    .bind(after.0)
    .bind(RECIPIENTS_SCANNED_MAX)
    .bind(state.map(MessageState::as_str))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(recipient).collect()
}

fn recipient(row: &PgRow) -> Result<Recipient> {
    Ok(Recipient {
        seq: Seq(row.try_get("seq")?),
        customer_id: row.try_get("customer_id")?,
        phone_as_given: row.try_get("phone_as_given")?,
        phone: row.try_get("phone")?,
        duplicate_of: row.try_get::<Option<i64>, _>("duplicate_of")?.map(Seq),
        state: read::text(row, "state")?,
        attempts: row.try_get("attempts")?,
        error_code: row.try_get("error_code")?,
        error_text: row.try_get("error_text")?,
        wamid: row.try_get("wamid")?,
        settled_at: row.try_get("settled_at")?,
        accepted_at: row.try_get("accepted_at")?,
        sent_at: row.try_get("sent_at")?,
        delivered_at: row.try_get("delivered_at")?,
        read_at: row.try_get("read_at")?,
    })
}

/// Counts a campaign's rows by state, each state present: what the counters must say. Reads every row.
pub async fn count_rows(connection: &mut Connection, id: CampaignId) -> Result<BTreeMap<MessageState, i64>> {
    let rows = sqlx::query(
        "-- reports.count_rows
         SELECT state::text, count(*) AS rows FROM messages WHERE campaign = $1 GROUP BY state",
    )
    .bind(id.0)
    .fetch_all(connection)
    .await?;
    let mut counted: BTreeMap<_, _> = MessageState::ALL.iter().map(|state| (*state, 0)).collect();
    for row in rows {
        counted.insert(read::text(&row, "state")?, row.try_get("rows")?);
    }
    Ok(counted)
}
