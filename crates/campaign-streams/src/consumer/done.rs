//! What is done and not yet acknowledged, gathered so that one round trip acknowledges many.

use crate::entry::RawEntry;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// Longest that an entry which is done waits for its acknowledgement.
pub(super) const RELEASE_AFTER: Duration = Duration::from_millis(100);
/// Most entries acknowledged at once.
pub(super) const RELEASED_AT_ONCE_MAX: usize = 512;

/// Ids of entries that are done.
#[derive(Debug, Default)]
pub(super) struct Done {
    ids: Vec<String>,
    release_at: Option<Instant>,
}

impl Done {
    /// Adds one that was done `now` and is acknowledged after `wait` at the latest, at once if there are enough.
    pub(super) fn add(&mut self, id: String, now: Instant, wait: Duration) {
        self.ids.push(id);
        let wait = if self.ids.len() < RELEASED_AT_ONCE_MAX {
            wait
        } else {
            Duration::ZERO
        };
        let release_at = now + wait;
        self.release_at = Some(self.release_at.map_or(release_at, |at| at.min(release_at)));
    }

    pub(super) fn ids(&self) -> &[String] {
        &self.ids
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// When they are to be acknowledged; None when there are none.
    pub(super) const fn release_at(&self) -> Option<Instant> {
        self.release_at
    }

    /// They cannot be acknowledged now.
    pub(super) fn postpone(&mut self, until: Instant) {
        self.release_at = self.release_at.map(|_| until);
    }

    /// They are acknowledged.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes those that are done out of `pending`, and forgets those that are not in it.
    pub(super) fn compare(&mut self, pending: &mut Vec<RawEntry>) {
        let done: HashSet<String> = self.ids.drain(..).collect();
        pending.retain(|entry| {
            let is_done = done.contains(&entry.id);
            if is_done {
                self.ids.push(entry.id.clone());
            }
            !is_done
        });
        if self.ids.is_empty() {
            self.release_at = None;
        }
    }
}
