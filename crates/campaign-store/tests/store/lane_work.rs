//! What an owner reads at the beginning of each walk, and what it records as fed.

use crate::fixture::{account, campaign, lane, store};
use campaign_core::campaign::CampaignStatus;
use campaign_core::ids::{CampaignId, Generation, InstanceId, Seq};
use campaign_store::dispatches::{self, LaneSettings};
use campaign_store::lanes::{self, Lease};
use campaign_store::{Connection, StoreError, phone_numbers, portfolios};
use std::time::Duration;
use uuid::Uuid;

const PORTFOLIO: &str = "2729063490586005";

#[tokio::test]
async fn a_started_campaign_without_ledger_is_missing_until_one_is_kept() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let account = account(&mut connection).await;
    let started = campaign(&mut connection, account, CampaignStatus::Sending).await;
    // Never taken up, or not to be sent yet.
    campaign(&mut connection, account, CampaignStatus::Cancelled).await;
    campaign(&mut connection, account, CampaignStatus::Scheduled).await;
    let before = dispatches::work(&mut connection, &lane()).await.expect("read");
    assert_eq!((before.campaigns, before.missing), (vec![], vec![started]));

    dispatches::create(&mut connection, &[started], &lane(), "")
        .await
        .expect("created");
    let after = dispatches::work(&mut connection, &lane()).await.expect("read");
    let campaigns: Vec<CampaignId> = after.campaigns.iter().map(|work| work.campaign).collect();
    assert_eq!((campaigns, after.missing), (vec![started], vec![]));
}

#[tokio::test]
async fn the_lower_ceiling_and_a_limit_of_the_portfolio_hold() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    account(&mut connection).await;
    let read = async |connection: &mut Connection| {
        let work = dispatches::work(connection, &lane()).await;
        work.expect("the number is there").settings
    };
    let mut expected = LaneSettings {
        ceiling_per_second: 80,
        active: true,
        limited_portfolio: None,
    };
    assert_eq!(read(&mut connection).await, expected);

    sqlx::query("UPDATE business_accounts SET portfolio_id = $1")
        .bind(PORTFOLIO)
        .execute(&mut *connection)
        .await
        .expect("written");
    portfolios::set_limit(&mut connection, PORTFOLIO, None)
        .await
        .expect("set");
    assert_eq!(read(&mut connection).await, expected, "it has no limit");

    portfolios::set_limit(&mut connection, PORTFOLIO, Some(2_000))
        .await
        .expect("set");
    phone_numbers::report_throughput(&mut connection, &lane(), Some(20))
        .await
        .expect("reported");
    expected.ceiling_per_second = 20;
    expected.limited_portfolio = Some(PORTFOLIO.to_owned());
    assert_eq!(read(&mut connection).await, expected);

    let nobody = "1".parse().expect("digits");
    let missing = dispatches::work(&mut connection, &nobody).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

/// P1: a lane has one writer.
#[tokio::test]
async fn only_the_owner_records_what_was_fed() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let account = account(&mut connection).await;
    let started = campaign(&mut connection, account, CampaignStatus::Sending).await;
    dispatches::create(&mut connection, &[started], &lane(), "")
        .await
        .expect("created");
    lanes::list(&mut connection).await.expect("the lane has a row");
    let owner = InstanceId(Uuid::new_v4());
    let lease = lanes::acquire(&mut connection, &lane(), owner, Duration::from_mins(1))
        .await
        .expect("an answer")
        .expect("it is free");
    let saved = async |connection: &mut Connection, lease: &Lease, generation, seq| {
        let done =
            dispatches::save_enqueued(connection, lease, started, Generation(generation), Seq(seq)).await;
        let dispatch = dispatches::get(connection, started).await.expect("read");
        (done, dispatch.enqueued_seq.0)
    };
    let (done, enqueued) = saved(&mut connection, &lease, 1, 700).await;
    assert_eq!((done.is_ok(), enqueued), (true, 700));
    let (done, enqueued) = saved(&mut connection, &lease, 1, 300).await;
    assert_eq!((done.is_ok(), enqueued), (true, 700), "it never goes back");
    let (done, enqueued) = saved(&mut connection, &lease, 2, 900).await;
    assert_eq!((done.is_ok(), enqueued), (true, 700), "of another round");

    let zombie = Lease {
        epoch: lease.epoch - 1,
        ..lease
    };
    let (done, enqueued) = saved(&mut connection, &zombie, 1, 900).await;
    assert!(matches!(done, Err(StoreError::LeaseLost { .. })), "{done:?}");
    assert_eq!(enqueued, 700);
}
