//! Reading the ledger for people.

use crate::fixture::{account, campaign, store};
use campaign_core::campaign::CampaignStatus;
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::MessageState;
use campaign_store::{Connection, reports};
use sqlx::Executor;

#[tokio::test]
async fn a_campaign_without_a_ledger_has_no_progress_and_says_so() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let owner = account(&mut connection).await;
    let id = campaign(&mut connection, owner, CampaignStatus::Scheduled).await;
    let progress = reports::progress(&mut connection, id).await.expect("progress");
    assert_eq!(
        (progress.total, progress.enqueued, progress.audience_complete),
        (0, 0, false)
    );
    assert_eq!(progress.by_state.len(), MessageState::ALL.len());
    assert!(
        reports::progress(&mut connection, CampaignId(uuid::Uuid::nil()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn recipients_are_walked_in_order_and_filtered() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let owner = account(&mut connection).await;
    let id = campaign(&mut connection, owner, CampaignStatus::Sending).await;
    write_messages(&mut connection, id).await;
    let all = reports::recipients(&mut connection, id, None, Seq(0), 100)
        .await
        .expect("a page");
    assert_eq!(
        all.iter().map(|row| row.seq.0).collect::<Vec<_>>(),
        (1..=9).collect::<Vec<_>>()
    );
    let next = reports::recipients(&mut connection, id, None, Seq(4), 2)
        .await
        .expect("a page");
    assert_eq!(next.iter().map(|row| row.seq.0).collect::<Vec<_>>(), [5, 6]);
    let failed = Some(MessageState::Failed);
    let failed = reports::recipients(&mut connection, id, failed, Seq(0), 100)
        .await
        .expect("a page");
    assert_eq!(failed.iter().map(|row| row.seq.0).collect::<Vec<_>>(), [3, 6, 9]);
    let progress = reports::progress(&mut connection, id).await.expect("progress");
    assert_eq!((progress.total, progress.count(MessageState::Failed)), (9, 3));
    assert_eq!(progress.recent, [(100, 6)]);
    assert_eq!(progress.skipped_by.get("landline"), Some(&0));
}

/// Nine rows, every third of them failed.
async fn write_messages(connection: &mut Connection, id: CampaignId) {
    let statement = format!(
        "INSERT INTO messages (campaign, seq, state, generation, customer_id, phone, variables)
         SELECT '{id}', seq, (CASE WHEN seq % 3 = 0 THEN 'failed' ELSE 'accepted' END)::message_state, 1,
             'c-' || seq, '+551198765432' || seq, '{{}}' FROM generate_series(1, 9) AS seq;
         INSERT INTO campaign_counters (campaign, failed, accepted, total, recent, skipped_by)
         VALUES ('{id}', 3, 6, 9, '[[100, 6]]', '{{\"landline\": 0}}');"
    );
    connection
        .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statement)))
        .await
        .expect("rows");
}
