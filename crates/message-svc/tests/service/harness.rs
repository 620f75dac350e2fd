//! One Redis, the owner of one lane, and as many services as a test wants.

use campaign_core::contracts::{MessageOutcome, Outcome, QueuedMessage, SnapshotTemplate};
use campaign_core::ids::{CampaignId, Generation, InstanceId, LaneId, Seq};
use campaign_core::message::MessageState;
use campaign_core::template::Template;
use campaign_runtime::{Runtime, Shutdown};
use campaign_streams::lane::{
    Fed, FeedEntry, LaneControls, LaneOwner, OpenCampaign, OutcomeReader, OwnerReply, Survey, Surveyed,
};
use campaign_streams::{RedisConfig, StreamId, Streams};
use chrono::Utc;
use message_svc::{app, config::Config};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Redis, wait_for};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) const LANE: &str = "106540352242922";
/// How long a condition may take to come true on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const OPTOUTS_KEPT: Duration = Duration::from_mins(10);

/// A running service.
pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    pub(crate) shutdown: Shutdown,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.stop_now();
    }
}

impl Service {
    /// Starts one on the Redis at `url`; `flags` come after what every test needs.
    pub(crate) async fn start(url: &str, flags: &[&str]) -> Self {
        let redis = format!("--redis-url={url}");
        let first = ["message-svc", redis.as_str()];
        let args = first.iter().chain(flags).map(std::ffi::OsString::from);
        let config: Config = campaign_runtime::parse("message-svc", "0", args).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let task = tokio::spawn(app::run(config, Runtime::for_test(listener, shutdown.clone())));
        Self { addr, shutdown, task }
    }

    pub(crate) async fn simulating(url: &str) -> Self {
        Self::start(url, &["--transport=simulate"]).await
    }

    /// Stops it as SIGTERM does, and waits for its end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.stop();
        (&mut self.task).await.unwrap()
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let url = format!("http://{}/readyz", self.addr);
        http().get(url).send().await.unwrap().status().is_success()
    }
}

pub(crate) fn http() -> reqwest::Client {
    campaign_runtime::install_tls_provider();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    builder.build().unwrap()
}

/// The owner of the lane.
pub(crate) struct Owner {
    pub(crate) streams: Streams,
    pub(crate) lane: LaneId,
    pub(crate) hold: LaneOwner,
    pub(crate) ledger: Ledger,
}

/// What was read from the outcomes, in their order, and the task that reads.
pub(crate) struct Ledger {
    read: Arc<Mutex<Vec<Outcome>>>,
    task: Option<JoinHandle<()>>,
}

impl Owner {
    /// An owner whose lane is verified and empty; nobody reads the outcomes yet.
    pub(crate) async fn new(redis: &Redis, rate_per_second: u32) -> Self {
        let streams = Streams::lazy(RedisConfig::new(redis.url())).unwrap();
        let lane: LaneId = LANE.parse().unwrap();
        let owner = Self {
            hold: LaneOwner::new(&streams, lane.clone(), 1).unwrap(),
            streams,
            lane,
            ledger: Ledger {
                read: Arc::default(),
                task: None,
            },
        };
        owner.build(rate_per_second, &[]).await;
        owner
    }

    /// Builds the lane on whatever Redis there is. Returns the identity.
    pub(crate) async fn build(&self, rate_per_second: u32, members: &[InstanceId]) -> String {
        ok_or_unverified(&self.hold.adopt().await.unwrap());
        let identity = self.identity().await;
        let verified = self.hold.verify(&identity, rate_per_second, members).await;
        assert_eq!(verified.unwrap(), OwnerReply::Ok(()));
        identity
    }

    async fn identity(&self) -> String {
        match self.hold.unverify().await.unwrap() {
            OwnerReply::Ok(identity) | OwnerReply::Unverified { identity } => identity,
            OwnerReply::Superseded => panic!("nobody else owns the lane"),
        }
    }

    /// Reads and deletes outcomes from now on, and admits who joins if `admits`.
    pub(crate) fn keep_ledger(&mut self, admits: bool) {
        let (streams, lane, owner) = (self.streams.clone(), self.lane.clone(), self.hold.clone());
        let read = Arc::clone(&self.ledger.read);
        self.ledger.task = Some(tokio::spawn(async move {
            let mut reader = OutcomeReader::new(&streams, &lane, Duration::from_millis(100));
            loop {
                // While the test breaks Redis.
                let Ok(entries) = reader.read(1_000).await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                for entry in &*entries {
                    if let (
                        Outcome::Join {
                            instance, identity, ..
                        },
                        true,
                    ) = (&entry.outcome, admits)
                    {
                        owner.set_member(*instance, Some(identity)).await.ok();
                    }
                    read.lock().unwrap().push(entry.outcome.clone());
                }
                reader.delete(&entries).await.ok();
            }
        }));
    }

    pub(crate) fn stop_ledger(&mut self) {
        if let Some(task) = self.ledger.task.take() {
            task.abort();
        }
    }

    /// Admits the first instance that joined, by hand.
    pub(crate) async fn admit_first(&self) -> InstanceId {
        let (instance, identity) = wait_for(PATIENCE, "a join", async || {
            self.ledger
                .outcomes()
                .into_iter()
                .find_map(|outcome| match outcome {
                    Outcome::Join {
                        instance, identity, ..
                    } => Some((instance, identity)),
                    _ => None,
                })
        })
        .await;
        let admitted = self.hold.set_member(instance, Some(&identity)).await;
        assert_eq!(admitted.unwrap(), OwnerReply::Ok(()));
        instance
    }

    /// Opens a campaign's first round.
    pub(crate) async fn open(&self, held: bool) -> CampaignId {
        let campaign = CampaignId(Uuid::now_v7());
        self.open_round(campaign, 1, held).await;
        campaign
    }

    /// Opens a campaign that sends another template than the usual one.
    pub(crate) async fn open_with(&self, template: Template) -> CampaignId {
        let campaign = CampaignId(Uuid::now_v7());
        self.open_round_of(template, campaign, 1, false).await;
        campaign
    }

    pub(crate) async fn open_round(&self, campaign: CampaignId, generation: i32, held: bool) {
        self.open_round_of(template_of("UTILITY"), campaign, generation, held)
            .await;
    }

    async fn open_round_of(&self, template: Template, campaign: CampaignId, generation: i32, held: bool) {
        let open = OpenCampaign {
            template: SnapshotTemplate {
                campaign,
                template,
                payload_buttons: Vec::new(),
            },
            generation: Generation(generation),
            start: Seq(0),
            controls: controls(held),
        };
        let opened = self.hold.open(&open).await.unwrap();
        assert!(matches!(opened, OwnerReply::Ok(_)), "{opened:?}");
    }

    /// Appends messages `from..=to` of a round.
    pub(crate) async fn feed(&self, campaign: CampaignId, generation: i32, from: i64, to: i64) {
        let id = |seq| StreamId::of_message(Generation(generation), Seq(seq));
        let entries: Vec<FeedEntry> = (from..=to)
            .map(|seq| FeedEntry {
                id: id(seq),
                message: queued(seq, vec!["Ana".to_owned()]),
            })
            .collect();
        self.feed_entries(campaign, id(from - 1), &entries).await;
    }

    pub(crate) async fn feed_entries(&self, campaign: CampaignId, believed: StreamId, entries: &[FeedEntry]) {
        let fed = self
            .hold
            .feed(campaign, believed, Utc::now(), OPTOUTS_KEPT, entries)
            .await;
        let last = entries.last().unwrap().id;
        assert_eq!(fed.unwrap(), OwnerReply::Ok(Fed::Appended(last)));
    }

    /// Feeds a campaign from a task of its own.
    pub(crate) fn feeder(&self, campaign: CampaignId) -> Feeder {
        Feeder {
            hold: self.hold.clone(),
            campaign,
        }
    }

    /// A look that reclaims nothing.
    pub(crate) async fn survey(&self, campaign: CampaignId) -> Survey {
        survey(&self.hold, campaign).await
    }
}

async fn survey(hold: &LaneOwner, campaign: CampaignId) -> Survey {
    match hold.survey(&[campaign], Duration::from_hours(1)).await.unwrap() {
        OwnerReply::Ok(mut surveyed) => match surveyed.remove(0) {
            Surveyed::Found(survey) => survey,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Keeps a campaign's first round supplied.
pub(crate) struct Feeder {
    hold: LaneOwner,
    campaign: CampaignId,
}

impl Feeder {
    /// Feeds from `next` on until about `window` are outstanding. Returns the seq that comes next.
    pub(crate) async fn top_up(&self, next: i64, window: i64) -> i64 {
        let survey = survey(&self.hold, self.campaign).await;
        let room = window - survey.outstanding as i64;
        if room <= 0 {
            return next;
        }
        let id = |seq| StreamId::of_message(Generation(1), Seq(seq));
        let entries: Vec<FeedEntry> = (next..next + room)
            .map(|seq| FeedEntry {
                id: id(seq),
                message: queued(seq, vec!["Ana".to_owned()]),
            })
            .collect();
        let fed = self
            .hold
            .feed(self.campaign, id(next - 1), Utc::now(), OPTOUTS_KEPT, &entries)
            .await;
        assert!(matches!(fed.unwrap(), OwnerReply::Ok(Fed::Appended(_))));
        next + room
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop_ledger();
    }
}

impl Ledger {
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        self.read.lock().unwrap().clone()
    }

    /// The messages' outcomes of one state.
    pub(crate) fn messages(&self, state: MessageState) -> Vec<MessageOutcome> {
        let outcomes = self.outcomes().into_iter();
        outcomes
            .filter_map(|outcome| match outcome {
                Outcome::Message(message) if message.state == state => Some(message),
                _ => None,
            })
            .collect()
    }

    /// Waits for so many outcomes of one state.
    pub(crate) async fn wait_for(&self, state: MessageState, count: usize) -> Vec<MessageOutcome> {
        wait_for(PATIENCE, &format!("{count} messages {state}"), async || {
            let found = self.messages(state);
            (found.len() >= count).then_some(found)
        })
        .await
    }
}

pub(crate) fn ok_or_unverified<T>(reply: &OwnerReply<T>) {
    assert!(!matches!(reply, OwnerReply::Superseded));
}

pub(crate) fn controls(held: bool) -> LaneControls {
    LaneControls {
        held,
        expires_at: None,
        weight: 4,
    }
}

/// The person of a seq.
pub(crate) fn phone_of(seq: i64) -> String {
    format!("+55319{:08}", 80_000_000 + seq)
}

pub(crate) fn queued(seq: i64, variables: Vec<String>) -> QueuedMessage {
    QueuedMessage {
        phone: phone_of(seq).parse().unwrap(),
        variables,
        fed_at_ms: Utc::now().timestamp_millis(),
        trace: String::new(),
    }
}

pub(crate) fn template_of(category: &str) -> Template {
    serde_json::from_value(json!({
        "name": "order_ready", "language": "pt_BR", "category": category,
        "parameter_format": "POSITIONAL", "status": "APPROVED",
        "components": [{"type": "BODY", "text": "Olá {{1}}, seu pedido está pronto."}]
    }))
    .unwrap()
}
