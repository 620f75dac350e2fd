//! Portfolios: how many unique people their numbers may message within 24 hours. What people decide, and what
//! WhatsApp reports; who is counted is in [`crate::messaging_limits`].

use crate::{Connection, Result};
use chrono::{DateTime, Utc};
use sqlx::Row;

/// A portfolio's limit, and how much of it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Portfolio {
    /// Unique people within 24 hours, as people decided; none: no limit.
    pub messaging_limit: Option<i64>,
    /// The same, as WhatsApp reported it last; none: unknown, or no limit.
    pub reported_limit: Option<i64>,
    /// People counted, as of the last message that was let into a lane. Says nothing without a limit.
    pub used: i64,
    /// When the next of them leaves the window, if the limit was reached then.
    pub next_room_at: Option<DateTime<Utc>>,
}

impl Portfolio {
    /// The limit that holds: the lower one.
    pub fn limit(&self) -> Option<i64> {
        [self.messaging_limit, self.reported_limit]
            .into_iter()
            .flatten()
            .min()
    }
}

/// A portfolio; one that nobody has set a limit for has none.
pub async fn get(connection: &mut Connection, portfolio_id: &str) -> Result<Portfolio> {
    let row = sqlx::query(
        "-- portfolios.get
         SELECT messaging_limit, reported_limit, used, next_room_at
         FROM portfolios LEFT JOIN portfolio_usage USING (portfolio_id) WHERE portfolio_id = $1",
    )
    .bind(portfolio_id)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(Portfolio::default());
    };
    Ok(Portfolio {
        messaging_limit: row.try_get("messaging_limit")?,
        reported_limit: row.try_get("reported_limit")?,
        used: row.try_get::<Option<i64>, _>("used")?.unwrap_or_default(),
        next_room_at: row.try_get("next_room_at")?,
    })
}

/// Sets what people decided; none is no limit.
pub async fn set_limit(connection: &mut Connection, portfolio_id: &str, limit: Option<i64>) -> Result<()> {
    sqlx::query(
        "-- portfolios.set_limit
         INSERT INTO portfolios AS p (portfolio_id, messaging_limit, limited_since)
         VALUES ($1, $2, CASE WHEN $2::bigint IS NOT NULL THEN clock_timestamp() END)
         ON CONFLICT (portfolio_id) DO UPDATE SET messaging_limit = EXCLUDED.messaging_limit, updated_at = now(),
             limited_since = CASE WHEN LEAST(p.messaging_limit, p.reported_limit) IS NULL
                 THEN clock_timestamp() ELSE p.limited_since END",
    )
    .bind(portfolio_id)
    .bind(limit)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records what WhatsApp reported; none is no limit.
pub async fn report_limit(connection: &mut Connection, portfolio_id: &str, limit: Option<i64>) -> Result<()> {
    sqlx::query(
        "-- portfolios.report_limit
         INSERT INTO portfolios AS p (portfolio_id, reported_limit, reported_at, limited_since)
         VALUES ($1, $2, now(), CASE WHEN $2::bigint IS NOT NULL THEN clock_timestamp() END)
         ON CONFLICT (portfolio_id) DO UPDATE SET reported_limit = EXCLUDED.reported_limit, reported_at = now(),
             limited_since = CASE WHEN LEAST(p.messaging_limit, p.reported_limit) IS NULL
                 THEN clock_timestamp() ELSE p.limited_since END",
    )
    .bind(portfolio_id)
    .bind(limit)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what WhatsApp reported of every portfolio: what people decided holds.
pub async fn forget_reports(connection: &mut Connection) -> Result<()> {
    sqlx::query(
        "-- portfolios.forget_reports
         UPDATE portfolios SET reported_limit = NULL, reported_at = NULL WHERE reported_limit IS NOT NULL",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Has the people of a portfolio counted again, because an account came to it.
pub async fn recount(connection: &mut Connection, portfolio_id: &str) -> Result<()> {
    sqlx::query(
        "-- portfolios.recount
         UPDATE portfolios SET limited_since = clock_timestamp() WHERE portfolio_id = $1",
    )
    .bind(portfolio_id)
    .execute(connection)
    .await?;
    Ok(())
}
