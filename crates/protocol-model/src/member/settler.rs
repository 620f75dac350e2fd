//! The settler: carries out in Redis what the sends have concluded, in order, and keeps what the ledger has
//! not applied.

use super::{Member, Membership};
use crate::env::Env;
use crate::flaw::Flaw;
use crate::ids::{Identity, Key, Time};
use crate::redis::{Outcome, Taken};
use std::collections::VecDeque;

/// One step of a settle, as in `campaign-streams/src/lane/scripts/settle.lua`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Accepted(Key, Outcome),
    Settled(Key, Outcome),
    Parked { key: Key, due: Time, attempt: i32 },
    Event(Outcome),
}

impl Step {
    /// Due at once, the attempt not spent.
    pub(super) fn hand_back(taken: Taken) -> Self {
        Self::Parked {
            key: taken.key,
            due: 0,
            attempt: taken.attempt - 1,
        }
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Accepted(_, outcome) | Self::Settled(_, outcome) | Self::Event(outcome) => Some(outcome),
            Self::Parked { .. } => None,
        }
    }

    fn key(&self) -> Option<Key> {
        match self {
            Self::Accepted(key, _) | Self::Settled(key, _) | Self::Parked { key, .. } => Some(*key),
            Self::Event(_) => None,
        }
    }
}

/// A settle that is being carried out, however often it takes.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) steps: Vec<Step>,
    /// The same whenever it is repeated, and no other's.
    order: u64,
    /// The identity that its join names.
    join: Option<Identity>,
    repeated: bool,
    /// For [`Flaw::AckBeforeOutcome`]: the entries are gone, the outcomes not yet there.
    released: bool,
}

impl Job {
    fn new(order: u64, steps: Vec<Step>, join: Option<Identity>) -> Self {
        Self {
            steps,
            order,
            join,
            repeated: false,
            released: false,
        }
    }
}

/// An outcome that the ledger may not have applied.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// None: published by somebody, some time before the next known one.
    id: Option<u64>,
    pub(super) outcome: Outcome,
}

/// What Redis answers to a settle.
struct Settled {
    identity: Identity,
    trusted: bool,
    published: Vec<Option<u64>>,
    oldest: Option<u64>,
}

impl Member {
    pub(super) fn order(&mut self, steps: Vec<Step>, join: Option<Identity>) {
        self.orders += 1;
        self.job = Some(Job::new(self.orders, steps, join));
    }

    /// The settler's next step: one settle. `is_heard`: its answer arrives.
    pub(crate) fn settle(&mut self, env: &mut Env, is_heard: bool) {
        if self.job.is_none() {
            if self.desk.is_empty() && self.kept.is_empty() {
                return;
            }
            let steps = self.desk.drain(..).collect();
            self.order(steps, None);
        }
        let Some(mut job) = self.job.take() else { return };
        if env.has(Flaw::AckBeforeOutcome) && !job.released {
            job.released = true;
            self.release_first(env, &job.steps);
            self.job = Some(job);
            return;
        }
        let was_member = self.membership == Membership::Member;
        let settled = self.carry_out(env, &job);
        if is_heard {
            self.take_over(env, job, &settled, was_member);
        } else {
            self.say(env, || "never hears the answer to that".to_owned());
            job.repeated = true;
            self.job = Some(job);
        }
    }

    fn release_first(&self, env: &mut Env, steps: &[Step]) {
        for step in steps {
            if let Step::Settled(key, _) | Step::Accepted(key, _) = step
                && env.redis.owns(self.instance, *key)
            {
                env.redis.release(*key);
                self.say(env, || format!("lets go of {key}"));
            }
        }
    }

    fn carry_out(&self, env: &mut Env, job: &Job) -> Settled {
        let trusted = env.redis.trusts(self.instance, self.joined);
        let is_repeated = trusted && env.redis.note_settle(self.instance, job.order);
        let may_park = trusted && (!is_repeated || env.has(Flaw::ParksTwice));
        let mut published = Vec::new();
        for step in &job.steps {
            let (is_published, is_released) = match step {
                Step::Event(_) => (true, None),
                Step::Accepted(key, _) => (true, Some(*key)),
                Step::Settled(key, _) => {
                    let owns = env.redis.owns(self.instance, *key);
                    let may_publish = if env.has(Flaw::GoneIsAnothers) {
                        owns || job.released
                    } else {
                        owns || (!is_repeated && !env.redis.another_owns(self.instance, *key))
                    };
                    (!trusted || may_publish, (trusted && owns).then_some(*key))
                }
                Step::Parked { key, due, attempt } => {
                    if may_park && env.redis.owns(self.instance, *key) {
                        env.redis.park(*key, *due, *attempt, env.now);
                        self.say(env, || format!("parks {key} until {due} s"));
                    }
                    (false, None)
                }
            };
            let id = step.outcome().filter(|_| is_published).map(|outcome| {
                self.say(env, || format!("publishes {}", describe(outcome)));
                env.redis.publish(outcome.clone())
            });
            if let Some(key) = is_released {
                env.redis.release(key);
            }
            published.push(id);
        }
        Settled {
            identity: env.redis.here(),
            trusted,
            published,
            oldest: env.redis.oldest_outcome(),
        }
    }

    fn take_over(&mut self, env: &mut Env, job: Job, settled: &Settled, was_member: bool) {
        let landed: Vec<Key> = job.steps.iter().filter_map(Step::key).collect();
        let mut has_left = false;
        for (step, id) in job.steps.into_iter().zip(&settled.published) {
            let may_be_published = job.repeated && matches!(step, Step::Settled(..));
            let (Step::Accepted(_, outcome) | Step::Settled(_, outcome) | Step::Event(outcome)) = step else {
                continue;
            };
            match outcome {
                Outcome::Left(_) => has_left = true,
                Outcome::Join { .. } => {}
                Outcome::Message(_) if env.has(Flaw::NothingKept) => {}
                Outcome::Message(_) => {
                    if id.is_some() || may_be_published {
                        self.kept.push_back(Kept { id: *id, outcome });
                    }
                }
            }
        }
        if settled.trusted {
            forget_applied(&mut self.kept, settled.oldest);
        }
        if was_member && !settled.trusted {
            self.distrusted_by = Some(settled.identity);
        }
        for key in landed {
            let at = self.flight.iter().position(|in_hand| in_hand.is_concluded(key));
            if let Some(at) = at {
                self.flight.remove(at);
            }
        }
        if let Some(named) = job.join {
            self.membership = if named == settled.identity {
                Membership::Waiting {
                    identity: named,
                    since: env.now,
                }
            } else {
                Membership::MustJoin(settled.identity)
            };
        }
        self.has_left = has_left;
    }
}

/// Outcomes leave the stream from its head, so all before the oldest are applied.
fn forget_applied(kept: &mut VecDeque<Kept>, oldest: Option<u64>) {
    let Some(oldest) = oldest else {
        kept.clear();
        return;
    };
    if let Some(last) = kept
        .iter()
        .rposition(|kept| kept.id.is_some_and(|id| id < oldest))
    {
        kept.drain(..=last);
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Message(message) => format!("{} is {}", message.key, message.state),
        Outcome::Join { identity, .. } => format!("a join on {identity}"),
        Outcome::Left(_) => "that it has left".to_owned(),
    }
}
