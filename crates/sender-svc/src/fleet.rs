//! Shares the lanes out among the replicas.
//!
//! Every replica says that it is alive, counts the others, and takes lanes whose lease is over until it has
//! its even share; one that has more gives some back. A lane whose owner died is free when the lease is.

use crate::app::Sender;
use crate::lane::{self, Progress};
use campaign_core::ids::LaneId;
use campaign_runtime::{HealthHandle, Shutdown};
use campaign_store::commit;
use campaign_store::lanes::{self, LaneStatus};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often lanes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A replica silent for so many leases no longer counts.
const ALIVE_LEASES: u32 = 2;

/// A lane that this replica runs.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    progress: Arc<Progress>,
}

/// Runs lanes until the service stops, then gives them back.
pub(crate) async fn run(sender: Arc<Sender>, shutdown: Shutdown, health: HealthHandle) -> anyhow::Result<()> {
    let mut running: BTreeMap<LaneId, Running> = BTreeMap::new();
    let mut hints = sender.waker.subscribe();
    while !shutdown.is_stopping() {
        running.retain(|_, lane| !lane.task.is_finished());
        let balanced = balance(&sender, &mut running);
        match sender.store.in_time(balanced).await {
            Ok(()) => report(&running, &health),
            Err(error) => {
                tracing::warn!(%error, "lanes could not be looked for");
                health.unready(format!("lanes could not be looked for: {error}"));
            }
        }
        metrics::gauge!("lanes_owned").set(running.len() as f64);
        tokio::select! {
            () = shutdown.stopping() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = hint_of_another(&mut hints, &running) => {}
        }
    }
    for lane in running.values() {
        lane.stop.cancel();
    }
    for (_, lane) in running {
        // A panic was reported where it happened.
        let _ = lane.task.await;
    }
    let farewell = sender.store.in_time(async {
        let mut connection = sender.store.connection().await?;
        lanes::farewell(&mut connection, sender.instance).await
    });
    if let Err(error) = farewell.await {
        tracing::warn!(%error, "the other replicas were not told; they will notice");
    }
    Ok(())
}

/// Waits for a hint that may be about a lane that this replica does not run. The others are for the lanes themselves.
async fn hint_of_another(
    hints: &mut broadcast::Receiver<Option<LaneId>>,
    running: &BTreeMap<LaneId, Running>,
) {
    let runs = |lane: &LaneId| running.get(lane).is_some_and(|lane| !lane.task.is_finished());
    while let Ok(Some(lane)) = hints.recv().await {
        if !runs(&lane) {
            return;
        }
    }
}

/// Says which of the lanes stand still, and why.
fn report(running: &BTreeMap<LaneId, Running>, health: &HealthHandle) {
    let now = Instant::now();
    let problems: Vec<String> = running
        .iter()
        .filter_map(|(id, lane)| lane.progress.problem(id, now))
        .collect();
    if problems.is_empty() {
        health.ready();
    } else {
        health.unready(problems.join("; "));
    }
}

async fn balance(sender: &Arc<Sender>, running: &mut BTreeMap<LaneId, Running>) -> anyhow::Result<()> {
    let mut connection = sender.store.connection().await?;
    let replicas =
        lanes::heartbeat(&mut connection, sender.instance, sender.lane_lease * ALIVE_LEASES).await?;
    let all = lanes::list(&mut connection).await?;
    drop(connection);
    let share = all.len().div_ceil(usize::try_from(replicas.max(1))?);
    for lane in running.values().skip(share) {
        lane.stop.cancel();
    }
    for status in &all {
        if running.len() >= share || !wanted(status, sender, running) {
            continue;
        }
        if let Some(lane) = take(sender, &status.lane).await? {
            running.insert(status.lane.clone(), lane);
        }
    }
    Ok(())
}

fn wanted(status: &LaneStatus, sender: &Sender, running: &BTreeMap<LaneId, Running>) -> bool {
    let free = status.owner.is_none_or(|owner| owner == sender.instance);
    free && !running.contains_key(&status.lane)
}

async fn take(sender: &Arc<Sender>, lane: &LaneId) -> anyhow::Result<Option<Running>> {
    let mut transaction = sender.store.begin().await?;
    let lease = lanes::acquire(&mut transaction, lane, sender.instance, sender.lane_lease).await?;
    commit(transaction).await?;
    let Some(lease) = lease else { return Ok(None) };
    tracing::info!(lane = %lease.lane, epoch = lease.epoch, "the lane is ours");
    metrics::counter!("lane_lease_changes_total").increment(1);
    let stop = CancellationToken::new();
    let progress = Arc::new(Progress::new(Instant::now()));
    let task = tokio::spawn(lane::run(sender.clone(), lease, stop.clone(), progress.clone()));
    Ok(Some(Running { stop, task, progress }))
}
