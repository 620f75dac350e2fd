//! A lane as `message-svc` sees it: take messages, settle them.

use super::PARKED_CONSUMER;
use super::script::{Answer, RECOVER, SETTLE, TAKE};
use super::steps::{self, Step};
use crate::connection::ManagedConnection;
use crate::entry::{RawEntry, array, number, text};
use crate::{LaneKeys, Result, StreamId, Streams, StreamsError};
use campaign_core::contracts::{MESSAGE_GROUP, QueuedMessage, SnapshotTemplate};
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
                let mut taken = Vec::new();
                for together in entries {
                    self.read_taken(together, taken_us, &mut taken)?;
                }
                Ok(Take::Messages {
                    entries: taken,
                    wait,
                    troubled,
                })
            }
            _ => answer.unexpected(),
        }
    }

    /// Reads entries of one campaign and one attempt.
    fn read_taken(&self, value: Value, taken_us: i64, taken: &mut Vec<TakenEntry>) -> Result<()> {
        let mut parts = array(value, "taken entries")?.into_iter();
        let mut next = || parts.next().unwrap_or(Value::Nil);
        let campaign = self.campaign(number(next(), "campaign index")?)?;
        let attempt = number(next(), "attempt")? as i32;
        let entries = array(next(), "taken entries")?;
        let opted_out = array(next(), "places of opted out")?.into_iter();
        let opted_out = opted_out.map(|place| number(place, "place of opted out"));
        let opted_out = opted_out.collect::<Result<BTreeSet<_>>>()?;
        for (place, entry) in (1..).zip(entries) {
            let raw = RawEntry::from_value(entry)?;
            let id = raw.id.parse();
            let fields = raw.fields.iter();
            let fields = fields.map(|(name, value)| (name.as_slice(), value.as_slice()));
            taken.push(TakenEntry {
                campaign,
                id: id.map_err(|error| StreamsError::undecodable("entry id", error))?,
                attempt,
                opted_out: opted_out.contains(&place),
                taken_us,
                message: QueuedMessage::from_fields(fields).map_err(|error| error.to_string()),
            });
        }
        Ok(())
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
        steps::tell(&mut call, steps, &campaigns);
        let mut answer = Answer::read(call.invoke_async(&mut self.connection).await?)?;
        let identity = std::mem::take(&mut answer.word);
        let trusted = answer.number()? == 1;
        let oldest_outcome = answer.text()?.parse().ok();
        let published = steps::published(steps, &answer.list()?, &answer.list()?, &answer.list()?)?;
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
