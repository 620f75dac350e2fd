//! Connections that Postgres ended while nobody used them.

use campaign_store::{PoolConfig, Store};
use std::time::Duration;
use tokio::time::sleep;

/// Longer than a connection may be idle without being tested before it is used again.
const IDLE: Duration = Duration::from_millis(1_200);

/// A restart of Postgres, or a firewall, must not fail whoever comes next.
#[tokio::test]
async fn a_connection_that_was_ended_while_it_was_idle_is_replaced() {
    let database = testkit::Postgres::start().await.database().await;
    let store = |name| {
        let mut config = PoolConfig::new(database.url(), name);
        config.max_connections = 1;
        Store::lazy(&config).expect("testkit's URLs are valid")
    };
    let (idle, watcher) = (store("idle"), store("watcher"));
    idle.ping().await.expect("it connects");
    let ended: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'idle'",
    )
    .fetch_one(&mut *watcher.connection().await.expect("it connects"))
    .await
    .expect("an answer");
    assert_eq!(ended, 1);
    sleep(IDLE).await;
    idle.ping().await.expect("on another connection");
}
