//! WhatsApp Business Accounts: who owns templates and phone numbers.

use crate::{Connection, Result, StoreError};
use campaign_core::ids::AccountId;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// This engine's id of it.
    pub id: AccountId,
    /// Meta's WhatsApp Business Account id.
    pub waba_id: String,
    /// The portfolio whose limit of recipients within 24 hours it shares.
    pub portfolio_id: Option<String>,
    /// Its name, for people.
    pub name: String,
    /// Name of the secret that holds its access token; never the token.
    pub access_token_secret: Option<String>,
    /// Name of the secret that holds the app secret.
    pub app_secret_secret: Option<String>,
    /// When it was made known.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Writes a new account. Its times are Postgres's to set.
///
/// # Errors
/// [`StoreError::Conflict`] when an account with this `waba_id` exists.
pub async fn create(connection: &mut Connection, account: &Account) -> Result<()> {
    sqlx::query(
        "-- accounts.create
         INSERT INTO business_accounts (id, waba_id, portfolio_id, name, access_token_secret, app_secret_secret)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(account.id.0)
    .bind(&account.waba_id)
    .bind(&account.portfolio_id)
    .bind(&account.name)
    .bind(&account.access_token_secret)
    .bind(&account.app_secret_secret)
    .execute(connection)
    .await
    .map_err(|error| StoreError::from(error).or_conflict("an account with this waba_id exists already"))?;
    Ok(())
}

/// Replaces name, portfolio and the names of the secrets.
pub async fn update(connection: &mut Connection, account: &Account) -> Result<()> {
    let done = sqlx::query(
        "-- accounts.update
         UPDATE business_accounts SET portfolio_id = $2, name = $3, access_token_secret = $4, app_secret_secret = $5,
             updated_at = now()
         WHERE id = $1",
    )
    .bind(account.id.0)
    .bind(&account.portfolio_id)
    .bind(&account.name)
    .bind(&account.access_token_secret)
    .bind(&account.app_secret_secret)
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        Err(not_found(account.id))
    } else {
        Ok(())
    }
}

/// One account.
pub async fn get(connection: &mut Connection, id: AccountId) -> Result<Account> {
    let row = sqlx::query(
        "-- accounts.get
         SELECT id, waba_id, portfolio_id, name, access_token_secret, app_secret_secret, created_at, updated_at
         FROM business_accounts WHERE id = $1",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| not_found(id))?;
    from_row(&row)
}

/// The account with Meta's id `waba_id`.
pub async fn by_waba_id(connection: &mut Connection, waba_id: &str) -> Result<Option<Account>> {
    let row = sqlx::query(
        "-- accounts.by_waba_id
         SELECT id, waba_id, portfolio_id, name, access_token_secret, app_secret_secret, created_at, updated_at
         FROM business_accounts WHERE waba_id = $1",
    )
    .bind(waba_id)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(from_row).transpose()
}

/// Accounts, newest first, from before `before`.
pub async fn list(
    connection: &mut Connection,
    before: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Account>> {
    let rows = sqlx::query(
        "-- accounts.list
         SELECT id, waba_id, portfolio_id, name, access_token_secret, app_secret_secret, created_at, updated_at
         FROM business_accounts WHERE ($1::uuid IS NULL OR id < $1)
         ORDER BY id DESC LIMIT $2",
    )
    .bind(before.map(|id| id.0))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

fn from_row(row: &PgRow) -> Result<Account> {
    Ok(Account {
        id: AccountId(row.try_get("id")?),
        waba_id: row.try_get("waba_id")?,
        portfolio_id: row.try_get("portfolio_id")?,
        name: row.try_get("name")?,
        access_token_secret: row.try_get("access_token_secret")?,
        app_secret_secret: row.try_get("app_secret_secret")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn not_found(id: AccountId) -> StoreError {
    StoreError::NotFound {
        what: "account",
        id: id.to_string(),
    }
}
