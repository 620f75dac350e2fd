//! Applies the SQL files of `migrations/`, which are part of the binary.

use crate::{Connection, Result, StoreError};
use include_dir::{Dir, include_dir};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Row, SqlSafeStr};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../migrations");

/// How many months of message partitions exist ahead of time.
pub const PARTITION_MONTHS_AHEAD: i32 = 3;

/// Applies what is missing, under an advisory lock, so that several at once are harmless; then makes the
/// coming months' partitions. Returns the versions that were applied.
pub async fn migrate(connection: &mut Connection) -> Result<Vec<i64>> {
    let before = pending_migrations(connection).await?;
    Migrator::with_migrations(migrations())
        .run_direct(None, connection, false)
        .await?;
    ensure_partitions(connection).await?;
    Ok(before)
}

/// Makes the partitions of `messages` for this month and the coming ones. Returns how many were new.
pub async fn ensure_partitions(connection: &mut Connection) -> Result<i32> {
    let row = sqlx::query("-- migrator.ensure_partitions\nSELECT ensure_message_partitions(now(), $1)")
        .bind(PARTITION_MONTHS_AHEAD)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

/// Makes others who call this wait until the transaction ends: for who creates what must be there once.
pub async fn lock_first_setup(connection: &mut Connection) -> Result<()> {
    sqlx::query(
        "-- migrator.lock_first_setup\nSELECT pg_advisory_xact_lock(hashtextextended('first setup', 0))",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The versions that this binary has and the database lacks.
pub async fn pending_migrations(connection: &mut Connection) -> Result<Vec<i64>> {
    let table = sqlx::query("-- migrator.has_table\nSELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    let applied: Vec<i64> = if table.try_get(0)? {
        let statement = "SELECT version FROM _sqlx_migrations WHERE success";
        sqlx::query_scalar(statement).fetch_all(connection).await?
    } else {
        Vec::new()
    };
    Ok(migrations()
        .iter()
        .map(|migration| migration.version)
        .filter(|version| !applied.contains(version))
        .collect())
}

/// Fails unless the database has every migration of this binary.
pub async fn require_migrated(connection: &mut Connection) -> Result<()> {
    let pending = pending_migrations(connection).await?;
    if pending.is_empty() {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "the database lacks the migrations {pending:?}; run `migrate` first"
    )))
}

fn migrations() -> Vec<Migration> {
    let mut migrations: Vec<_> = FILES
        .files()
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|extension| extension == "sql")
        })
        .map(|file| {
            let stem = file
                .path()
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("names are UTF-8");
            let (version, description) = stem.split_once('_').expect("named <version>_<description>.sql");
            let sql = file.contents_utf8().expect("migrations are UTF-8");
            Migration::new(
                version.parse().expect("the version is a number"),
                description.replace('_', " ").into(),
                MigrationType::Simple,
                AssertSqlSafe(sql).into_sql_str(),
                false,
            )
        })
        .collect();
    migrations.sort_by_key(|migration| migration.version);
    migrations
}

/// Changes whenever a migration does: 16 hexadecimal digits, for tests that keep a migrated database.
pub fn schema_fingerprint() -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for migration in migrations() {
        migration.checksum.hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}
