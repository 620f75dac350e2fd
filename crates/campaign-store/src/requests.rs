//! What people ask of the ledger. The lane's owner, who alone writes the ledger, applies them.

use crate::{Connection, Result, StoreError, read};
use campaign_core::ids::{CampaignId, RequestId, Seq};
use campaign_core::message::UnknownName;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::str::FromStr;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Send uncertain messages again, accepting that some may arrive twice.
    ResendUncertain,
    /// Count uncertain messages as failed.
    WriteOffUncertain,
    /// Send failed messages again.
    ResendFailed,
}

impl RequestKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::ResendUncertain, Self::WriteOffUncertain, Self::ResendFailed];

    /// The name used in Postgres and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResendUncertain => "resend_uncertain",
            Self::WriteOffUncertain => "write_off_uncertain",
            Self::ResendFailed => "resend_failed",
        }
    }
}

impl FromStr for RequestKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownName {
                found: text.chars().take(64).collect(),
                known: Self::ALL
                    .iter()
                    .map(|kind| kind.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// The campaign whose messages it is about.
    pub campaign: CampaignId,
    /// What is asked.
    pub kind: RequestKind,
    /// Only these messages; `None` means every one in the state that the kind names.
    pub seqs: Option<Vec<Seq>>,
    /// Only messages that failed with one of these codes.
    pub error_codes: Option<Vec<String>>,
    /// Name of the API key that asked.
    pub requested_by: String,
    /// When.
    pub requested_at: DateTime<Utc>,
    /// When it was applied.
    pub applied_at: Option<DateTime<Utc>>,
    /// How many messages it changed.
    pub affected: Option<i64>,
    /// What it left out, if anything.
    pub left_out: Option<LeftOut>,
}

/// Messages that a resend left out: nothing like them may go to the person yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub messages: i64,
    /// When all of them may be asked for again.
    pub until: DateTime<Utc>,
}

/// Writes a request. `requested_at`, `applied_at` and `affected` are Postgres's and the owner's to set.
pub async fn create(connection: &mut Connection, request: &Request) -> Result<()> {
    let seqs: Option<Vec<i64>> = request
        .seqs
        .as_ref()
        .map(|seqs| seqs.iter().map(|seq| seq.0).collect());
    sqlx::query(
        "-- requests.create
         INSERT INTO requests (id, campaign, kind, seqs, error_codes, requested_by)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(request.id.0)
    .bind(request.campaign.0)
    .bind(request.kind.as_str())
    .bind(seqs)
    .bind(&request.error_codes)
    .bind(&request.requested_by)
    .execute(connection)
    .await?;
    Ok(())
}

/// The campaign's requests that are not applied, oldest first; inside a transaction locked until its end.
pub async fn waiting(connection: &mut Connection, campaign: CampaignId) -> Result<Vec<Request>> {
    let rows = sqlx::query(
        "-- requests.waiting
         SELECT id, campaign, kind, seqs, error_codes, requested_by, requested_at, applied_at, affected,
             left_out, left_out_until
         FROM requests WHERE campaign = $1 AND applied_at IS NULL
         ORDER BY requested_at, id
         FOR UPDATE",
    )
    .bind(campaign.0)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

/// Records that a request was applied, to how many messages, and what it left out.
pub async fn mark_applied(
    connection: &mut Connection,
    id: RequestId,
    affected: i64,
    left_out: Option<LeftOut>,
) -> Result<()> {
    sqlx::query(
        "-- requests.mark_applied
         UPDATE requests SET applied_at = now(), affected = $2, left_out = $3, left_out_until = $4
         WHERE id = $1 AND applied_at IS NULL",
    )
    .bind(id.0)
    .bind(affected)
    .bind(left_out.map(|left_out| left_out.messages))
    .bind(left_out.map(|left_out| left_out.until))
    .execute(connection)
    .await?;
    Ok(())
}

/// One request.
pub async fn get(connection: &mut Connection, id: RequestId) -> Result<Request> {
    let row = sqlx::query(
        "-- requests.get
         SELECT id, campaign, kind, seqs, error_codes, requested_by, requested_at, applied_at, affected,
             left_out, left_out_until
         FROM requests WHERE id = $1",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| StoreError::NotFound {
        what: "request",
        id: id.to_string(),
    })?;
    from_row(&row)
}

fn from_row(row: &PgRow) -> Result<Request> {
    let seqs: Option<Vec<i64>> = row.try_get("seqs")?;
    let left_out: Option<i64> = row.try_get("left_out")?;
    let until: Option<DateTime<Utc>> = row.try_get("left_out_until")?;
    Ok(Request {
        id: RequestId(row.try_get("id")?),
        campaign: CampaignId(row.try_get("campaign")?),
        kind: read::text(row, "kind")?,
        seqs: seqs.map(|seqs| seqs.into_iter().map(Seq).collect()),
        error_codes: row.try_get("error_codes")?,
        requested_by: row.try_get("requested_by")?,
        requested_at: row.try_get("requested_at")?,
        applied_at: row.try_get("applied_at")?,
        affected: row.try_get("affected")?,
        left_out: left_out
            .zip(until)
            .map(|(messages, until)| LeftOut { messages, until }),
    })
}
