//! Holds: why a campaign, or everything on a lane, is not sent at the moment.
//!
//! A hold whose `until` has passed no longer stands, whether or not anybody removed its row.
//!
//! Raising or lifting one raises `campaigns.control_version` of every campaign it touches, so that the
//! lane's owner sees that there is something to apply. Campaign rows are locked before hold rows, always, so
//! that people and senders who raise and lift at the same time cannot deadlock.

use crate::{Connection, Result, read};
use campaign_core::campaign::HoldKind;
use campaign_core::ids::{CampaignId, LaneId};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use uuid::Uuid;

/// What a hold stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldScope {
    /// One campaign.
    Campaign,
    /// Everything that is sent from the campaign's number.
    Lane,
}

/// A hold that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What it stands on.
    pub scope: HoldScope,
    /// Its cause.
    pub kind: HoldKind,
    /// Why, for people.
    pub reason: String,
    /// Who raised it: a service, or an API key's name.
    pub raised_by: String,
    /// Since when it stands.
    pub since: DateTime<Utc>,
    /// When its cause is expected to be over, where that is known.
    pub until: Option<DateTime<Utc>>,
}

/// Every hold that keeps this campaign from being sent: its own and its lane's.
pub async fn of_campaign(connection: &mut Connection, campaign: CampaignId) -> Result<Vec<Hold>> {
    Ok(of_campaigns(connection, &[campaign])
        .await?
        .remove(&campaign)
        .unwrap_or_default())
}

/// Every hold of these campaigns, their lanes' included. A campaign under none is not in the map.
pub async fn of_campaigns(
    connection: &mut Connection,
    campaigns: &[CampaignId],
) -> Result<HashMap<CampaignId, Vec<Hold>>> {
    let ids: Vec<Uuid> = campaigns.iter().map(|id| id.0).collect();
    let rows = sqlx::query(
        "-- holds.of_campaigns
         SELECT campaign, false AS of_lane, kind, reason, raised_by, since, until
         FROM campaign_holds WHERE campaign = ANY((SELECT $1::uuid[])::uuid[]) AND (until IS NULL OR until > clock_timestamp())
         UNION ALL
         SELECT campaigns.id, true, lane_holds.kind, lane_holds.reason, raised_by, since, until
         FROM campaigns JOIN lane_holds ON lane_holds.lane = campaigns.phone_number_id
         WHERE campaigns.id = ANY((SELECT $1::uuid[])::uuid[]) AND (until IS NULL OR until > clock_timestamp())
         ORDER BY since, kind",
    )
    .bind(&ids)
    .fetch_all(connection)
    .await?;
    let mut holds: HashMap<CampaignId, Vec<Hold>> = HashMap::new();
    for row in &rows {
        let scope = if row.try_get("of_lane")? {
            HoldScope::Lane
        } else {
            HoldScope::Campaign
        };
        holds
            .entry(CampaignId(row.try_get("campaign")?))
            .or_default()
            .push(from_row(row, scope)?);
    }
    Ok(holds)
}

/// The holds on a lane.
pub async fn of_lane(connection: &mut Connection, lane: &LaneId) -> Result<Vec<Hold>> {
    let rows = sqlx::query(
        "-- holds.of_lane
         SELECT kind, reason, raised_by, since, until FROM lane_holds
         WHERE lane = $1 AND (until IS NULL OR until > clock_timestamp())
         ORDER BY since, kind",
    )
    .bind(lane.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| from_row(row, HoldScope::Lane)).collect()
}

/// Raises a hold on a campaign, or renews its reason and end. Returns whether that changed anything: a campaign that
/// is not known here (an account's webhooks may be about another installation's) has no holds.
pub async fn raise_campaign(
    connection: &mut Connection,
    campaign: CampaignId,
    kind: HoldKind,
    reason: &str,
    raised_by: &str,
    until: Option<DateTime<Utc>>,
) -> Result<bool> {
    lock_campaign(&mut *connection, campaign).await?;
    let bumped = sqlx::query(
        "-- holds.raise_campaign
         WITH raised AS (
             INSERT INTO campaign_holds AS held (campaign, kind, reason, raised_by, until)
             SELECT id, $2::text, $3::text, $4::text, $5::timestamptz FROM campaigns WHERE id = $1
             ON CONFLICT (campaign, kind) DO UPDATE SET reason = EXCLUDED.reason, until = EXCLUDED.until
             WHERE (held.reason, held.until) IS DISTINCT FROM (EXCLUDED.reason, EXCLUDED.until)
             RETURNING campaign
         )
         UPDATE campaigns SET control_version = control_version + 1, updated_at = now()
         FROM raised WHERE campaigns.id = raised.campaign",
    )
    .bind(campaign.0)
    .bind(kind.as_str())
    .bind(reason)
    .bind(raised_by)
    .bind(until)
    .execute(connection)
    .await?;
    Ok(bumped.rows_affected() > 0)
}

/// Lifts a hold of one kind from a campaign. Returns whether there was one.
pub async fn lift_campaign(
    connection: &mut Connection,
    campaign: CampaignId,
    kind: HoldKind,
) -> Result<bool> {
    lock_campaign(&mut *connection, campaign).await?;
    lift_locked(connection, campaign, kind).await
}

/// The same, from a campaign that the transaction has locked.
pub async fn lift_locked(connection: &mut Connection, campaign: CampaignId, kind: HoldKind) -> Result<bool> {
    let bumped = sqlx::query(
        "-- holds.lift_campaign
         WITH lifted AS (
             DELETE FROM campaign_holds WHERE campaign = $1 AND kind = $2 RETURNING campaign
         )
         UPDATE campaigns SET control_version = control_version + 1, updated_at = now()
         FROM lifted WHERE campaigns.id = lifted.campaign",
    )
    .bind(campaign.0)
    .bind(kind.as_str())
    .execute(connection)
    .await?;
    Ok(bumped.rows_affected() > 0)
}

/// Raises a hold on a lane, or renews its reason and end. Returns whether that changed anything.
pub async fn raise_lane(
    connection: &mut Connection,
    lane: &LaneId,
    kind: HoldKind,
    reason: &str,
    raised_by: &str,
    until: Option<DateTime<Utc>>,
) -> Result<bool> {
    lock_running(&mut *connection, lane).await?;
    let changed = sqlx::query_scalar(
        "-- holds.raise_lane
         WITH raised AS (
             INSERT INTO lane_holds AS held (lane, kind, reason, raised_by, until)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (lane, kind) DO UPDATE SET reason = EXCLUDED.reason, until = EXCLUDED.until
             WHERE (held.reason, held.until) IS DISTINCT FROM (EXCLUDED.reason, EXCLUDED.until)
             RETURNING lane
         ), bumped AS (
             UPDATE campaigns SET control_version = control_version + 1, updated_at = now()
             FROM raised
             WHERE campaigns.phone_number_id = raised.lane AND finished_at IS NULL
               AND status IN ('SENDING', 'COMPLETED', 'CANCELLED', 'FAILED')
         )
         SELECT EXISTS (SELECT FROM raised)",
    )
    .bind(lane.as_str())
    .bind(kind.as_str())
    .bind(reason)
    .bind(raised_by)
    .bind(until)
    .fetch_one(connection)
    .await?;
    Ok(changed)
}

/// Raises a hold on every lane of a lane's account. Returns whether that changed anything.
pub async fn raise_account(
    connection: &mut Connection,
    lane: &LaneId,
    kind: HoldKind,
    reason: &str,
    raised_by: &str,
) -> Result<bool> {
    // In the order of their ids, so that owners of two of them who meet the same trouble wait in line.
    let lanes = sqlx::query(
        "-- holds.lanes_of_account
         SELECT other.phone_number_id
         FROM phone_numbers AS own JOIN phone_numbers AS other USING (account_id)
         WHERE own.phone_number_id = $1 ORDER BY other.phone_number_id",
    )
    .bind(lane.as_str())
    .fetch_all(&mut *connection)
    .await?;
    let mut changed = false;
    for row in &lanes {
        let lane: LaneId = read::text(row, "phone_number_id")?;
        changed |= raise_lane(&mut *connection, &lane, kind, reason, raised_by, None).await?;
    }
    Ok(changed)
}

/// Lifts a hold of one kind from a lane. Returns whether there was one.
pub async fn lift_lane(connection: &mut Connection, lane: &LaneId, kind: HoldKind) -> Result<bool> {
    lock_running(&mut *connection, lane).await?;
    let changed = sqlx::query_scalar(
        "-- holds.lift_lane
         WITH lifted AS (
             DELETE FROM lane_holds WHERE lane = $1 AND kind = $2 RETURNING lane
         ), bumped AS (
             UPDATE campaigns SET control_version = control_version + 1, updated_at = now()
             FROM lifted
             WHERE campaigns.phone_number_id = lifted.lane AND finished_at IS NULL
               AND status IN ('SENDING', 'COMPLETED', 'CANCELLED', 'FAILED')
         )
         SELECT EXISTS (SELECT FROM lifted)",
    )
    .bind(lane.as_str())
    .bind(kind.as_str())
    .fetch_one(connection)
    .await?;
    Ok(changed)
}

async fn lock_campaign(connection: &mut Connection, campaign: CampaignId) -> Result<()> {
    sqlx::query(
        "-- holds.lock_campaign
         SELECT FROM campaigns WHERE id = $1 FOR UPDATE",
    )
    .bind(campaign.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// In the order of their ids, so that two that lock the same lane's campaigns wait for each other in line.
async fn lock_running(connection: &mut Connection, lane: &LaneId) -> Result<()> {
    sqlx::query(
        "-- holds.lock_running
         SELECT FROM campaigns
         WHERE phone_number_id = $1 AND finished_at IS NULL
           AND status IN ('SENDING', 'COMPLETED', 'CANCELLED', 'FAILED')
         ORDER BY id FOR UPDATE",
    )
    .bind(lane.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

fn from_row(row: &PgRow, scope: HoldScope) -> Result<Hold> {
    Ok(Hold {
        scope,
        kind: read::text(row, "kind")?,
        reason: row.try_get("reason")?,
        raised_by: row.try_get("raised_by")?,
        since: row.try_get("since")?,
        until: row.try_get("until")?,
    })
}
