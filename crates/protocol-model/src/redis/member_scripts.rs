//! What members run: taking, recovering, and the parts of a settle.

use super::{Redis, Refusal, Standing, Taken};
use crate::flaw::Flaw;
use crate::ids::{Identity, Instance, Key, Time};

impl Redis {
    /// Acknowledges an entry and deletes it.
    pub(crate) fn release(&mut self, key: Key) {
        if let Some(keys) = self.change().campaigns.get_mut(&key.campaign) {
            keys.alarms.remove(&key.id);
            if let Some(stream) = &mut keys.stream {
                stream.entries.remove(&key.id);
            }
        }
    }

    fn standing(&self, key: Key) -> Option<Standing> {
        let stream = self.data.campaigns.get(&key.campaign)?.stream.as_ref()?;
        stream.entries.get(&key.id).copied()
    }

    pub(crate) fn owns(&self, instance: Instance, key: Key) -> bool {
        matches!(self.standing(key), Some(Standing::Pending { taker: Some(taker), .. }) if taker == instance)
    }

    /// Whether the entry is in somebody else's hands, or parked. One that is gone is in nobody's.
    pub(crate) fn another_owns(&self, instance: Instance, key: Key) -> bool {
        matches!(self.standing(key), Some(Standing::Pending { taker, .. }) if taker != Some(instance))
    }

    pub(crate) fn park(&mut self, key: Key, due: Time, attempt: i32, now: Time) {
        if let Some(keys) = self.change().campaigns.get_mut(&key.campaign) {
            keys.alarms.insert(key.id, due);
            if let Some(stream) = &mut keys.stream {
                let standing = Standing::Pending {
                    taker: None,
                    since: now,
                    attempt,
                };
                stream.entries.insert(key.id, standing);
            }
        }
    }

    /// Whether a settle of `instance`, which joined on `joined`, may believe what the streams say.
    pub(crate) fn trusts(&self, instance: Instance, joined: Option<Identity>) -> bool {
        let here = self.here();
        joined == Some(here) && self.is_verified() && self.data.members.get(&instance) == Some(&here)
    }

    /// Notes that a settle is carried out. Returns whether it was before.
    pub(crate) fn note_settle(&mut self, instance: Instance, order: u64) -> bool {
        let last = self.change().settled.entry(instance).or_default();
        let was_before = *last >= order;
        *last = order.max(*last);
        was_before
    }

    fn admits(&self, instance: Instance) -> Result<(), Refusal> {
        let here = self.here();
        if !self.is_verified() {
            return Err(Refusal::Unverified(here));
        }
        let is_member = self.data.members.get(&instance) == Some(&here);
        if is_member || self.flaw == Some(Flaw::NoMembership) {
            Ok(())
        } else {
            Err(Refusal::Stranger(here))
        }
    }

    /// Hands out up to `wanted` messages: those whose alarm is due, then fresh ones.
    pub(crate) fn take(
        &mut self,
        instance: Instance,
        wanted: usize,
        now: Time,
    ) -> Result<Vec<Taken>, Refusal> {
        self.admits(instance)?;
        self.data.seen.insert(instance, now);
        let mut found = Vec::new();
        for (&campaign, keys) in self.data.campaigns.iter().filter(|(_, keys)| !keys.held) {
            let Some(stream) = &keys.stream else { continue };
            let due = keys.alarms.iter().filter(|(_, due)| **due <= now);
            for (id, _) in due {
                if let Some(Standing::Pending {
                    taker: None, attempt, ..
                }) = stream.entries.get(id)
                {
                    found.push((Key { campaign, id: *id }, attempt + 1));
                }
            }
            let fresh = stream.entries.iter().filter(|(_, s)| **s == Standing::Fresh);
            found.extend(fresh.map(|(id, _)| (Key { campaign, id: *id }, 1)));
        }
        found.truncate(wanted);
        let taken = found.into_iter().map(|(key, attempt)| {
            self.hand_out(key, instance, attempt, now);
            Taken { key, attempt }
        });
        Ok(taken.collect())
    }

    fn hand_out(&mut self, key: Key, instance: Instance, attempt: i32, now: Time) {
        if let Some(keys) = self.change().campaigns.get_mut(&key.campaign) {
            keys.alarms.remove(&key.id);
            if let Some(stream) = &mut keys.stream {
                let standing = Standing::Pending {
                    taker: Some(instance),
                    since: now,
                    attempt,
                };
                stream.entries.insert(key.id, standing);
            }
        }
    }

    /// The caller's own pending entries that are younger than `lease`.
    pub(crate) fn recover(&self, instance: Instance, lease: Time, now: Time) -> Result<Vec<Taken>, Refusal> {
        self.admits(instance)?;
        let mut found = Vec::new();
        for (&campaign, keys) in &self.data.campaigns {
            for (&id, standing) in keys.stream.iter().flat_map(|stream| &stream.entries) {
                if let Standing::Pending {
                    taker: Some(taker),
                    since,
                    attempt,
                } = standing
                    && *taker == instance
                    && now - since < lease
                {
                    let key = Key { campaign, id };
                    found.push(Taken {
                        key,
                        attempt: *attempt,
                    });
                }
            }
        }
        Ok(found)
    }
}
