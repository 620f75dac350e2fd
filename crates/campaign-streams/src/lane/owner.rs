//! A lane as its owner sees it: build, feed, hold; it surveys in [`super::survey`]. Every call carries the owner's epoch.

use super::script::{
    ADOPT, Answer, CLOSE, CONTROL, FEED, MEMBER, MEMBERS, OPEN, RATE, SPAN, UNVERIFY, VERIFY,
};
use crate::connection::ManagedConnection;
use crate::entry::{array, text};
use crate::{LaneKeys, Result, StreamId, Streams, StreamsError};
use campaign_core::contracts::{MESSAGE_GROUP, QueuedMessage, SnapshotTemplate};
use campaign_core::ids::{CampaignId, Generation, InstanceId, LaneId, Seq};
use chrono::{DateTime, Utc};
use redis::{ScriptInvocation, Value};
use std::time::Duration;

/// The owner's hold on one lane, for one epoch.
#[derive(Clone)]
pub struct LaneOwner {
    streams: Streams,
    pub(super) connection: ManagedConnection,
    pub(super) keys: LaneKeys,
    lane: LaneId,
    pub(super) epoch: i64,
}

/// What the lane answers to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerReply<T> {
    /// Done.
    Ok(T),
    /// Another owner has been here with a higher epoch: this one is over.
    Superseded,
    /// The lane is not built on this Redis (any more).
    Unverified {
        /// The identity of the Redis that answered.
        identity: String,
    },
}

/// What holds for a campaign in the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneControls {
    /// Nothing is taken while this is set.
    pub held: bool,
    /// Nothing is taken afterwards.
    pub expires_at: Option<DateTime<Utc>>,
    /// Its share.
    pub weight: u32,
}

/// A campaign to bring into the lane.
#[derive(Debug, Clone)]
pub struct OpenCampaign {
    /// Its template, frozen.
    pub template: SnapshotTemplate,
    /// Its round.
    pub generation: Generation,
    /// The round's rows lie behind this one.
    pub start: Seq,
    /// What holds for it.
    pub controls: LaneControls,
}

/// Where an opened campaign's stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The last id ever written to it.
    pub last: StreamId,
}

/// A message to append.
#[derive(Debug, Clone)]
pub struct FeedEntry {
    /// Generation and seq.
    pub id: StreamId,
    /// What is queued.
    pub message: QueuedMessage,
}

/// The answer to a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// Appended; the stream ends here now.
    Appended(StreamId),
    /// Nothing was appended: the stream does not end where the feeder believed (none: there is no stream).
    Elsewhere(Option<StreamId>),
    /// Nothing was appended: the rows were read too long ago to be sure of the opt-outs since.
    Late,
}

impl LaneOwner {
    /// A hold on `lane` under `epoch`. Connects when first used.
    pub fn new(streams: &Streams, lane: LaneId, epoch: i64) -> Result<Self> {
        Ok(Self {
            connection: streams.managed()?,
            keys: streams.keys().lane(&lane),
            streams: streams.clone(),
            lane,
            epoch,
        })
    }

    /// Writes the epoch into the header, and the lane into the directory. `Ok` has the identity that the
    /// lane is verified on.
    pub async fn adopt(&self) -> Result<OwnerReply<String>> {
        let mut connection = self.connection.clone();
        redis::cmd("SADD")
            .arg(self.streams.keys().lanes())
            .arg(self.lane.as_str())
            .query_async::<()>(&mut connection)
            .await?;
        let mut call = ADOPT.key(self.keys.header());
        call.arg(self.epoch);
        self.invoke(&call, Answer::text).await
    }

    /// Declares the lane built on `identity`, with these members.
    pub async fn verify(
        &self,
        identity: &str,
        rate_per_second: u32,
        members: &[InstanceId],
    ) -> Result<OwnerReply<()>> {
        let mut call = VERIFY.key(self.keys.header());
        call.key(self.keys.members());
        call.arg(self.epoch).arg(identity).arg(rate_per_second);
        for member in members {
            call.arg(member.to_string());
        }
        self.invoke(&call, |_| Ok(())).await
    }

    /// The lane counts as not built: nothing is taken or fed until it is verified again.
    pub async fn unverify(&self) -> Result<OwnerReply<String>> {
        let mut call = UNVERIFY.key(self.keys.header());
        call.arg(self.epoch);
        self.invoke(&call, Answer::text).await
    }

    /// Lets an instance take, after its join was recorded; refuses one that left.
    pub async fn set_member(&self, instance: InstanceId, identity: Option<&str>) -> Result<OwnerReply<()>> {
        let mut call = MEMBER.key(self.keys.header());
        call.key(self.keys.members())
            .arg(self.epoch)
            .arg(instance.to_string())
            .arg(identity.unwrap_or_default());
        self.invoke(&call, |_| Ok(())).await
    }

    /// Changes the lane's rate.
    pub async fn set_rate(&self, rate_per_second: u32) -> Result<OwnerReply<()>> {
        let mut call = RATE.key(self.keys.header());
        call.arg(self.epoch).arg(rate_per_second);
        self.invoke(&call, |_| Ok(())).await
    }

    /// Brings a campaign into the lane, or its round up to date.
    pub async fn open(&self, open: &OpenCampaign) -> Result<OwnerReply<Opened>> {
        let campaign = open.template.campaign;
        let mut call = OPEN.key(self.keys.header());
        call.key(self.keys.running())
            .key(self.keys.snapshot(campaign))
            .key(self.keys.messages(campaign));
        call.arg(self.epoch).arg(MESSAGE_GROUP).arg(campaign.to_string());
        call.arg(crate::entry::encode(&open.template))
            .arg(open.generation.0)
            .arg(open.controls.weight);
        call.arg(i32::from(open.controls.held))
            .arg(expires_ms(&open.controls))
            .arg(open.start.0);
        self.invoke(&call, |answer| {
            Ok(Opened {
                last: stream_id(&answer.text()?)?,
            })
        })
        .await
    }

    /// Changes what holds for a campaign in the lane.
    pub async fn control(&self, campaign: CampaignId, controls: &LaneControls) -> Result<OwnerReply<()>> {
        let mut call = CONTROL.key(self.keys.header());
        call.key(self.keys.snapshot(campaign)).arg(self.epoch);
        call.arg(i32::from(controls.held))
            .arg(expires_ms(controls))
            .arg(controls.weight);
        self.invoke(&call, |_| Ok(())).await
    }

    /// Compares and appends: the entries are written, all or none, only if the campaign's stream ends at
    /// `believed` and the rows were read no longer than `optouts_kept` ago.
    ///
    /// # Errors
    /// When the reply broke, the entries may have been written; where the stream ends tells.
    pub async fn feed(
        &self,
        campaign: CampaignId,
        believed: StreamId,
        read_at: DateTime<Utc>,
        optouts_kept: Duration,
        entries: &[FeedEntry],
    ) -> Result<OwnerReply<Fed>> {
        let mut call = FEED.key(self.keys.header());
        call.key(self.keys.messages(campaign))
            .arg(self.epoch)
            .arg(believed.to_string());
        call.arg(read_at.timestamp_millis()).arg(optouts_kept.as_millis());
        call.arg(self.streams.keys().wake_messages())
            .arg(self.lane.as_str());
        for entry in entries {
            call.arg(entry.id.to_string());
            for value in entry.message.to_values() {
                call.arg(value);
            }
        }
        let mut answer = Answer::read(call.invoke_async(&mut self.connection.clone()).await?)?;
        match answer.word.as_str() {
            "elsewhere" => Ok(OwnerReply::Ok(Fed::Elsewhere(answer.text()?.parse().ok()))),
            "late" => Ok(OwnerReply::Ok(Fed::Late)),
            _ => read(answer, |answer| Ok(Fed::Appended(stream_id(&answer.text()?)?))),
        }
    }

    /// Takes campaigns out of the lane and drops their keys. Works on an unverified lane too.
    pub async fn close(&self, campaigns: &[CampaignId]) -> Result<OwnerReply<()>> {
        let mut call = CLOSE.key(self.keys.header());
        call.key(self.keys.running()).arg(self.epoch);
        for &campaign in campaigns {
            call.key(self.keys.messages(campaign))
                .key(self.keys.alarms(campaign))
                .key(self.keys.snapshot(campaign));
            call.arg(campaign.to_string());
        }
        self.invoke(&call, |_| Ok(())).await
    }

    /// The campaigns that the lane has, whether they still run or not.
    pub async fn campaigns(&self) -> Result<Vec<CampaignId>> {
        let mut connection = self.connection.clone();
        let ids: Vec<String> = redis::cmd("ZRANGE")
            .arg(self.keys.running())
            .arg(0)
            .arg(-1)
            .query_async(&mut connection)
            .await?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Where the outcomes begin and end, on a verified lane or not: the first one there is, and the last id ever
    /// written.
    pub async fn outcomes_span(&self) -> Result<(Option<StreamId>, StreamId)> {
        let mut connection = self.connection.clone();
        let first: redis::streams::StreamRangeReply = redis::cmd("XRANGE")
            .arg(self.keys.outcomes())
            .arg("-")
            .arg("+")
            .arg("COUNT")
            .arg(1)
            .query_async(&mut connection)
            .await?;
        let info: redis::RedisResult<redis::streams::StreamInfoStreamReply> = redis::cmd("XINFO")
            .arg("STREAM")
            .arg(self.keys.outcomes())
            .query_async(&mut connection)
            .await;
        let last = match info {
            Ok(info) => stream_id(&info.last_generated_id)?,
            Err(error) if error.is_io_error() || error.is_timeout() => return Err(error.into()),
            Err(_) => StreamId::default(),
        };
        Ok((first.ids.first().and_then(|entry| entry.id.parse().ok()), last))
    }

    /// Instances that may take, and how long ago each last asked (none: never since it was admitted).
    pub async fn members_seen(&self) -> Result<OwnerReply<Vec<(InstanceId, Option<Duration>)>>> {
        let mut call = MEMBERS.key(self.keys.header());
        call.key(self.keys.members()).arg(self.epoch);
        self.invoke(&call, |answer| {
            answer.list()?.into_iter().map(read_member).collect()
        })
        .await
    }

    /// The first outcome that is not applied, if there is any.
    pub async fn first_outcome(&self) -> Result<OwnerReply<Option<StreamId>>> {
        let mut call = SPAN.key(self.keys.header());
        call.key(self.keys.outcomes()).arg(self.epoch);
        self.invoke(&call, |answer| Ok(answer.text()?.parse().ok())).await
    }

    /// Forgets opt-outs older than `before`: no message was fed before them.
    pub async fn trim_optouts(&self, before: DateTime<Utc>) -> Result<()> {
        let mut connection = self.connection.clone();
        redis::cmd("ZREMRANGEBYSCORE")
            .arg(self.keys.optouts())
            .arg("-inf")
            .arg(format!("({}", before.timestamp_millis()))
            .query_async::<()>(&mut connection)
            .await?;
        Ok(())
    }

    async fn invoke<T>(
        &self,
        call: &ScriptInvocation<'_>,
        rest: impl FnOnce(&mut Answer) -> Result<T>,
    ) -> Result<OwnerReply<T>> {
        read(
            Answer::read(call.invoke_async(&mut self.connection.clone()).await?)?,
            rest,
        )
    }
}

fn read_member(member: Value) -> Result<(InstanceId, Option<Duration>)> {
    let mut parts = array(member, "member")?.into_iter();
    let mut next = || text(parts.next().unwrap_or(Value::Nil), "member");
    let instance = next()?
        .parse()
        .map_err(|error| StreamsError::undecodable("instance", error))?;
    Ok((instance, next()?.parse().ok().map(Duration::from_millis)))
}

pub(super) fn read<T>(
    mut answer: Answer,
    rest: impl FnOnce(&mut Answer) -> Result<T>,
) -> Result<OwnerReply<T>> {
    match answer.word.as_str() {
        "ok" => Ok(OwnerReply::Ok(rest(&mut answer)?)),
        "superseded" => Ok(OwnerReply::Superseded),
        "unverified" => Ok(OwnerReply::Unverified {
            identity: answer.text()?,
        }),
        _ => answer.unexpected(),
    }
}

fn expires_ms(controls: &LaneControls) -> i64 {
    controls.expires_at.map_or(0, |at| at.timestamp_millis())
}

pub(super) fn stream_id(text: &str) -> Result<StreamId> {
    text.parse()
        .map_err(|error| StreamsError::undecodable("entry id", error))
}
