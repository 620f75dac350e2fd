//! Postgres: each public method is one statement or one transaction, so one step.
//!
//! What one campaign's transactions do to its rows is in [`crate::ledger`].

use crate::flaw::Flaw;
use crate::ids::{CampaignNo, Epoch, Identity, Instance, LANE_LEASE, Time};
use crate::ledger::{CampaignRows, Dispatch};
use campaign_core::campaign::{CampaignStatus, OnUncertain};
use campaign_core::message::MessageState;
use std::collections::BTreeMap;

/// The lane has another owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseLost;

/// The row of `lanes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LaneRow {
    pub(crate) owner: Option<Instance>,
    pub(crate) epoch: Epoch,
    pub(crate) lease_until: Time,
    pub(crate) identity: Option<Identity>,
    pub(crate) built: bool,
}

/// A row of `lane_members`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemberRow {
    /// None: it has to confirm.
    pub(crate) identity: Option<Identity>,
    pub(crate) joined_at: Time,
}

/// What the owner decides from, about one campaign.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) campaign: CampaignNo,
    pub(crate) status: CampaignStatus,
    pub(crate) on_uncertain: OnUncertain,
    pub(crate) held: bool,
    pub(crate) control_version: u64,
    pub(crate) requests_waiting: bool,
    pub(crate) finished: bool,
    pub(crate) next_again: Option<Time>,
    pub(crate) dispatch: Dispatch,
    pub(crate) pending: i64,
    pub(crate) deferred: i64,
}

impl Work {
    /// Whether the campaign is not sent any more.
    pub(crate) fn is_over(&self) -> bool {
        is_over(self.status)
    }
}

pub(crate) fn is_over(status: CampaignStatus) -> bool {
    matches!(status, CampaignStatus::Cancelled | CampaignStatus::Failed)
}

/// The database.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) lane: LaneRow,
    pub(crate) members: BTreeMap<Instance, MemberRow>,
    pub(crate) campaigns: Vec<CampaignRows>,
    /// Raised with every change.
    pub(crate) changes: u64,
    flaw: Option<Flaw>,
}

impl Postgres {
    pub(crate) fn new(flaw: Option<Flaw>, campaigns: Vec<CampaignRows>) -> Self {
        Self {
            lane: LaneRow::default(),
            members: BTreeMap::new(),
            campaigns,
            changes: 0,
            flaw,
        }
    }

    /// The first statement of each of the owner's transactions.
    pub(crate) fn fence(&mut self, epoch: Epoch) -> Result<&mut Self, LeaseLost> {
        self.changes += 1;
        self.fence_looking(epoch)
    }

    /// The same for a transaction that may change nothing.
    pub(crate) fn fence_looking(&mut self, epoch: Epoch) -> Result<&mut Self, LeaseLost> {
        if self.lane.epoch != epoch && self.flaw != Some(Flaw::NoEpoch) {
            return Err(LeaseLost);
        }
        Ok(self)
    }

    pub(crate) fn acquire(&mut self, owner: Instance, now: Time) -> Option<Epoch> {
        if self.lane.lease_until > now {
            return None;
        }
        self.changes += 1;
        self.lane.owner = Some(owner);
        self.lane.epoch += 1;
        self.lane.lease_until = now + LANE_LEASE;
        Some(self.lane.epoch)
    }

    /// Whether the lease is still the caller's.
    pub(crate) fn renew(&mut self, epoch: Epoch, now: Time) -> bool {
        let is_ours = self.lane.epoch == epoch;
        if is_ours {
            self.lane.lease_until = now + LANE_LEASE;
        }
        is_ours
    }

    pub(crate) fn begin_rebuild(&mut self) {
        for member in self.members.values_mut() {
            if member.identity == self.lane.identity {
                member.identity = None;
            }
        }
        self.lane.identity = None;
        self.lane.built = false;
    }

    pub(crate) fn record_member(&mut self, instance: Instance, identity: Identity, now: Time) {
        let row = MemberRow {
            identity: Some(identity),
            joined_at: now,
        };
        self.members.insert(instance, row);
    }

    /// The members that joined on `identity`.
    pub(crate) fn joined(&self, identity: Identity) -> Vec<Instance> {
        let joined = self
            .members
            .iter()
            .filter(|(_, row)| row.identity == Some(identity));
        joined.map(|(instance, _)| *instance).collect()
    }

    /// Unfinished campaigns, and finished ones about which something was asked.
    pub(crate) fn work(&self) -> Vec<Work> {
        let all = self.campaigns.iter().enumerate();
        let wanted = all.filter(|(_, rows)| !rows.finished || rows.requests > 0);
        wanted
            .map(|(campaign, rows)| Work {
                campaign,
                status: rows.status,
                on_uncertain: rows.on_uncertain,
                held: rows.held,
                control_version: rows.control_version,
                requests_waiting: rows.requests > 0,
                finished: rows.finished,
                next_again: rows.next_again(),
                dispatch: rows.dispatch.clone(),
                pending: rows.count(MessageState::Pending),
                deferred: rows.count(MessageState::Deferred),
            })
            .collect()
    }
}
