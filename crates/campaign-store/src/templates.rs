//! Templates: one row for each version, since campaigns keep the version they were created with.

use crate::{Connection, Result, StoreError, read};
use campaign_core::ids::{AccountId, TemplateId};
use campaign_core::template::{Template, TemplateStatus};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// One version of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTemplate {
    /// Names this version.
    pub id: TemplateId,
    /// The account it belongs to.
    pub account_id: AccountId,
    /// From 1, by account, name and language.
    pub version: i32,
    /// The template, with its status.
    pub template: Template,
    /// Why it stands where it stands, in Meta's words.
    pub status_reason: Option<String>,
    /// Meta's id of the template; none if it was never seen there.
    pub meta_id: Option<String>,
    /// When this version was written.
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    pub updated_at: DateTime<Utc>,
}

/// Which templates a list shows.
#[derive(Debug, Clone, Default)]
pub struct TemplateFilter {
    /// Of this account.
    pub account_id: Option<AccountId>,
    /// With this name.
    pub name: Option<String>,
    /// In this status.
    pub status: Option<TemplateStatus>,
    /// Written before this one.
    pub before: Option<TemplateId>,
}

/// Writes the next version of a template and returns its number.
///
/// # Errors
/// [`StoreError::Conflict`] when the account does not exist or another version was written at the same moment.
pub async fn create(
    connection: &mut Connection,
    id: TemplateId,
    account: AccountId,
    template: &Template,
) -> Result<i32> {
    let version = sqlx::query_scalar(
        "-- templates.create
         INSERT INTO templates (id, account_id, name, language, version, category, parameter_format, components,
             status)
         SELECT $1, $2, $3, $4, 1 + coalesce(max(version), 0), $5, $6, $7, $8
         FROM templates WHERE account_id = $2 AND name = $3 AND language = $4
         RETURNING version",
    )
    .bind(id.0)
    .bind(account.0)
    .bind(&template.name)
    .bind(&template.language)
    .bind(template.category.as_str())
    .bind(template.parameter_format.as_str())
    .bind(read::to_json(&template.components))
    .bind(template.status.as_str())
    .fetch_one(connection)
    .await
    .map_err(|error| {
        StoreError::from(error).or_conflict("another version of the template was created just now; try again")
    })?;
    Ok(version)
}

/// One version.
pub async fn get(connection: &mut Connection, id: TemplateId) -> Result<StoredTemplate> {
    let row = sqlx::query(
        "-- templates.get
         SELECT id, account_id, name, language, version, category, parameter_format, components, status,
             status_reason, meta_id, created_at, updated_at
         FROM templates WHERE id = $1",
    )
    .bind(id.0)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| StoreError::NotFound {
        what: "template",
        id: id.to_string(),
    })?;
    from_row(&row)
}

/// The newest version of an account's template in a language.
pub async fn latest(
    connection: &mut Connection,
    account: AccountId,
    name: &str,
    language: &str,
) -> Result<Option<StoredTemplate>> {
    let row = sqlx::query(
        "-- templates.latest
         SELECT id, account_id, name, language, version, category, parameter_format, components, status,
             status_reason, meta_id, created_at, updated_at
         FROM templates WHERE account_id = $1 AND name = $2 AND language = $3
         ORDER BY version DESC LIMIT 1",
    )
    .bind(account.0)
    .bind(name)
    .bind(language)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(from_row).transpose()
}

/// The languages that an account's template exists in.
pub async fn languages(connection: &mut Connection, account: AccountId, name: &str) -> Result<Vec<String>> {
    let languages = sqlx::query_scalar(
        "-- templates.languages
         SELECT DISTINCT language FROM templates WHERE account_id = $1 AND name = $2 ORDER BY language",
    )
    .bind(account.0)
    .bind(name)
    .fetch_all(connection)
    .await?;
    Ok(languages)
}

/// Every version of an account's template in a language, newest first, locked until the transaction ends.
pub async fn lock_versions(
    connection: &mut Connection,
    account: AccountId,
    name: &str,
    language: &str,
) -> Result<Vec<StoredTemplate>> {
    let rows = sqlx::query(
        "-- templates.lock_versions
         SELECT id, account_id, name, language, version, category, parameter_format, components, status,
             status_reason, meta_id, created_at, updated_at
         FROM templates WHERE account_id = $1 AND name = $2 AND language = $3
         ORDER BY version DESC FOR NO KEY UPDATE",
    )
    .bind(account.0)
    .bind(name)
    .bind(language)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

/// Name and language of the templates that Meta has, as far as this engine saw.
pub async fn known_to_meta(connection: &mut Connection, account: AccountId) -> Result<Vec<(String, String)>> {
    let rows = sqlx::query(
        "-- templates.known_to_meta
         SELECT DISTINCT name, language FROM templates
         WHERE account_id = $1 AND meta_id IS NOT NULL AND status <> 'DELETED'",
    )
    .bind(account.0)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("name")?, row.try_get("language")?)))
        .collect()
}

/// Records what Meta says of a version. Without an id of Meta's, the one it had stays.
pub async fn set_from_meta(
    connection: &mut Connection,
    id: TemplateId,
    status: TemplateStatus,
    status_reason: Option<&str>,
    meta_id: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "-- templates.set_from_meta
         UPDATE templates SET status = $2, status_reason = $3, meta_id = coalesce($4, meta_id),
             updated_at = clock_timestamp()
         WHERE id = $1",
    )
    .bind(id.0)
    .bind(status.as_str())
    .bind(status_reason)
    .bind(meta_id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Versions of templates, newest first.
pub async fn list(
    connection: &mut Connection,
    filter: &TemplateFilter,
    limit: i64,
) -> Result<Vec<StoredTemplate>> {
    let rows = sqlx::query(
        "-- templates.list
         SELECT id, account_id, name, language, version, category, parameter_format, components, status,
             status_reason, meta_id, created_at, updated_at
         FROM templates
         WHERE ($1::uuid IS NULL OR id < $1)
           AND ($2::uuid IS NULL OR account_id = $2)
           AND ($3::text IS NULL OR name = $3)
           AND ($4::text IS NULL OR status = $4)
         ORDER BY id DESC LIMIT $5",
    )
    .bind(filter.before.map(|id| id.0))
    .bind(filter.account_id.map(|id| id.0))
    .bind(&filter.name)
    .bind(filter.status.map(TemplateStatus::as_str))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(from_row).collect()
}

/// Records where a version stands with Meta. Returns the status before.
pub async fn set_status(
    connection: &mut Connection,
    id: TemplateId,
    status: TemplateStatus,
) -> Result<TemplateStatus> {
    let row = sqlx::query(
        "-- templates.set_status
         WITH before AS (SELECT id, status FROM templates WHERE id = $1 FOR NO KEY UPDATE)
         UPDATE templates SET status = $2, status_reason = NULL, updated_at = clock_timestamp()
         FROM before WHERE templates.id = before.id
         RETURNING before.status AS status",
    )
    .bind(id.0)
    .bind(status.as_str())
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| StoreError::NotFound {
        what: "template",
        id: id.to_string(),
    })?;
    read::text(&row, "status")
}

fn from_row(row: &PgRow) -> Result<StoredTemplate> {
    Ok(StoredTemplate {
        id: TemplateId(row.try_get("id")?),
        account_id: AccountId(row.try_get("account_id")?),
        version: row.try_get("version")?,
        template: Template {
            name: row.try_get("name")?,
            language: row.try_get("language")?,
            category: read::text(row, "category")?,
            parameter_format: read::text(row, "parameter_format")?,
            components: read::json(row, "components")?,
            status: read::text(row, "status")?,
        },
        status_reason: row.try_get("status_reason")?,
        meta_id: row.try_get("meta_id")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
