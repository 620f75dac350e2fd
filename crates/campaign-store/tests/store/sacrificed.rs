//! A transaction that Postgres ends so that another can go on.

use campaign_store::{PoolConfig, Store, StoreError, Transaction};

async fn lock(transaction: &mut Transaction, key: i64) -> Result<(), StoreError> {
    let locking = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(key);
    locking.execute(&mut **transaction).await?;
    Ok(())
}

/// Nothing is wrong with what it wanted, so whoever asked for it is told to try again.
#[tokio::test]
async fn a_transaction_that_was_sacrificed_may_be_tried_again() {
    let database = testkit::Postgres::start().await.database().await;
    let store = Store::lazy(&PoolConfig::new(database.url(), "test")).expect("testkit's URLs are valid");
    let mut one = store.begin().await.expect("it connects");
    let mut other = store.begin().await.expect("it connects");
    lock(&mut one, 1).await.expect("free");
    lock(&mut other, 2).await.expect("free");
    let (first, second) = tokio::join!(
        async {
            let locked = lock(&mut one, 2).await;
            drop(one);
            locked
        },
        async {
            let locked = lock(&mut other, 1).await;
            drop(other);
            locked
        },
    );
    let sacrificed = first.and(second).expect_err("one of them gave way");
    assert!(
        sacrificed.is_unavailable() && !sacrificed.is_data_error(),
        "{sacrificed}"
    );
}
