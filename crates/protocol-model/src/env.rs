//! What all processes share: the clock, the three servers, and what the search watches.

use crate::flaw::Flaw;
use crate::ids::{Recipient, Time};
use crate::postgres::Postgres;
use crate::promise::{Promise, Violation};
use crate::redis::Redis;
use crate::whatsapp::WhatsApp;
use std::collections::BTreeSet;

/// The surroundings of a process.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) now: Time,
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) whatsapp: WhatsApp,
    pub(crate) flaw: Option<Flaw>,
    /// Most rows fed at once.
    pub(crate) batch: usize,
    /// Most messages of a campaign in the lane.
    pub(crate) window: usize,
    /// Recipients whose message was ever handed out.
    pub(crate) handed_out: BTreeSet<Recipient>,
    /// Whether a rebuild ever had to guess what a member that vanished has sent.
    pub(crate) guessed: bool,
    /// The first promise that was broken.
    pub(crate) violation: Option<Violation>,
    /// One line for each step, where someone will read it.
    pub(crate) log: Option<Vec<String>>,
}

impl Env {
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(log) = &mut self.log {
            log.push(format!("{now:>5} s  {}", line()));
        }
    }

    pub(crate) fn violate(&mut self, promise: Promise, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation {
                promise,
                what: what(),
            });
        }
    }

    /// Raised with every change of Redis or Postgres.
    pub(crate) fn changes(&self) -> u64 {
        self.postgres.changes + self.redis.changes + self.whatsapp.writes as u64
    }
}
