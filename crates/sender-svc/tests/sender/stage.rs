//! Everything a sender needs, started for one test.

use campaign_core::campaign::{Audience, Campaign, CampaignStatus, MisfirePolicy, OnUncertain, Priority};
use campaign_core::contracts::{MessageOutcome, Outcome, OutcomeSource, SENDER_STREAM, SendCampaign};
use campaign_core::ids::{CampaignId, Generation, LaneId, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_core::segment::Segment;
use campaign_core::variables::VariableMapping;
use campaign_runtime::{Runtime, Shutdown, parse};
use campaign_store::reports::{self, Progress};
use campaign_store::{PoolConfig, Store, accounts, campaigns, lanes, migrate as apply_migrations, templates};
use campaign_streams::{Producer, RedisConfig, Streams, Traced};
use chrono::Utc;
use serde_json::json;
use std::ffi::OsString;
use std::time::Duration;
use testkit::{Database, Postgres, Redis, wait_for, wait_for_ok};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Longest wait for anything that takes no grace.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Development data has this number, at 1,000 a second.
pub(crate) const LANE: &str = "106540352242922";
/// Short, so that tests of the grace end.
pub(crate) const GRACE_MS: u64 = 1_500;
pub(crate) const ERP_KEY: &str = "erp-key";

/// A running service: stopped when it is dropped, or in order by [`Service::stop`].
pub(crate) struct Service {
    pub(crate) base_url: String,
    shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    async fn start<F, Fut>(run: F) -> Self
    where
        F: FnOnce(Runtime) -> Fut,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = Shutdown::default();
        let task = tokio::spawn(run(Runtime::for_test(listener, shutdown.clone())));
        Self {
            base_url,
            shutdown,
            task,
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.stop();
        self.task.await.expect("no panic").expect("it ends well");
    }
}

pub(crate) struct Stage {
    pub(crate) redis: Redis,
    pub(crate) streams: Streams,
    pub(crate) store: Store,
    pub(crate) erp: Service,
    pub(crate) senders: Vec<Service>,
    database: Database,
    /// Settings of the senders besides those that every test has.
    further: Vec<String>,
}

impl Stage {
    /// One sender, and an ERP with this many customers.
    pub(crate) async fn start(customers: u32) -> Self {
        Self::start_with(customers, &[]).await
    }

    /// As [`Self::start`], with further settings of the senders.
    pub(crate) async fn start_with(customers: u32, further: &[String]) -> Self {
        campaign_runtime::install_tls_provider();
        let redis = Redis::start().await;
        let database = Postgres::start()
            .await
            .prepared_database(
                &format!("sender{}", campaign_store::schema_fingerprint()),
                prepare,
            )
            .await;
        let store = Store::lazy(&PoolConfig::new(database.url(), "test")).expect("a good url");
        let streams = Streams::lazy(RedisConfig::new(redis.url())).expect("a good url");
        let erp = start_erp(customers).await;
        let mut stage = Self {
            redis,
            streams,
            store,
            erp,
            senders: Vec::new(),
            database,
            further: further.to_vec(),
        };
        stage.add_sender().await;
        stage
    }

    pub(crate) async fn add_sender(&mut self) {
        let arguments = [
            "sender-svc".to_owned(),
            format!("--database-url={}", self.database.url()),
            format!("--redis-url={}", self.redis.url()),
            format!("--erp-base-url={}", self.erp.base_url),
            format!("--erp-api-key={ERP_KEY}"),
            "--erp-page-size=200".to_owned(),
            "--erp-requests-per-second=1000".to_owned(),
            "--lane-lease-ms=1000".to_owned(),
            "--reclaim-idle-ms=1000".to_owned(),
            format!("--grace-ms={GRACE_MS}"),
        ];
        let arguments = arguments.iter().chain(&self.further);
        let config = parse("sender-svc", "0", arguments.map(OsString::from));
        let Ok(config) = config else {
            panic!("the settings are good: {:?}", config.err())
        };
        let sender = Service::start(|runtime| sender_svc::app::run(config, runtime)).await;
        self.senders.push(sender);
    }

    /// A campaign to all customers with consent, already `SENDING`, and told to the senders.
    pub(crate) async fn send(&self, change: impl FnOnce(&mut Campaign)) -> CampaignId {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        let account = accounts::list(&mut connection, None, 1)
            .await
            .expect("accounts")
            .remove(0);
        let template = templates::latest(&mut connection, account.id, "test_reminder", "pt_BR")
            .await
            .expect("templates")
            .expect("the test's template");
        let mut campaign = Campaign {
            id: CampaignId(Uuid::now_v7()),
            name: "test".to_owned(),
            template_id: template.id,
            account_id: account.id,
            phone_number_id: lane(),
            audience: Audience::Segment {
                segment: Segment::default(),
            },
            mapping: mapping(),
            priority: Priority::Normal,
            scheduled_at: Some(Utc::now()),
            time_zone: "America/Sao_Paulo".to_owned(),
            expires_at: None,
            misfire_policy: MisfirePolicy::Start,
            on_uncertain: OnUncertain::Hold,
            status: CampaignStatus::Sending,
            status_reason: None,
            finished_at: None,
            created_at: Utc::now(),
            created_by: "test".to_owned(),
            updated_at: Utc::now(),
            started_at: Some(Utc::now()),
        };
        change(&mut campaign);
        campaigns::create(&mut connection, &campaign)
            .await
            .expect("the campaign is written");
        let entry = SendCampaign {
            campaign: campaign.id,
            lane: campaign.phone_number_id.clone(),
        };
        let told = Producer::new(&self.streams, SENDER_STREAM, 1_000);
        told.publish(&Traced::new(entry, None))
            .await
            .expect("Redis answers");
        campaign.id
    }

    /// Connections that do not wait for what others have locked.
    pub(crate) fn impatient_store(&self) -> Store {
        let mut config = PoolConfig::new(self.database.url(), "impatient");
        config.lock_timeout = Duration::from_millis(200);
        Store::lazy(&config).expect("a good url")
    }

    pub(crate) async fn campaign(&self, id: CampaignId) -> Campaign {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        campaigns::get(&mut connection, id)
            .await
            .expect("the campaign is there")
    }

    pub(crate) async fn progress(&self, id: CampaignId) -> Progress {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        reports::progress(&mut connection, id)
            .await
            .expect("the campaign is there")
    }

    /// Waits until nothing is left to do, and checks that the sums balance and every row is counted.
    pub(crate) async fn finished(&self, id: CampaignId) -> Progress {
        wait_for_ok(SOON, "the campaign to finish", async || {
            let (campaign, progress) = (self.campaign(id).await, self.progress(id).await);
            if campaign.finished_at.is_some() {
                Ok(())
            } else {
                Err(format!("{} {progress:?}", campaign.status))
            }
        })
        .await;
        let progress = self.progress(id).await;
        assert_eq!(
            progress.by_state.values().sum::<i64>(),
            progress.total,
            "P3: the sums balance"
        );
        assert_eq!(
            self.counted(id).await,
            progress.by_state,
            "P3: the counters are the rows"
        );
        assert_eq!(
            progress.failed_by.values().sum::<i64>(),
            progress.count(MessageState::Failed) + progress.count(MessageState::Undelivered),
            "every failure is counted under its code"
        );
        assert_eq!(
            progress.count(MessageState::Pending),
            0,
            "P2: every recipient has a final state"
        );
        progress
    }

    async fn counted(&self, id: CampaignId) -> std::collections::BTreeMap<MessageState, i64> {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        reports::count_rows(&mut connection, id).await.expect("rows")
    }

    /// Waits until the first sender is ready, or is not.
    pub(crate) async fn ready_is(&self, wanted: bool) {
        let url = format!("{}/readyz", self.senders[0].base_url);
        wait_for(SOON, &format!("readiness to be {wanted}"), async || {
            let ready = reqwest::get(&url).await.ok()?.status().is_success();
            (ready == wanted).then_some(())
        })
        .await;
    }

    /// A member that is forgotten while nothing is uncertain yet comes back for good.
    pub(crate) async fn keep_who_is_forgotten_too_early(&self) {
        self.database
            .execute(
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN
                     IF NOT EXISTS (SELECT FROM messages WHERE state = 'uncertain') THEN
                         INSERT INTO lane_members (lane, instance, identity, concurrency, joined_at)
                         VALUES (OLD.lane, gen_random_uuid(), OLD.identity, 1, now() + interval '1 hour');
                     END IF;
                     RETURN OLD;
                 END $$;
                 CREATE TRIGGER keep BEFORE DELETE ON lane_members FOR EACH ROW EXECUTE FUNCTION keep();",
            )
            .await;
    }

    /// How many rebuilds wait for rows that somebody has locked.
    pub(crate) async fn waiting_rebuilds(&self) -> i64 {
        self.database
            .number(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'
                     AND starts_with(query, '-- messages.lock_fed_pending')",
            )
            .await
    }

    /// How often Postgres had to end a transaction for another to go on.
    pub(crate) async fn deadlocks(&self) -> i64 {
        self.database
            .number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .await
    }

    /// How many members the ledger knows of.
    pub(crate) async fn members(&self) -> usize {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        let members = lanes::members(&mut connection, &lane()).await;
        members.expect("members").len()
    }

    /// Makes every member's join an hour old.
    pub(crate) async fn age_members(&self) {
        self.database
            .execute("UPDATE lane_members SET joined_at = joined_at - interval '1 hour'")
            .await;
    }

    /// Waits until the ledger knows of every outcome, and of as many parked messages.
    pub(crate) async fn caught_up_with_parked(&self, parked: i64) {
        wait_for(
            SOON,
            &format!("{parked} parked messages to be known"),
            async || {
                let mut connection = self.store.connection().await.ok()?;
                let ground = lanes::ground(&mut connection, &lane()).await.ok()?;
                (ground.parked >= parked).then_some(())
            },
        )
        .await;
    }

    /// From now on the number sends 20 messages a second.
    pub(crate) async fn slow_down(&self) {
        self.database
            .execute("UPDATE phone_numbers SET throughput_per_second = 20")
            .await;
    }

    /// The ERP is read from its first page again, by a fetch of its own.
    pub(crate) async fn fetch_again(&self) {
        self.database
            .execute("UPDATE dispatches SET erp_cursor = NULL, audience_complete = false")
            .await;
    }

    /// What the templates consist of cannot be read any more.
    pub(crate) async fn garble_templates(&self) {
        self.database
            .execute(r#"UPDATE templates SET components = '"no components"'"#)
            .await;
    }

    /// Makes every failure a day and a minute old.
    pub(crate) async fn age_failures(&self) {
        self.database
            .execute(
                "UPDATE messages SET settled_at = settled_at - interval '24 hours 1 minute' WHERE state = 'failed'",
            )
            .await;
    }

    /// Waits until as many rows are in a state.
    pub(crate) async fn reaches(&self, id: CampaignId, state: MessageState, count: i64) {
        wait_for(SOON, &format!("{count} messages to be {state}"), async || {
            (self.progress(id).await.count(state) >= count).then_some(())
        })
        .await;
    }
}

/// What a webhook says of a message of the first round.
pub(crate) fn sent(campaign: CampaignId, seq: i64) -> Outcome {
    let key = MessageKey {
        campaign,
        generation: Generation(1),
        seq: Seq(seq),
    };
    let source = OutcomeSource::Webhook;
    Outcome::Message(MessageOutcome::new(key, MessageState::Sent, Utc::now(), source))
}

pub(crate) fn lane() -> LaneId {
    LANE.parse().expect("a lane")
}

fn mapping() -> VariableMapping {
    let mapping = json!({"1": {"source": "customer.name", "format": "first_name", "fallback": "cliente"}});
    serde_json::from_value(mapping).expect("a mapping")
}

async fn prepare(url: &str) -> anyhow::Result<()> {
    let store = Store::lazy(&PoolConfig::new(url, "prepare"))?;
    {
        let mut connection = store.connection().await?;
        apply_migrations(&mut connection).await?;
        migrate::dev_data::ensure(&store).await?;
        let account = accounts::list(&mut connection, None, 1).await?.remove(0);
        let template = json!({
            "name": "test_reminder", "language": "pt_BR", "category": "UTILITY", "parameter_format": "POSITIONAL",
            "status": "APPROVED", "components": [{"type": "BODY", "text": "Olá, {{1}}! Temos uma mensagem."}],
        });
        let template = serde_json::from_value(template)?;
        let id = campaign_core::ids::TemplateId(Uuid::now_v7());
        templates::create(&mut connection, id, account.id, &template).await?;
    }
    store.close().await;
    Ok(())
}

async fn start_erp(customers: u32) -> Service {
    let arguments = [
        "erp-mock-svc".to_owned(),
        format!("--erp-api-key={ERP_KEY}"),
        format!("--customers={customers}"),
        "--today=2026-03-01".to_owned(),
    ];
    let config = parse("erp-mock-svc", "0", arguments.map(OsString::from));
    let Ok(config) = config else {
        panic!("the settings are good: {:?}", config.err())
    };
    Service::start(|runtime| erp_mock_svc::app::run(config, runtime)).await
}

/// Makes the ERP fail as told, or work again (`{}`).
pub(crate) async fn erp_faults(erp: &Service, faults: serde_json::Value) {
    let answer = reqwest::Client::new()
        .put(format!("{}/mock/faults", erp.base_url))
        .bearer_auth(ERP_KEY)
        .json(&faults)
        .send()
        .await
        .expect("the ERP answers");
    assert!(answer.status().is_success(), "{}", answer.status());
}
