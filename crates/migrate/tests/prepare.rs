//! Preparing a database: from nothing, twice, by two at once, and when Postgres comes late.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use campaign_store::api_keys::{self, ApiRole};
use campaign_store::{PoolConfig, Store, migrate as migrations};
use clap::Parser;
use migrate::config::Config;
use migrate::{Outcome, run};
use std::os::unix::fs::PermissionsExt;
use testkit::{Database, Postgres};

async fn empty() -> Database {
    Postgres::start().await.database().await
}

fn config(database: &Database, flags: &[&str]) -> Config {
    let settings = ["migrate", "--database-url", database.url()];
    Config::try_parse_from(settings.iter().chain(flags)).unwrap()
}

async fn role_of(database: &Database, key: &str) -> Option<ApiRole> {
    let store = Store::lazy(&PoolConfig::new(database.url(), "migrate-tests")).unwrap();
    let mut connection = store.connection().await.unwrap();
    api_keys::by_hash(&mut connection, &api_keys::hash_key(key))
        .await
        .unwrap()
        .map(|key| key.role)
}

#[tokio::test]
async fn an_empty_database_is_prepared_once() {
    let database = empty().await;
    let first = run(&config(&database, &["--dev-data"])).await.unwrap();
    assert!(!first.applied.is_empty() && first.dev_data_created);
    let key = first.shown_key.unwrap();
    assert_eq!(role_of(&database, &key).await, Some(ApiRole::Admin));
    assert_eq!(role_of(&database, "ck_other").await, None);
    let second = run(&config(&database, &["--dev-data"])).await.unwrap();
    assert_eq!(second, Outcome::default(), "the second run finds everything done");
}

#[tokio::test]
async fn the_key_is_written_for_its_owner_alone() {
    let database = empty().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin-key");
    std::fs::write(
        &path,
        "an old key that is longer than the new one will be, to see that it is cut",
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = run(&config(&database, &["--admin-key-file", path.to_str().unwrap()]))
        .await
        .unwrap();
    assert!(outcome.key_written && outcome.shown_key.is_none());
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let key = std::fs::read_to_string(&path).unwrap();
    assert_eq!(role_of(&database, key.trim_end()).await, Some(ApiRole::Admin));
}

#[tokio::test]
async fn a_key_that_cannot_be_written_is_not_created() {
    let database = empty().await;
    let outcome = run(&config(&database, &["--admin-key-file", "/nowhere/at/all"])).await;
    assert!(outcome.unwrap_err().to_string().contains("/nowhere/at/all"));
    assert!(
        run(&config(&database, &[])).await.unwrap().shown_key.is_some(),
        "the next run creates it"
    );
}

#[tokio::test]
async fn two_at_once_create_one_key() {
    let database = empty().await;
    let store = Store::lazy(&PoolConfig::new(database.url(), "migrate-tests")).unwrap();
    migrations(&mut store.connection().await.unwrap()).await.unwrap();
    let config = config(&database, &["--dev-data"]);
    let (one, other) = tokio::join!(run(&config), run(&config));
    let keys = [one, other]
        .into_iter()
        .filter_map(|outcome| outcome.unwrap().shown_key)
        .count();
    assert_eq!(keys, 1);
}

#[tokio::test]
async fn a_postgres_that_never_comes_is_waited_for_so_long_and_no_longer() {
    let url = format!("postgres://postgres@127.0.0.1:{}/nothing", testkit::free_port());
    let settings = [
        "migrate",
        "--database-url",
        &url,
        "--connect-timeout-seconds",
        "0",
    ];
    let outcome = run(&Config::try_parse_from(settings).unwrap()).await;
    assert!(outcome.unwrap_err().to_string().contains("did not answer"));
}
