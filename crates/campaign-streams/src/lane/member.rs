//! A lane as `message-svc` sees it: take messages, settle them.

use super::PARKED_CONSUMER;
use super::outcomes::OUTCOMES_EACH;
use super::script::{Answer, RECOVER, SETTLE, TAKE};
use crate::connection::ManagedConnection;
use crate::entry::{RawEntry, array, number, text};
use crate::{LaneKeys, Result, StreamId, Streams, StreamsError};
use campaign_core::contracts::{MESSAGE_GROUP, Outcome, QueuedMessage, SnapshotTemplate};
use campaign_core::ids::{CampaignId, InstanceId, LaneId};
use redis::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Most own pending entries of a campaign that are looked through after a broken reply.
const RECOVER_MAX: usize = 1_000;
/// How often a take follows the roster before it gives up: each time a campaign came or went meanwhile.
const ROSTER_TRIES: usize = 8;

/// One instance's hold on one lane.
pub struct LaneMember {
    connection: ManagedConnection,
    keys: LaneKeys,
    lane: LaneId,
    instance: InstanceId,
    roster: Roster,
    /// The number of the last settle.
    order: u64,
    /// What the next settle says of WhatsApp's answers.
    answers: Answers,
}

/// The campaigns of the lane, as of a version: a script must be told all its keys.
#[derive(Debug, Default)]
struct Roster {
    version: String,
    campaigns: Vec<CampaignId>,
}

/// The answer to a take.
#[derive(Debug)]
pub enum Take {
    /// The lane is not built on this Redis (any more). Nothing can be taken.
    Unverified {
        /// The identity of the Redis that answered.
        identity: String,
    },
    /// The instance is not a member (any more): it must join on this identity.
    Stranger {
        /// The identity of the Redis that answered.
        identity: String,
    },
    /// Messages, possibly none.
    Messages {
        /// To be written to the wire at once, each with a token spent.
        entries: Vec<TakenEntry>,
        /// When to ask again.
        wait: Wait,
        /// Campaigns that could not be read, with Redis's words.
        troubled: Vec<(CampaignId, String)>,
    },
}

/// When asking again makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// After this time: the next token, or the next alarm.
    For(Duration),
    /// When the lane wakes its members.
    UntilWoken,
}

/// A message in hand.
#[derive(Debug, Clone)]
pub struct TakenEntry {
    /// Its campaign.
    pub campaign: CampaignId,
    /// Its id: generation and seq.
    pub id: StreamId,
    /// 1 the first time.
    pub attempt: i32,
    /// The recipient opted out since it was fed; its token was given back.
    pub opted_out: bool,
    /// When it was taken, in microseconds since 1970 by Redis's clock; 0 if it was recovered.
    pub taken_us: i64,
    /// What it says, or why it cannot be read.
    pub message: std::result::Result<QueuedMessage, String>,
}

/// What a campaign's messages are made from.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The template.
    pub template: SnapshotTemplate,
}

/// One step of a settle.
#[derive(Debug, Clone)]
pub enum Step {
    /// The message is accepted: published whoever owns the entry.
    Accepted {
        /// Its campaign.
        campaign: CampaignId,
        /// Its id.
        id: StreamId,
        /// What to publish.
        outcome: Outcome,
        /// Trace context, or empty.
        trace: String,
    },
    /// Any other final word on the entry: published only by its owner.
    Settled {
        /// Its campaign.
        campaign: CampaignId,
        /// Its id.
        id: StreamId,
        /// What to publish.
        outcome: Outcome,
        /// Trace context, or empty.
        trace: String,
    },
    /// The entry stays in its stream and comes back.
    Parked {
        /// Its campaign.
        campaign: CampaignId,
        /// Its id.
        id: StreamId,
        /// When, in milliseconds since 1970 by Redis's clock as far as known.
        due_ms: i64,
        /// Attempts that count so far.
        attempts: i32,
    },
    /// An outcome that concerns no entry.
    Event {
        /// What to publish.
        outcome: Outcome,
        /// Trace context, or empty.
        trace: String,
    },
    /// Tokens that were not used.
    Refund {
        /// How many.
        tokens: u32,
    },
    /// Nothing is taken from the lane for a while, by anyone.
    Slow {
        /// How long.
        pause: Duration,
    },
    /// WhatsApp refused a message because of the rate: the lane goes on slower, once for each burst.
    TooFast {
        /// When the message was taken ([`TakenEntry::taken_us`]).
        taken_us: i64,
    },
}

/// Answers of WhatsApp, and how long it took over them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// How many.
    pub count: u64,
    /// The time of all together.
    pub took: Duration,
}

/// The answer to a settle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The identity of the Redis that answered.
    pub identity: String,
    /// Whether the lane is verified there, is the one that the caller joined on, and the caller a member.
    pub trusted: bool,
    /// The oldest outcome that the ledger has not applied, if any. Says nothing unless `trusted`: an empty
    /// Redis has no outcomes either.
    pub oldest_outcome: Option<StreamId>,
    /// For each step the id of the entry that has the outcome it published, or none: not the entry's owner, or no outcome.
    pub published: Vec<Option<StreamId>>,
    /// Outcomes that wait for the ledger.
    pub outcomes: u64,
}

impl LaneMember {
    /// A hold on `lane` for `instance`. Connects when first used.
    pub fn new(streams: &Streams, lane: LaneId, instance: InstanceId) -> Result<Self> {
        Ok(Self {
            connection: streams.managed()?,
            keys: streams.keys().lane(&lane),
            lane,
            instance,
            roster: Roster::default(),
            order: 0,
            answers: Answers::default(),
        })
    }

    /// The lane.
    pub fn lane(&self) -> &LaneId {
        &self.lane
    }

    /// Takes up to `wanted` messages.
    ///
    /// # Errors
    /// When the reply broke, entries may have been taken that nobody heard of: [`Self::recover`] finds them.
    pub async fn take(&mut self, wanted: usize) -> Result<Take> {
        for _ in 0..ROSTER_TRIES {
            let mut call = TAKE.prepare_invoke();
            call.key(self.keys.header())
                .key(self.keys.members())
                .key(self.keys.running())
                .key(self.keys.optouts());
            for campaign in &self.roster.campaigns {
                call.key(self.keys.messages(*campaign));
                call.key(self.keys.alarms(*campaign));
                call.key(self.keys.snapshot(*campaign));
            }
            call.arg(MESSAGE_GROUP)
                .arg(PARKED_CONSUMER)
                .arg(self.instance.to_string());
            call.arg(wanted).arg(&self.roster.version);
            for campaign in &self.roster.campaigns {
                call.arg(campaign.to_string());
            }
            let answer = Answer::read(call.invoke_async(&mut self.connection).await?)?;
            if answer.word == "roster" {
                self.follow(answer)?;
            } else {
                return self.read_take(answer);
            }
        }
        Ok(Take::Messages {
            entries: Vec::new(),
            wait: Wait::For(Duration::ZERO),
            troubled: Vec::new(),
        })
    }

    fn follow(&mut self, mut answer: Answer) -> Result<()> {
        self.roster.version = answer.text()?;
        let campaigns = answer.list()?.into_iter().map(|id| text(id, "campaign id"));
        self.roster.campaigns = campaigns
            .map(|id| {
                id?.parse()
                    .map_err(|error| StreamsError::undecodable("campaign id", error))
            })
            .collect::<Result<_>>()?;
        Ok(())
    }

    /// After a broken reply: this instance's pending entries that are younger than `lease`, taken by a call
    /// whose answer never came, or in hand; the caller knows which.
    pub async fn recover(&mut self, lease: Duration) -> Result<Take> {
        let mut call = RECOVER.prepare_invoke();
        call.key(self.keys.header())
            .key(self.keys.members())
            .key(self.keys.optouts());
        for campaign in &self.roster.campaigns {
            call.key(self.keys.messages(*campaign));
        }
        call.arg(MESSAGE_GROUP)
            .arg(self.instance.to_string())
            .arg(lease.as_millis())
            .arg(RECOVER_MAX);
        let answer = Answer::read(call.invoke_async(&mut self.connection).await?)?;
        self.read_take(answer)
    }

    fn read_take(&self, mut answer: Answer) -> Result<Take> {
        match answer.word.as_str() {
            "unverified" => Ok(Take::Unverified {
                identity: answer.text()?,
            }),
            "stranger" => Ok(Take::Stranger {
                identity: answer.text()?,
            }),
            "ok" => {
                let wait_us = answer.number()?;
                let wait = u64::try_from(wait_us)
                    .map_or(Wait::UntilWoken, |us| Wait::For(Duration::from_micros(us)));
                let entries = answer.list()?;
                let troubled = answer
                    .list()?
                    .into_iter()
                    .map(|trouble| self.read_trouble(trouble))
                    .collect::<Result<_>>()?;
                let taken_us = answer.number()?;
                let entries = entries
                    .into_iter()
                    .map(|entry| self.read_taken(entry, taken_us))
                    .collect::<Result<_>>()?;
                Ok(Take::Messages {
                    entries,
                    wait,
                    troubled,
                })
            }
            _ => answer.unexpected(),
        }
    }

    fn read_taken(&self, value: Value, taken_us: i64) -> Result<TakenEntry> {
        let mut parts = array(value, "taken entry")?.into_iter();
        let mut next = || parts.next().unwrap_or(Value::Nil);
        let campaign = self.campaign(number(next(), "campaign index")?)?;
        let id = text(next(), "entry id")?;
        let attempt = number(next(), "attempt")?;
        let opted_out = number(next(), "opted out")? == 1;
        let raw = RawEntry::from_value(Value::Array(vec![
            Value::BulkString(id.clone().into_bytes()),
            next(),
        ]))?;
        let fields = raw
            .fields
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        Ok(TakenEntry {
            campaign,
            id: id
                .parse()
                .map_err(|error| StreamsError::undecodable("entry id", error))?,
            attempt: attempt as i32,
            opted_out,
            taken_us,
            message: QueuedMessage::from_fields(fields).map_err(|error| error.to_string()),
        })
    }

    fn read_trouble(&self, value: Value) -> Result<(CampaignId, String)> {
        let mut parts = array(value, "trouble")?.into_iter();
        let campaign = self.campaign(number(parts.next().unwrap_or(Value::Nil), "campaign index")?)?;
        Ok((campaign, text(parts.next().unwrap_or(Value::Nil), "trouble")?))
    }

    fn campaign(&self, index: i64) -> Result<CampaignId> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.roster.campaigns.get(index).copied())
            .ok_or_else(|| StreamsError::undecodable("campaign index", index))
    }

    /// The snapshot of a campaign, or none if it is not in the lane.
    pub async fn snapshot(&mut self, campaign: CampaignId) -> Result<Option<Snapshot>> {
        let template: Option<String> = redis::cmd("HGET")
            .arg(self.keys.snapshot(campaign))
            .arg("template")
            .query_async(&mut self.connection)
            .await?;
        let Some(template) = template else { return Ok(None) };
        let template =
            serde_json::from_str(&template).map_err(|error| StreamsError::undecodable("snapshot", error))?;
        Ok(Some(Snapshot { template }))
    }

    /// What the next [`Self::settle`] says of WhatsApp's answers: an unusually long time slows the lane down.
    pub fn observe(&mut self, answers: Answers) {
        self.answers = answers;
    }

    /// Carries out all steps at once. `joined` is the identity that the caller joined on.
    ///
    /// # Errors
    /// When the reply broke, the steps may have been carried out: repeat them by [`Self::settle_again`].
    pub async fn settle(&mut self, joined: &str, steps: &[Step]) -> Result<Settled> {
        self.order += 1;
        self.settle_again(joined, steps).await
    }

    /// The last settle once more, with the same steps, because its reply broke. What it parked or gave back is not
    /// parked or given back again: meanwhile it may have been taken anew. Outcomes may be published twice, which
    /// the ledger takes once.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub async fn settle_again(&mut self, joined: &str, steps: &[Step]) -> Result<Settled> {
        let mut campaigns: Vec<CampaignId> = steps.iter().filter_map(Step::campaign).collect();
        campaigns.sort_unstable();
        campaigns.dedup();
        let mut call = SETTLE.prepare_invoke();
        call.key(self.keys.header())
            .key(self.keys.outcomes())
            .key(self.keys.members());
        for campaign in &campaigns {
            call.key(self.keys.messages(*campaign))
                .key(self.keys.alarms(*campaign));
        }
        call.arg(MESSAGE_GROUP)
            .arg(PARKED_CONSUMER)
            .arg(self.instance.to_string())
            .arg(joined)
            .arg(self.order)
            .arg(self.answers.count)
            .arg(self.answers.took.as_micros() as u64);
        for step in steps {
            let index = step
                .campaign()
                .and_then(|campaign| campaigns.binary_search(&campaign).ok())
                .unwrap_or(0);
            let (kind, id, first, second) = step.words();
            call.arg(kind).arg(index).arg(id).arg(first).arg(second);
        }
        let mut answer = Answer::read(call.invoke_async(&mut self.connection).await?)?;
        let identity = std::mem::take(&mut answer.word);
        let trusted = answer.number()? == 1;
        let oldest_outcome = answer.text()?.parse().ok();
        let published = published(steps, &answer.list()?, &answer.list()?)?;
        let outcomes = answer.number()? as u64;
        self.answers = Answers::default();
        Ok(Settled {
            identity,
            trusted,
            oldest_outcome,
            published,
            outcomes,
        })
    }
}

/// The id for each step: `ids` are those of the entries, each with as many outcomes as it can hold; `unpublished` the
/// steps (from 0) whose outcome was not published.
fn published(steps: &[Step], ids: &[Value], unpublished: &[Value]) -> Result<Vec<Option<StreamId>>> {
    let ids = ids.iter().map(|id| {
        let id = text(id.clone(), "outcome id")?;
        id.parse()
            .map_err(|error| StreamsError::undecodable("outcome id", error))
    });
    let ids = ids.collect::<Result<Vec<StreamId>>>()?;
    let unpublished = unpublished.iter().map(|step| number(step.clone(), "step"));
    let unpublished = unpublished.collect::<Result<BTreeSet<_>>>()?;
    let mut place = 0;
    let mut id_of = |(index, step): (usize, &Step)| {
        if step.outcome().is_none() || unpublished.contains(&(index as i64)) {
            return Ok(None);
        }
        let id = ids.get(place / OUTCOMES_EACH);
        place += 1;
        let missing = || StreamsError::undecodable("settle", format!("no id for outcome {place}"));
        id.copied().map(Some).ok_or_else(missing)
    };
    steps.iter().enumerate().map(&mut id_of).collect()
}

impl Step {
    fn campaign(&self) -> Option<CampaignId> {
        match self {
            Self::Accepted { campaign, .. }
            | Self::Settled { campaign, .. }
            | Self::Parked { campaign, .. } => Some(*campaign),
            Self::Event { .. } | Self::Refund { .. } | Self::Slow { .. } | Self::TooFast { .. } => None,
        }
    }

    /// The outcome that this step publishes, and its trace context.
    pub fn outcome(&self) -> Option<(&Outcome, &str)> {
        match self {
            Self::Accepted { outcome, trace, .. }
            | Self::Settled { outcome, trace, .. }
            | Self::Event { outcome, trace } => Some((outcome, trace)),
            Self::Parked { .. } | Self::Refund { .. } | Self::Slow { .. } | Self::TooFast { .. } => None,
        }
    }

    fn words(&self) -> (&'static str, String, String, String) {
        let body = |outcome: &Outcome| crate::entry::encode(outcome);
        match self {
            Self::Accepted {
                id, outcome, trace, ..
            } => ("accepted", id.to_string(), body(outcome), trace.clone()),
            Self::Settled {
                id, outcome, trace, ..
            } => ("settled", id.to_string(), body(outcome), trace.clone()),
            Self::Parked {
                id, due_ms, attempts, ..
            } => ("parked", id.to_string(), due_ms.to_string(), attempts.to_string()),
            Self::Event { outcome, trace } => ("event", String::new(), body(outcome), trace.clone()),
            Self::Refund { tokens } => ("refund", String::new(), tokens.to_string(), String::new()),
            Self::Slow { pause } => (
                "slow",
                String::new(),
                pause.as_millis().to_string(),
                String::new(),
            ),
            Self::TooFast { taken_us } => ("too_fast", String::new(), taken_us.to_string(), String::new()),
        }
    }
}
