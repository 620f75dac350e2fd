//! What a batch costs does not depend on how large its campaign is, nor on what Postgres knows of it.

use crate::fixture::store;
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::MessageState;
use campaign_core::phone::CanonicalPhone;
use campaign_store::audience::{self, AudienceRow};
use campaign_store::messages::LockedRow;
use campaign_store::{Connection, Transaction, commit, ensure_partitions, messages};
use chrono::Utc;
use sqlx::Executor;
use uuid::Uuid;

const ROWS: i64 = 5_000;
/// Rows of a batch, in the middle of the campaign.
const BATCH: std::ops::RangeInclusive<i64> = 2_001..=2_200;
/// Rows read for each row of a batch: itself, its older version, and little else.
const READS_MAX: i64 = 5;

#[tokio::test]
async fn a_batch_reads_its_own_rows_whatever_postgres_knows_of_the_campaign() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    ensure_partitions(&mut connection).await.expect("partitions");
    insert(&mut connection, CampaignId(Uuid::now_v7())).await;
    connection
        .execute("ANALYZE messages")
        .await
        .expect("it is analysed");
    // Begun since, so Postgres knows nothing of it.
    let campaign = CampaignId(Uuid::now_v7());
    insert(&mut connection, campaign).await;

    let seqs: Vec<i64> = BATCH.collect();
    let most = READS_MAX * seqs.len() as i64;
    let mut transaction = store.begin().await.expect("a transaction");
    let mut rows = messages::lock(&mut transaction, campaign, &seqs)
        .await
        .expect("locked");
    assert_eq!(rows.iter().map(|row| row.seq.0).collect::<Vec<_>>(), seqs);
    let locking = reads(&mut transaction).await;
    rows.iter_mut().for_each(accept);
    messages::update(&mut transaction, &rows).await.expect("written");
    let updating = reads(&mut transaction).await - locking;
    let customers: Vec<String> = seqs.iter().map(|seq| customer(*seq)).collect();
    let phones: Vec<CanonicalPhone> = seqs.iter().map(|seq| phone(*seq)).collect();
    let present = audience::present(&mut transaction, campaign, &customers, &phones)
        .await
        .expect("looked up");
    assert_eq!(
        (present.customers.len(), present.phones.len()),
        (seqs.len(), seqs.len())
    );
    let looking_up = reads(&mut transaction).await - locking - updating;
    commit(transaction).await.expect("committed");
    assert!(locking <= most, "{locking} rows were read to lock {}", seqs.len());
    assert!(
        updating <= most,
        "{updating} rows were read to update {}",
        seqs.len()
    );
    assert!(
        looking_up <= 2 * most,
        "{looking_up} rows were read to look up {}",
        seqs.len()
    );
}

/// All neighbours change in one transaction, and find room on their own pages.
#[tokio::test]
async fn accepted_messages_change_no_index() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    ensure_partitions(&mut connection).await.expect("partitions");
    let campaign = CampaignId(Uuid::now_v7());
    insert(&mut connection, campaign).await;
    let seqs: Vec<i64> = (1..=ROWS).collect();
    let mut transaction = store.begin().await.expect("a transaction");
    let mut rows = messages::lock(&mut transaction, campaign, &seqs)
        .await
        .expect("locked");
    rows.iter_mut().for_each(accept);
    messages::update(&mut transaction, &rows).await.expect("written");
    let (updated, hot): (i64, i64) = sqlx::query_as(
        "SELECT sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint FROM pg_stat_xact_user_tables
         WHERE relname LIKE 'messages%'",
    )
    .fetch_one(&mut *transaction)
    .await
    .expect("statistics");
    assert_eq!(updated, ROWS);
    assert!(
        hot * 100 >= updated * 99,
        "{hot} of {updated} stayed on their page"
    );
}

/// As long as what WhatsApp answers.
fn accept(locked: &mut LockedRow) {
    let seq = locked.seq.0;
    locked.row.state = MessageState::Accepted;
    locked.row.accepted_at = Some(Utc::now());
    locked.row.wamid = Some(format!(
        "wamid.HBgNNTUxMTk5OTk5OTk5FQIAERgSM0Q3{seq:012}QjA1QzZDMDMA"
    ));
}

/// Rows of the ledger that this transaction read so far.
async fn reads(transaction: &mut Transaction) -> i64 {
    sqlx::query_scalar(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
         WHERE relname LIKE 'messages%'",
    )
    .fetch_one(&mut **transaction)
    .await
    .expect("statistics")
}

fn customer(seq: i64) -> String {
    format!("c{seq:09}")
}

fn phone(seq: i64) -> CanonicalPhone {
    format!("+55119{:08}", 80_000_000 + seq)
        .parse()
        .expect("a mobile number")
}

async fn insert(connection: &mut Connection, campaign: CampaignId) {
    let rows: Vec<AudienceRow> = (1..=ROWS)
        .map(|seq| AudienceRow {
            seq: Seq(seq),
            customer_id: customer(seq),
            phone_as_given: Some(phone(seq).to_string()),
            phone: Some(phone(seq)),
            duplicate_of: None,
            variables: vec![
                "Ana".to_owned(),
                customer(seq),
                "R$ 10,00".to_owned(),
                "10/12/2026".to_owned(),
            ],
            skip: None,
        })
        .collect();
    audience::insert(connection, campaign, &rows)
        .await
        .expect("written");
}
