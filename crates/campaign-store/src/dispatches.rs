//! Dispatches: how far each campaign's audience, feeding and rounds are.

use crate::lanes::{self, Lease};
use crate::{Connection, Result, StoreError, read};
use campaign_core::campaign::{CampaignStatus, OnUncertain, Priority};
use campaign_core::ids::{CampaignId, Generation, LaneId, Seq};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::str::FromStr;
use uuid::Uuid;

/// Where the rows of a round come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// All of `messages`, in order.
    Audience,
    /// The rows of `again` that were moved into the round.
    Again,
}

impl Pass {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audience => "audience",
            Self::Again => "again",
        }
    }
}

impl FromStr for Pass {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        [Self::Audience, Self::Again]
            .into_iter()
            .find(|pass| pass.as_str() == text)
            .ok_or(())
    }
}

/// Everything that the owner of a lane decides from, about one unfinished campaign.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Work {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its stored status.
    pub status: CampaignStatus,
    /// Its share.
    pub priority: Priority,
    /// What was not sent by then is cancelled.
    pub expires_at: Option<DateTime<Utc>>,
    /// What becomes of uncertain messages.
    pub on_uncertain: OnUncertain,
    /// Whether any hold stands, on it or on its lane, that keeps what is in the lane there.
    pub held: bool,
    /// Whether it waits for its portfolio's messaging limit: nothing more is fed, what was fed goes on.
    pub waits_for_limit: bool,
    /// Raised with everything that people decide.
    pub control_version: i64,
    /// Whether requests wait.
    pub requests_waiting: bool,
    /// Whether it was finished; then only its requests matter.
    pub finished: bool,
    /// When the next row may go again, whatever the reason; none if no row waits outside a round.
    pub next_again: Option<DateTime<Utc>>,
    /// The dispatch.
    pub dispatch: Dispatch,
    /// Rows that are pending.
    pub pending: i64,
    /// Rows that are deferred.
    pub deferred: i64,
}

/// How far one campaign is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// Where the next page of the ERP starts; none is the first.
    pub erp_cursor: Option<String>,
    /// Whether the ERP has named everyone.
    pub audience_complete: bool,
    /// The seq of the next row.
    pub next_seq: Seq,
    /// The round.
    pub generation: Generation,
    /// Where its rows come from.
    pub pass: Pass,
    /// The round's rows lie behind this one.
    pub round_start_seq: Seq,
    /// The last row of the round that was appended to the lane.
    pub enqueued_seq: Seq,
    /// The control version that the lane follows.
    pub control_applied: i64,
    /// The trace context of the tick that started it; empty when not sampled.
    pub trace: String,
}

/// Starts keeping a ledger for each of these campaigns that is `SENDING`. Harmless, and nothing is written, where one is
/// kept already; for a campaign that was cancelled before anyone took it up, none is begun.
///
/// `trace` is the trace context of what started them, or empty.
pub async fn create(
    connection: &mut Connection,
    campaigns: &[CampaignId],
    lane: &LaneId,
    trace: &str,
) -> Result<()> {
    let ids: Vec<Uuid> = campaigns.iter().map(|campaign| campaign.0).collect();
    sqlx::query(
        "-- dispatches.create
         WITH sending AS (
             SELECT id FROM campaigns
             WHERE id = ANY((SELECT $1::uuid[])::uuid[]) AND phone_number_id = $2 AND status = 'SENDING'
                 AND finished_at IS NULL AND NOT EXISTS (SELECT FROM dispatches WHERE dispatches.campaign = id)
             ORDER BY id FOR SHARE
         ), dispatch AS (
             INSERT INTO dispatches (campaign, lane, trace) SELECT id, $2, $3 FROM sending ON CONFLICT DO NOTHING
         )
         INSERT INTO campaign_counters (campaign) SELECT id FROM sending ON CONFLICT DO NOTHING",
    )
    .bind(ids)
    .bind(lane.as_str())
    .bind(trace)
    .execute(connection)
    .await?;
    Ok(())
}

/// What people decided, and WhatsApp reported, about a lane as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneSettings {
    /// Messages a second: the lower of what is configured and what WhatsApp reported.
    pub ceiling_per_second: i32,
    /// Whether anything may be sent from it.
    pub active: bool,
    /// The portfolio that its messages count for, if it has a limit.
    pub limited_portfolio: Option<String>,
}

/// What there is to do in a lane, and under which settings.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneWork {
    /// As they were at the same moment.
    pub settings: LaneSettings,
    /// The unfinished campaigns, and finished ones about which something was asked.
    pub campaigns: Vec<Work>,
    /// Started campaigns that nobody keeps a ledger for yet.
    pub missing: Vec<CampaignId>,
}

/// What there is to do in a lane. Holds whose time is over no longer count.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such number.
pub async fn work(connection: &mut Connection, lane: &LaneId) -> Result<LaneWork> {
    let rows = sqlx::query(
        "-- dispatches.work
         SELECT LEAST(n.throughput_per_second, n.reported_throughput_per_second) AS ceiling_per_second, n.active,
             p.portfolio_id AS limited_portfolio, work.*
         FROM phone_numbers AS n
         LEFT JOIN business_accounts AS a ON a.id = n.account_id
         LEFT JOIN portfolios AS p ON p.portfolio_id = a.portfolio_id
             AND LEAST(p.messaging_limit, p.reported_limit) IS NOT NULL
         LEFT JOIN (
             SELECT c.phone_number_id, c.id, c.status::text, c.priority::text, c.expires_at, c.on_uncertain::text,
                 c.control_version,
                 EXISTS (SELECT 1 FROM campaign_holds AS h WHERE h.campaign = c.id AND h.kind <> 'daily_limit'
                         AND (h.until IS NULL OR h.until > clock_timestamp()))
                 OR EXISTS (SELECT 1 FROM lane_holds AS h WHERE h.lane = c.phone_number_id
                         AND (h.until IS NULL OR h.until > clock_timestamp())) AS held,
                 EXISTS (SELECT 1 FROM campaign_holds AS h WHERE h.campaign = c.id AND h.kind = 'daily_limit')
                     AS waits_for_limit,
                 EXISTS (SELECT 1 FROM requests AS r WHERE r.campaign = c.id AND r.applied_at IS NULL)
                     AS requests_waiting,
                 (SELECT min(due) FROM again WHERE again.campaign = c.id AND again.round IS NULL) AS next_again,
                 c.finished_at IS NOT NULL AS finished, d.campaign IS NULL AS missing, d.erp_cursor,
                 d.audience_complete, d.next_seq, d.generation, d.pass, d.round_start_seq, d.enqueued_seq,
                 d.control_applied, d.trace, counters.pending, counters.deferred
             FROM campaigns AS c
             LEFT JOIN dispatches AS d ON d.campaign = c.id
             LEFT JOIN campaign_counters AS counters ON counters.campaign = d.campaign
             WHERE c.id IN (
                 SELECT id FROM campaigns WHERE phone_number_id = $1 AND finished_at IS NULL
                     AND status IN ('SENDING', 'COMPLETED', 'CANCELLED', 'FAILED')
                 UNION
                 SELECT r.campaign FROM requests AS r JOIN campaigns AS asked ON asked.id = r.campaign
                 WHERE r.applied_at IS NULL AND asked.phone_number_id = $1)
                 AND (d.campaign IS NOT NULL OR c.status = 'SENDING' AND c.finished_at IS NULL)
         ) AS work ON work.phone_number_id = n.phone_number_id
         WHERE n.phone_number_id = $1
         ORDER BY work.id",
    )
    .bind(lane.as_str())
    .fetch_all(connection)
    .await?;
    let first = rows.first().ok_or_else(|| StoreError::NotFound {
        what: "phone number",
        id: lane.to_string(),
    })?;
    let mut work = LaneWork {
        settings: read_settings(first)?,
        campaigns: Vec::with_capacity(rows.len()),
        missing: Vec::new(),
    };
    for row in &rows {
        // None if there is no work: then the settings stand alone.
        match row.try_get("missing")? {
            Some(true) => work.missing.push(CampaignId(row.try_get("id")?)),
            Some(false) => work.campaigns.push(read_work(row)?),
            None => {}
        }
    }
    Ok(work)
}

fn read_settings(row: &PgRow) -> Result<LaneSettings> {
    Ok(LaneSettings {
        ceiling_per_second: row.try_get("ceiling_per_second")?,
        active: row.try_get("active")?,
        limited_portfolio: row.try_get("limited_portfolio")?,
    })
}

fn read_work(row: &PgRow) -> Result<Work> {
    Ok(Work {
        campaign: CampaignId(row.try_get("id")?),
        status: read::text(row, "status")?,
        priority: read::text(row, "priority")?,
        expires_at: row.try_get("expires_at")?,
        on_uncertain: read::text(row, "on_uncertain")?,
        held: row.try_get("held")?,
        waits_for_limit: row.try_get("waits_for_limit")?,
        control_version: row.try_get("control_version")?,
        requests_waiting: row.try_get("requests_waiting")?,
        next_again: row.try_get("next_again")?,
        finished: row.try_get("finished")?,
        dispatch: read_dispatch(row)?,
        pending: row.try_get("pending")?,
        deferred: row.try_get("deferred")?,
    })
}

fn read_dispatch(row: &PgRow) -> Result<Dispatch> {
    Ok(Dispatch {
        erp_cursor: row.try_get("erp_cursor")?,
        audience_complete: row.try_get("audience_complete")?,
        next_seq: Seq(row.try_get("next_seq")?),
        generation: Generation(row.try_get("generation")?),
        pass: read::text(row, "pass")?,
        round_start_seq: Seq(row.try_get("round_start_seq")?),
        enqueued_seq: Seq(row.try_get("enqueued_seq")?),
        control_applied: row.try_get("control_applied")?,
        trace: row.try_get("trace")?,
    })
}

/// One dispatch, locked until the transaction ends.
pub async fn lock(connection: &mut Connection, campaign: CampaignId) -> Result<Dispatch> {
    let row = sqlx::query(
        "-- dispatches.lock
         SELECT erp_cursor, audience_complete, next_seq, generation, pass, round_start_seq, enqueued_seq, control_applied, trace
         FROM dispatches WHERE campaign = $1 FOR UPDATE",
    )
    .bind(campaign.0)
    .fetch_one(connection)
    .await?;
    read_dispatch(&row)
}

/// One dispatch, as it is now.
pub async fn get(connection: &mut Connection, campaign: CampaignId) -> Result<Dispatch> {
    let row = sqlx::query(
        "-- dispatches.get
         SELECT erp_cursor, audience_complete, next_seq, generation, pass, round_start_seq, enqueued_seq,
             control_applied, trace
         FROM dispatches WHERE campaign = $1",
    )
    .bind(campaign.0)
    .fetch_one(connection)
    .await?;
    read_dispatch(&row)
}

/// Records how far the audience is. The caller has locked the campaign: only one at a time moves the audience on, while
/// the other columns have other writers.
pub async fn save_audience(
    connection: &mut Connection,
    campaign: CampaignId,
    erp_cursor: Option<&str>,
    complete: bool,
    next_seq: Seq,
) -> Result<()> {
    sqlx::query(
        "-- dispatches.save_audience
         UPDATE dispatches SET erp_cursor = $2, audience_complete = $3, next_seq = $4 WHERE campaign = $1",
    )
    .bind(campaign.0)
    .bind(erp_cursor)
    .bind(complete)
    .bind(next_seq.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records the last row of a round that was appended. In one statement with the fence, since it is done for each
/// batch.
///
/// # Errors
/// [`StoreError::LeaseLost`] when the lane has another owner.
pub async fn save_enqueued(
    connection: &mut Connection,
    lease: &Lease,
    campaign: CampaignId,
    generation: Generation,
    enqueued: Seq,
) -> Result<()> {
    let row = sqlx::query(
        "-- dispatches.save_enqueued
         WITH fence AS (
             SELECT 1 FROM lanes WHERE lane = $4 AND epoch = $5 FOR KEY SHARE
         ), saved AS (
             UPDATE dispatches SET enqueued_seq = $3
             WHERE campaign = $1 AND generation = $2 AND enqueued_seq < $3 AND EXISTS (SELECT 1 FROM fence)
         )
         SELECT EXISTS (SELECT 1 FROM fence) AS ours",
    )
    .bind(campaign.0)
    .bind(generation.0)
    .bind(enqueued.0)
    .bind(lease.lane.as_str())
    .bind(lease.epoch)
    .fetch_one(connection)
    .await?;
    if row.try_get("ours")? {
        Ok(())
    } else {
        Err(lanes::lost(lease))
    }
}

/// Records the control version that the lane follows.
pub async fn save_control(connection: &mut Connection, campaign: CampaignId, version: i64) -> Result<()> {
    sqlx::query(
        "-- dispatches.save_control
         UPDATE dispatches SET control_applied = $2 WHERE campaign = $1 AND control_applied < $2",
    )
    .bind(campaign.0)
    .bind(version)
    .execute(connection)
    .await?;
    Ok(())
}

/// Begins a round: what is fed from here on is of `generation`, starting behind `start`.
pub async fn begin_round(
    connection: &mut Connection,
    campaign: CampaignId,
    generation: Generation,
    pass: Pass,
    start: Seq,
) -> Result<()> {
    sqlx::query(
        "-- dispatches.begin_round
         UPDATE dispatches SET generation = $2, pass = $3, round_start_seq = $4, enqueued_seq = $4
         WHERE campaign = $1",
    )
    .bind(campaign.0)
    .bind(generation.0)
    .bind(pass.as_str())
    .bind(start.0)
    .execute(connection)
    .await?;
    Ok(())
}
