//! An instance of `message-svc`: a worker that takes, sends in flight, and a settler.

mod send;
mod settler;

use crate::env::Env;
use crate::flaw::Flaw;
use crate::ids::{CONCURRENCY, ENTRY_LEASE, Identity, Instance, JOIN_AGAIN, Key, Recipient, Time};
use crate::promise::Promise;
use crate::redis::{Outcome, Refusal, Taken};
use send::InHand;
use settler::{Job, Kept, Step};
use std::collections::VecDeque;

/// Whether the instance may take, as `message-svc/src/membership.rs` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Unknown,
    MustJoin(Identity),
    Waiting { identity: Identity, since: Time },
    Member,
}

/// One instance.
#[derive(Debug)]
pub(crate) struct Member {
    number: usize,
    pub(crate) instance: Instance,
    pub(crate) is_frozen: bool,
    /// It was asked to stop: takes nothing more, finishes what is in flight, says farewell, ends.
    is_stopping: bool,
    pub(crate) has_left: bool,
    membership: Membership,
    admitted_at: Time,
    /// A take broke: its leftovers are looked for from the first time until the second.
    recovery: Option<(Time, Time)>,
    flight: Vec<InHand>,
    desk: VecDeque<Step>,
    job: Option<Job>,
    orders: u64,
    kept: VecDeque<Kept>,
    joined: Option<Identity>,
    /// A Redis that did not trust this member.
    distrusted_by: Option<Identity>,
}

impl Member {
    pub(crate) fn new(number: usize, instance: Instance) -> Self {
        Self {
            number,
            instance,
            is_frozen: false,
            is_stopping: false,
            has_left: false,
            membership: Membership::Unknown,
            admitted_at: 0,
            recovery: None,
            flight: Vec::new(),
            desk: VecDeque::new(),
            job: None,
            orders: 0,
            kept: VecDeque::new(),
            joined: None,
            distrusted_by: None,
        }
    }

    fn say(&self, env: &mut Env, line: impl FnOnce() -> String) {
        let (number, instance) = (self.number, self.instance);
        env.say(|| format!("member {number} ({instance}): {}", line()));
    }

    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Messages in hand.
    pub(crate) fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Whether it has nothing more to do by itself.
    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_empty() && self.desk.is_empty() && self.job.is_none() && self.kept.is_empty()
    }

    /// Recipients whose acceptance this process can still prove.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = Recipient> + '_ {
        let job = self.job.iter().flat_map(|job| &job.steps);
        let steps = self.desk.iter().chain(job).filter_map(Step::outcome);
        let kept = self.kept.iter().map(|kept| &kept.outcome);
        steps.chain(kept).filter_map(Outcome::evidence)
    }

    /// The worker's next step.
    pub(crate) fn work(&mut self, env: &mut Env) {
        self.worker_step(env, true);
    }

    /// The worker's next step; its answer never comes.
    pub(crate) fn break_work(&mut self, env: &mut Env) {
        self.worker_step(env, false);
    }

    fn worker_step(&mut self, env: &mut Env, is_heard: bool) {
        if self.is_stopping {
            if self.flight.is_empty() && self.job.is_none() {
                self.order_leave(env);
            }
            return;
        }
        if let Some(identity) = self.distrusted_by.take()
            && self.membership == Membership::Member
        {
            self.membership = Membership::MustJoin(identity);
        }
        match self.membership {
            Membership::Unknown | Membership::Waiting { .. } => self.ask(env, is_heard),
            Membership::MustJoin(identity) => self.order_join(identity),
            Membership::Member => self.take(env, is_heard),
        }
    }

    /// Takes nothing: only the answer matters.
    fn ask(&mut self, env: &mut Env, is_heard: bool) {
        let answer = env.redis.take(self.instance, 0, env.now);
        if !is_heard {
            return self.take_broke(env);
        }
        match answer {
            Ok(_) => {
                self.membership = Membership::Member;
                self.admitted_at = env.now;
                self.say(env, || "hears that it is admitted".to_owned());
            }
            Err(refusal) => self.refused(env, refusal),
        }
    }

    fn refused(&mut self, env: &mut Env, refusal: Refusal) {
        let (Refusal::Unverified(identity) | Refusal::Stranger(identity)) = refusal else {
            return;
        };
        let must_join = match self.membership {
            Membership::Waiting {
                identity: joined_on,
                since,
            } => joined_on != identity || env.now - since >= JOIN_AGAIN,
            _ => true,
        };
        if must_join {
            self.say(env, || format!("is refused, must join on {identity}"));
            self.membership = Membership::MustJoin(identity);
        }
    }

    fn take(&mut self, env: &mut Env, is_heard: bool) {
        if let Some((next, until)) = self.recovery
            && env.now >= next
        {
            self.recovery = (env.now + 1 < until).then_some((env.now + 1, until));
            return self.recover(env);
        }
        let wanted = CONCURRENCY.saturating_sub(self.flight.len());
        if wanted == 0 {
            return;
        }
        match env.redis.take(self.instance, wanted, env.now) {
            Ok(taken) => {
                for message in &taken {
                    check_hold(env, message.key);
                    env.handed_out.insert(message.key.recipient());
                    self.say(env, || format!("takes {}", message.key));
                }
                if is_heard {
                    let now = env.now;
                    self.flight
                        .extend(taken.iter().map(|taken| InHand::new(*taken, now)));
                } else {
                    self.take_broke(env);
                }
            }
            Err(_) if !is_heard => self.take_broke(env),
            Err(refusal) => self.refused(env, refusal),
        }
    }

    fn take_broke(&mut self, env: &mut Env) {
        self.recovery = Some((env.now, env.now + ENTRY_LEASE));
        self.say(env, || "never hears the answer to that".to_owned());
    }

    /// Gives back what a take took whose answer never came.
    fn recover(&mut self, env: &mut Env) {
        let young = ENTRY_LEASE.min(env.now - self.admitted_at);
        let found = match env.redis.recover(self.instance, young, env.now) {
            Ok(found) => found,
            Err(refusal) => return self.refused(env, refusal),
        };
        let unheard: Vec<Taken> = found
            .into_iter()
            .filter(|taken| !self.flight.iter().any(|in_hand| in_hand.taken.key == taken.key))
            .collect();
        for taken in unheard {
            self.say(env, || {
                format!("gives back {}, of which it never heard", taken.key)
            });
            self.flight.push(InHand::concluded(taken, env.now));
            self.desk.push_back(Step::hand_back(taken));
        }
    }

    /// The join says that nothing is in flight and that all outcomes lie before it.
    fn order_join(&mut self, identity: Identity) {
        self.recovery = None;
        if !self.flight.is_empty() || self.job.is_some() {
            return;
        }
        self.joined = Some(identity);
        let mut steps = self.republish();
        steps.push(Step::Event(Outcome::Join {
            instance: self.instance,
            identity,
        }));
        self.order(steps, Some(identity));
    }

    fn order_leave(&mut self, env: &Env) {
        if self.joined.is_none() {
            self.has_left = true;
            return;
        }
        let mut steps = if env.has(Flaw::SilentLeave) {
            Vec::new()
        } else {
            self.republish()
        };
        steps.push(Step::Event(Outcome::Left(self.instance)));
        self.order(steps, None);
    }

    fn republish(&mut self) -> Vec<Step> {
        self.kept
            .drain(..)
            .map(|kept| Step::Event(kept.outcome))
            .collect()
    }
}

/// Nothing may be taken once the lane follows a hold.
fn check_hold(env: &mut Env, key: Key) {
    let rows = &env.postgres.campaigns[key.campaign];
    if rows.is_held() && rows.dispatch.control_applied == rows.control_version {
        env.violate(Promise::HoldsAreKept, || {
            format!("{key} was taken although its campaign is held")
        });
    }
}
