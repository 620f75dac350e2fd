//! The population with the changes that people made: a bounded overlay, lost at the end of the process.

use crate::population::Population;
use campaign_core::contracts::{CustomerEvent, CustomerEventKind};
use campaign_core::customer::Customer;
use campaign_core::phone::{CanonicalPhone, Region, canonicalise};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

/// Most customers that can be changed.
pub const MAX_CHANGED: usize = 100_000;
/// Longest phone that is taken, in characters.
pub const MAX_PHONE_CHARS: usize = 64;

/// What can be changed of a customer; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CustomerPatch {
    /// Whether the customer agrees to marketing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marketing_consent: Option<bool>,
    /// Whether the customer is one still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// The phone; null takes it away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub phone: Option<Option<String>>,
}

#[expect(
    clippy::option_option,
    reason = "absent, null and a value are three different wishes"
)]
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl CustomerPatch {
    fn apply(&self, customer: &mut Customer) {
        customer.marketing_consent = self.marketing_consent.unwrap_or(customer.marketing_consent);
        customer.active = self.active.unwrap_or(customer.active);
        if let Some(phone) = &self.phone {
            customer.phone.clone_from(phone);
        }
    }

    /// This patch after `earlier`.
    fn after(self, earlier: Self) -> Self {
        Self {
            marketing_consent: self.marketing_consent.or(earlier.marketing_consent),
            active: self.active.or(earlier.active),
            phone: self.phone.or(earlier.phone),
        }
    }
}

/// A change that could be made.
#[derive(Debug)]
pub struct PlannedChange {
    index: u64,
    patch: CustomerPatch,
    at: DateTime<Utc>,
    /// The customer as it will be.
    pub after: Customer,
    /// What to tell others; empty if nothing changes.
    pub events: Vec<CustomerEvent>,
}

/// There is no room for changes to further customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_CHANGED} customers have been changed; restart the mock to begin anew")]
pub struct TooManyChanges;

/// The customers as they are now.
#[derive(Debug)]
pub struct Directory {
    population: Population,
    changes: RwLock<HashMap<u64, (CustomerPatch, DateTime<Utc>)>>,
}

impl Directory {
    /// The population, unchanged.
    pub fn new(population: Population) -> Self {
        Self {
            population,
            changes: RwLock::default(),
        }
    }

    /// The population beneath the changes.
    pub const fn population(&self) -> &Population {
        &self.population
    }

    /// The customer at `index`, which must be below the population's size.
    pub fn customer(&self, index: u64) -> Customer {
        let mut customer = self.population.customer(index);
        let changes = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((patch, at)) = changes.get(&index) {
            patch.apply(&mut customer);
            customer.updated_at = *at;
        }
        customer
    }

    /// The indexes of everybody who has this phone, however it is written.
    pub fn with_phone(&self, phone: CanonicalPhone) -> Vec<u64> {
        let changes = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        let new_phones = changes.iter().filter(|(_, (patch, _))| patch.phone.is_some());
        let mut indexes: BTreeSet<u64> = new_phones.map(|(index, _)| *index).collect();
        drop(changes);
        indexes.extend(self.population.candidates(phone));
        let has_it = |index: &u64| {
            let typed = self.customer(*index).phone;
            typed.is_some_and(|typed| canonicalise(&typed, Region::Brazil) == Ok(phone))
        };
        indexes.into_iter().filter(has_it).collect()
    }

    /// Notes what a customer told the engine about marketing, unless the customer's consent was changed later than
    /// that. The engine knows it already, so there is no event.
    pub fn note_consent(&self, index: u64, consent: bool, at: DateTime<Utc>) -> Result<bool, TooManyChanges> {
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        let known = changes.get(&index);
        if known.is_none() && changes.len() >= MAX_CHANGED {
            return Err(TooManyChanges);
        }
        if known.is_some_and(|(patch, since)| patch.marketing_consent.is_some() && *since > at) {
            return Ok(false);
        }
        let (earlier, _) = changes.remove(&index).unwrap_or_default();
        let patch = CustomerPatch {
            marketing_consent: Some(consent),
            ..CustomerPatch::default()
        };
        changes.insert(index, (patch.after(earlier), at));
        Ok(true)
    }

    /// What `patch` would change, without changing it yet.
    pub fn plan(
        &self,
        index: u64,
        patch: CustomerPatch,
        at: DateTime<Utc>,
    ) -> Result<PlannedChange, TooManyChanges> {
        let changes = self.changes.read().unwrap_or_else(PoisonError::into_inner);
        if changes.len() >= MAX_CHANGED && !changes.contains_key(&index) {
            return Err(TooManyChanges);
        }
        drop(changes);
        let before = self.customer(index);
        let mut after = before.clone();
        patch.apply(&mut after);
        let events = events(&before, &after, at);
        if !events.is_empty() {
            after.updated_at = at;
        }
        Ok(PlannedChange {
            index,
            patch,
            at,
            after,
            events,
        })
    }

    /// Makes a planned change.
    pub fn keep(&self, change: PlannedChange) -> Customer {
        if !change.events.is_empty() {
            let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
            let (earlier, _) = changes.remove(&change.index).unwrap_or_default();
            changes.insert(change.index, (change.patch.after(earlier), change.at));
        }
        change.after
    }
}

fn events(before: &Customer, after: &Customer, at: DateTime<Utc>) -> Vec<CustomerEvent> {
    let consent = match (before.marketing_consent, after.marketing_consent) {
        (true, false) => Some(CustomerEventKind::OptedOut),
        (false, true) => Some(CustomerEventKind::OptedIn),
        _ => None,
    };
    let other =
        (before.phone != after.phone || before.active != after.active).then_some(CustomerEventKind::Changed);
    let kinds = consent.into_iter().chain(other);
    kinds
        .map(|kind| CustomerEvent {
            kind,
            customer_id: after.id.clone(),
            phone: after.phone.clone(),
            at,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn directory() -> Directory {
        let today = NaiveDate::from_ymd_opt(2026, 3, 1).expect("a valid day");
        Directory::new(Population::new(1, MAX_CHANGED as u64 + 1, today))
    }

    fn change(directory: &Directory, index: u64, patch: &str) -> Vec<CustomerEventKind> {
        let patch = serde_json::from_str(patch).expect("a patch");
        let at = DateTime::UNIX_EPOCH;
        let plan = directory.plan(index, patch, at).expect("there is room");
        let kinds = plan.events.iter().map(|event| event.kind).collect();
        directory.keep(plan);
        kinds
    }

    #[test]
    fn changes_add_up_and_each_tells_what_happened() {
        let directory = directory();
        let index = (0..1_000)
            .find(|&index| directory.customer(index).marketing_consent)
            .expect("most consent");
        assert_eq!(
            change(&directory, index, r#"{"marketing_consent": false}"#),
            [CustomerEventKind::OptedOut]
        );
        assert_eq!(
            change(&directory, index, r#"{"marketing_consent": false}"#),
            [],
            "nothing changed"
        );
        assert_eq!(
            change(&directory, index, r#"{"phone": "+5511987654321"}"#),
            [CustomerEventKind::Changed]
        );
        let customer = directory.customer(index);
        assert_eq!(
            (customer.marketing_consent, customer.phone.as_deref()),
            (false, Some("+5511987654321"))
        );
        assert_eq!(customer.updated_at, DateTime::UNIX_EPOCH);
        assert_eq!(
            change(&directory, index, r#"{"phone": null, "marketing_consent": true}"#),
            [CustomerEventKind::OptedIn, CustomerEventKind::Changed]
        );
        assert_eq!(directory.customer(index).phone, None);
    }

    #[test]
    fn a_wish_finds_everybody_with_the_phone_and_an_older_one_changes_nothing() {
        let directory = directory();
        change(
            &directory,
            3,
            r#"{"phone": "(11) 8765-4321", "marketing_consent": true}"#,
        );
        change(&directory, 9, r#"{"phone": "+55 11 98765-4321"}"#);
        let phone = "+5511987654321".parse().expect("a phone");
        let found = directory.with_phone(phone);
        assert!(found.contains(&3) && found.contains(&9), "{found:?}");
        let own = directory.customer(7).phone.expect("a phone");
        let own = canonicalise(&own, Region::Brazil).expect("a mobile");
        assert!(directory.with_phone(own).contains(&7));

        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        assert_eq!(directory.note_consent(3, false, at(20)), Ok(true));
        assert_eq!(directory.note_consent(3, true, at(10)), Ok(false), "older");
        let customer = directory.customer(3);
        assert_eq!((customer.marketing_consent, customer.updated_at), (false, at(20)));
        assert_eq!(
            customer.phone.as_deref(),
            Some("(11) 8765-4321"),
            "the rest stays"
        );
        assert_eq!(directory.note_consent(3, true, at(30)), Ok(true));
        assert!(directory.customer(3).marketing_consent);
    }

    #[test]
    fn the_overlay_is_bounded() {
        let directory = directory();
        for index in 0..MAX_CHANGED as u64 {
            let patch = CustomerPatch {
                phone: Some(Some("1".into())),
                ..CustomerPatch::default()
            };
            let plan = directory
                .plan(index, patch, DateTime::UNIX_EPOCH)
                .expect("there is room");
            directory.keep(plan);
        }
        let further = directory.plan(MAX_CHANGED as u64, CustomerPatch::default(), DateTime::UNIX_EPOCH);
        assert_eq!(further.err(), Some(TooManyChanges));
        assert_eq!(
            change(&directory, 0, r#"{"phone": "2"}"#),
            [CustomerEventKind::Changed],
            "again is fine"
        );
    }
}
