//! Keys of the REST API. The key itself is never stored, only its SHA-256.

use crate::{Connection, Result, StoreError, read};
use campaign_core::ids::ApiKeyId;
use campaign_core::message::UnknownName;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::str::FromStr;

/// What a key may do. Each role may do everything that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiRole {
    /// Reads.
    Viewer,
    /// Creates, schedules, pauses, resumes and cancels campaigns.
    Supervisor,
    /// Manages keys, accounts, templates and phone numbers.
    Admin,
}

impl ApiRole {
    /// Every role, the least first.
    pub const ALL: &'static [Self] = &[Self::Viewer, Self::Supervisor, Self::Admin];

    /// The name used in Postgres and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for ApiRole {
    type Err = UnknownName;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownName {
                found: text.chars().take(64).collect(),
                known: Self::ALL
                    .iter()
                    .map(|role| role.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

/// SHA-256 of a key.
pub type KeyHash = [u8; 32];

/// What every key starts with, so that people and secret scanners recognise one.
pub const KEY_PREFIX: &str = "ck_";

/// Makes a key of 256 random bits.
pub fn make_key(random: [u8; 32]) -> String {
    format!("{KEY_PREFIX}{}", hex::encode(random))
}

/// What is stored of a key.
pub fn hash_key(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}

/// A key, as far as it is known after its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its name, which the audit log shows.
    pub name: String,
    /// What it may do.
    pub role: ApiRole,
    /// SHA-256 of the key.
    pub key_hash: Vec<u8>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// By the key of this name.
    pub created_by: String,
    /// Since when it is void.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Writes a new key.
pub async fn create(
    connection: &mut Connection,
    id: ApiKeyId,
    name: &str,
    role: ApiRole,
    key_hash: &KeyHash,
    created_by: &str,
) -> Result<()> {
    sqlx::query(
        "-- api_keys.create
         INSERT INTO api_keys (id, name, role, key_hash, created_by) VALUES ($1, $2, $3::api_role, $4, $5)",
    )
    .bind(id.0)
    .bind(name)
    .bind(role.as_str())
    .bind(&key_hash[..])
    .bind(created_by)
    .execute(connection)
    .await?;
    Ok(())
}

/// The key with this hash, unless it was revoked. The caller compares the hashes in constant time.
pub async fn by_hash(connection: &mut Connection, key_hash: &KeyHash) -> Result<Option<ApiKey>> {
    let row = sqlx::query(
        "-- api_keys.by_hash
         SELECT id, name, role::text AS role, key_hash, created_at, created_by, revoked_at
         FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL",
    )
    .bind(&key_hash[..])
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(from_row).transpose()
}

/// Keys, newest first, from before `before`.
pub async fn list(connection: &mut Connection, before: Option<ApiKeyId>, limit: i64) -> Result<Vec<ApiKey>> {
    let rows = sqlx::query(
        "-- api_keys.list
         SELECT id, name, role::text AS role, key_hash, created_at, created_by, revoked_at
         FROM api_keys WHERE ($1::uuid IS NULL OR id < $1)
         ORDER BY id DESC LIMIT $2",
    )
    .bind(before.map(|id| id.0))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

/// Makes a key void. Returns whether it was valid before.
///
/// # Errors
/// [`StoreError::Conflict`] for the last valid admin key: without one nobody could make another.
pub async fn revoke(connection: &mut Connection, id: ApiKeyId) -> Result<bool> {
    let admins = sqlx::query(
        "-- api_keys.lock_admins
         SELECT id FROM api_keys WHERE role = 'admin' AND revoked_at IS NULL ORDER BY id FOR UPDATE",
    )
    .fetch_all(&mut *connection)
    .await?;
    if let [last] = &admins[..]
        && ApiKeyId(last.try_get("id")?) == id
    {
        return Err(StoreError::Conflict(
            "this is the last valid admin key; create another one before you revoke it".to_owned(),
        ));
    }
    let revoked: Option<bool> = sqlx::query_scalar(
        "-- api_keys.revoke
         WITH before AS (SELECT id, revoked_at FROM api_keys WHERE id = $1 FOR UPDATE)
         UPDATE api_keys SET revoked_at = coalesce(api_keys.revoked_at, now())
         FROM before WHERE api_keys.id = before.id
         RETURNING before.revoked_at IS NULL",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await?;
    revoked.ok_or_else(|| StoreError::NotFound {
        what: "API key",
        id: id.to_string(),
    })
}

/// Whether any valid admin key exists.
pub async fn has_admin(connection: &mut Connection) -> Result<bool> {
    let exists = sqlx::query_scalar(
        "-- api_keys.has_admin
         SELECT EXISTS (SELECT FROM api_keys WHERE role = 'admin' AND revoked_at IS NULL)",
    )
    .fetch_one(connection)
    .await?;
    Ok(exists)
}

fn from_row(row: &PgRow) -> Result<ApiKey> {
    Ok(ApiKey {
        id: ApiKeyId(row.try_get("id")?),
        name: row.try_get("name")?,
        role: read::text(row, "role")?,
        key_hash: row.try_get("key_hash")?,
        created_at: row.try_get("created_at")?,
        created_by: row.try_get("created_by")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}
