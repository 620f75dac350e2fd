//! Readiness: whether the service makes progress, and if not, why, in words for people.
//!
//! Each part that can stall registers a named check and says ready or unready itself, at the place
//! where the progress is made (the last outcome applied, the last tick seen). Nothing here pings
//! anything: a server that answers PING and a service that does its work are different things.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

/// What a check says until its owner has spoken.
const NOT_YET: &str = "starting: nothing has been done yet";

/// The service's checks. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<Mutex<Vec<CheckReport>>>,
}

/// One registered check, held by the part it speaks for. Clones speak for the same check.
#[derive(Clone, Debug)]
pub struct HealthHandle {
    name: Arc<str>,
    health: Health,
}

/// The body of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// Whether every check is ready and the service is not stopping.
    pub ready: bool,
    /// Every check, in the order of registration.
    pub checks: Vec<CheckReport>,
}

/// The state of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The name it was registered with.
    pub name: String,
    /// Whether the part makes progress.
    pub ready: bool,
    /// Why not, for people. Absent when ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it last turned ready or unready.
    pub since: DateTime<Utc>,
}

impl Health {
    /// Registers a check, unready until its handle says otherwise. The same name again gives a
    /// handle to the same check.
    pub fn register(&self, name: impl Into<String>) -> HealthHandle {
        let name = name.into();
        let mut checks = self.lock();
        if !checks.iter().any(|check| check.name == name) {
            ::metrics::gauge!("health_check_ready", "check" => name.clone()).set(0.0);
            checks.push(CheckReport {
                name: name.clone(),
                ready: false,
                reason: Some(NOT_YET.to_owned()),
                since: now(),
            });
        }
        drop(checks);
        HealthHandle {
            name: name.into(),
            health: self.clone(),
        }
    }

    /// Whether every check is ready.
    pub fn is_ready(&self) -> bool {
        self.lock().iter().all(|check| check.ready)
    }

    /// The state of every check.
    pub fn report(&self) -> HealthReport {
        let checks = self.lock().clone();
        HealthReport {
            ready: checks.iter().all(|check| check.ready),
            checks,
        }
    }

    /// The list stays consistent at every await-free step, so a panic elsewhere leaves it usable.
    fn lock(&self) -> MutexGuard<'_, Vec<CheckReport>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HealthHandle {
    /// The part makes progress.
    pub fn ready(&self) {
        self.set(None);
    }

    /// The part makes no progress; `reason` says why, for people, without secrets or phone numbers.
    pub fn unready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    /// Removes the check: the part is no longer this process's concern.
    ///
    /// Dropping a handle does not: a part that died must not turn the service ready.
    pub fn retire(self) {
        self.health.lock().retain(|check| *check.name != *self.name);
        ::metrics::gauge!("health_check_ready", "check" => self.name.to_string()).set(1.0);
    }

    fn set(&self, reason: Option<String>) {
        let mut checks = self.health.lock();
        let Some(check) = checks.iter_mut().find(|check| *check.name == *self.name) else {
            return; // retired through another clone
        };
        let ready = reason.is_none();
        if check.ready == ready && check.reason == reason {
            return; // said again on every round of a loop: nothing to log
        }
        if check.ready != ready {
            check.ready = ready;
            check.since = now();
        }
        check.reason.clone_from(&reason);
        drop(checks);

        let name = &*self.name;
        ::metrics::gauge!("health_check_ready", "check" => name.to_owned()).set(if ready {
            1.0
        } else {
            0.0
        });
        match reason {
            None => tracing::info!(check = name, "check turned ready"),
            Some(reason) => tracing::warn!(check = name, reason, "check is unready"),
        }
    }
}

/// Whole milliseconds are what people read and what JSON keeps.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_every_check_is() {
        let health = Health::default();
        let redis = health.register("redis");
        let ledger = health.register("ledger");
        assert!(!health.is_ready(), "a new check is unready");

        redis.ready();
        ledger.unready("Postgres refuses connections");
        let report = health.report();
        assert!(!report.ready);
        assert_eq!(report.checks[0].reason, None);
        assert_eq!(
            report.checks[1].reason.as_deref(),
            Some("Postgres refuses connections")
        );

        ledger.ready();
        assert!(health.is_ready());
    }

    #[test]
    fn since_moves_only_when_readiness_changes() {
        let health = Health::default();
        let check = health.register("redis");
        let begun = DateTime::<Utc>::UNIX_EPOCH;
        health.lock()[0].since = begun;
        check.unready("another reason");
        assert_eq!(health.report().checks[0].since, begun);
        check.ready();
        assert!(health.report().checks[0].since > begun);
    }

    #[test]
    fn a_dropped_handle_leaves_its_check_and_a_retired_one_removes_it() {
        let health = Health::default();
        drop(health.register("lane"));
        assert!(!health.is_ready());
        health.register("lane").retire();
        assert_eq!(health.report().checks, []);
        assert!(health.is_ready());
    }
}
