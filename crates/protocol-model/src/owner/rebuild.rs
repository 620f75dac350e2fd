//! Building the lane on a Redis that it was not built on, as `sender-svc/src/lane/rebuild.rs` does.

use super::{CallFor, Keeper, Owner, Stop};
use crate::env::Env;
use crate::flaw::Flaw;
use crate::ids::{CampaignNo, Epoch, GRACE, Identity, Instance, Time};

/// How far the building is.
#[derive(Debug, Clone)]
pub(super) struct Rebuild {
    identity: Identity,
    recorded: Option<Identity>,
    built: bool,
    vanished: Vec<Instance>,
    /// When members are no longer waited for.
    deadline: Time,
    next: Next,
}

#[derive(Debug, Clone)]
enum Next {
    Unverify,
    CallFor(CallFor),
    ReadWork,
    ReadMembers,
    StillHere,
    ReadLastOutcome,
    AwaitLedger(u64),
    OpenRounds,
    ListKeys,
    DropKeys(Vec<CampaignNo>),
    ReadJoined,
    Verify(Vec<Instance>),
    MarkBuilt,
}

impl Rebuild {
    pub(super) fn new(identity: Identity, recorded: Option<Identity>, built: bool) -> Self {
        Self {
            identity,
            recorded,
            built,
            vanished: Vec::new(),
            deadline: 0,
            next: Next::Unverify,
        }
    }
}

impl Owner {
    pub(super) fn rebuild(&mut self, env: &mut Env, epoch: Epoch, rebuild: Rebuild) -> Result<(), Stop> {
        let mut rebuild = rebuild;
        let identity = rebuild.identity;
        rebuild.next = match rebuild.next.clone() {
            Next::Unverify => {
                env.redis.unverify(epoch)?;
                rebuild.after_unverify()
            }
            Next::CallFor(step) => self
                .call_for(env, epoch, step)?
                .map_or(Next::ReadWork, Next::CallFor),
            Next::ReadWork => {
                let outstanding = env
                    .postgres
                    .work()
                    .iter()
                    .any(|work| !work.finished && work.pending > 0);
                rebuild.deadline = env.now + GRACE;
                if env.has(Flaw::RoundsBeforeJoins) {
                    Next::OpenRounds
                } else if outstanding {
                    Next::ReadMembers
                } else {
                    Next::ReadLastOutcome
                }
            }
            Next::ReadMembers => self.read_members(env, &mut rebuild),
            Next::StillHere => {
                if env.redis.unverify(epoch)? != identity {
                    return Err(Stop::Unverified);
                }
                Next::ReadMembers
            }
            Next::ReadLastOutcome => self.read_last_outcome(env),
            Next::AwaitLedger(last) => match env.redis.outcomes_span().0 {
                Some(first) if first <= last => Next::AwaitLedger(last),
                _ => Next::OpenRounds,
            },
            Next::OpenRounds => self.open_rounds(env, epoch, &rebuild)?,
            Next::ListKeys => {
                let mut campaigns = env.redis.campaigns();
                campaigns.extend(env.postgres.work().iter().map(|work| work.campaign));
                Next::DropKeys(campaigns)
            }
            Next::DropKeys(campaigns) => {
                env.redis.close(epoch, &campaigns)?;
                self.say(env, || "dropped what lay in the lane".to_owned());
                Next::ReadJoined
            }
            Next::ReadJoined => Next::Verify(env.postgres.joined(identity)),
            Next::Verify(joined) => {
                env.redis.verify(epoch, identity, &joined, env.now)?;
                self.say(env, || format!("verified the lane on {identity}"));
                Next::MarkBuilt
            }
            Next::MarkBuilt => {
                self.keeper = Keeper::MarkBuilt;
                return Ok(());
            }
        };
        self.keeper = Keeper::Rebuilding(rebuild);
        Ok(())
    }

    /// Marks the lane for building. Returns what is left to do for that.
    pub(super) fn call_for(
        &self,
        env: &mut Env,
        epoch: Epoch,
        step: CallFor,
    ) -> Result<Option<CallFor>, Stop> {
        Ok(match step {
            CallFor::Unverify => {
                env.redis.unverify(epoch)?;
                Some(if env.has(Flaw::UnreadConfirmations) {
                    CallFor::BeginRebuild
                } else {
                    CallFor::ReadLastOutcome
                })
            }
            CallFor::ReadLastOutcome => Some(CallFor::AwaitLedger(env.redis.outcomes_span().1)),
            CallFor::AwaitLedger(last) => Some(match env.redis.outcomes_span().0 {
                Some(first) if first <= last => CallFor::AwaitLedger(last),
                _ => CallFor::BeginRebuild,
            }),
            CallFor::BeginRebuild => {
                let keeps_confirmations = env.has(Flaw::OldConfirmations);
                let rows = env.postgres.fence(epoch)?;
                let members = rows.members.clone();
                rows.begin_rebuild();
                if keeps_confirmations {
                    rows.members = members;
                }
                self.say(env, || "recorded: every member must confirm".to_owned());
                None
            }
        })
    }

    /// Waits until every recorded member has joined on this Redis, or the grace is over.
    fn read_members(&self, env: &mut Env, rebuild: &mut Rebuild) -> Next {
        let confirmed = env.postgres.joined(rebuild.identity);
        let mut missing: Vec<_> = env.postgres.members.keys().copied().collect();
        missing.retain(|instance| !confirmed.contains(instance));
        if !missing.is_empty() && env.now < rebuild.deadline {
            return Next::StillHere;
        }
        self.say(env, || match missing.len() {
            0 => "every member has confirmed".to_owned(),
            number => format!("the grace is over, {number} members have vanished"),
        });
        rebuild.vanished = missing;
        if env.has(Flaw::RoundsBeforeJoins) {
            Next::ListKeys
        } else {
            Next::ReadLastOutcome
        }
    }

    fn read_last_outcome(&self, env: &mut Env) -> Next {
        if env.has(Flaw::DropBeforeApply) {
            env.redis.drop_outcomes();
            self.say(env, || "dropped the outcomes".to_owned());
            return Next::OpenRounds;
        }
        Next::AwaitLedger(env.redis.outcomes_span().1)
    }

    fn open_rounds(&self, env: &mut Env, epoch: Epoch, rebuild: &Rebuild) -> Result<Next, Stop> {
        let (now, unsaved) = (env.now, env.batch);
        let maybe_sent = !rebuild.vanished.is_empty();
        let rows = env.postgres.fence(epoch)?;
        for campaign in rows.campaigns.iter_mut().filter(|campaign| !campaign.finished) {
            campaign.rebuild(maybe_sent, unsaved, now);
        }
        rows.members
            .retain(|instance, _| !rebuild.vanished.contains(instance));
        rows.lane.identity = Some(rebuild.identity);
        rows.lane.built = false;
        env.guessed |= maybe_sent;
        self.say(env, || {
            "recorded: new rounds, and the Redis they are for".to_owned()
        });
        Ok(if env.has(Flaw::RoundsBeforeJoins) {
            Next::ReadMembers
        } else {
            Next::ListKeys
        })
    }
}

impl Rebuild {
    /// A predecessor may have stored the new rounds already, or asked for confirmations.
    fn after_unverify(&self) -> Next {
        if self.recorded == Some(self.identity) && !self.built {
            Next::ListKeys
        } else if self.recorded.is_some() {
            Next::CallFor(CallFor::Unverify)
        } else {
            Next::ReadWork
        }
    }
}
