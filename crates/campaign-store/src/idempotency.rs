//! Answers to POSTs that carried an `Idempotency-Key`.
//!
//! Looking up, changing and keeping the answer are one transaction. A request that dies leaves no trace and
//! can be repeated; there is no state "in progress" that somebody would have to clean up. Two requests with
//! the same key at the same time are told apart by an advisory lock that ends with the transaction.

use crate::{Connection, Result};
use campaign_core::ids::ApiKeyId;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::Row;

/// What is known of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Earlier {
    /// Nothing: the request is new, and the key is ours until the transaction ends.
    Nothing,
    /// Another request with the key is being handled.
    InProgress,
    /// The key was used with another request.
    Other,
    /// The same request was answered so.
    Answered {
        /// HTTP status.
        status: u16,
        /// JSON body.
        body: Value,
    },
}

/// Looks a key up, and takes it for this transaction if it is new. `fingerprint` stands for the request.
pub async fn begin(
    connection: &mut Connection,
    api_key: ApiKeyId,
    key: &str,
    fingerprint: &[u8],
) -> Result<Earlier> {
    let taken: bool = sqlx::query_scalar(
        "-- idempotency.take
         SELECT pg_try_advisory_xact_lock(hashtextextended('idempotency:' || $1 || ':' || $2, 0))",
    )
    .bind(api_key.to_string())
    .bind(key)
    .fetch_one(&mut *connection)
    .await?;
    if !taken {
        return Ok(Earlier::InProgress);
    }
    let row = sqlx::query(
        "-- idempotency.find
         SELECT fingerprint = $3 AS same, status, body FROM idempotency_keys WHERE api_key = $1 AND key = $2",
    )
    .bind(api_key.0)
    .bind(key)
    .bind(fingerprint)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(Earlier::Nothing);
    };
    if !row.try_get::<bool, _>("same")? {
        return Ok(Earlier::Other);
    }
    let status: i16 = row.try_get("status")?;
    Ok(Earlier::Answered {
        status: status.unsigned_abs(),
        body: row.try_get("body")?,
    })
}

/// Keeps the answer, or replaces it by a later one.
pub async fn keep(
    connection: &mut Connection,
    api_key: ApiKeyId,
    key: &str,
    fingerprint: &[u8],
    status: u16,
    body: &Value,
) -> Result<()> {
    sqlx::query(
        "-- idempotency.keep
         INSERT INTO idempotency_keys (api_key, key, fingerprint, status, body) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (api_key, key) DO UPDATE SET status = EXCLUDED.status, body = EXCLUDED.body",
    )
    .bind(api_key.0)
    .bind(key)
    .bind(fingerprint)
    .bind(i16::try_from(status).expect("an HTTP status has three digits"))
    .bind(body)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets up to `limit` answers from before `older_than`. Returns how many.
pub async fn forget(connection: &mut Connection, older_than: DateTime<Utc>, limit: i64) -> Result<u64> {
    let done = sqlx::query(
        "-- idempotency.forget
         DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2))",
    )
    .bind(older_than)
    .bind(limit)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
