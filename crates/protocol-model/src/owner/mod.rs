//! A replica of `sender-svc`: takes the lane's lease, builds the lane, and keeps it.
//!
//! Two tasks of one process, as in the engine: the keeper, which is a plan of single steps, and the ledger.

mod keeper;
mod ledger;
mod rebuild;

use crate::env::Env;
use crate::ids::{CampaignNo, EntryId, Epoch, Identity, Instance, Time};
use crate::postgres::{LeaseLost, Work};
use crate::redis::{Refusal, Survey};
use campaign_core::ids::{Generation, Seq};
use keeper::Micro;
use ledger::LedgerTask;
use rebuild::Rebuild;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// What a replica knows of a campaign that it opened in the lane.
#[derive(Debug, Clone)]
struct Open {
    generation: Generation,
    held: bool,
    last: EntryId,
    empty_since: Option<u64>,
    resend_asked: Option<(u64, Time)>,
    closed: bool,
    idle_since: Option<u64>,
    survey: Option<Survey>,
    surveyed_at: Time,
}

/// Where the keeper stands.
#[derive(Debug, Clone)]
enum Keeper {
    /// The lane belongs to nobody, or to another.
    NoLease,
    ReadGround,
    Adopt {
        recorded: Option<Identity>,
        built: bool,
    },
    MarkBuilt,
    /// Something in the lane is missing: it is no longer verified, and that is recorded once the ledger has applied
    /// what lies there.
    CallFor(CallFor),
    Rebuilding(Rebuild),
    Walking(VecDeque<Micro>),
}

/// How far it is that the lane is marked for building.
#[derive(Debug, Clone, Copy)]
enum CallFor {
    Unverify,
    ReadLastOutcome,
    AwaitLedger(u64),
    BeginRebuild,
}

/// Why a step of the owner ended what it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The lane belongs to another.
    Superseded,
    /// Build, or look at the ground again.
    Unverified,
    /// A stream is missing, or ends too early.
    Lost,
    /// The campaign is to be opened again.
    Reopen(CampaignNo),
}

impl From<LeaseLost> for Stop {
    fn from(_: LeaseLost) -> Self {
        Self::Superseded
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Superseded => Self::Superseded,
            Refusal::Unverified(_) | Refusal::Stranger(_) => Self::Unverified,
        }
    }
}

/// One replica.
#[derive(Debug)]
pub(crate) struct Owner {
    number: usize,
    pub(crate) instance: Instance,
    pub(crate) is_frozen: bool,
    /// The epoch under which it believes to own the lane.
    pub(crate) epoch: Option<Epoch>,
    keeper: Keeper,
    ledger: LedgerTask,
    works: Vec<Work>,
    open: BTreeMap<CampaignNo, Open>,
    /// The campaigns surveyed in this walk, and the last outcome there was then.
    surveyed: BTreeMap<CampaignNo, u64>,
    housekeeping_at: Option<Time>,
}

impl Owner {
    pub(crate) fn new(number: usize, instance: Instance) -> Self {
        Self {
            number,
            instance,
            is_frozen: false,
            epoch: None,
            keeper: Keeper::NoLease,
            ledger: LedgerTask::Idle,
            works: Vec::new(),
            open: BTreeMap::new(),
            surveyed: BTreeMap::new(),
            housekeeping_at: None,
        }
    }

    fn say(&self, env: &mut Env, line: impl FnOnce() -> String) {
        let number = self.number;
        env.say(|| format!("sender {number}: {}", line()));
    }

    /// Timers run by themselves while the process does.
    pub(crate) fn renew(&mut self, env: &mut Env) {
        if let Some(epoch) = self.epoch
            && !self.is_frozen
            && !env.postgres.renew(epoch, env.now)
        {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        *self = Self {
            is_frozen: self.is_frozen,
            ..Self::new(self.number, self.instance)
        };
    }

    fn restart_keeper(&mut self, keeper: Keeper) {
        self.keeper = keeper;
        self.open.clear();
        self.works.clear();
        self.housekeeping_at = None;
    }

    /// The keeper's next step.
    pub(crate) fn keep(&mut self, env: &mut Env) {
        let Some(epoch) = self.epoch else {
            self.epoch = env.postgres.acquire(self.instance, env.now);
            if let Some(epoch) = self.epoch {
                self.say(env, || format!("the lane is ours, epoch {epoch}"));
                self.keeper = Keeper::ReadGround;
            }
            return;
        };
        match self.keep_as(env, epoch) {
            Ok(()) => {}
            Err(Stop::Superseded) => {
                self.say(env, || "the lane belongs to another".to_owned());
                self.give_up();
            }
            Err(Stop::Unverified) => {
                self.say(env, || "the lane is not built on this Redis".to_owned());
                self.restart_keeper(Keeper::ReadGround);
            }
            Err(Stop::Lost) => {
                self.say(env, || "a stream is missing or ends too early".to_owned());
                self.restart_keeper(Keeper::CallFor(CallFor::Unverify));
            }
            Err(Stop::Reopen(campaign)) => {
                self.say(env, || format!("campaign {campaign} is opened again"));
                self.open.remove(&campaign);
            }
        }
    }

    fn keep_as(&mut self, env: &mut Env, epoch: Epoch) -> Result<(), Stop> {
        match self.keeper.clone() {
            Keeper::NoLease | Keeper::ReadGround => {
                let lane = &env.postgres.lane;
                self.keeper = Keeper::Adopt {
                    recorded: lane.identity,
                    built: lane.built,
                };
            }
            Keeper::Adopt { recorded, built } => self.adopt(env, epoch, recorded, built)?,
            Keeper::MarkBuilt => {
                env.postgres.fence(epoch)?.lane.built = true;
                self.say(env, || "recorded: the lane is built".to_owned());
                self.walk();
            }
            Keeper::CallFor(step) => {
                self.keeper = match self.call_for(env, epoch, step)? {
                    Some(next) => Keeper::CallFor(next),
                    None => Keeper::ReadGround,
                }
            }
            Keeper::Rebuilding(rebuild) => self.rebuild(env, epoch, rebuild)?,
            Keeper::Walking(_) => self.step_of_walk(env, epoch)?,
        }
        Ok(())
    }

    fn adopt(
        &mut self,
        env: &mut Env,
        epoch: Epoch,
        recorded: Option<Identity>,
        built: bool,
    ) -> Result<(), Stop> {
        let adopted = env.redis.adopt(epoch);
        let identity = match adopted {
            Ok(identity) if recorded == Some(identity) => {
                if built {
                    self.walk();
                } else {
                    self.keeper = Keeper::MarkBuilt;
                }
                return Ok(());
            }
            Ok(identity) | Err(Refusal::Unverified(identity)) => identity,
            Err(refusal) => return Err(refusal.into()),
        };
        self.say(env, || format!("builds the lane on {identity}"));
        self.keeper = Keeper::Rebuilding(Rebuild::new(identity, recorded, built));
        Ok(())
    }

    fn walk(&mut self) {
        self.keeper = Keeper::Walking(VecDeque::new());
    }

    /// Whether the keeper is between two walks.
    pub(crate) fn has_walked(&self) -> bool {
        matches!(&self.keeper, Keeper::Walking(plan) if plan.is_empty()) || self.epoch.is_none()
    }

    /// The next step was carried out, but its answer never came: the keeper begins anew, the ledger reads again.
    pub(crate) fn break_off(&mut self, env: &mut Env, is_ledger: bool) {
        if is_ledger {
            self.keep_ledger(env);
            self.ledger = LedgerTask::Idle;
        } else {
            self.keep(env);
            if self.epoch.is_some() {
                self.restart_keeper(Keeper::ReadGround);
            }
        }
        self.say(env, || "the answer to that was lost".to_owned());
    }
}

/// `rows 2, 3`.
struct Seqs<'a>(&'a [Seq]);

impl fmt::Display for Seqs<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seqs: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(formatter, "rows {}", seqs.join(", "))
    }
}
