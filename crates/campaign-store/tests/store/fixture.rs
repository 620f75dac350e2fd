//! A migrated database for each test, and something to put into it.

use campaign_core::campaign::{Audience, Campaign, CampaignStatus, MisfirePolicy, OnUncertain, Priority};
use campaign_core::ids::{AccountId, CampaignId, LaneId, TemplateId};
use campaign_core::segment::Segment;
use campaign_core::template::Template;
use campaign_store::accounts::{self, Account};
use campaign_store::phone_numbers::{self, PhoneNumber};
use campaign_store::{Connection, PoolConfig, Store, campaigns, migrate, templates};
use chrono::{DateTime, TimeZone, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The number that everything here is sent from.
pub(crate) const LANE: &str = "106540352242922";

/// A store on a database of its own, with plans as `sender-svc` has them.
pub(crate) async fn store() -> Store {
    let database = database().await;
    let mut config = PoolConfig::new(database.url(), "store-tests");
    config.plans_once = true;
    Store::lazy(&config).expect("testkit's URLs are valid")
}

/// The database alone.
pub(crate) async fn database() -> testkit::Database {
    testkit::Postgres::start()
        .await
        .prepared_database(&fingerprint(), prepare)
        .await
}

async fn prepare(url: &str) -> anyhow::Result<()> {
    let store = Store::lazy(&PoolConfig::new(url, "store-tests"))?;
    migrate(&mut *store.connection().await?).await?;
    store.close().await;
    Ok(())
}

fn fingerprint() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the migrations are there")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(std::fs::read(file).expect("a readable file"));
    }
    hex::encode(&hash.finalize()[..12])
}

/// Noon of a day that the tests take for today.
pub(crate) fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0)
        .single()
        .expect("a valid time")
}

pub(crate) fn lane() -> LaneId {
    LANE.parse().expect("a lane")
}

/// An account, its approved template and its number.
pub(crate) async fn account(connection: &mut Connection) -> (AccountId, TemplateId) {
    let account = Account {
        id: AccountId(Uuid::now_v7()),
        waba_id: "102290129340398".to_owned(),
        portfolio_id: None,
        name: "Test".to_owned(),
        access_token_secret: None,
        app_secret_secret: None,
        created_at: noon(),
        updated_at: noon(),
    };
    accounts::create(connection, &account)
        .await
        .expect("the first account");
    let number = PhoneNumber {
        phone_number_id: lane(),
        account_id: account.id,
        display_number: "+55 11 3000-0001".to_owned(),
        throughput_per_second: 80,
        reported_throughput_per_second: None,
        active: true,
        created_at: noon(),
        updated_at: noon(),
    };
    phone_numbers::create(connection, &number)
        .await
        .expect("the first number");
    let template = TemplateId(Uuid::now_v7());
    templates::create(connection, template, account.id, &template_model())
        .await
        .expect("the first template");
    (account.id, template)
}

pub(crate) fn template_model() -> Template {
    serde_json::from_value(json!({
        "name": "oferta", "language": "pt_BR", "category": "UTILITY", "status": "APPROVED",
        "components": [{"type": "BODY", "text": "Olá, tudo bem?"}]
    }))
    .expect("Meta's shape")
}

/// A campaign in a status, due at noon.
pub(crate) async fn campaign(
    connection: &mut Connection,
    (account_id, template_id): (AccountId, TemplateId),
    status: CampaignStatus,
) -> CampaignId {
    let campaign = Campaign {
        id: CampaignId(Uuid::now_v7()),
        name: "March".to_owned(),
        template_id,
        account_id,
        phone_number_id: lane(),
        audience: Audience::Segment {
            segment: Segment {
                states: vec!["SP".to_owned()],
                ..Segment::default()
            },
        },
        mapping: serde_json::from_value(json!({})).expect("an empty mapping"),
        priority: Priority::Normal,
        scheduled_at: Some(noon()),
        time_zone: "America/Sao_Paulo".to_owned(),
        expires_at: None,
        misfire_policy: MisfirePolicy::Start,
        on_uncertain: OnUncertain::Hold,
        status,
        status_reason: None,
        finished_at: None,
        created_at: noon(),
        created_by: "tests".to_owned(),
        updated_at: noon(),
        started_at: None,
    };
    campaigns::create(connection, &campaign)
        .await
        .expect("a new campaign");
    campaign.id
}
