//! Postgres: the ledger's rows, written once and updated once.

use crate::lane::{phone, variables};
use crate::{setting, wait_for_go};
use anyhow::Result;
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::MessageState;
use campaign_store::audience::{self, AudienceRow};
use campaign_store::{PoolConfig, Store, commit, ensure_partitions, messages, migrate};
use chrono::Utc;
use uuid::Uuid;

/// Rows in a page of the ERP, and what the ledger gathers at a high rate.
const BATCH: i64 = 2_000;

pub async fn insert_all(count: i64) -> Result<()> {
    let store = store().await?;
    wait_for_go()?;
    insert(&store, CampaignId(Uuid::now_v7()), count).await
}

pub async fn update(count: i64) -> Result<()> {
    let (store, campaign) = (store().await?, CampaignId(Uuid::now_v7()));
    insert(&store, campaign, count).await?;
    wait_for_go()?;
    for first in (1..=count).step_by(BATCH as usize) {
        let seqs: Vec<i64> = (first..(first + BATCH).min(count + 1)).collect();
        let mut transaction = store.begin().await?;
        let mut rows = messages::lock(&mut transaction, campaign, &seqs).await?;
        for locked in &mut rows {
            locked.row.state = MessageState::Accepted;
            locked.row.attempts = 1;
            locked.row.accepted_at = Some(Utc::now());
            locked.row.wamid = Some(format!("wamid.simulated.{}:1:{}", campaign.0, locked.seq.0));
        }
        messages::update(&mut transaction, &rows).await?;
        commit(transaction).await?;
    }
    Ok(())
}

async fn store() -> Result<Store> {
    let store = Store::lazy(&PoolConfig::new(setting("DATABASE_URL")?, "bench-parts"))?;
    let mut connection = store.connection().await?;
    migrate(&mut connection).await?;
    ensure_partitions(&mut connection).await?;
    drop(connection);
    Ok(store)
}

async fn insert(store: &Store, campaign: CampaignId, count: i64) -> Result<()> {
    for first in (1..=count).step_by(BATCH as usize) {
        let rows: Vec<AudienceRow> = (first..(first + BATCH).min(count + 1)).map(row).collect();
        let mut transaction = store.begin().await?;
        audience::insert(&mut transaction, campaign, &rows).await?;
        commit(transaction).await?;
    }
    Ok(())
}

fn row(seq: i64) -> AudienceRow {
    AudienceRow {
        seq: Seq(seq),
        customer_id: format!("c{seq:09}"),
        phone_as_given: Some(phone(seq).for_people()),
        phone: Some(phone(seq)),
        duplicate_of: None,
        variables: variables(seq),
        skip: None,
    }
}
