//! What the tests stand on: a lane on a Redis of its own, its owner, its members, and looks at the raw keys.

use campaign_core::contracts::{
    MESSAGE_GROUP, MessageOutcome, Outcome, OutcomeSource, QueuedMessage, SnapshotTemplate,
};
use campaign_core::ids::{CampaignId, Generation, InstanceId, LaneId, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_core::phone::CanonicalPhone;
use campaign_streams::lane::{
    Fed, FeedEntry, LaneControls, LaneMember, LaneOwner, OpenCampaign, OwnerReply, Settled, Step, Survey,
    Surveyed, Take, TakenEntry, Wait,
};
use campaign_streams::{LaneKeys, RedisConfig, StreamId, Streams};
use chrono::Utc;
use redis::FromRedisValue;
use std::ops::RangeInclusive;
use std::time::Duration;
use testkit::{Redis, wait_for};
use uuid::Uuid;

/// How long a test waits for what must happen, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A rate that holds nobody up, for tests that are not about it.
pub(crate) const UNHURRIED: u32 = 1_000_000;
/// The first owner's epoch.
pub(crate) const EPOCH: i64 = 1;
/// Long enough for every feed of a test.
pub(crate) const OPTOUTS_KEPT: Duration = Duration::from_mins(2);

pub(crate) fn streams(redis: &Redis) -> Streams {
    streams_at(redis.url())
}

pub(crate) fn streams_at(url: String) -> Streams {
    Streams::lazy(RedisConfig::new(url)).expect("the URL can be read")
}

pub(crate) fn lane_id() -> LaneId {
    "106540352242922".parse().expect("digits")
}

pub(crate) fn id(generation: i32, seq: i64) -> StreamId {
    StreamId::of_message(Generation(generation), Seq(seq))
}

pub(crate) fn phone(number: i64) -> CanonicalPhone {
    format!("+55319{:08}", 80_000_000 + number)
        .parse()
        .expect("a mobile number")
}

pub(crate) const RUNS: LaneControls = LaneControls {
    held: false,
    expires_at: None,
    weight: 1,
};

/// What the owner was answered, when the test does not expect a refusal.
#[track_caller]
pub(crate) fn granted<T: std::fmt::Debug>(reply: campaign_streams::Result<OwnerReply<T>>) -> T {
    match reply.expect("Redis answers") {
        OwnerReply::Ok(value) => value,
        refused => panic!("refused: {refused:?}"),
    }
}

/// Runs one command as the test's own look at, or blow to, the data.
pub(crate) async fn raw<T: FromRedisValue>(redis: &Redis, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command
        .query_async(&mut redis.connection().await)
        .await
        .expect("Redis answers")
}

/// A verified lane.
pub(crate) struct Ground {
    pub(crate) redis: Redis,
    pub(crate) streams: Streams,
    pub(crate) lane: LaneId,
    pub(crate) keys: LaneKeys,
    pub(crate) owner: LaneOwner,
    pub(crate) identity: String,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        Self::with_rate(UNHURRIED).await
    }

    pub(crate) async fn with_rate(rate_per_second: u32) -> Self {
        Self::on(Redis::start().await, rate_per_second).await
    }

    pub(crate) async fn on(redis: Redis, rate_per_second: u32) -> Self {
        let (streams, lane) = (streams(&redis), lane_id());
        let owner = LaneOwner::new(&streams, lane.clone(), EPOCH).expect("an owner");
        let identity = match owner.adopt().await.expect("Redis answers") {
            OwnerReply::Unverified { identity } => identity,
            other => panic!("a new lane is not verified: {other:?}"),
        };
        granted(owner.verify(&identity, rate_per_second, &[]).await);
        Self {
            keys: streams.keys().lane(&lane),
            redis,
            streams,
            lane,
            owner,
            identity,
        }
    }

    pub(crate) fn owner_of_epoch(&self, epoch: i64) -> LaneOwner {
        LaneOwner::new(&self.streams, self.lane.clone(), epoch).expect("an owner")
    }

    /// A member that was admitted.
    pub(crate) async fn member(&self) -> Member {
        let member = self.stranger();
        granted(self.owner.set_member(member.instance, Some(&self.identity)).await);
        member
    }

    /// A member that was not.
    pub(crate) fn stranger(&self) -> Member {
        Member::new(&self.streams, &self.identity)
    }

    /// A running campaign in its first round, with nothing queued.
    pub(crate) async fn open(&self, weight: u32) -> CampaignId {
        let campaign = CampaignId(Uuid::now_v7());
        granted(
            self.owner
                .open(&opening(campaign, LaneControls { weight, ..RUNS }))
                .await,
        );
        campaign
    }

    /// A running campaign with the messages 1 to `last` queued.
    pub(crate) async fn open_with(&self, weight: u32, last: i64) -> CampaignId {
        let campaign = self.open(weight).await;
        self.feed(campaign, 1..=last).await;
        campaign
    }

    /// Queues messages of the first round, behind those before them.
    pub(crate) async fn feed(&self, campaign: CampaignId, seqs: RangeInclusive<i64>) {
        let (believed, last) = (id(1, seqs.start() - 1), id(1, *seqs.end()));
        let entries = entries(1, seqs);
        let fed = self
            .owner
            .feed(campaign, believed, Utc::now(), OPTOUTS_KEPT, &entries)
            .await;
        assert_eq!(granted(fed), Fed::Appended(last));
    }

    pub(crate) async fn survey(&self, campaign: CampaignId, idle: Duration) -> Survey {
        match granted(self.owner.survey(&[campaign], idle).await).remove(0) {
            Surveyed::Found(survey) => survey,
            other => panic!("the lane has the campaign: {other:?}"),
        }
    }

    /// Deletes a campaign's stream; everything else stays.
    pub(crate) async fn lose_stream(&self, campaign: CampaignId) {
        let deleted: i64 = raw(&self.redis, &["DEL", &self.keys.messages(campaign)]).await;
        assert_eq!(deleted, 1, "there was a stream");
    }

    /// Entries in the campaign's stream.
    pub(crate) async fn outstanding(&self, campaign: CampaignId) -> u64 {
        raw(&self.redis, &["XLEN", &self.keys.messages(campaign)]).await
    }

    /// Entries that somebody holds, or that are parked.
    pub(crate) async fn pending(&self, campaign: CampaignId) -> u64 {
        let summary: (u64, redis::Value, redis::Value, redis::Value) = raw(
            &self.redis,
            &["XPENDING", &self.keys.messages(campaign), MESSAGE_GROUP],
        )
        .await;
        summary.0
    }

    /// Everything in the lane's outcomes, in order.
    pub(crate) async fn outcomes(&self) -> Vec<Outcome> {
        let reply: redis::streams::StreamRangeReply =
            raw(&self.redis, &["XRANGE", &self.keys.outcomes(), "-", "+"]).await;
        let bodies = reply
            .ids
            .iter()
            .map(|entry| entry.get::<String>("body").expect("a body"));
        let lines = bodies.flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>());
        lines
            .map(|line| serde_json::from_str(&line).expect("an outcome"))
            .collect()
    }

    /// A number that changes with every byte of data.
    pub(crate) async fn digest(&self) -> String {
        raw(&self.redis, &["DEBUG", "DIGEST"]).await
    }

    /// A Redis that tells [`Self::digest`].
    pub(crate) async fn digestible_redis() -> Redis {
        Redis::options()
            .argument("--enable-debug-command", "yes")
            .start()
            .await
    }
}

pub(crate) fn opening(campaign: CampaignId, controls: LaneControls) -> OpenCampaign {
    let template = serde_json::json!({
        "name": "greeting",
        "language": "pt_BR",
        "category": "MARKETING",
        "components": [{ "type": "BODY", "text": "Ola, {{1}}!" }],
        "status": "APPROVED",
    });
    OpenCampaign {
        template: SnapshotTemplate {
            campaign,
            template: serde_json::from_value(template).expect("a template"),
            payload_buttons: Vec::new(),
        },
        generation: Generation(1),
        start: Seq(0),
        controls,
    }
}

pub(crate) fn entries(generation: i32, seqs: RangeInclusive<i64>) -> Vec<FeedEntry> {
    seqs.map(|seq| FeedEntry {
        id: id(generation, seq),
        message: QueuedMessage {
            phone: phone(seq),
            variables: vec![format!("Ana {seq}")],
            fed_at_ms: Utc::now().timestamp_millis(),
            trace: String::new(),
        },
    })
    .collect()
}

/// What became of a message, as a member reports it.
pub(crate) fn outcome(campaign: CampaignId, id: StreamId, state: MessageState) -> Outcome {
    let (generation, seq) = id.message().expect("a message's id");
    let key = MessageKey {
        campaign,
        generation,
        seq,
    };
    Outcome::Message(MessageOutcome::new(key, state, Utc::now(), OutcomeSource::Send))
}

pub(crate) fn accepted(campaign: CampaignId, id: StreamId) -> Step {
    Step::Accepted {
        campaign,
        id,
        outcome: outcome(campaign, id, MessageState::Accepted),
        trace: String::new(),
    }
}

pub(crate) fn failed(campaign: CampaignId, id: StreamId) -> Step {
    Step::Settled {
        campaign,
        id,
        outcome: outcome(campaign, id, MessageState::Failed),
        trace: String::new(),
    }
}

/// One instance in the lane.
pub(crate) struct Member {
    pub(crate) lane: LaneMember,
    pub(crate) instance: InstanceId,
    pub(crate) identity: String,
}

impl Member {
    pub(crate) fn new(streams: &Streams, identity: &str) -> Self {
        let instance = InstanceId(Uuid::new_v4());
        Self {
            lane: LaneMember::new(streams, lane_id(), instance).expect("a member"),
            instance,
            identity: identity.to_owned(),
        }
    }

    /// One take, whatever it gives.
    pub(crate) async fn ask(&mut self, wanted: usize) -> Take {
        self.lane.take(wanted).await.expect("Redis answers")
    }

    /// One take that is not refused.
    pub(crate) async fn take(&mut self, wanted: usize) -> (Vec<TakenEntry>, Wait) {
        match self.ask(wanted).await {
            Take::Messages {
                entries,
                wait,
                troubled,
            } => {
                assert!(troubled.is_empty(), "in trouble: {troubled:?}");
                (entries, wait)
            }
            refused => panic!("refused: {refused:?}"),
        }
    }

    /// Takes until it has exactly so many.
    pub(crate) async fn take_all(&mut self, wanted: usize) -> Vec<TakenEntry> {
        let mut taken = Vec::new();
        wait_for(PATIENCE, "enough messages to take", async || {
            taken.extend(self.take(wanted - taken.len()).await.0);
            (taken.len() == wanted).then_some(())
        })
        .await;
        taken
    }

    pub(crate) async fn settle(&mut self, steps: &[Step]) -> Settled {
        self.lane
            .settle(&self.identity, steps)
            .await
            .expect("Redis answers")
    }

    /// The last settle once more.
    pub(crate) async fn settle_again(&mut self, steps: &[Step]) -> Settled {
        self.lane
            .settle_again(&self.identity, steps)
            .await
            .expect("Redis answers")
    }
}
