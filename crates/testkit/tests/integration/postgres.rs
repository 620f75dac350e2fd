//! A database of one's own in the shared cluster, and a cluster of one's own.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use testkit::{Postgres, PrivatePostgres};

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url)
        .await
        .expect("the database accepts connections")
}

async fn execute(url: &str, statement: &str) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await
        .expect("it succeeds");
    connection.close().await.expect("the connection closes");
}

async fn count(url: &str, table: &str) -> i64 {
    let statement = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query(statement)
        .fetch_one(&mut connect(url).await)
        .await
        .expect("it succeeds")
        .get(0)
}

#[tokio::test]
async fn two_databases_share_nothing() {
    let postgres = Postgres::start().await;
    let (one, other) = tokio::join!(postgres.database(), postgres.database());
    assert_ne!(one.name(), other.name());
    execute(one.url(), "CREATE TABLE letters (body text)").await;
    execute(
        other.url(),
        "CREATE TABLE letters (body text); INSERT INTO letters VALUES ('hello')",
    )
    .await;
    assert_eq!(count(one.url(), "letters").await, 0);
    assert_eq!(count(other.url(), "letters").await, 1);
}

#[tokio::test]
async fn a_database_is_prepared_once_and_copied() {
    static PREPARED: AtomicU32 = AtomicU32::new(0);
    let postgres = Postgres::start().await;
    let prepare = async |url: &str| {
        PREPARED.fetch_add(1, Ordering::Relaxed);
        execute(url, "CREATE TABLE seeds AS SELECT generate_series(1, 10)").await;
        Ok(())
    };
    let fingerprint = format!("seeds{}", std::process::id());
    let one = postgres.prepared_database(&fingerprint, prepare).await;
    let other = postgres.prepared_database(&fingerprint, prepare).await;
    execute(one.url(), "DELETE FROM seeds").await;
    assert_eq!(count(other.url(), "seeds").await, 10);
    assert_eq!(PREPARED.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_failed_preparation_leaves_nothing_to_copy() {
    let postgres = Postgres::start().await;
    let fingerprint = format!("broken{}", std::process::id());
    let failing = tokio::spawn({
        let fingerprint = fingerprint.clone();
        async move {
            let fail = async |_: &str| anyhow::bail!("no seeds today");
            postgres.prepared_database(&fingerprint, fail).await;
        }
    });
    assert!(
        failing.await.is_err(),
        "a failed preparation fails the test that asked for it"
    );
    let seeded = async |url: &str| {
        execute(url, "CREATE TABLE seeds AS SELECT 1").await;
        Ok(())
    };
    let database = postgres.prepared_database(&fingerprint, seeded).await;
    assert_eq!(count(database.url(), "seeds").await, 1);
}

#[tokio::test]
async fn a_private_cluster_keeps_what_was_committed_across_a_crash() {
    let mut postgres = PrivatePostgres::start().await;
    let database = postgres.database().await;
    execute(
        database.url(),
        "CREATE TABLE letters AS SELECT generate_series(1, 1000)",
    )
    .await;
    postgres.kill().await;
    assert!(
        PgConnection::connect(database.url()).await.is_err(),
        "a crashed server refuses connections"
    );
    postgres.restart().await;
    assert_eq!(count(database.url(), "letters").await, 1000);
}
