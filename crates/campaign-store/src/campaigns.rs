//! Campaigns: what people decided, where each stands, and the one function that moves it on.

use crate::{Connection, Result, StoreError, read, templates};
use campaign_core::campaign::{Campaign, CampaignStatus, IllegalTransition};
use campaign_core::ids::{AccountId, CampaignId, LaneId, TemplateId};
use campaign_core::template::Template;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::time::Duration;
use uuid::Uuid;

/// Writes a new campaign, as it is.
pub async fn create(connection: &mut Connection, campaign: &Campaign) -> Result<()> {
    sqlx::query(
        "-- campaigns.create
         INSERT INTO campaigns (id, name, template_id, account_id, phone_number_id, audience, mapping, priority,
             scheduled_at, time_zone, expires_at, misfire_policy, on_uncertain, status, status_reason,
             started_at, finished_at, created_by, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::campaign_priority, $9, $10, $11, $12::misfire_policy,
             $13::on_uncertain, $14::campaign_status, $15, $16, $17, $18, $19, $20)",
    )
    .bind(campaign.id.0)
    .bind(&campaign.name)
    .bind(campaign.template_id.0)
    .bind(campaign.account_id.0)
    .bind(campaign.phone_number_id.as_str())
    .bind(read::to_json(&campaign.audience))
    .bind(read::to_json(&campaign.mapping))
    .bind(campaign.priority.as_str())
    .bind(campaign.scheduled_at)
    .bind(&campaign.time_zone)
    .bind(campaign.expires_at)
    .bind(campaign.misfire_policy.as_str())
    .bind(campaign.on_uncertain.as_str())
    .bind(campaign.status.as_str())
    .bind(&campaign.status_reason)
    .bind(campaign.started_at)
    .bind(campaign.finished_at)
    .bind(&campaign.created_by)
    .bind(campaign.created_at)
    .bind(campaign.updated_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Replaces what people may decide until the campaign starts. Status and times of its life stay.
///
/// # Errors
/// [`StoreError::Conflict`] when it has started (or ended) in the meantime.
pub async fn replace_decisions(connection: &mut Connection, campaign: &Campaign) -> Result<()> {
    let done = sqlx::query(
        "-- campaigns.replace_decisions
         UPDATE campaigns SET name = $2, template_id = $3, account_id = $4, phone_number_id = $5, audience = $6,
             mapping = $7, priority = $8::campaign_priority, scheduled_at = $9, time_zone = $10, expires_at = $11,
             misfire_policy = $12::misfire_policy, on_uncertain = $13::on_uncertain, updated_at = now()
         WHERE id = $1 AND status IN ('DRAFT', 'SCHEDULED')",
    )
    .bind(campaign.id.0)
    .bind(&campaign.name)
    .bind(campaign.template_id.0)
    .bind(campaign.account_id.0)
    .bind(campaign.phone_number_id.as_str())
    .bind(read::to_json(&campaign.audience))
    .bind(read::to_json(&campaign.mapping))
    .bind(campaign.priority.as_str())
    .bind(campaign.scheduled_at)
    .bind(&campaign.time_zone)
    .bind(campaign.expires_at)
    .bind(campaign.misfire_policy.as_str())
    .bind(campaign.on_uncertain.as_str())
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Conflict(
            "the campaign has started; it can no longer be edited".to_owned(),
        ));
    }
    Ok(())
}

/// One campaign.
pub async fn get(connection: &mut Connection, id: CampaignId) -> Result<Campaign> {
    by_ids(connection, &[id.0])
        .await?
        .pop()
        .ok_or_else(|| not_found(id))
}

/// One campaign, locked until the transaction ends, so that what is decided from its state stays true.
pub async fn get_for_update(connection: &mut Connection, id: CampaignId) -> Result<Campaign> {
    lock(&mut *connection, id).await?;
    get(connection, id).await
}

/// One campaign and the version of the template that it sends.
pub async fn get_with_template(connection: &mut Connection, id: CampaignId) -> Result<(Campaign, Template)> {
    let campaign = get(&mut *connection, id).await?;
    let template = templates::get(connection, campaign.template_id).await?;
    Ok((campaign, template.template))
}

/// Moves a campaign to another status, if the table of `campaign-core` has the step, and records it in
/// the campaign's history. Returns the status before.
///
/// # Errors
/// [`StoreError::IllegalTransition`], which says what is allowed; [`StoreError::NotFound`].
pub async fn set_status(
    connection: &mut Connection,
    id: CampaignId,
    to: CampaignStatus,
    reason: Option<&str>,
) -> Result<CampaignStatus> {
    let from = lock(&mut *connection, id).await?;
    if !from.allows(to) {
        return Err(IllegalTransition { from, to }.into());
    }
    sqlx::query(
        "-- campaigns.set_status
         WITH changed AS (
             UPDATE campaigns
             SET status = $2::campaign_status, status_reason = $3, updated_at = now(),
                 started_at = CASE WHEN $2::text = 'SENDING' THEN clock_timestamp() ELSE started_at END,
                 -- The lane has to act on what ends a campaign.
                 control_version = control_version
                     + CASE WHEN $2::text IN ('CANCELLED', 'FAILED') THEN 1 ELSE 0 END
             WHERE id = $1
         )
         INSERT INTO campaign_changes (campaign, at, status_before, status_after, reason)
         VALUES ($1, clock_timestamp(), $4::campaign_status, $2::campaign_status, $3)",
    )
    .bind(id.0)
    .bind(to.as_str())
    .bind(reason)
    .bind(from.as_str())
    .execute(connection)
    .await?;
    Ok(from)
}

/// Records when nothing was left to do, or that there is something again.
pub async fn set_finished(
    connection: &mut Connection,
    id: CampaignId,
    finished_at: Option<DateTime<Utc>>,
) -> Result<()> {
    let done = sqlx::query(
        "-- campaigns.set_finished
         UPDATE campaigns SET finished_at = $2, updated_at = now() WHERE id = $1",
    )
    .bind(id.0)
    .bind(finished_at)
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        Err(not_found(id))
    } else {
        Ok(())
    }
}

/// Locks up to `limit` campaigns that are due at `now`, earliest first, passing over those that another
/// scheduler has locked. They stay locked until the transaction ends.
pub async fn claim_due(connection: &mut Connection, now: DateTime<Utc>, limit: i64) -> Result<Vec<Campaign>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "-- campaigns.claim_due
         SELECT id FROM campaigns
         WHERE status = 'SCHEDULED' AND scheduled_at <= $1
         ORDER BY scheduled_at
         LIMIT $2
         FOR UPDATE SKIP LOCKED",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    by_ids(connection, &ids).await
}

/// Campaigns that are `SENDING` for `longer_than` although no sender has taken them up: their announcement was lost,
/// or senders are slow.
pub async fn sending_without_dispatch(
    connection: &mut Connection,
    longer_than: Duration,
    limit: i64,
) -> Result<Vec<Campaign>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "-- campaigns.sending_without_dispatch
         SELECT id FROM campaigns
         WHERE status = 'SENDING' AND finished_at IS NULL
           AND NOT EXISTS (SELECT FROM dispatches WHERE dispatches.campaign = campaigns.id)
           AND started_at <= clock_timestamp() - make_interval(secs => $2)
         ORDER BY started_at
         LIMIT $1",
    )
    .bind(limit)
    .bind(longer_than.as_secs_f64())
    .fetch_all(&mut *connection)
    .await?;
    by_ids(connection, &ids).await
}

/// Campaigns that wait for their time or are being sent, with one of these versions of a template.
pub async fn of_templates(connection: &mut Connection, templates: &[TemplateId]) -> Result<Vec<Campaign>> {
    let templates: Vec<Uuid> = templates.iter().map(|id| id.0).collect();
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "-- campaigns.of_templates
         SELECT id FROM campaigns
         WHERE template_id = ANY($1) AND finished_at IS NULL AND status IN ('SCHEDULED', 'SENDING', 'COMPLETED')
         ORDER BY id",
    )
    .bind(&templates)
    .fetch_all(&mut *connection)
    .await?;
    by_ids(connection, &ids).await
}

/// When the next campaign is due; in the past if one is waiting to be claimed.
pub async fn next_scheduled_at(connection: &mut Connection) -> Result<Option<DateTime<Utc>>> {
    let next = sqlx::query_scalar(
        "-- campaigns.next_scheduled_at
         SELECT min(scheduled_at) FROM campaigns WHERE status = 'SCHEDULED'",
    )
    .fetch_one(connection)
    .await?;
    Ok(next)
}

/// Which campaigns a list shows.
#[derive(Debug, Clone, Default)]
pub struct CampaignFilter {
    /// In this stored status.
    pub status: Option<CampaignStatus>,
    /// Running, and under a hold (true) or under none (false).
    pub paused: Option<bool>,
    /// Sent from this number.
    pub phone_number_id: Option<LaneId>,
    /// Older than this one.
    pub before: Option<CampaignId>,
}

/// Campaigns, newest first.
pub async fn list(connection: &mut Connection, filter: &CampaignFilter, limit: i64) -> Result<Vec<Campaign>> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "-- campaigns.list
         SELECT id FROM campaigns
         WHERE ($1::uuid IS NULL OR id < $1)
           AND ($2::text IS NULL OR status = $2::campaign_status)
           AND ($3::text IS NULL OR phone_number_id = $3)
           AND ($4::boolean IS NULL OR $4 = (finished_at IS NULL AND status IN ('SENDING', 'COMPLETED') AND (
                   EXISTS (SELECT FROM campaign_holds
                           WHERE campaign = campaigns.id AND (until IS NULL OR until > clock_timestamp()))
                OR EXISTS (SELECT FROM lane_holds
                           WHERE lane = phone_number_id AND (until IS NULL OR until > clock_timestamp())))))
         ORDER BY id DESC
         LIMIT $5",
    )
    .bind(filter.before.map(|id| id.0))
    .bind(filter.status.map(CampaignStatus::as_str))
    .bind(filter.phone_number_id.as_ref().map(LaneId::as_str))
    .bind(filter.paused)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let mut campaigns = by_ids(connection, &ids).await?;
    campaigns.sort_unstable_by_key(|campaign| std::cmp::Reverse(campaign.id));
    Ok(campaigns)
}

/// How many campaigns are in each status, and how many of the running ones are under a hold.
pub async fn count_by_status(connection: &mut Connection) -> Result<Vec<(CampaignStatus, bool, i64)>> {
    let rows = sqlx::query(
        "-- campaigns.count_by_status
         SELECT status::text AS status, finished_at IS NULL AND status IN ('SENDING', 'COMPLETED') AND (
                   EXISTS (SELECT FROM campaign_holds
                           WHERE campaign = campaigns.id AND (until IS NULL OR until > clock_timestamp()))
                OR EXISTS (SELECT FROM lane_holds
                           WHERE lane = phone_number_id AND (until IS NULL OR until > clock_timestamp()))) AS paused,
                count(*) AS campaigns
         FROM campaigns GROUP BY 1, 2",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((
                read::text(row, "status")?,
                row.try_get("paused")?,
                row.try_get("campaigns")?,
            ))
        })
        .collect()
}

/// How far the lane's owner follows what people decided about a running campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Raised with every hold, lift and cancel.
    pub version: i64,
    /// The version that the lane follows; `None` until a sender has taken the campaign up.
    pub applied: Option<i64>,
}

/// Reads how far the lane follows.
pub async fn control(connection: &mut Connection, id: CampaignId) -> Result<Control> {
    let row = sqlx::query(
        "-- campaigns.control
         SELECT campaigns.control_version, dispatches.control_applied
         FROM campaigns LEFT JOIN dispatches ON dispatches.campaign = campaigns.id
         WHERE campaigns.id = $1",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| not_found(id))?;
    Ok(Control {
        version: row.try_get("control_version")?,
        applied: row.try_get("control_applied")?,
    })
}

/// One step in the life of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    /// When.
    pub at: DateTime<Utc>,
    /// The status before.
    pub from: CampaignStatus,
    /// The status after.
    pub to: CampaignStatus,
    /// Why, where someone said so.
    pub reason: Option<String>,
}

/// Every change of status, oldest first. The table of states has no way back except to `DRAFT`, so a
/// campaign has few; `limit` binds those that were rescheduled without end.
pub async fn status_changes(
    connection: &mut Connection,
    id: CampaignId,
    limit: i64,
) -> Result<Vec<StatusChange>> {
    let rows = sqlx::query(
        "-- campaigns.status_changes
         SELECT at, status_before::text AS status_before, status_after::text AS status_after, reason
         FROM campaign_changes WHERE campaign = $1 ORDER BY id LIMIT $2",
    )
    .bind(id.0)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(StatusChange {
                at: row.try_get("at")?,
                from: read::text(row, "status_before")?,
                to: read::text(row, "status_after")?,
                reason: row.try_get("reason")?,
            })
        })
        .collect()
}

/// Locks a campaign until the transaction ends, so that it keeps its status, which is returned.
pub async fn lock(connection: &mut Connection, id: CampaignId) -> Result<CampaignStatus> {
    let row = sqlx::query(
        "-- campaigns.lock
         SELECT status::text AS status FROM campaigns WHERE id = $1 FOR UPDATE",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| not_found(id))?;
    read::text(&row, "status")
}

/// The campaigns with these ids, in this order.
async fn by_ids(connection: &mut Connection, ids: &[Uuid]) -> Result<Vec<Campaign>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "-- campaigns.by_ids
         SELECT id, name, template_id, account_id, phone_number_id, audience, mapping, priority::text AS priority,
             scheduled_at, time_zone, expires_at, misfire_policy::text AS misfire_policy,
             on_uncertain::text AS on_uncertain, status::text AS status, status_reason, started_at, finished_at,
             created_by, created_at, updated_at
         FROM unnest((SELECT $1::uuid[])) WITH ORDINALITY AS wanted (id, position) JOIN campaigns USING (id)
         ORDER BY position",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &PgRow) -> Result<Campaign> {
    Ok(Campaign {
        id: CampaignId(row.try_get("id")?),
        name: row.try_get("name")?,
        template_id: TemplateId(row.try_get("template_id")?),
        account_id: AccountId(row.try_get("account_id")?),
        phone_number_id: read::text(row, "phone_number_id")?,
        audience: read::json(row, "audience")?,
        mapping: read::json(row, "mapping")?,
        priority: read::text(row, "priority")?,
        scheduled_at: row.try_get("scheduled_at")?,
        time_zone: row.try_get("time_zone")?,
        expires_at: row.try_get("expires_at")?,
        misfire_policy: read::text(row, "misfire_policy")?,
        on_uncertain: read::text(row, "on_uncertain")?,
        status: read::text(row, "status")?,
        status_reason: row.try_get("status_reason")?,
        finished_at: row.try_get("finished_at")?,
        created_at: row.try_get("created_at")?,
        created_by: row.try_get("created_by")?,
        updated_at: row.try_get("updated_at")?,
        started_at: row.try_get("started_at")?,
    })
}

fn not_found(id: CampaignId) -> StoreError {
    StoreError::NotFound {
        what: "campaign",
        id: id.to_string(),
    }
}
