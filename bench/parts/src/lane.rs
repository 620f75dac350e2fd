//! Redis: a lane's scripts, and bare XADD beside them.

use crate::{setting, wait_for_go};
use anyhow::{Result, bail};
use campaign_core::contracts::{MessageOutcome, Outcome, OutcomeSource, QueuedMessage, SnapshotTemplate};
use campaign_core::ids::{CampaignId, Generation, InstanceId, LaneId, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_core::phone::CanonicalPhone;
use campaign_streams::lane::{
    Fed, FeedEntry, LaneControls, LaneMember, LaneOwner, OpenCampaign, OutcomeReader, OwnerReply, Step, Take,
    TakenEntry,
};
use campaign_streams::{RedisConfig, StreamId, Streams};
use chrono::Utc;
use std::time::Duration;
use uuid::Uuid;

/// As `sender-svc` feeds and reads, and as `message-svc` takes.
const FEED_BATCH: i64 = 1_000;
const OUTCOMES_BATCH: usize = 4_000;
const TAKE_BATCH: usize = 256;
/// Messages a second that hold nothing up.
const UNLIMITED: u32 = 1_000_000;
const EPOCH: i64 = 1;
const OPTOUTS_KEPT: Duration = Duration::from_mins(2);

pub async fn xadd(count: i64) -> Result<()> {
    let client = redis::Client::open(setting("REDIS_URL")?)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    wait_for_go()?;
    for first in (1..=count).step_by(FEED_BATCH as usize) {
        let mut pipeline = redis::pipe();
        for seq in first..(first + FEED_BATCH).min(count + 1) {
            let [phone, values, fed_at, trace] = message(seq).to_values();
            let add = pipeline.cmd("XADD").arg("bare").arg(format!("1-{seq}"));
            add.arg("p")
                .arg(phone)
                .arg("v")
                .arg(values)
                .arg("f")
                .arg(fed_at)
                .arg("t")
                .arg(trace)
                .ignore();
        }
        pipeline.query_async::<()>(&mut connection).await?;
    }
    Ok(())
}

pub async fn feed(count: i64) -> Result<()> {
    let ground = Ground::new().await?;
    wait_for_go()?;
    ground.feed(count).await
}

pub async fn take_and_settle(count: i64) -> Result<()> {
    let ground = Ground::new().await?;
    let mut member = ground.member().await?;
    ground.feed(count).await?;
    wait_for_go()?;
    ground.take_and_settle(&mut member, count).await
}

pub async fn outcomes(count: i64) -> Result<()> {
    let ground = Ground::new().await?;
    let mut member = ground.member().await?;
    ground.feed(count).await?;
    ground.take_and_settle(&mut member, count).await?;
    let mut reader = OutcomeReader::new(&ground.streams, &ground.lane, Duration::from_secs(1));
    wait_for_go()?;
    let mut left = count as usize;
    while left > 0 {
        let batch = reader.read(OUTCOMES_BATCH).await?;
        reader.delete(&batch).await?;
        left = left.saturating_sub(batch.len());
    }
    Ok(())
}

/// A lane that is built, with one campaign.
struct Ground {
    streams: Streams,
    lane: LaneId,
    owner: LaneOwner,
    identity: String,
    campaign: CampaignId,
}

impl Ground {
    async fn new() -> Result<Self> {
        let streams = Streams::lazy(RedisConfig::new(setting("REDIS_URL")?))?;
        let lane: LaneId = setting("PHONE_NUMBER_ID")?.parse()?;
        let owner = LaneOwner::new(&streams, lane.clone(), EPOCH)?;
        let OwnerReply::Unverified { identity } = owner.adopt().await? else {
            bail!("the lane is not new");
        };
        granted(owner.verify(&identity, UNLIMITED, &[]).await?)?;
        let campaign = CampaignId(Uuid::now_v7());
        granted(owner.open(&opening(campaign)?).await?)?;
        Ok(Self {
            streams,
            lane,
            owner,
            identity,
            campaign,
        })
    }

    async fn member(&self) -> Result<LaneMember> {
        let instance = InstanceId(Uuid::new_v4());
        granted(self.owner.set_member(instance, Some(&self.identity)).await?)?;
        Ok(LaneMember::new(&self.streams, self.lane.clone(), instance)?)
    }

    async fn feed(&self, count: i64) -> Result<()> {
        for first in (1..=count).step_by(FEED_BATCH as usize) {
            let entries: Vec<FeedEntry> = (first..(first + FEED_BATCH).min(count + 1))
                .map(|seq| FeedEntry {
                    id: id(seq),
                    message: message(seq),
                })
                .collect();
            let fed = self
                .owner
                .feed(self.campaign, id(first - 1), Utc::now(), OPTOUTS_KEPT, &entries);
            match granted(fed.await?)? {
                Fed::Appended(_) => {}
                refused => bail!("feeding was refused: {refused:?}"),
            }
        }
        Ok(())
    }

    async fn take_and_settle(&self, member: &mut LaneMember, count: i64) -> Result<()> {
        let mut left = count as usize;
        while left > 0 {
            let entries = match member.take(TAKE_BATCH.min(left)).await? {
                Take::Messages { entries, .. } => entries,
                refused => bail!("taking was refused: {refused:?}"),
            };
            let steps: Vec<Step> = entries.iter().map(accepted).collect();
            left -= steps.len();
            if !steps.is_empty() {
                member.settle(&self.identity, &steps).await?;
            }
        }
        Ok(())
    }
}

fn granted<T: std::fmt::Debug>(reply: OwnerReply<T>) -> Result<T> {
    match reply {
        OwnerReply::Ok(value) => Ok(value),
        refused => bail!("the lane refused: {refused:?}"),
    }
}

fn opening(campaign: CampaignId) -> Result<OpenCampaign> {
    let template = serde_json::json!({
        "name": "lembrete_fatura", "language": "pt_BR", "category": "UTILITY", "status": "APPROVED",
        "components": [{"type": "BODY", "text": "Olá, {{1}}! Sua fatura {{2}}, de {{3}}, vence em {{4}}. Obrigado."}],
    });
    Ok(OpenCampaign {
        template: SnapshotTemplate {
            campaign,
            template: serde_json::from_value(template)?,
            payload_buttons: Vec::new(),
        },
        generation: Generation(1),
        start: Seq(0),
        controls: LaneControls {
            held: false,
            expires_at: None,
            weight: 1,
        },
    })
}

fn id(seq: i64) -> StreamId {
    StreamId::of_message(Generation(1), Seq(seq))
}

/// Customers follow each other in no order of their numbers.
pub fn phone(seq: i64) -> CanonicalPhone {
    format!("+55319{:08}", 80_000_000 + seq * 7_654_321 % 10_000_000)
        .parse()
        .expect("a mobile number of Belo Horizonte")
}

fn message(seq: i64) -> QueuedMessage {
    QueuedMessage {
        phone: phone(seq),
        variables: variables(seq),
        fed_at_ms: Utc::now().timestamp_millis(),
        trace: String::new(),
    }
}

pub fn variables(seq: i64) -> Vec<String> {
    [
        "Mariana".to_owned(),
        format!("c{seq:09}"),
        "R$ 10,00".to_owned(),
        "10/12/2026".to_owned(),
    ]
    .into()
}

fn accepted(entry: &TakenEntry) -> Step {
    let (generation, seq) = entry.id.message().expect("a message's id");
    let key = MessageKey {
        campaign: entry.campaign,
        generation,
        seq,
    };
    let mut outcome = MessageOutcome::new(key, MessageState::Accepted, Utc::now(), OutcomeSource::Send);
    outcome.attempts = Some(1);
    outcome.wamid = Some(format!("wamid.simulated.{key}"));
    Step::Accepted {
        campaign: entry.campaign,
        id: entry.id,
        outcome: Outcome::Message(outcome),
        trace: String::new(),
    }
}
