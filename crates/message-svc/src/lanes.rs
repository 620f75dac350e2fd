//! Follows the directory of lanes, and starts the work on each that appears.
//!
//! Work on a lane ends with the process: a lane that is missing from the directory may be missing because
//! Redis was lost, and then what this process keeps of it is all that is left.

use crate::flight::Flight;
use crate::lane::Lane;
use crate::pacing::Pacing;
use crate::progress::Progress;
use crate::service::Service;
use crate::settle::Settler;
use crate::worker::Worker;
use campaign_core::ids::LaneId;
use campaign_runtime::HealthHandle;
use campaign_streams::lane::{LaneMember, directory};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after the pause the directory is read again, unless someone wakes the lanes.
const FOLLOW_EVERY: Duration = Duration::from_millis(900);
/// Directory reads are at least so far apart, however often the lanes are woken.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
/// Most lanes that one process works on; each costs two connections.
const LANES_MAX: usize = 1_000;
/// Stalled lanes that the readiness check names.
const NAMED_MAX: usize = 5;

/// The lanes that this process works on.
#[derive(Debug, Default)]
pub(crate) struct LaneRegistry(Mutex<BTreeMap<LaneId, Arc<Progress>>>);

impl LaneRegistry {
    pub(crate) fn knows(&self, lane: &LaneId) -> bool {
        self.lock().contains_key(lane)
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
            .filter_map(|(lane, progress)| progress.problem(lane, now))
            .take(NAMED_MAX)
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// Each change is one insertion, so a panic elsewhere leaves it right.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LaneId, Arc<Progress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts lanes as they appear, and says whether all make progress.
pub(crate) async fn follow(service: Arc<Service>, health: HealthHandle) -> anyhow::Result<()> {
    let mut hints = service.waker.subscribe();
    while !service.shutdown.is_stopping() {
        match directory(&service.streams).await {
            Ok(lanes) => {
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
    let progress = Arc::new(Progress::new(Instant::now()));
    {
        let mut lanes = service.lanes.lock();
        if lanes.contains_key(&id) {
            return Ok(());
        }
        if lanes.len() >= LANES_MAX {
            tracing::error!(lane = %id, most = LANES_MAX, "too many lanes: this one is left to other replicas");
            return Ok(());
        }
        lanes.insert(id.clone(), Arc::clone(&progress));
    }
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
    let lane = Arc::new(Lane::new(id, Arc::clone(service), flight, progress, desk, pacing));
    service.spawner.spawn("settler", settler.run());
    service.spawner.spawn("lane", Worker::new(lane, taker).run());
    Ok(())
}
