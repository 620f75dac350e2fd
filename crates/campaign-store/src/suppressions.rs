//! Suppressions: people who are not to be messaged.
//!
//! Wishes come twice and in any order. The later one holds: a suppression keeps the time of the last stop, and
//! `opt_ins` that of the last time that a person allowed messages again.

use crate::{Connection, Result};
use campaign_core::phone::CanonicalPhone;
use chrono::{DateTime, Utc};
use sqlx::Row;
use std::collections::HashSet;

/// A person who is not to be messaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Who.
    pub phone: CanonicalPhone,
    /// Why, for people.
    pub reason: String,
    /// Who said so: `whatsapp`, `erp`, `api`.
    pub source: String,
    /// The ERP's id of the customer, where known.
    pub customer_id: Option<String>,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// Adds people, but for those who have allowed messages again since. Of one who is there already only the time is
/// raised, so that an older wish cannot undo it. Returns how many are suppressed now.
pub async fn add(connection: &mut Connection, suppressions: &[Suppression]) -> Result<u64> {
    let mut sorted: Vec<&Suppression> = suppressions.iter().collect();
    sorted.sort_by_key(|suppression| suppression.phone.to_string());
    sorted.dedup_by(|one, other| one.phone == other.phone);
    let done = sqlx::query(
        "-- suppressions.add
         INSERT INTO suppressions (phone, reason, source, customer_id, created_at)
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
             AS u (phone, reason, source, customer_id, created_at)
         WHERE NOT EXISTS (SELECT 1 FROM opt_ins WHERE opt_ins.phone = u.phone AND opt_ins.at >= u.created_at)
         ON CONFLICT (phone) DO UPDATE
         SET created_at = GREATEST(suppressions.created_at, EXCLUDED.created_at)",
    )
    .bind(sorted.iter().map(|row| row.phone.to_string()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|row| row.reason.clone()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|row| row.source.clone()).collect::<Vec<_>>())
    .bind(
        sorted
            .iter()
            .map(|row| row.customer_id.clone())
            .collect::<Vec<_>>(),
    )
    .bind(sorted.iter().map(|row| row.created_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Removes a person who said so at `at`. Returns whether there was one; a later opt-out stands.
pub async fn remove(connection: &mut Connection, phone: &CanonicalPhone, at: DateTime<Utc>) -> Result<bool> {
    sqlx::query(
        "-- suppressions.opt_in
         INSERT INTO opt_ins (phone, at) VALUES ($1, $2)
         ON CONFLICT (phone) DO UPDATE SET at = GREATEST(opt_ins.at, EXCLUDED.at)",
    )
    .bind(phone.to_string())
    .bind(at)
    .execute(&mut *connection)
    .await?;
    let done = sqlx::query(
        "-- suppressions.remove
DELETE FROM suppressions WHERE phone = $1 AND created_at <= $2",
    )
    .bind(phone.to_string())
    .bind(at)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Which of these people are suppressed.
pub async fn among(
    connection: &mut Connection,
    phones: &[CanonicalPhone],
) -> Result<HashSet<CanonicalPhone>> {
    let phones: Vec<String> = phones.iter().map(ToString::to_string).collect();
    let rows = sqlx::query("-- suppressions.among\nSELECT phone FROM suppressions WHERE phone = ANY($1)")
        .bind(phones)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| crate::read::text(row, "phone")).collect()
}

/// Up to `limit` people behind `after`, in the order of their numbers.
pub async fn list(
    connection: &mut Connection,
    after: Option<&CanonicalPhone>,
    limit: i64,
) -> Result<Vec<Suppression>> {
    let rows = sqlx::query(
        "-- suppressions.list
         SELECT phone, reason, source, customer_id, created_at FROM suppressions
         WHERE phone > $1 ORDER BY phone LIMIT $2",
    )
    .bind(after.map(ToString::to_string).unwrap_or_default())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Suppression {
                phone: crate::read::text(row, "phone")?,
                reason: row.try_get("reason")?,
                source: row.try_get("source")?,
                customer_id: row.try_get("customer_id")?,
                created_at: row.try_get("created_at")?,
            })
        })
        .collect()
}
