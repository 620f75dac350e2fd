//! One message from hand to wire: look at the lease, write once, hear the answer, conclude.

use super::Member;
use super::settler::Step;
use crate::env::Env;
use crate::flaw::Flaw;
use crate::ids::{
    ATTEMPTS_MAX, DEFERRED_WAIT, ENTRY_LEASE, HTTP_TIMEOUT, Key, PARKED_WAIT, RECLAIM_IDLE, Time,
};
use crate::ledger::Row;
use crate::promise::Promise;
use crate::redis::{MessageOutcome, Outcome, Taken};
use crate::whatsapp::{Acceptance, FROZEN_IN_WRITE, Wire};
use campaign_core::campaign::OnUncertain;
use campaign_core::message::MessageState;

/// A message in hand.
#[derive(Debug, Clone)]
pub(super) struct InHand {
    pub(super) taken: Taken,
    taken_at: Time,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Taken,
    /// The lease still ran at that time.
    Checked(Time),
    Written(Time, Wire),
    /// Its steps are with the settler.
    Concluded,
}

impl InHand {
    pub(super) fn new(taken: Taken, now: Time) -> Self {
        Self {
            taken,
            taken_at: now,
            stage: Stage::Taken,
        }
    }

    pub(super) fn concluded(taken: Taken, now: Time) -> Self {
        Self {
            stage: Stage::Concluded,
            ..Self::new(taken, now)
        }
    }

    pub(super) fn is_concluded(&self, key: Key) -> bool {
        self.taken.key == key && self.stage == Stage::Concluded
    }
}

impl Member {
    /// The next step of the `nth` message that is not concluded.
    pub(crate) fn send(&mut self, env: &mut Env, nth: usize) {
        let open = self
            .flight
            .iter_mut()
            .filter(|in_hand| in_hand.stage != Stage::Concluded);
        let open: Vec<_> = open.collect();
        if open.is_empty() {
            return;
        }
        let nth = nth % open.len();
        let Some(in_hand) = open.into_iter().nth(nth) else {
            return;
        };
        let (taken, taken_at, stage) = (in_hand.taken, in_hand.taken_at, in_hand.stage);
        let mut next = Stage::Concluded;
        let step = match stage {
            Stage::Taken => {
                let in_time = env.now - taken_at < ENTRY_LEASE || env.has(Flaw::NoLeaseCheck);
                if self.is_stopping || !in_time {
                    Some(Step::hand_back(taken))
                } else {
                    next = Stage::Checked(env.now);
                    None
                }
            }
            Stage::Checked(at) => {
                let wire = write(env, taken.key, at);
                next = Stage::Written(env.now, wire);
                None
            }
            Stage::Written(at, wire) => Some(conclude(env, taken, at, wire)),
            Stage::Concluded => None,
        };
        in_hand.stage = next;
        let described = (taken.key, next);
        self.desk.extend(step);
        self.say(env, || match described {
            (key, Stage::Checked(_)) => format!("may write {key}"),
            (key, Stage::Written(_, wire)) => format!("writes {key} to WhatsApp: {wire:?}"),
            (key, _) => format!("is done with {key}"),
        });
    }
}

fn write(env: &mut Env, key: Key, checked_at: Time) -> Wire {
    let now = env.now;
    let was_frozen = now - checked_at >= FROZEN_IN_WRITE;
    let rows = &env.postgres.campaigns[key.campaign];
    if let Some(held_at) = rows.hold_applied_at
        && rows.is_held()
        && now - held_at >= RECLAIM_IDLE
        && !was_frozen
    {
        env.violate(Promise::WritesAreTimely, || {
            format!("{key} is written at {now} s, its campaign is held since {held_at} s")
        });
    }
    let wire = env.whatsapp.write(key, now, checked_at);
    if wire.accepts() {
        check_twice(env);
    }
    wire
}

/// Nobody may get a message twice; under `resend` only if what the design names as possible has happened.
fn check_twice(env: &mut Env) {
    let Some((latest, earlier)) = env.whatsapp.accepted.split_last() else {
        return;
    };
    let twin = earlier
        .iter()
        .find(|other| other.key.recipient() == latest.key.recipient());
    let Some(&twin) = twin else { return };
    let (campaign, seq) = latest.key.recipient();
    let rows = &env.postgres.campaigns[campaign];
    let excused = rows.on_uncertain == OnUncertain::Resend
        && rows
            .rows
            .get(&seq)
            .is_some_and(|row| is_excused(row, twin, *latest));
    if !excused {
        let (first, second) = (twin.key, latest.key);
        env.violate(Promise::NeverTwice, || {
            format!("row {seq} of campaign {campaign} was accepted as {first} and again as {second}")
        });
    }
}

/// The row was sent again by itself, and the acceptance of the earlier round explains why.
fn is_excused(row: &Row, one: Acceptance, other: Acceptance) -> bool {
    let old = if one.key.id.generation < other.key.id.generation {
        one
    } else {
        other
    };
    let is_explained = row
        .resent_at
        .is_some_and(|resent_at| old.came_too_late_for(resent_at));
    is_explained && one.key.id.generation != other.key.id.generation
}

/// What the end of a send means, as `message-svc/src/classify.rs` has it.
fn conclude(env: &Env, taken: Taken, written_at: Time, wire: Wire) -> Step {
    let (key, now) = (taken.key, env.now);
    let outcome = |state, due| {
        Outcome::Message(MessageOutcome {
            key,
            state,
            at: now,
            attempts: Some(taken.attempt),
            due,
        })
    };
    let is_answered = now - written_at < HTTP_TIMEOUT;
    match wire {
        Wire::NotSent => Step::hand_back(taken),
        Wire::Accepted if is_answered => Step::Accepted(key, outcome(MessageState::Accepted, None)),
        Wire::RefusedForGood if is_answered => Step::Settled(key, outcome(MessageState::Failed, None)),
        Wire::RefusedForNow if is_answered && taken.attempt >= ATTEMPTS_MAX => {
            Step::Settled(key, outcome(MessageState::Failed, None))
        }
        Wire::RefusedForNow if is_answered => Step::Parked {
            key,
            due: now + PARKED_WAIT,
            attempt: taken.attempt,
        },
        Wire::RefusedForLong if is_answered => {
            Step::Settled(key, outcome(MessageState::Deferred, Some(now + DEFERRED_WAIT)))
        }
        _ if env.has(Flaw::RetryOnTimeout) => Step::hand_back(taken),
        _ => Step::Settled(key, outcome(MessageState::Uncertain, None)),
    }
}
