//! Whether this instance may take from a lane, and what it must do to be allowed to.
//!
//! ```text
//!           take refused                    joined                     take answered
//! Unknown ───────────────► MustJoin ────────────────────► Waiting ───────────────────► Member
//!    │ take answered                 ▲   refused on another │                             │
//!    └─────────► Member              ├── Redis, or too long ┘                             │
//!                                    └──────────────── take refused, or settle untrusted ─┘
//! ```
//!
//! Each join is a word to the owner: nothing of this instance is in flight, and all its outcomes lie before.
//! So a join is published only after everything in hand is settled, and everything kept was published again.

use std::time::{Duration, Instant};

/// How long an instance waits to be admitted until it joins anew: the join may have been lost with the
/// Redis it was written to.
pub(crate) const JOIN_AGAIN_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unknown,
    MustJoin { identity: String },
    Waiting { identity: String, since: Instant },
    Member,
}

/// One instance's standing in one lane.
#[derive(Debug)]
pub(crate) struct Membership {
    state: State,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Ask, taking nothing: the answer says whether this is a member, or where to join.
    Ask,
    /// Finish what is in hand, publish what is kept, and join on this identity.
    Join(String),
    /// Take.
    Take,
}

impl Membership {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Unknown,
        }
    }

    pub(crate) fn duty(&self) -> Duty {
        match &self.state {
            State::Unknown | State::Waiting { .. } => Duty::Ask,
            State::MustJoin { identity } => Duty::Join(identity.clone()),
            State::Member => Duty::Take,
        }
    }

    pub(crate) fn is_member(&self) -> bool {
        self.state == State::Member
    }

    /// A join was published. `answered` is the identity of the Redis that took it, which may be another than
    /// the one that the join names.
    pub(crate) fn joined(&mut self, named: String, answered: String, now: Instant) {
        self.state = if named == answered {
            State::Waiting {
                identity: named,
                since: now,
            }
        } else {
            State::MustJoin { identity: answered }
        };
    }

    /// A take was answered. An instance that has not joined was never admitted: it cannot come here before.
    pub(crate) fn admitted(&mut self) {
        self.state = State::Member;
    }

    /// A take was refused by the Redis of this identity.
    pub(crate) fn refused(&mut self, identity: String, now: Instant) {
        let must_join = match &self.state {
            State::Waiting {
                identity: joined_on,
                since,
            } => *joined_on != identity || now.saturating_duration_since(*since) >= JOIN_AGAIN_AFTER,
            State::Unknown | State::MustJoin { .. } | State::Member => true,
        };
        if must_join {
            self.state = State::MustJoin { identity };
        }
    }

    /// A settle of a member was not trusted by the Redis of this identity.
    pub(crate) fn distrusted(&mut self, identity: String) {
        if self.is_member() {
            self.state = State::MustJoin { identity };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(since: Instant) -> Membership {
        let mut membership = Membership::new();
        membership.refused("a".into(), since);
        assert_eq!(membership.duty(), Duty::Join("a".into()));
        membership.joined("a".into(), "a".into(), since);
        membership
    }

    #[test]
    fn nothing_is_taken_between_the_join_and_the_admission() {
        let now = Instant::now();
        let mut membership = waiting(now);
        assert_eq!(membership.duty(), Duty::Ask);
        membership.refused("a".into(), now + JOIN_AGAIN_AFTER / 2);
        assert_eq!(membership.duty(), Duty::Ask, "the owner needs a moment");
        membership.admitted();
        assert_eq!(membership.duty(), Duty::Take);
    }

    #[test]
    fn a_join_is_repeated_when_nobody_notices_or_the_redis_is_another() {
        let now = Instant::now();
        let mut unnoticed = waiting(now);
        unnoticed.refused("a".into(), now + JOIN_AGAIN_AFTER);
        assert_eq!(unnoticed.duty(), Duty::Join("a".into()));

        let mut replaced = waiting(now);
        replaced.refused("b".into(), now);
        assert_eq!(replaced.duty(), Duty::Join("b".into()));

        let mut replaced_meanwhile = waiting(now);
        replaced_meanwhile.joined("a".into(), "b".into(), now);
        assert_eq!(replaced_meanwhile.duty(), Duty::Join("b".into()));
    }

    #[test]
    fn a_member_leaves_at_the_first_refusal_of_either_script() {
        let now = Instant::now();
        let mut by_take = waiting(now);
        by_take.admitted();
        by_take.refused("a".into(), now);
        assert_eq!(by_take.duty(), Duty::Join("a".into()));

        let mut by_settle = waiting(now);
        by_settle.distrusted("a".into());
        assert_eq!(
            by_settle.duty(),
            Duty::Ask,
            "no member yet: of course not trusted"
        );
        by_settle.admitted();
        by_settle.distrusted("b".into());
        assert_eq!(by_settle.duty(), Duty::Join("b".into()));
    }
}
