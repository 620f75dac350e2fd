//! Callers that give up: a client that hangs up drops its handler wherever it waits.

use campaign_store::{PoolConfig, Store};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// More than a BEGIN takes, so that some of the attempts are given up before it, in it and after it.
const LATEST_US: u64 = 3_000;

/// Otherwise the next one to use the connection would write into a transaction that nobody commits.
#[tokio::test]
async fn a_begin_that_is_given_up_leaves_no_transaction_open() {
    let database = testkit::Postgres::start().await.database().await;
    let store = |name| {
        let mut config = PoolConfig::new(database.url(), name);
        config.max_connections = 1;
        Store::lazy(&config).expect("testkit's URLs are valid")
    };
    let (hasty, watcher) = (store("hasty"), store("watcher"));
    hasty.ping().await.expect("it connects");
    for microseconds in (0..LATEST_US).step_by(20) {
        let begun = timeout(Duration::from_micros(microseconds), hasty.begin()).await;
        drop(begun);
        // Whoever is next waits until the connection is back; this one does nothing with it.
        drop(hasty.connection().await.expect("the only connection"));
        sleep(Duration::from_millis(1)).await;
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hasty' AND state LIKE 'idle in%'",
        )
        .fetch_one(&mut *watcher.connection().await.expect("it connects"))
        .await
        .expect("an answer");
        assert_eq!(open, 0, "given up after {microseconds} us");
    }
}
