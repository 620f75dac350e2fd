//! Messages: the ledger's rows, locked and changed in the order of their seq.
//!
//! What looks single rows up is planned each time (`persistent(false)`): a plan that is kept was made
//! for a partition of a few pages perhaps, where any index of a campaign is as good as the key, and is still in use when
//! the next campaign has written a million rows.

use crate::counters::CounterDelta;
use crate::dispatches::Pass;
use crate::{Connection, Result, read};
use campaign_core::cost::{Charge, Money};
use campaign_core::ids::{CampaignId, Generation, Seq};
use campaign_core::message::{MessageRow, MessageState, SkipReason};
use campaign_core::phone::CanonicalPhone;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Campaigns in which it is looked who has a number.
const RECENT_CAMPAIGNS: i64 = 20;

/// A message, by its place in its campaign.
pub type Position = (CampaignId, i64);

/// A row, locked.
#[derive(Debug, Clone)]
pub struct LockedRow {
    /// Whose.
    pub campaign: CampaignId,
    /// Which of it.
    pub seq: Seq,
    /// The ERP's id of the customer.
    pub customer_id: String,
    /// Canonical; none for a duplicate.
    pub phone: Option<String>,
    /// What events can change.
    pub row: MessageRow,
    /// What it is counted with; none until it was accepted.
    pub charge: Option<Charge>,
}

impl LockedRow {
    /// Where it is.
    pub const fn position(&self) -> Position {
        (self.campaign, self.seq.0)
    }
}

/// A row to be fed.
#[derive(Debug, Clone)]
pub struct FeedRow {
    /// Its position.
    pub seq: Seq,
    /// Who receives it.
    pub phone: CanonicalPhone,
    /// The template's values.
    pub variables: Vec<String>,
    /// The person asked not to be messaged since the row was written.
    pub suppressed: bool,
}

/// Locks rows of a campaign, in the order of `seqs`, which is ascending, so that two writers cannot wait for each
/// other.
///
/// Each is looked up by itself: a join is planned by what was known of the campaign when it was last analysed.
pub async fn lock(connection: &mut Connection, campaign: CampaignId, seqs: &[i64]) -> Result<Vec<LockedRow>> {
    let rows = sqlx::query(
        "-- messages.lock
         SELECT m.* FROM UNNEST($2::bigint[]) AS u (seq) CROSS JOIN LATERAL (
             SELECT campaign, seq, customer_id, state::text, generation, attempts, wamid, wa_id, error_code, error_text,
                 settled_at, accepted_at, sent_at, delivered_at, read_at, phone, cost_category, cost_basis, cost_micros
             FROM messages WHERE campaign = $1 AND seq = u.seq FOR UPDATE) AS m",
    )
    .persistent(false)
    .bind(campaign.0)
    .bind(seqs)
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_locked).collect()
}

/// As [`lock`], rows of any campaigns, in the order of `positions`, which is ascending. They come in this order; those
/// that do not exist are left out.
///
/// The partition of each is found while it runs, which a campaign alone need not pay for. Older ones than the first
/// campaign's are not even looked into. An upper bound as well would leave none but the right ones, but the planner
/// takes a range for one row, and then any index of the campaign for as good as the key.
pub async fn lock_all(connection: &mut Connection, positions: &[Position]) -> Result<Vec<LockedRow>> {
    let (Some((first, _)), Some((last, _))) = (positions.first(), positions.last()) else {
        return Ok(Vec::new());
    };
    let (campaigns, seqs) = columns(positions);
    if first == last {
        return lock(connection, *first, &seqs).await;
    }
    let rows = sqlx::query(
        "-- messages.lock_all
         SELECT m.* FROM UNNEST($1::uuid[], $2::bigint[]) AS u (campaign, seq) CROSS JOIN LATERAL (
             SELECT campaign, seq, customer_id, state::text, generation, attempts, wamid, wa_id, error_code, error_text,
                 settled_at, accepted_at, sent_at, delivered_at, read_at, phone, cost_category, cost_basis, cost_micros
             FROM messages WHERE campaign = u.campaign AND seq = u.seq AND campaign >= $3 FOR UPDATE) AS m",
    )
    .persistent(false)
    .bind(campaigns)
    .bind(seqs)
    .bind(first.0)
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_locked).collect()
}

/// Positions as two columns.
pub(crate) fn columns(positions: &[Position]) -> (Vec<Uuid>, Vec<i64>) {
    positions.iter().map(|(campaign, seq)| (campaign.0, *seq)).unzip()
}

/// Locks the next `limit` rows behind `after` that are pending or deferred.
pub async fn lock_unsettled(
    connection: &mut Connection,
    campaign: CampaignId,
    after: Seq,
    limit: i64,
) -> Result<Vec<LockedRow>> {
    let rows = sqlx::query(
        "-- messages.lock_unsettled
         SELECT campaign, seq, customer_id, state::text, generation, attempts, wamid, wa_id, error_code, error_text,
             settled_at, accepted_at, sent_at, delivered_at, read_at, phone, cost_category, cost_basis, cost_micros
         FROM messages
         WHERE campaign = $1 AND seq > $2 AND state IN ('pending', 'deferred') ORDER BY seq LIMIT $3 FOR UPDATE",
    )
    .persistent(false)
    .bind(campaign.0)
    .bind(after.0)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_locked).collect()
}

/// Locks the rows of a round that were fed and are still pending.
pub async fn lock_fed_pending(
    connection: &mut Connection,
    campaign: CampaignId,
    generation: Generation,
    pass: Pass,
    enqueued: Seq,
) -> Result<Vec<LockedRow>> {
    let rows = sqlx::query(
        "-- messages.lock_fed_pending
         SELECT campaign, seq, customer_id, state::text, generation, attempts, wamid, wa_id, error_code, error_text,
             settled_at, accepted_at, sent_at, delivered_at, read_at, phone, cost_category, cost_basis, cost_micros
         FROM messages AS m
         WHERE campaign = $1 AND seq <= $2 AND state = 'pending'
             AND ($3 OR EXISTS (SELECT 1 FROM again AS a
                                WHERE a.campaign = m.campaign AND a.seq = m.seq AND a.round = $4))
         ORDER BY seq FOR UPDATE",
    )
    .persistent(false)
    .bind(campaign.0)
    .bind(enqueued.0)
    .bind(pass == Pass::Audience)
    .bind(generation.0)
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_locked).collect()
}

fn read_locked(row: &PgRow) -> Result<LockedRow> {
    Ok(LockedRow {
        campaign: CampaignId(row.try_get("campaign")?),
        seq: Seq(row.try_get("seq")?),
        customer_id: row.try_get("customer_id")?,
        phone: row.try_get("phone")?,
        charge: read_charge(row)?,
        row: MessageRow {
            state: read::text(row, "state")?,
            generation: Generation(row.try_get("generation")?),
            attempts: row.try_get("attempts")?,
            wamid: row.try_get("wamid")?,
            wa_id: row.try_get("wa_id")?,
            error_code: row.try_get("error_code")?,
            error_text: row.try_get("error_text")?,
            settled_at: row.try_get("settled_at")?,
            accepted_at: row.try_get("accepted_at")?,
            sent_at: row.try_get("sent_at")?,
            delivered_at: row.try_get("delivered_at")?,
            read_at: row.try_get("read_at")?,
        },
    })
}

fn read_charge(row: &PgRow) -> Result<Option<Charge>> {
    let Some(category) = row.try_get("cost_category")? else {
        return Ok(None);
    };
    Ok(Some(Charge {
        category,
        basis: read::text(row, "cost_basis")?,
        amount: Money(row.try_get("cost_micros")?),
    }))
}

/// Writes locked rows back, of any campaigns.
///
/// All of them are there, so nothing is inserted: what conflicts is found by the key, while an `UPDATE` would join, and
/// be planned by what was known of the campaign when it was last analysed. The arrays are taken apart side by side in one
/// list: `UNNEST` of them all behind `FROM` keeps a copy of each in a store of its own first, three times the work.
pub async fn update(connection: &mut Connection, rows: &[LockedRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    // One campaign is named once: where a column ends before the others, UNNEST goes on with NULL.
    let mut campaigns = column!(row => row.campaign.0);
    campaigns.dedup();
    if campaigns.len() > 1 {
        campaigns = column!(row => row.campaign.0);
    }
    sqlx::query(
        "-- messages.update
         INSERT INTO messages (campaign, seq, customer_id, variables, state, generation, attempts, wamid, wa_id, error_code,
             error_text, settled_at, accepted_at, sent_at, delivered_at, read_at, cost_category, cost_basis, cost_micros)
         SELECT coalesce(campaign, ($1::uuid[])[1]), seq, '', '{}', state::message_state, generation, attempts, wamid, wa_id, error_code, error_text,
             settled_at, accepted_at, sent_at, delivered_at, read_at, cost_category, cost_basis, cost_micros
         FROM (SELECT UNNEST($1::uuid[]) AS campaign, UNNEST($2::bigint[]) AS seq, UNNEST($3::text[]) AS state,
             UNNEST($4::integer[]) AS generation, UNNEST($5::integer[]) AS attempts, UNNEST($6::text[]) AS wamid,
             UNNEST($7::text[]) AS wa_id, UNNEST($8::text[]) AS error_code, UNNEST($9::text[]) AS error_text,
             UNNEST($10::timestamptz[]) AS settled_at, UNNEST($11::timestamptz[]) AS accepted_at,
             UNNEST($12::timestamptz[]) AS sent_at, UNNEST($13::timestamptz[]) AS delivered_at,
             UNNEST($14::timestamptz[]) AS read_at, UNNEST($15::text[]) AS cost_category,
             UNNEST($16::text[]) AS cost_basis, UNNEST($17::bigint[]) AS cost_micros) AS u
         ON CONFLICT (campaign, seq) DO UPDATE SET
             state = EXCLUDED.state, generation = EXCLUDED.generation, attempts = EXCLUDED.attempts,
             wamid = EXCLUDED.wamid, wa_id = EXCLUDED.wa_id, error_code = EXCLUDED.error_code,
             error_text = EXCLUDED.error_text, settled_at = EXCLUDED.settled_at, accepted_at = EXCLUDED.accepted_at,
             sent_at = EXCLUDED.sent_at, delivered_at = EXCLUDED.delivered_at, read_at = EXCLUDED.read_at,
             cost_category = EXCLUDED.cost_category, cost_basis = EXCLUDED.cost_basis,
             cost_micros = EXCLUDED.cost_micros",
    )
    .bind(campaigns)
    .bind(column!(locked => locked.seq.0))
    .bind(column!(locked => locked.row.state.as_str()))
    .bind(column!(locked => locked.row.generation.0))
    .bind(column!(locked => locked.row.attempts))
    .bind(column!(locked => locked.row.wamid.as_deref()))
    .bind(column!(locked => locked.row.wa_id.as_deref()))
    .bind(column!(locked => locked.row.error_code.as_deref()))
    .bind(column!(locked => locked.row.error_text.as_deref()))
    .bind(column!(locked => locked.row.settled_at))
    .bind(column!(locked => locked.row.accepted_at))
    .bind(column!(locked => locked.row.sent_at))
    .bind(column!(locked => locked.row.delivered_at))
    .bind(column!(locked => locked.row.read_at))
    .bind(column!(locked => locked.charge.as_ref().map(|charge| charge.category.as_str())))
    .bind(column!(locked => locked.charge.as_ref().map(|charge| charge.basis.as_str())))
    .bind(column!(locked => locked.charge.as_ref().map(|charge| charge.amount.0)))
    .execute(connection)
    .await?;
    Ok(())
}

/// Counts what changed from one row to its successor.
pub fn count_change(delta: &mut CounterDelta, before: &MessageRow, after: &MessageRow) {
    delta.moved(before.state, after.state);
    let skip_reason = |row: &MessageRow| -> Option<SkipReason> {
        (row.state == MessageState::Skipped)
            .then(|| row.error_code.as_deref()?.parse().ok())
            .flatten()
    };
    let failed = |row: &MessageRow| matches!(row.state, MessageState::Failed | MessageState::Undelivered);
    if failed(before) {
        delta.failed(before.error_code.as_deref(), -1);
    }
    if failed(after) {
        delta.failed(after.error_code.as_deref(), 1);
    }
    if before.state != after.state {
        if let Some(reason) = skip_reason(before) {
            delta.skipped(reason, -1);
        }
        if let Some(reason) = skip_reason(after) {
            delta.skipped(reason, 1);
        }
        if after.state.is_accepted() && !before.state.is_accepted() {
            let known = [
                after.accepted_at,
                after.sent_at,
                after.delivered_at,
                after.read_at,
                after.settled_at,
            ];
            if let Some(at) = known.into_iter().flatten().min() {
                delta.accepted(at);
            }
        }
    }
}

/// The next `limit` pending rows of a round behind `after`.
pub async fn next_to_feed(
    connection: &mut Connection,
    campaign: CampaignId,
    generation: Generation,
    pass: Pass,
    after: Seq,
    limit: i64,
) -> Result<Vec<FeedRow>> {
    let statement = match pass {
        Pass::Audience => sqlx::query(
            "-- messages.next_of_audience
             SELECT seq, phone, variables,
                 EXISTS (SELECT 1 FROM suppressions AS s WHERE s.phone = m.phone) AS suppressed
             FROM messages AS m
             WHERE campaign = $1 AND seq > $2 AND state = 'pending' AND $4::integer IS NOT NULL
             ORDER BY seq LIMIT $3",
        ),
        Pass::Again => sqlx::query(
            "-- messages.next_of_again
             SELECT m.seq, phone, variables,
                 EXISTS (SELECT 1 FROM suppressions AS s WHERE s.phone = m.phone) AS suppressed
             FROM again AS a JOIN messages AS m ON m.campaign = a.campaign AND m.seq = a.seq
             WHERE a.campaign = $1 AND a.seq > $2 AND a.round = $4 AND m.state = 'pending'
             ORDER BY a.seq LIMIT $3",
        )
        .persistent(false),
    };
    let rows = statement
        .bind(campaign.0)
        .bind(after.0)
        .bind(limit)
        .bind(generation.0)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(FeedRow {
                seq: Seq(row.try_get("seq")?),
                phone: read::text(row, "phone")?,
                variables: row.try_get("variables")?,
                suppressed: row.try_get("suppressed")?,
            })
        })
        .collect()
}

/// Who has these numbers: the ERP's customers to whom the newest campaigns were addressed.
pub async fn customers_with(
    connection: &mut Connection,
    phones: &[CanonicalPhone],
) -> Result<BTreeMap<CanonicalPhone, BTreeSet<String>>> {
    let rows = sqlx::query(
        "-- messages.customers_with
         SELECT u.phone, m.customer_id
         FROM UNNEST($1::text[]) AS u (phone)
         CROSS JOIN (SELECT campaign FROM dispatches ORDER BY campaign DESC LIMIT $2) AS d
         JOIN messages AS m ON m.campaign = d.campaign AND m.phone = u.phone",
    )
    .persistent(false)
    .bind(phones.iter().map(ToString::to_string).collect::<Vec<_>>())
    .bind(RECENT_CAMPAIGNS)
    .fetch_all(connection)
    .await?;
    let mut customers: BTreeMap<CanonicalPhone, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let of_phone = customers.entry(read::text(&row, "phone")?).or_default();
        of_phone.insert(row.try_get("customer_id")?);
    }
    Ok(customers)
}

/// The positions of messages in one state, limited to some positions and error codes where given.
pub async fn seqs_in_state(
    connection: &mut Connection,
    campaign: CampaignId,
    state: MessageState,
    only: Option<&[Seq]>,
    error_codes: Option<&[String]>,
) -> Result<Vec<Seq>> {
    let rows = match only {
        None => {
            sqlx::query(
                "-- messages.seqs_in_state
                 SELECT seq FROM messages
                 WHERE campaign = $1 AND state = $2::message_state AND ($3::text[] IS NULL OR error_code = ANY($3))
                 ORDER BY seq",
            )
    .persistent(false)
            .bind(campaign.0)
            .bind(state.as_str())
            .bind(error_codes)
            .fetch_all(connection)
            .await?
        }
        Some(only) => {
            sqlx::query(
                "-- messages.which_in_state
                 SELECT m.seq FROM (SELECT DISTINCT UNNEST($4::bigint[])) AS u (seq) CROSS JOIN LATERAL (
                     SELECT seq FROM messages
                     WHERE campaign = $1 AND seq = u.seq AND state = $2::message_state
                         AND ($3::text[] IS NULL OR error_code = ANY($3)) OFFSET 0) AS m
                 ORDER BY m.seq",
            )
    .persistent(false)
            .bind(campaign.0)
            .bind(state.as_str())
            .bind(error_codes)
            .bind(only.iter().map(|seq| seq.0).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?
        }
    };
    rows.iter().map(|row| Ok(Seq(row.try_get("seq")?))).collect()
}

/// The messages that failed with one of these codes after `since`, and when.
pub async fn failed_since(
    connection: &mut Connection,
    campaign: CampaignId,
    error_codes: &[String],
    since: DateTime<Utc>,
) -> Result<Vec<(Seq, DateTime<Utc>)>> {
    let rows = sqlx::query(
        "-- messages.failed_since
         SELECT seq, settled_at FROM messages
         WHERE campaign = $1 AND state = 'failed' AND error_code = ANY($2) AND settled_at > $3
         ORDER BY seq",
    )
    .persistent(false)
    .bind(campaign.0)
    .bind(error_codes)
    .bind(since)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((Seq(row.try_get("seq")?), row.try_get("settled_at")?)))
        .collect()
}
