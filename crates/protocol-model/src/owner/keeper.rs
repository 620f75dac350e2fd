//! The keeper's walk over the lane's campaigns, one statement, transaction or script at a time.

mod rounds;

use super::{Keeper, Open, Owner, Seqs, Stop};
use crate::env::Env;
use crate::flaw::Flaw;
use crate::ids::{
    CampaignNo, EntryId, Epoch, HOUSEKEEPING_EVERY, Instance, MEMBER_SILENT, RECLAIM_IDLE, Time,
};
use crate::ledger::Pass;
use crate::postgres::Work;
use crate::promise::Promise;
use crate::redis::Fed;
use campaign_core::campaign::CampaignStatus;
use campaign_core::ids::Seq;
use rounds::is_applied;
use std::collections::VecDeque;

/// One step of a walk. A campaign is named by its number, and its work is as the walk has read it.
#[derive(Debug, Clone)]
pub(super) enum Micro {
    SeenMembers,
    RefuseSilent(VecDeque<Instance>, Vec<Instance>),
    /// Only when everything that they took is reported, and the reports are applied.
    AwaitSilent(Vec<Instance>),
    ForgetSilent(Vec<Instance>),
    Leftovers,
    Close(Vec<CampaignNo>),
    Control(CampaignNo),
    SaveControl(CampaignNo),
    /// Not a step itself: decides which is the next.
    Tend(CampaignNo),
    Request(CampaignNo),
    Open(CampaignNo),
    SaveAdopted(CampaignNo, EntryId),
    Survey(CampaignNo),
    WritePage(CampaignNo),
    ReadRows(CampaignNo),
    Feed(CampaignNo, Vec<Seq>),
    Save(CampaignNo, EntryId),
    Complete(CampaignNo),
    RoundApplied(CampaignNo, u64),
    ResendApplied(CampaignNo, u64, Time),
    CloseRound(CampaignNo, Time),
    Finish(CampaignNo, Time),
    SweepApplied(CampaignNo),
    Sweep(CampaignNo),
}

impl Owner {
    pub(super) fn step_of_walk(&mut self, env: &mut Env, epoch: Epoch) -> Result<(), Stop> {
        loop {
            let Keeper::Walking(plan) = &mut self.keeper else {
                return Ok(());
            };
            match plan.pop_front() {
                None => {
                    self.read_work(env);
                    return Ok(());
                }
                Some(Micro::Tend(campaign)) => self.tend(campaign),
                Some(micro) => return self.carry_out(env, epoch, micro),
            }
        }
    }

    fn then(&mut self, micro: Micro) {
        if let Keeper::Walking(plan) = &mut self.keeper {
            plan.push_front(micro);
        }
    }

    fn work(&self, campaign: CampaignNo) -> Option<Work> {
        self.works.iter().find(|work| work.campaign == campaign).cloned()
    }

    fn read_work(&mut self, env: &mut Env) {
        self.works = env.postgres.work();
        let current: Vec<_> = self.works.iter().map(|work| work.campaign).collect();
        self.open.retain(|campaign, _| current.contains(campaign));
        self.surveyed.clear();
        let mut plan = VecDeque::new();
        if self
            .housekeeping_at
            .is_none_or(|at| env.now >= at + HOUSEKEEPING_EVERY)
        {
            self.housekeeping_at = Some(env.now);
            plan.extend([Micro::SeenMembers, Micro::Leftovers]);
        }
        for work in self.works.iter().rev() {
            plan.push_back(Micro::Control(work.campaign));
        }
        plan.extend(current.into_iter().map(Micro::Tend));
        self.keeper = Keeper::Walking(plan);
    }

    /// The next thing for one campaign.
    fn tend(&mut self, campaign: CampaignNo) {
        let Some(work) = self.work(campaign) else { return };
        let opened = self.open.get(&campaign).map(|open| open.generation);
        if work.requests_waiting {
            self.then(Micro::Request(campaign));
        } else if work.finished {
        } else if opened == Some(work.dispatch.generation) {
            self.then(Micro::Survey(campaign));
        } else {
            self.then(Micro::Open(campaign));
        }
    }

    fn carry_out(&mut self, env: &mut Env, epoch: Epoch, micro: Micro) -> Result<(), Stop> {
        match micro {
            Micro::SeenMembers => self.seen_members(env, epoch)?,
            Micro::RefuseSilent(mut refuse, silent) => {
                if let Some(instance) = refuse.pop_front() {
                    env.redis.set_member(epoch, instance, None, env.now)?;
                    self.say(env, || format!("{instance} was long silent and is refused"));
                    self.then(Micro::RefuseSilent(refuse, silent));
                } else if env.has(Flaw::ForgetsTooEarly) {
                    self.then(Micro::ForgetSilent(silent));
                } else if let Keeper::Walking(plan) = &mut self.keeper {
                    plan.push_back(Micro::AwaitSilent(silent));
                }
            }
            Micro::AwaitSilent(silent) => {
                let first = env.redis.first_outcome(epoch)?;
                let mut unfinished = self.works.iter().filter(|work| !work.finished);
                let reported = unfinished.all(|work| {
                    let last = self.surveyed.get(&work.campaign);
                    last.is_some_and(|last| first.is_none_or(|first| first > *last))
                });
                if reported {
                    self.then(Micro::ForgetSilent(silent));
                }
            }
            Micro::ForgetSilent(silent) => self.forget_silent(env, epoch, &silent)?,
            Micro::Leftovers => {
                let mut leftovers = env.redis.campaigns();
                leftovers.retain(|campaign| self.work(*campaign).is_none());
                if !leftovers.is_empty() {
                    self.then(Micro::Close(leftovers));
                }
            }
            Micro::Close(campaigns) => {
                env.redis.close(epoch, &campaigns)?;
                self.say(env, || format!("dropped the keys of campaigns {campaigns:?}"));
            }
            Micro::Control(campaign) => self.control(env, epoch, campaign)?,
            Micro::SaveControl(campaign) => {
                let Some(work) = self.work(campaign) else {
                    return Ok(());
                };
                let (version, held, now) = (work.control_version, work.held || work.is_over(), env.now);
                env.postgres.fence(epoch)?.campaigns[campaign].save_control(version, held, now);
            }
            Micro::Request(campaign) => {
                let now = env.now;
                let rows = &mut env.postgres.fence(epoch)?.campaigns[campaign];
                if rows.requests > 0 {
                    rows.apply_request(now);
                }
                self.say(env, || {
                    format!("campaign {campaign}: a request to send again is applied")
                });
            }
            Micro::Open(campaign) => self.open(env, epoch, campaign)?,
            Micro::SaveAdopted(campaign, last) | Micro::Save(campaign, last) => {
                env.postgres.fence(epoch)?.campaigns[campaign].save_enqueued(last);
                self.say(env, || {
                    format!("campaign {campaign}: recorded as fed up to {last}")
                });
            }
            Micro::Survey(campaign) => self.survey(env, epoch, campaign)?,
            Micro::WritePage(campaign) => {
                let Some(work) = self.work(campaign) else {
                    return Ok(());
                };
                let rows = &mut env.postgres.fence(epoch)?.campaigns[campaign];
                rows.write_page(work.dispatch.cursor);
                self.say(env, || {
                    format!("campaign {campaign}: a page of the audience is written")
                });
            }
            Micro::Tend(_) => {}
            other => return self.carry_round(env, epoch, other),
        }
        Ok(())
    }

    fn carry_round(&mut self, env: &mut Env, epoch: Epoch, micro: Micro) -> Result<(), Stop> {
        match micro {
            Micro::ReadRows(campaign) => self.read_rows(env, campaign),
            Micro::Feed(campaign, seqs) => self.feed(env, epoch, campaign, &seqs)?,
            Micro::Complete(campaign) => {
                let rows = &mut env.postgres.fence(epoch)?.campaigns[campaign];
                // Cancelled in the meantime; the next walk sees it.
                if rows.status.allows(CampaignStatus::Completed) {
                    rows.status = CampaignStatus::Completed;
                    self.step_round(env, campaign);
                }
            }
            Micro::RoundApplied(campaign, last) => {
                let applied = is_applied(env, epoch, last)?;
                if applied {
                    self.round_applied(env, campaign);
                }
            }
            Micro::ResendApplied(campaign, last, as_of) => {
                let applied = is_applied(env, epoch, last)?;
                if applied {
                    self.then(Micro::CloseRound(campaign, as_of));
                }
            }
            Micro::CloseRound(campaign, as_of) => self.close_round(env, epoch, campaign, as_of)?,
            Micro::Finish(campaign, as_of) => {
                let finished = env.postgres.fence_looking(epoch)?.campaigns[campaign].finish(as_of);
                if finished {
                    env.postgres.changes += 1;
                    self.say(env, || format!("campaign {campaign} is finished"));
                    self.open.remove(&campaign);
                    self.then(Micro::Close(vec![campaign]));
                }
            }
            Micro::SweepApplied(campaign) => {
                let (Some(work), Some(open)) = (self.work(campaign), self.open.get_mut(&campaign)) else {
                    return Ok(());
                };
                let Some(survey) = open.survey else { return Ok(()) };
                if survey.in_flight > 0 {
                    open.idle_since = None;
                    return Ok(());
                }
                let last = *open.idle_since.get_or_insert(survey.last_outcome);
                if is_applied(env, epoch, last)? {
                    let settled = work.pending + work.deferred == 0;
                    self.then(if settled {
                        Micro::Finish(campaign, env.now)
                    } else {
                        Micro::Sweep(campaign)
                    });
                }
            }
            Micro::Sweep(campaign) => {
                env.postgres.fence(epoch)?.campaigns[campaign].sweep();
                self.say(env, || {
                    format!("campaign {campaign}: what was not sent is cancelled")
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn seen_members(&mut self, env: &mut Env, epoch: Epoch) -> Result<(), Stop> {
        let admitted = env.redis.members(epoch)?;
        let is_silent = |seen: Option<u64>| seen.is_none_or(|seen| env.now - seen > MEMBER_SILENT);
        let refuse: VecDeque<_> = admitted
            .iter()
            .filter(|(_, seen)| is_silent(*seen))
            .map(|(instance, _)| *instance)
            .collect();
        let mut silent: Vec<_> = refuse.iter().copied().collect();
        let unanswered = env.postgres.members.iter().filter(|(instance, row)| {
            env.now - row.joined_at > MEMBER_SILENT && !admitted.iter().any(|(known, _)| known == *instance)
        });
        silent.extend(unanswered.map(|(instance, _)| *instance));
        if !silent.is_empty() {
            self.then(Micro::RefuseSilent(refuse, silent));
        }
        Ok(())
    }

    fn forget_silent(&mut self, env: &mut Env, epoch: Epoch, silent: &[Instance]) -> Result<(), Stop> {
        let now = env.now;
        let rows = env.postgres.fence(epoch)?;
        // One that has joined meanwhile stays.
        let is_old = |joined_at| now - joined_at > MEMBER_SILENT;
        rows.members
            .retain(|instance, row| !silent.contains(instance) || !is_old(row.joined_at));
        self.say(env, || {
            format!("{} members that were long silent are forgotten", silent.len())
        });
        Ok(())
    }

    fn control(&mut self, env: &mut Env, epoch: Epoch, campaign: CampaignNo) -> Result<(), Stop> {
        let (Some(work), Some(open)) = (self.work(campaign), self.open.get_mut(&campaign)) else {
            return Ok(());
        };
        let held = work.held || work.is_over();
        if work.dispatch.control_applied < work.control_version {
            let Keeper::Walking(plan) = &mut self.keeper else {
                return Ok(());
            };
            plan.push_front(Micro::SaveControl(campaign));
        }
        if open.held != held {
            env.redis.control(epoch, campaign, held)?;
            open.held = held;
            let now = if held { "held" } else { "released" };
            self.say(env, || format!("campaign {campaign} is {now} in the lane"));
        }
        Ok(())
    }

    fn open(&mut self, env: &mut Env, epoch: Epoch, campaign: CampaignNo) -> Result<(), Stop> {
        let Some(work) = self.work(campaign) else {
            return Ok(());
        };
        let dispatch = &work.dispatch;
        let last = env
            .redis
            .open(epoch, campaign, dispatch.generation, dispatch.round_start)?;
        self.say(env, || {
            format!("campaign {campaign} is opened, its stream ends at {last}")
        });
        let believed = EntryId::new(dispatch.generation, dispatch.enqueued);
        if last < believed {
            return Err(Stop::Lost);
        }
        if last > believed {
            let next = env.postgres.campaigns[campaign].next_to_feed(
                dispatch.generation,
                dispatch.pass,
                dispatch.enqueued,
                env.batch + 1,
            );
            let ahead = next.iter().filter(|seq| **seq <= last.seq).count();
            if last.generation != believed.generation || ahead > env.batch {
                env.violate(Promise::NoContradiction, || {
                    format!("campaign {campaign} ends at {last}, Postgres knows of {believed}")
                });
            }
            self.then(Micro::SaveAdopted(campaign, last));
        }
        let open = Open {
            generation: dispatch.generation,
            held: true,
            last,
            empty_since: None,
            resend_asked: None,
            closed: false,
            idle_since: None,
            survey: None,
            surveyed_at: env.now,
        };
        self.open.insert(campaign, open);
        Ok(())
    }

    fn survey(&mut self, env: &mut Env, epoch: Epoch, campaign: CampaignNo) -> Result<(), Stop> {
        let survey = env
            .redis
            .survey(epoch, campaign, env.now, RECLAIM_IDLE)?
            .ok_or(Stop::Lost)?;
        if survey.reclaimed > 0 {
            self.say(env, || {
                format!("campaign {campaign}: {} become uncertain", survey.reclaimed)
            });
        }
        let (Some(work), Some(open)) = (self.work(campaign), self.open.get_mut(&campaign)) else {
            return Ok(());
        };
        open.survey = Some(survey);
        open.surveyed_at = env.now;
        self.surveyed.insert(campaign, survey.last_outcome);
        if work.is_over() {
            self.then(Micro::SweepApplied(campaign));
            return Ok(());
        }
        if !work.held && survey.outstanding < env.window {
            self.then(Micro::ReadRows(campaign));
        } else {
            open.resend_asked = None;
        }
        if !work.dispatch.audience_complete {
            self.then(Micro::WritePage(campaign));
        }
        Ok(())
    }

    fn read_rows(&mut self, env: &mut Env, campaign: CampaignNo) {
        let (Some(work), Some(open)) = (self.work(campaign), self.open.get(&campaign)) else {
            return;
        };
        let dispatch = &work.dispatch;
        let outstanding = open.survey.map_or(env.window, |survey| survey.outstanding);
        let room = env.window.saturating_sub(outstanding).min(env.batch);
        let mut enqueued = dispatch.enqueued;
        if open.last.generation == dispatch.generation {
            enqueued = enqueued.max(open.last.seq);
        }
        let rows = &env.postgres.campaigns[campaign];
        let next = rows.next_to_feed(dispatch.generation, dispatch.pass, enqueued, room);
        if !next.is_empty() {
            self.then(Micro::Feed(campaign, next));
        } else if dispatch.pass == Pass::Audience && !dispatch.audience_complete {
            // The next rows are not there yet.
        } else if work.status == CampaignStatus::Sending {
            self.then(Micro::Complete(campaign));
        } else {
            self.step_round(env, campaign);
        }
    }

    fn feed(&mut self, env: &mut Env, epoch: Epoch, campaign: CampaignNo, seqs: &[Seq]) -> Result<(), Stop> {
        let Some(open) = self.open.get_mut(&campaign) else {
            return Ok(());
        };
        let ids: Vec<_> = seqs
            .iter()
            .map(|seq| EntryId::new(open.generation, *seq))
            .collect();
        match env.redis.feed(epoch, campaign, open.last, &ids)? {
            Fed::Appended(last) => {
                open.last = last;
                open.empty_since = None;
                open.resend_asked = None;
                let generation = open.generation;
                self.say(env, || {
                    format!(
                        "campaign {campaign}: {} appended in round {generation}",
                        Seqs(seqs)
                    )
                });
                self.then(Micro::Save(campaign, last));
                Ok(())
            }
            Fed::Elsewhere => Err(Stop::Reopen(campaign)),
        }
    }
}
