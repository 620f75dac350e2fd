//! Follows the directory of lanes, and starts the work on each that appears.
//!
//! Work on a lane ends with the process: a lane that is missing from the directory may be missing because
//! Redis was lost, and then what this process keeps of it is all that is left.

use crate::flight::Flight;
use crate::lane::Lane;
use crate::pacing::Pacing;
use crate::progress::Progress;
use crate::service::Service;
use crate::settle::{Settler, SideDesk};
use crate::worker::Worker;
use campaign_core::ids::LaneId;
use campaign_runtime::HealthHandle;
use campaign_streams::lane::{LaneMember, Step, directory};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long after the pause the directory is read again, unless someone wakes the lanes.
const FOLLOW_EVERY: Duration = Duration::from_millis(900);
/// Directory reads are at least so far apart, however often the lanes are woken.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
/// Most lanes that one process works on; each costs two connections.
const LANES_MAX: usize = 1_000;
/// How long after the first lane the others have appeared too, also on a Redis that was lost.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// Stalled lanes that the readiness check names.
const NAMED_MAX: usize = 5;

/// The lanes that this process works on.
#[derive(Debug, Default)]
pub(crate) struct LaneRegistry {
    lanes: Mutex<BTreeMap<LaneId, Known>>,
    /// When the directory was first seen with lanes in it.
    seen: OnceLock<Instant>,
}

/// A lane that this process works on.
#[derive(Debug)]
struct Known {
    progress: Arc<Progress>,
    desk: SideDesk,
}

/// Whether a number is one that is sent from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has a lane.
    Ours,
    /// It has none.
    Foreign,
    /// Nobody can tell yet: lanes have still to appear.
    NotYet,
}

impl LaneRegistry {
    /// What is known of a number at `now`.
    pub(crate) fn standing(&self, lane: &LaneId, now: Instant) -> Standing {
        let lanes = self.lock();
        // Of lanes beyond the bound this process knows nothing.
        if lanes.contains_key(lane) || lanes.len() >= LANES_MAX {
            return Standing::Ours;
        }
        let settled = |seen: &Instant| now.saturating_duration_since(*seen) >= SETTLED_AFTER;
        if self.seen.get().is_some_and(settled) {
            Standing::Foreign
        } else {
            Standing::NotYet
        }
    }

    /// Keeps what was published on a lane until the ledger has it.
    pub(crate) fn keep(&self, lane: &LaneId, steps: Vec<Step>) {
        let desk = self.lock().get(lane).map(|known| known.desk.clone());
        if let Some(desk) = desk {
            desk.keep(steps);
        }
    }

    /// Every lane.
    pub(crate) fn all(&self) -> Vec<LaneId> {
        self.lock().keys().cloned().collect()
    }

    /// Any lane: the first.
    pub(crate) fn any(&self) -> Option<LaneId> {
        self.lock().keys().next().cloned()
    }

    /// Why some lanes make no progress; nothing if all do.
    fn problem(&self, now: Instant) -> Option<String> {
        let lanes = self.lock();
        let problems: Vec<_> = lanes
            .iter()
            .filter_map(|(lane, known)| known.progress.problem(lane, now))
            .take(NAMED_MAX)
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// Each change is one insertion, so a panic elsewhere leaves it right.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LaneId, Known>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts lanes as they appear, and says whether all make progress.
pub(crate) async fn follow(service: Arc<Service>, health: HealthHandle) -> anyhow::Result<()> {
    let mut hints = service.waker.subscribe();
    while !service.shutdown.is_stopping() {
        match directory(&service.streams).await {
            Ok(lanes) => {
                if !lanes.is_empty() {
                    service.lanes.seen.get_or_init(Instant::now);
                }
                for lane in lanes {
                    start_once(&service, lane)?;
                }
                match service.lanes.problem(Instant::now()) {
                    None => health.ready(),
                    Some(problem) => health.unready(problem),
                }
            }
            Err(error) => health.unready(format!("the directory of lanes cannot be read: {error}")),
        }
        service.shutdown.sleep(FOLLOW_PAUSE).await;
        tokio::select! {
            _ = hints.recv() => {}
            () = tokio::time::sleep(FOLLOW_EVERY) => {}
            () = service.shutdown.stopping() => {}
        }
    }
    Ok(())
}

fn start_once(service: &Arc<Service>, id: LaneId) -> anyhow::Result<()> {
    {
        let lanes = service.lanes.lock();
        if lanes.contains_key(&id) {
            return Ok(());
        }
        if lanes.len() >= LANES_MAX {
            tracing::error!(lane = %id, most = LANES_MAX, "too many lanes: this one is left to other replicas");
            return Ok(());
        }
    }
    let progress = Arc::new(Progress::new(Instant::now()));
    let flight = Arc::new(Flight::default());
    let pacing = Arc::new(Pacing::default());
    let member = || LaneMember::new(&service.streams, id.clone(), service.instance);
    let (desk, settler) = Settler::new(
        member()?,
        service.instance,
        service.settle_interval,
        Arc::clone(&flight),
        Arc::clone(&progress),
        Arc::clone(&pacing),
    );
    let taker = member()?;
    let known = Known {
        progress: Arc::clone(&progress),
        desk: desk.aside(),
    };
    service.lanes.lock().insert(id.clone(), known);
    let lane = Arc::new(Lane::new(id, Arc::clone(service), flight, progress, desk, pacing));
    service.spawner.spawn("settler", settler.run());
    service.spawner.spawn("lane", Worker::new(lane, taker).run());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_foreign_only_once_the_lanes_have_had_time_to_appear() {
        let lane = |id: &str| -> LaneId { id.parse().expect("a lane") };
        let (registry, start) = (LaneRegistry::default(), Instant::now());
        let standing = |id, after| registry.standing(&lane(id), start + after);
        let much_later = SETTLED_AFTER * 100;
        assert_eq!(
            standing("1", much_later),
            Standing::NotYet,
            "no lane was seen yet"
        );
        registry.seen.set(start).expect("unset");
        let known = Known {
            progress: Arc::new(Progress::new(start)),
            desk: SideDesk::closed(),
        };
        registry.lock().insert(lane("1"), known);
        assert_eq!(standing("1", Duration::ZERO), Standing::Ours);
        assert_eq!(standing("2", SETTLED_AFTER / 2), Standing::NotYet);
        assert_eq!(standing("2", SETTLED_AFTER), Standing::Foreign);
    }
}
