//! Redis, as far as a lane uses it: each public method is one script, so one step.
//!
//! Scripts have the names of the files in `campaign-streams/src/lane/scripts/` and refuse what those refuse.

mod member_scripts;

use crate::flaw::Flaw;
use crate::ids::{CampaignNo, EntryId, Epoch, Identity, Instance, Key, Recipient, Time};
use campaign_core::ids::{Generation, Seq};
use campaign_core::message::MessageState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Copies that are kept for a rollback.
const HISTORY_MAX: usize = 48;

/// Why a script did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Superseded,
    Unverified(Identity),
    Stranger(Identity),
}

/// What members report, in the lane's outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Message(MessageOutcome),
    Join { instance: Instance, identity: Identity },
    Left(Instance),
}

/// A message's new state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageOutcome {
    pub(crate) key: Key,
    pub(crate) state: MessageState,
    pub(crate) at: Time,
    pub(crate) attempts: Option<i32>,
    pub(crate) due: Option<Time>,
}

impl Outcome {
    /// The recipient whose acceptance this proves.
    pub(crate) fn evidence(&self) -> Option<Recipient> {
        match self {
            Self::Message(message) if message.state.is_accepted() => Some(message.key.recipient()),
            _ => None,
        }
    }
}

/// Where an entry of a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Fresh,
    Pending {
        /// None: parked.
        taker: Option<Instance>,
        since: Time,
        attempt: i32,
    },
}

/// What a campaign has in the lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CampaignKeys {
    /// None: the stream is missing, by a fault.
    pub(crate) stream: Option<Stream>,
    pub(crate) alarms: BTreeMap<EntryId, Time>,
    pub(crate) held: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stream {
    pub(crate) entries: BTreeMap<EntryId, Standing>,
    pub(crate) last: EntryId,
}

/// What a survey saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) outstanding: usize,
    pub(crate) in_flight: usize,
    pub(crate) last_outcome: u64,
    pub(crate) reclaimed: usize,
}

/// One message handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) key: Key,
    pub(crate) attempt: i32,
}

/// What a feed came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fed {
    Appended(EntryId),
    Elsewhere,
}

/// Everything that can be lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Data {
    pub(crate) identity: Option<Identity>,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) seen: BTreeMap<Instance, Time>,
    pub(crate) members: BTreeMap<Instance, Identity>,
    /// The last settle of each member that was carried out.
    pub(crate) settled: BTreeMap<Instance, u64>,
    pub(crate) campaigns: BTreeMap<CampaignNo, CampaignKeys>,
    pub(crate) outcomes: VecDeque<(u64, Outcome)>,
    pub(crate) last_outcome: u64,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) data: Data,
    /// Raised with every change.
    pub(crate) changes: u64,
    flaw: Option<Flaw>,
    identity: Identity,
    /// Ids follow the clock, so they go on rising when Redis is replaced.
    next_outcome: u64,
    /// Earlier contents, oldest first; kept only where a rollback will come.
    history: Option<VecDeque<Data>>,
}

impl Redis {
    pub(crate) fn new(flaw: Option<Flaw>, keep_history: bool) -> Self {
        Self {
            data: Data::default(),
            changes: 0,
            flaw,
            identity: Identity(1),
            next_outcome: 0,
            history: keep_history.then(VecDeque::new),
        }
    }

    fn change(&mut self) -> &mut Data {
        self.changes += 1;
        if let Some(history) = &mut self.history {
            if history.len() == HISTORY_MAX {
                history.pop_front();
            }
            history.push_back(self.data.clone());
        }
        &mut self.data
    }

    pub(crate) fn here(&self) -> Identity {
        if self.flaw == Some(Flaw::NoIdentity) {
            Identity(0)
        } else {
            self.identity
        }
    }

    fn is_verified(&self) -> bool {
        self.data.identity == Some(self.here())
    }

    fn check_epoch(&self, epoch: Epoch) -> Result<(), Refusal> {
        let newer = self.data.epoch.is_some_and(|known| known > epoch);
        if newer && self.flaw != Some(Flaw::NoEpoch) {
            return Err(Refusal::Superseded);
        }
        Ok(())
    }

    fn guard(&self, epoch: Epoch) -> Result<(), Refusal> {
        self.check_epoch(epoch)?;
        if self.is_verified() {
            Ok(())
        } else {
            Err(Refusal::Unverified(self.here()))
        }
    }

    /// Says whether the lane is built here.
    pub(crate) fn adopt(&mut self, epoch: Epoch) -> Result<Identity, Refusal> {
        self.check_epoch(epoch)?;
        if self.data.epoch != Some(epoch) {
            self.change().epoch = Some(epoch);
        }
        if self.is_verified() {
            Ok(self.here())
        } else {
            Err(Refusal::Unverified(self.here()))
        }
    }

    pub(crate) fn unverify(&mut self, epoch: Epoch) -> Result<Identity, Refusal> {
        self.check_epoch(epoch)?;
        if self.data.identity.is_some() {
            self.change().identity = None;
        }
        Ok(self.here())
    }

    pub(crate) fn verify(
        &mut self,
        epoch: Epoch,
        identity: Identity,
        joined: &[Instance],
        now: Time,
    ) -> Result<(), Refusal> {
        self.check_epoch(epoch)?;
        let here = self.here();
        if here != identity {
            return Err(Refusal::Unverified(here));
        }
        let data = self.change();
        data.epoch = Some(epoch);
        data.identity = Some(here);
        data.members = joined.iter().map(|instance| (*instance, here)).collect();
        data.seen = joined.iter().map(|instance| (*instance, now)).collect();
        data.settled.clear();
        Ok(())
    }

    pub(crate) fn set_member(
        &mut self,
        epoch: Epoch,
        instance: Instance,
        identity: Option<Identity>,
        now: Time,
    ) -> Result<(), Refusal> {
        self.guard(epoch)?;
        let data = self.change();
        if let Some(identity) = identity {
            data.members.insert(instance, identity);
            data.seen.insert(instance, now);
        } else {
            data.members.remove(&instance);
            data.seen.remove(&instance);
            data.settled.remove(&instance);
        }
        Ok(())
    }

    /// Who may take, and when each was last seen.
    pub(crate) fn members(&self, epoch: Epoch) -> Result<Vec<(Instance, Option<Time>)>, Refusal> {
        self.guard(epoch)?;
        let members = self.data.members.keys();
        Ok(members
            .map(|instance| (*instance, self.data.seen.get(instance).copied()))
            .collect())
    }

    pub(crate) fn campaigns(&self) -> Vec<CampaignNo> {
        self.data.campaigns.keys().copied().collect()
    }

    /// Brings a campaign into the lane, held. Says where its stream ends.
    pub(crate) fn open(
        &mut self,
        epoch: Epoch,
        campaign: CampaignNo,
        generation: Generation,
        start: Seq,
    ) -> Result<EntryId, Refusal> {
        self.guard(epoch)?;
        let is_lost = self
            .data
            .campaigns
            .get(&campaign)
            .is_some_and(|keys| keys.stream.is_none());
        if is_lost && self.flaw != Some(Flaw::OpensLostStream) {
            return Ok(EntryId::default());
        }
        let keys = self.change().campaigns.entry(campaign).or_default();
        keys.held = true;
        let stream = keys.stream.get_or_insert_default();
        if stream.last.generation < generation && stream.entries.is_empty() {
            stream.last = EntryId::new(generation, start);
        }
        Ok(stream.last)
    }

    pub(crate) fn control(&mut self, epoch: Epoch, campaign: CampaignNo, held: bool) -> Result<(), Refusal> {
        self.guard(epoch)?;
        if let Some(keys) = self.change().campaigns.get_mut(&campaign) {
            keys.held = held;
        }
        Ok(())
    }

    /// Compare and append.
    pub(crate) fn feed(
        &mut self,
        epoch: Epoch,
        campaign: CampaignNo,
        believed: EntryId,
        ids: &[EntryId],
    ) -> Result<Fed, Refusal> {
        self.guard(epoch)?;
        let blind = self.flaw == Some(Flaw::BlindAppend);
        let ends = |data: &Data| data.campaigns.get(&campaign)?.stream.as_ref().map(|s| s.last);
        if ends(&self.data) != Some(believed) && !blind {
            return Ok(Fed::Elsewhere);
        }
        let keys = self.change().campaigns.entry(campaign).or_default();
        let stream = keys.stream.get_or_insert_default();
        for id in ids {
            stream.entries.insert(*id, Standing::Fresh);
            stream.last = *id;
        }
        Ok(Fed::Appended(stream.last))
    }

    /// The owner's look; what a silent member took becomes uncertain. None: the stream is missing.
    pub(crate) fn survey(
        &mut self,
        epoch: Epoch,
        campaign: CampaignNo,
        now: Time,
        idle: Time,
    ) -> Result<Option<Survey>, Refusal> {
        self.guard(epoch)?;
        let Some(stream) = self.data.campaigns.get(&campaign).and_then(|k| k.stream.as_ref()) else {
            return Ok(None);
        };
        let lost: Vec<_> = stream
            .entries
            .iter()
            .filter_map(|(id, standing)| match standing {
                Standing::Pending {
                    taker: Some(_),
                    since,
                    attempt,
                } if now - since >= idle => Some((*id, *attempt)),
                _ => None,
            })
            .collect();
        for (id, attempt) in &lost {
            self.publish(Outcome::Message(MessageOutcome {
                key: Key { campaign, id: *id },
                state: MessageState::Uncertain,
                at: now,
                attempts: Some(*attempt),
                due: None,
            }));
            self.release(Key { campaign, id: *id });
        }
        let entries = self.data.campaigns.get(&campaign).and_then(|k| k.stream.as_ref());
        let standing = |wanted: fn(&Standing) -> bool| {
            entries.map_or(0, |s| s.entries.values().filter(|s| wanted(s)).count())
        };
        Ok(Some(Survey {
            outstanding: standing(|_| true),
            in_flight: standing(|s| matches!(s, Standing::Pending { taker: Some(_), .. })),
            last_outcome: self.data.last_outcome,
            reclaimed: lost.len(),
        }))
    }

    /// Drops campaigns' keys, also on an unverified lane.
    pub(crate) fn close(&mut self, epoch: Epoch, campaigns: &[CampaignNo]) -> Result<(), Refusal> {
        self.check_epoch(epoch)?;
        let data = self.change();
        for campaign in campaigns {
            data.campaigns.remove(campaign);
        }
        Ok(())
    }

    /// The first outcome that is not applied.
    pub(crate) fn first_outcome(&self, epoch: Epoch) -> Result<Option<u64>, Refusal> {
        self.guard(epoch)?;
        Ok(self.oldest_outcome())
    }

    /// The same without a look at the identity, and the last id.
    pub(crate) fn outcomes_span(&self) -> (Option<u64>, u64) {
        (self.oldest_outcome(), self.data.last_outcome)
    }

    pub(crate) fn oldest_outcome(&self) -> Option<u64> {
        self.data.outcomes.front().map(|(id, _)| *id)
    }

    pub(crate) fn read_outcomes(&self, most: usize) -> Vec<(u64, Outcome)> {
        self.data.outcomes.iter().take(most).cloned().collect()
    }

    pub(crate) fn delete_outcomes(&mut self, ids: &[u64]) {
        self.change().outcomes.retain(|(id, _)| !ids.contains(id));
    }

    /// A fault of the model's own making, for [`Flaw::DropBeforeApply`].
    pub(crate) fn drop_outcomes(&mut self) {
        self.change().outcomes.clear();
    }

    pub(crate) fn publish(&mut self, outcome: Outcome) -> u64 {
        self.next_outcome += 1;
        let id = self.next_outcome;
        let data = self.change();
        data.last_outcome = id;
        data.outcomes.push_back((id, outcome));
        id
    }

    /// Everything is gone. With the same identity: `FLUSHALL`; with another: a restart without a copy.
    pub(crate) fn wipe(&mut self, same_identity: bool) {
        *self.change() = Data::default();
        if !same_identity {
            self.identity.0 += 1;
        }
    }

    /// A restart from an older copy, or a failover to a replica that lagged.
    pub(crate) fn roll_back(&mut self, changes: usize) {
        self.changes += 1;
        self.identity.0 += 1;
        let history = self.history.get_or_insert_default();
        let keep = history.len().saturating_sub(changes.max(1));
        if let Some(earlier) = history.drain(keep..).next() {
            self.data = earlier;
        }
    }

    /// One stream is deleted; the rest stays.
    pub(crate) fn lose_stream(&mut self, campaign: CampaignNo) {
        if let Some(keys) = self.change().campaigns.get_mut(&campaign) {
            keys.stream = None;
        }
    }

    /// Recipients whose acceptance is proved by what lies here.
    pub(crate) fn evidence(&self) -> BTreeSet<Recipient> {
        self.data
            .outcomes
            .iter()
            .filter_map(|(_, outcome)| outcome.evidence())
            .collect()
    }
}
