//! Who got what, how often: exact, for millions of messages, in little memory.
//!
//! A recipient's digits fit 50 bits; with 14 bits for the pair of phone number and campaign they are one
//! 64-bit key, and its entry is another 8 bytes. A million recipients take about 55 MB at the worst
//! moment of the tables' growth. What does not fit the bounds sets `overflow`: then the log says so
//! itself, and no count of it is to be trusted.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::callback::{Callback, Parsed};
use crate::person;
use crate::window::SlidingWindow;

/// Most recipients, counted by phone number and campaign.
pub const MAX_RECIPIENTS: usize = 4_000_000;
/// Most pairs of phone number and campaign: what 14 bits can tell apart.
pub const MAX_SCOPES: usize = 1 << 14;
/// Most callback data that are not `<campaign>:<generation>:<seq>`.
pub const MAX_FREE_CALLBACKS: usize = 100_000;
/// Most duplicates that a summary lists.
pub const MAX_LISTED_DUPLICATES: usize = 100;

const RECIPIENT_BITS: u32 = 50;
/// Small tables grow one at a time, so growing never needs much memory at once.
const SHARDS: usize = 64;

/// `generation` of an entry whose callback data is in the list of free ones, at `seq`.
const FREE: u16 = u16::MAX;
/// `generation` of an entry without callback data.
const NONE: u16 = u16::MAX - 1;

/// What one recipient got, and the callback data of the last.
#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u32,
    generation: u16,
    count: u16,
}

/// One phone number and one campaign.
#[derive(Debug)]
struct Scope {
    phone_number_id: Arc<str>,
    campaign: Arc<str>,
    accepted: u64,
    recipients: u64,
    callbacks: u64,
    max_per_recipient: u16,
    first_at_us: u64,
    last_at_us: u64,
    window: SlidingWindow,
}

/// All acceptances.
#[derive(Debug, Default)]
pub(crate) struct AcceptanceLog {
    scopes: Vec<Scope>,
    scope_of: HashMap<(Arc<str>, Arc<str>), u16>,
    shards: Vec<HashMap<u64, Entry>>,
    recipients: usize,
    callbacks: Vec<HashSet<u64>>,
    free_callbacks: Vec<Arc<str>>,
    overflow: bool,
}

/// One acceptance, with the names shared.
pub(crate) struct Recorded {
    pub(crate) phone_number_id: Arc<str>,
    pub(crate) callback: Callback,
}

/// What was accepted, of one campaign or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Summary {
    /// Messages accepted.
    pub accepted: u64,
    /// Recipients, each counted once for each phone number and campaign.
    pub unique_recipients: u64,
    /// Different callback data.
    pub unique_callback_data: u64,
    /// The most messages that one recipient got; 1 is what everyone wants.
    pub max_per_recipient: u16,
    /// Recipients that got more than one, with how many.
    pub duplicates: Vec<Duplicate>,
    /// Whether there are more duplicates than are listed.
    pub more_duplicates: bool,
    /// Time of the first acceptance, milliseconds since 1970.
    pub first_at_ms: Option<u64>,
    /// Time of the last acceptance, milliseconds since 1970.
    pub last_at_ms: Option<u64>,
    /// The most accepted in any one-second window by one phone number for one campaign.
    pub peak_in_one_second: usize,
    /// Whether a bound was hit, so that the counts are too low.
    pub overflow: bool,
}

/// A recipient that got more than one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Duplicate {
    /// E.164; `user:` and a number for those known by user id alone.
    pub recipient: String,
    /// How many.
    pub count: u16,
    /// Callback data of the last.
    pub callback_data: Option<String>,
}

impl AcceptanceLog {
    pub(crate) fn record(
        &mut self,
        phone_number_id: &str,
        recipient: u64,
        data: Option<&str>,
        now_us: u64,
    ) -> Recorded {
        let parsed = Parsed::of(data);
        let Some(scope_index) = self.scope(phone_number_id, parsed.campaign()) else {
            self.overflow = true;
            return Recorded {
                phone_number_id: phone_number_id.into(),
                callback: Callback::remember(parsed, parsed.campaign().into()),
            };
        };
        let new_callback = self.insert_callback(scope_index, parsed);
        let count = self.count(scope_index, recipient, parsed);

        let scope = &mut self.scopes[usize::from(scope_index)];
        if scope.accepted == 0 {
            scope.first_at_us = now_us;
        }
        scope.accepted += 1;
        scope.last_at_us = scope.last_at_us.max(now_us);
        scope.recipients += u64::from(count == Some(1));
        scope.callbacks += u64::from(new_callback);
        scope.max_per_recipient = scope.max_per_recipient.max(count.unwrap_or(0));
        scope.window.push(now_us);
        Recorded {
            phone_number_id: Arc::clone(&scope.phone_number_id),
            callback: Callback::remember(parsed, Arc::clone(&scope.campaign)),
        }
    }

    /// The summary of one campaign, or of all.
    pub(crate) fn summary(&self, campaign: Option<&str>) -> Summary {
        let mut summary = Summary {
            overflow: self.overflow,
            ..Summary::default()
        };
        let (mut first_us, mut last_us) = (u64::MAX, 0);
        for scope in self.scopes.iter().filter(|scope| wanted(scope, campaign)) {
            summary.accepted += scope.accepted;
            summary.unique_recipients += scope.recipients;
            summary.unique_callback_data += scope.callbacks;
            summary.max_per_recipient = summary.max_per_recipient.max(scope.max_per_recipient);
            summary.peak_in_one_second = summary.peak_in_one_second.max(scope.window.max());
            first_us = first_us.min(scope.first_at_us);
            last_us = last_us.max(scope.last_at_us);
        }
        if summary.accepted > 0 {
            summary.first_at_ms = Some(first_us / 1_000);
            summary.last_at_ms = Some(last_us / 1_000);
        }
        if summary.max_per_recipient > 1 {
            self.list_duplicates(campaign, &mut summary);
        }
        summary
    }

    /// NDJSON of one shard; `None` after the last. Shard by shard, so that no one waits long for the log.
    pub(crate) fn export(&self, shard: usize, campaign: Option<&str>) -> Option<String> {
        if shard >= SHARDS {
            return None;
        }
        let mut lines = String::new();
        for (&key, entry) in self.shards.get(shard).into_iter().flatten() {
            let scope = self.scope_of_key(key);
            if !wanted(scope, campaign) {
                continue;
            }
            let data = serde_json::to_string(&self.callback_data(scope, *entry));
            let _ = writeln!(
                lines,
                r#"{{"phone_number_id":"{}","recipient":"{}","count":{},"callback_data":{}}}"#,
                scope.phone_number_id,
                person::shown(key & ((1 << RECIPIENT_BITS) - 1)),
                entry.count,
                data.unwrap_or_default(),
            );
        }
        Some(lines)
    }

    fn list_duplicates(&self, campaign: Option<&str>, summary: &mut Summary) {
        let entries = self.shards.iter().flatten().filter(|(_, entry)| entry.count > 1);
        for (&key, entry) in entries {
            let scope = self.scope_of_key(key);
            if !wanted(scope, campaign) {
                continue;
            }
            if summary.duplicates.len() == MAX_LISTED_DUPLICATES {
                summary.more_duplicates = true;
                return;
            }
            summary.duplicates.push(Duplicate {
                recipient: person::shown(key & ((1 << RECIPIENT_BITS) - 1)),
                count: entry.count,
                callback_data: self.callback_data(scope, *entry),
            });
        }
    }

    fn scope(&mut self, phone_number_id: &str, campaign: &str) -> Option<u16> {
        let names: (Arc<str>, Arc<str>) = (phone_number_id.into(), campaign.into());
        if let Some(&index) = self.scope_of.get(&names) {
            return Some(index);
        }
        if self.scopes.len() >= MAX_SCOPES {
            return None;
        }
        let index = self.scopes.len() as u16;
        self.scopes.push(Scope {
            phone_number_id: Arc::clone(&names.0),
            campaign: Arc::clone(&names.1),
            accepted: 0,
            recipients: 0,
            callbacks: 0,
            max_per_recipient: 0,
            first_at_us: 0,
            last_at_us: 0,
            window: SlidingWindow::default(),
        });
        self.scope_of.insert(names, index);
        Some(index)
    }

    /// Counts one message to a recipient; `None` if there is no room for the recipient.
    fn count(&mut self, scope: u16, recipient: u64, parsed: Parsed<'_>) -> Option<u16> {
        let (generation, seq) = self.compact(parsed);
        let key = u64::from(scope) << RECIPIENT_BITS | recipient;
        if self.shards.is_empty() {
            self.shards = (0..SHARDS).map(|_| HashMap::new()).collect();
        }
        let shard = &mut self.shards[recipient as usize % SHARDS];
        if let Some(entry) = shard.get_mut(&key) {
            if entry.count == u16::MAX {
                self.overflow = true;
            }
            entry.count = entry.count.saturating_add(1);
            (entry.generation, entry.seq) = (generation, seq);
            return Some(entry.count);
        }
        if self.recipients >= MAX_RECIPIENTS {
            self.overflow = true;
            return None;
        }
        self.recipients += 1;
        shard.insert(
            key,
            Entry {
                seq,
                generation,
                count: 1,
            },
        );
        Some(1)
    }

    /// Callback data as two numbers.
    fn compact(&mut self, parsed: Parsed<'_>) -> (u16, u32) {
        match parsed {
            Parsed::Numbered { generation, seq, .. } if generation < NONE => (generation, seq),
            Parsed::None => (NONE, 0),
            Parsed::Numbered { .. } | Parsed::Free(_) if self.free_callbacks.len() >= MAX_FREE_CALLBACKS => {
                self.overflow = true;
                (NONE, 0)
            }
            Parsed::Free(data) => self.keep_free(data.into()),
            Parsed::Numbered { campaign, .. } => {
                let data = Callback::remember(parsed, campaign.into()).to_string();
                self.keep_free(data.into())
            }
        }
    }

    fn keep_free(&mut self, data: Arc<str>) -> (u16, u32) {
        self.free_callbacks.push(data);
        (FREE, (self.free_callbacks.len() - 1) as u32)
    }

    /// Whether this callback data is new. The engine's form is told apart exactly; any other by a 63-bit
    /// hash.
    fn insert_callback(&mut self, scope: u16, parsed: Parsed<'_>) -> bool {
        let key = match parsed {
            Parsed::None => return false,
            Parsed::Numbered { generation, seq, .. } => {
                u64::from(scope) << 48 | u64::from(generation) << 32 | u64::from(seq)
            }
            Parsed::Free(data) => {
                let mut hasher = DefaultHasher::new();
                (scope, data).hash(&mut hasher);
                1 << 63 | hasher.finish()
            }
        };
        if self.callbacks.is_empty() {
            self.callbacks = (0..SHARDS).map(|_| HashSet::new()).collect();
        }
        let shard = &mut self.callbacks[key as usize % SHARDS];
        if shard.len() >= MAX_RECIPIENTS / SHARDS * 2 {
            self.overflow = true;
            return false;
        }
        shard.insert(key)
    }

    fn scope_of_key(&self, key: u64) -> &Scope {
        &self.scopes[(key >> RECIPIENT_BITS) as usize]
    }

    fn callback_data(&self, scope: &Scope, entry: Entry) -> Option<String> {
        match entry.generation {
            NONE => None,
            FREE => Some(self.free_callbacks[entry.seq as usize].to_string()),
            generation => Some(format!("{}:{generation}:{}", scope.campaign, entry.seq)),
        }
    }
}

fn wanted(scope: &Scope, campaign: Option<&str>) -> bool {
    campaign.is_none_or(|campaign| *scope.campaign == *campaign)
}

#[cfg(test)]
#[path = "acceptances_tests.rs"]
mod tests;
