//! What a batch costs does not depend on how large its campaign is, nor on what Postgres knows of it.

use crate::fixture::store;
use crate::statements::prepared;
use campaign_core::ids::{CampaignId, Generation, Seq};
use campaign_core::message::MessageState;
use campaign_core::phone::CanonicalPhone;
use campaign_store::audience::{self, AudienceRow};
use campaign_store::dispatches::Pass;
use campaign_store::messages::{LockedRow, Position};
use campaign_store::{Connection, Transaction, commit, ensure_partitions, messages};
use chrono::{TimeDelta, Utc};
use sqlx::Executor;
use std::collections::{BTreeMap, BTreeSet};
use uuid::{NoContext, Timestamp, Uuid};

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

/// A plan is kept while its table grows. Small tables are read as a whole more cheaply than by key.
#[tokio::test]
async fn a_plan_that_was_made_for_few_rows_serves_many() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    ensure_partitions(&mut connection).await.expect("partitions");
    let small = CampaignId(Uuid::now_v7());
    insert_some(&mut connection, small, 10).await;
    run(&mut connection, "ANALYZE messages".to_owned()).await;
    batch_reads(&mut connection, small, &[3, 4]).await;

    let large = CampaignId(Uuid::now_v7());
    insert(&mut connection, large).await;
    let seqs: Vec<i64> = BATCH.collect();
    let read = batch_reads(&mut connection, large, &seqs).await;
    assert!(read <= 4 * READS_MAX * seqs.len() as i64, "{read} rows were read");
}

/// Rows that are read to lock these, to look their people up, to find them by their state, and to feed them.
async fn batch_reads(connection: &mut Connection, campaign: CampaignId, seqs: &[i64]) -> i64 {
    run(connection, "BEGIN".to_owned()).await;
    let locked = messages::lock(connection, campaign, seqs).await.expect("locked");
    assert_eq!(locked.len(), seqs.len());
    let customers: Vec<String> = seqs.iter().map(|seq| customer(*seq)).collect();
    let phones: Vec<CanonicalPhone> = seqs.iter().map(|seq| phone(*seq)).collect();
    let present = audience::present(connection, campaign, &customers, &phones)
        .await
        .expect("looked up");
    assert_eq!(present.customers.len(), seqs.len());
    let asked: Vec<Seq> = seqs.iter().map(|seq| Seq(*seq)).collect();
    let pending = messages::seqs_in_state(connection, campaign, MessageState::Pending, Some(&asked), None)
        .await
        .expect("found");
    assert_eq!(pending, asked);
    let fed = messages::next_to_feed(
        connection,
        campaign,
        Generation(1),
        Pass::Audience,
        Seq(seqs[0] - 1),
        seqs.len() as i64,
    )
    .await
    .expect("read");
    assert_eq!(fed.len(), seqs.len());
    let read = reads(connection).await;
    run(connection, "COMMIT".to_owned()).await;
    read
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

/// A batch of campaigns of two months reads their rows only, and no other month is looked into.
#[tokio::test]
async fn a_batch_of_several_campaigns_reads_its_own_rows() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    ensure_partitions(&mut connection).await.expect("partitions");
    let campaigns = in_two_of_three_months(&mut connection).await;
    let mut wanted: Vec<Position> = campaigns
        .iter()
        .flat_map(|id| BATCH.map(|seq| (*id, seq)))
        .collect();
    let of_all = wanted.clone();
    wanted.push((campaigns[2], ROWS + 1));
    let most = READS_MAX * of_all.len() as i64;
    // Often enough for a plan that serves any parameters.
    for _ in 0..10 {
        let mut transaction = store.begin().await.expect("a transaction");
        // Postgres counts on from the transactions before.
        let (read_before, scans_before) = (reads(&mut transaction).await, scans(&mut transaction).await);
        let mut rows = messages::lock_all(&mut transaction, &wanted)
            .await
            .expect("locked");
        let locked: Vec<Position> = rows.iter().map(LockedRow::position).collect();
        assert_eq!(locked, of_all, "in order, and without the one that is not there");
        let locking = reads(&mut transaction).await - read_before;
        rows.iter_mut().for_each(accept);
        messages::update(&mut transaction, &rows).await.expect("written");
        let updating = reads(&mut transaction).await - read_before - locking;
        assert!(
            locking <= most && updating <= most,
            "{locking} and {updating} rows were read for {}",
            of_all.len()
        );
        let mut scanned = scans(&mut transaction).await;
        scanned.retain(|table, times| scans_before.get(table) != Some(times));
        let scanned: BTreeSet<String> = scanned.into_keys().collect();
        assert_eq!(scanned, partitions_of(&mut transaction, &campaigns).await);
        // Older versions would be read again.
        transaction.rollback().await.expect("rolled back");
        run(&mut connection, "VACUUM messages".to_owned()).await;
    }
}

/// Months before the batch's first campaign are not even part of the plan, of which there are as many as rows are kept
/// for; and rows are found by their key, whichever index seems to be as good.
#[tokio::test]
async fn locking_a_batch_is_planned_by_key_and_for_no_older_month() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    ensure_partitions(&mut connection).await.expect("partitions");
    let [this_month, _, next_month] = in_two_of_three_months(&mut connection).await;
    let later = campaign_in(62);
    let statement = prepared()
        .into_iter()
        .find(|statement| statement.name == "messages.lock_all");
    let sql = statement.expect("it is in the sources").sql;
    run(&mut connection, format!("PREPARE lock_all AS\n{sql}")).await;
    let older = partitions_of(&mut connection, &[this_month]).await;
    for mode in ["force_custom_plan", "force_generic_plan"] {
        run(&mut connection, format!("SET plan_cache_mode = {mode}")).await;
        let explain = format!(
            "EXPLAIN EXECUTE lock_all (ARRAY['{next_month}', '{later}']::uuid[], ARRAY[1, 1], '{next_month}')"
        );
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
            .fetch_all(&mut *connection)
            .await
            .expect("a plan");
        let plan = plan.join("\n");
        assert!(older.iter().all(|table| !plan.contains(table)), "{mode}: {plan}");
        for table in partitions_of(&mut connection, &[next_month]).await {
            assert!(plan.contains(&format!("using {table}_pkey")), "{mode}: {plan}");
        }
    }
}

/// Two campaigns of this month and one of the next, in their order. Another is of the month after.
async fn in_two_of_three_months(connection: &mut Connection) -> [CampaignId; 3] {
    let mut campaigns = [campaign_in(0), campaign_in(31), campaign_in(0)];
    for campaign in campaigns.into_iter().chain([campaign_in(62)]) {
        insert(connection, campaign).await;
    }
    run(connection, "ANALYZE messages".to_owned()).await;
    campaigns.sort_unstable();
    campaigns
}

/// An id of some days from now.
fn campaign_in(days: i64) -> CampaignId {
    let seconds = (Utc::now() + TimeDelta::days(days)).timestamp();
    let seconds = u64::try_from(seconds).expect("after 1970");
    CampaignId(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0)))
}

async fn run(connection: &mut Connection, sql: String) {
    let done = connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await;
    done.expect("it is run");
}

/// The partitions that have rows of these campaigns.
async fn partitions_of(connection: &mut Connection, campaigns: &[CampaignId]) -> BTreeSet<String> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT tableoid::regclass::text FROM messages WHERE campaign = ANY($1)")
            .bind(campaigns.iter().map(|campaign| campaign.0).collect::<Vec<_>>())
            .fetch_all(connection)
            .await
            .expect("names");
    names.into_iter().collect()
}

/// How often each partition was looked into.
async fn scans(transaction: &mut Transaction) -> BTreeMap<String, i64> {
    let scans: Vec<(String, i64)> = sqlx::query_as(
        "SELECT relname::text, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables
         WHERE relname LIKE 'messages%'",
    )
    .fetch_all(&mut **transaction)
    .await
    .expect("statistics");
    scans.into_iter().filter(|(_, times)| *times > 0).collect()
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

/// Rows of the ledger that the transaction read so far.
async fn reads(connection: &mut Connection) -> i64 {
    sqlx::query_scalar(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
         WHERE relname LIKE 'messages%'",
    )
    .fetch_one(connection)
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
    insert_some(connection, campaign, ROWS).await;
}

async fn insert_some(connection: &mut Connection, campaign: CampaignId, rows: i64) {
    let rows: Vec<AudienceRow> = (1..=rows)
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
