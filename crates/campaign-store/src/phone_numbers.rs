//! Business phone numbers: the lanes, and how fast each may go.

use crate::{Connection, Result, StoreError, read};
use campaign_core::ids::{AccountId, LaneId};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// A business phone number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneNumber {
    /// Meta's `phone_number_id`, which names the lane.
    pub phone_number_id: LaneId,
    /// The account that owns it.
    pub account_id: AccountId,
    /// The number as people read it.
    pub display_number: String,
    /// Messages a second, over all replicas, as people decided.
    pub throughput_per_second: i32,
    /// The same, as WhatsApp reported it last. Not written by [`create`] and [`update`].
    pub reported_throughput_per_second: Option<i32>,
    /// Whether campaigns may be sent from it.
    pub active: bool,
    /// When it was made known.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl PhoneNumber {
    /// The ceiling that holds: the lower one.
    pub fn ceiling_per_second(&self) -> i32 {
        self.reported_throughput_per_second
            .map_or(self.throughput_per_second, |reported| {
                reported.min(self.throughput_per_second)
            })
    }
}

/// Most messages a second that a number may be given, as the table checks.
pub const THROUGHPUT_MAX_PER_SECOND: i32 = 1_000_000;

/// Writes a new number. Its times are Postgres's to set.
///
/// # Errors
/// [`StoreError::Conflict`] when the number exists.
pub async fn create(connection: &mut Connection, number: &PhoneNumber) -> Result<()> {
    sqlx::query(
        "-- phone_numbers.create
         INSERT INTO phone_numbers (phone_number_id, account_id, display_number, throughput_per_second, active)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(number.phone_number_id.as_str())
    .bind(number.account_id.0)
    .bind(&number.display_number)
    .bind(number.throughput_per_second)
    .bind(number.active)
    .execute(connection)
    .await
    .map_err(|error| StoreError::from(error).or_conflict("a phone number with this id exists already"))?;
    Ok(())
}

/// Replaces display number, throughput and whether it is active.
pub async fn update(connection: &mut Connection, number: &PhoneNumber) -> Result<()> {
    let done = sqlx::query(
        "-- phone_numbers.update
         UPDATE phone_numbers SET display_number = $2, throughput_per_second = $3, active = $4, updated_at = now()
         WHERE phone_number_id = $1",
    )
    .bind(number.phone_number_id.as_str())
    .bind(&number.display_number)
    .bind(number.throughput_per_second)
    .bind(number.active)
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        Err(not_found(&number.phone_number_id))
    } else {
        Ok(())
    }
}

/// Records what WhatsApp reported of a number's throughput; none: it is not known.
pub async fn report_throughput(
    connection: &mut Connection,
    id: &LaneId,
    throughput_per_second: Option<i32>,
) -> Result<()> {
    sqlx::query(
        "-- phone_numbers.report_throughput
         UPDATE phone_numbers SET reported_throughput_per_second = $2, reported_at = now()
         WHERE phone_number_id = $1",
    )
    .bind(id.as_str())
    .bind(throughput_per_second)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what WhatsApp reported of every number: what people decided holds. Returns whose ceiling that changes.
pub async fn forget_reports(connection: &mut Connection) -> Result<Vec<LaneId>> {
    let rows = sqlx::query(
        "-- phone_numbers.forget_reports
         UPDATE phone_numbers SET reported_throughput_per_second = NULL, reported_at = NULL
         WHERE reported_throughput_per_second IS NOT NULL RETURNING phone_number_id",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| read::text(row, "phone_number_id"))
        .collect()
}

/// One number.
pub async fn get(connection: &mut Connection, id: &LaneId) -> Result<PhoneNumber> {
    let row = sqlx::query(
        "-- phone_numbers.get
         SELECT phone_number_id, account_id, display_number, throughput_per_second, reported_throughput_per_second,
             active, created_at, updated_at
         FROM phone_numbers WHERE phone_number_id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| not_found(id))?;
    from_row(&row)
}

/// Numbers in the order of their ids, from behind `after`.
pub async fn list(
    connection: &mut Connection,
    after: Option<&LaneId>,
    limit: i64,
) -> Result<Vec<PhoneNumber>> {
    let rows = sqlx::query(
        "-- phone_numbers.list
         SELECT phone_number_id, account_id, display_number, throughput_per_second, reported_throughput_per_second,
             active, created_at, updated_at
         FROM phone_numbers WHERE ($1::text IS NULL OR phone_number_id > $1)
         ORDER BY phone_number_id LIMIT $2",
    )
    .bind(after.map(LaneId::as_str))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

/// The numbers of Meta's account `waba_id`: all, or those whose digits are these.
pub async fn of_account(
    connection: &mut Connection,
    waba_id: &str,
    display_number: Option<&str>,
) -> Result<Vec<LaneId>> {
    let rows = sqlx::query(
        "-- phone_numbers.of_account
         SELECT phone_number_id FROM phone_numbers JOIN business_accounts ON business_accounts.id = account_id
         WHERE waba_id = $1 AND ($2::text IS NULL
             OR regexp_replace(display_number, '[^0-9]', '', 'g') = regexp_replace($2, '[^0-9]', '', 'g'))
         ORDER BY phone_number_id",
    )
    .bind(waba_id)
    .bind(display_number)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| read::text(row, "phone_number_id"))
        .collect()
}

/// A number that can ask for its account, always the same one: an active one if there is any.
pub async fn spokesman(connection: &mut Connection, account: AccountId) -> Result<Option<LaneId>> {
    let row = sqlx::query(
        "-- phone_numbers.spokesman
         SELECT phone_number_id FROM phone_numbers WHERE account_id = $1
         ORDER BY active DESC, phone_number_id LIMIT 1",
    )
    .bind(account.0)
    .fetch_optional(connection)
    .await?;
    row.map(|row| read::text(&row, "phone_number_id")).transpose()
}

fn from_row(row: &PgRow) -> Result<PhoneNumber> {
    Ok(PhoneNumber {
        phone_number_id: read::text(row, "phone_number_id")?,
        account_id: AccountId(row.try_get("account_id")?),
        display_number: row.try_get("display_number")?,
        throughput_per_second: row.try_get("throughput_per_second")?,
        reported_throughput_per_second: row.try_get("reported_throughput_per_second")?,
        active: row.try_get("active")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn not_found(id: &LaneId) -> StoreError {
    StoreError::NotFound {
        what: "phone number",
        id: id.to_string(),
    }
}
