//! The audit log: who changed what. Written in the transaction of the change, so neither is without the other.

use crate::{Connection, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Row;

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its position in the log.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Name of the API key, or of the service, that made it.
    pub actor: String,
    /// What was done, as in `campaign.pause`.
    pub action: String,
    /// To what, as in `campaign:<id>`.
    pub subject: String,
    /// What was decided. Never a secret, nor a phone number in clear.
    pub details: Value,
}

/// Which entries a list shows.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// About this subject.
    pub subject: Option<String>,
    /// Before this position.
    pub before: Option<i64>,
}

/// Writes an entry.
pub async fn record(
    connection: &mut Connection,
    actor: &str,
    action: &str,
    subject: &str,
    details: &Value,
) -> Result<()> {
    sqlx::query(
        "-- audit.record
         INSERT INTO audit_log (actor, action, subject, details) VALUES ($1, $2, $3, $4)",
    )
    .bind(actor)
    .bind(action)
    .bind(subject)
    .bind(details)
    .execute(connection)
    .await?;
    Ok(())
}

/// Entries, newest first.
pub async fn list(connection: &mut Connection, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditEntry>> {
    let rows = sqlx::query(
        "-- audit.list
         SELECT id, at, actor, action, subject, details FROM audit_log
         WHERE ($1::bigint IS NULL OR id < $1)
           AND ($2::text IS NULL OR actor = $2)
           AND ($3::text IS NULL OR action = $3)
           AND ($4::text IS NULL OR subject = $4)
         ORDER BY id DESC LIMIT $5",
    )
    .bind(filter.before)
    .bind(&filter.actor)
    .bind(&filter.action)
    .bind(&filter.subject)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(AuditEntry {
                id: row.try_get("id")?,
                at: row.try_get("at")?,
                actor: row.try_get("actor")?,
                action: row.try_get("action")?,
                subject: row.try_get("subject")?,
                details: row.try_get("details")?,
            })
        })
        .collect()
}
