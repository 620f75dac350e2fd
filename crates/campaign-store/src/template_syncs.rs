//! When each account's templates are read from WhatsApp: whose turn it is, and what came of it.
//!
//! A replica claims an account for a while; no other reads it until then. Times are Postgres's.

use crate::{Connection, Result, StoreError, read};
use campaign_core::ids::AccountId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::time::Duration;

/// What one reading found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncOutcome {
    /// Templates in the listing.
    pub listed: u64,
    /// Versions that were written: new templates, and changed ones.
    pub written: u64,
    /// Templates whose status changed.
    pub changed: u64,
    /// Templates that were in an earlier listing and are gone.
    pub gone: u64,
    /// Templates that this engine cannot send, and why: some of them.
    pub passed_over: Vec<String>,
}

/// Where the reading of an account stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSync {
    /// The account.
    pub account_id: AccountId,
    /// When it is read next.
    pub next_at: DateTime<Utc>,
    /// Whether somebody is reading.
    pub is_running: bool,
    /// When the last reading began.
    pub started_at: Option<DateTime<Utc>>,
    /// When the last reading ended, well or not.
    pub finished_at: Option<DateTime<Utc>>,
    /// Readings that failed since one did not.
    pub failures: i32,
    /// Why the last one failed.
    pub error: Option<String>,
    /// What the last one that did not fail found.
    pub outcome: SyncOutcome,
}

/// An account whose turn it is, and ours to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The account.
    pub account_id: AccountId,
    /// Meta's id of it.
    pub waba_id: String,
    /// When it was claimed, by Postgres's clock: what changed later is newer than the listing.
    pub claimed_at: DateTime<Utc>,
    /// Readings that failed before.
    pub failures: i32,
    asked: i64,
}

/// Makes the rows of accounts that have none.
pub async fn ensure(connection: &mut Connection) -> Result<()> {
    sqlx::query(
        "-- template_syncs.ensure
         INSERT INTO template_syncs (account_id)
         SELECT id FROM business_accounts
         WHERE NOT EXISTS (SELECT FROM template_syncs WHERE template_syncs.account_id = business_accounts.id)
         ON CONFLICT DO NOTHING",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Claims the account that has waited longest, if any is due and nobody reads it, for `lease`.
pub async fn claim(connection: &mut Connection, lease: Duration) -> Result<Option<Claim>> {
    let row = sqlx::query(
        "-- template_syncs.claim
         UPDATE template_syncs SET lease_until = clock_timestamp() + make_interval(secs => $1),
             started_at = clock_timestamp()
         FROM business_accounts
         WHERE business_accounts.id = template_syncs.account_id AND template_syncs.account_id = (
             SELECT account_id FROM template_syncs
             WHERE next_at <= clock_timestamp() AND lease_until < clock_timestamp()
             ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING template_syncs.account_id, waba_id, started_at, failures, asked",
    )
    .bind(lease.as_secs_f64())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Claim {
            account_id: AccountId(row.try_get("account_id")?),
            waba_id: row.try_get("waba_id")?,
            claimed_at: row.try_get("started_at")?,
            failures: row.try_get("failures")?,
            asked: row.try_get("asked")?,
        })
    })
    .transpose()
}

/// Records what came of a reading and when the next is due: `after`, or `asked_after` if somebody asked meanwhile.
/// Whoever lost the claim in the meantime records nothing.
pub async fn finish(
    connection: &mut Connection,
    claim: &Claim,
    found: std::result::Result<&SyncOutcome, &str>,
    after: Duration,
    asked_after: Duration,
) -> Result<()> {
    sqlx::query(
        "-- template_syncs.finish
         UPDATE template_syncs SET lease_until = '-infinity', finished_at = clock_timestamp(),
             next_at = clock_timestamp() + make_interval(secs => CASE WHEN asked = $3 THEN $4::float8 ELSE $5::float8 END),
             failures = CASE WHEN $6::text IS NULL THEN 0 ELSE failures + 1 END,
             error = $6, outcome = coalesce($7::jsonb, outcome)
         WHERE account_id = $1 AND started_at = $2",
    )
    .bind(claim.account_id.0)
    .bind(claim.claimed_at)
    .bind(claim.asked)
    .bind(after.as_secs_f64())
    .bind(asked_after.min(after).as_secs_f64())
    .bind(found.err())
    .bind(found.ok().map(read::to_json))
    .execute(connection)
    .await?;
    Ok(())
}

/// A person asks: the account is read now.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such account.
pub async fn ask(connection: &mut Connection, account: AccountId) -> Result<()> {
    ensure(&mut *connection).await?;
    let done = sqlx::query(
        "-- template_syncs.ask
         UPDATE template_syncs SET asked = asked + 1, next_at = clock_timestamp() WHERE account_id = $1",
    )
    .bind(account.0)
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound {
            what: "account",
            id: account.to_string(),
        });
    }
    Ok(())
}

/// News came: the account is read soon, but not more often than each `spacing`, and not while it fails.
pub async fn ask_soon(connection: &mut Connection, account: AccountId, spacing: Duration) -> Result<()> {
    sqlx::query(
        "-- template_syncs.ask_soon
         UPDATE template_syncs SET asked = asked + 1, next_at = LEAST(next_at,
             GREATEST(clock_timestamp(), coalesce(finished_at, '-infinity') + make_interval(secs => $2)))
         WHERE account_id = $1 AND failures = 0",
    )
    .bind(account.0)
    .bind(spacing.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(())
}

/// Where each account stands, by account.
pub async fn list(connection: &mut Connection) -> Result<Vec<TemplateSync>> {
    let rows = sqlx::query(
        "-- template_syncs.list
         SELECT account_id, next_at, lease_until > clock_timestamp() AS is_running, started_at, finished_at, failures,
             error, outcome
         FROM template_syncs ORDER BY account_id",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &PgRow) -> Result<TemplateSync> {
    Ok(TemplateSync {
        account_id: AccountId(row.try_get("account_id")?),
        next_at: row.try_get("next_at")?,
        is_running: row.try_get("is_running")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        failures: row.try_get("failures")?,
        error: row.try_get("error")?,
        outcome: read::json(row, "outcome")?,
    })
}
