//! One lane, from the moment that its lease is ours until it ends.

mod apply;
mod audience;
mod controls;
mod error;
mod error_share;
mod feed;
mod keeper;
mod ledger;
mod limit;
mod parked;
mod progress;
mod rebuild;
mod rounds;
mod silent;
mod spacing;
mod telling;

use crate::app::Sender;
pub(crate) use audience::OWN_ROWS_BYTES_MAX;
use campaign_store::lanes::Lease;
use campaign_store::{LONG_WORK, Transaction, commit, in_time, lanes};
use campaign_streams::lane::{LaneOwner, OwnerReply};
use error::LaneError;
use error_share::ErrorShares;
pub(crate) use error_share::Limits;
use parked::Parked;
pub(crate) use progress::Progress;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Leases are renewed so many times while they last.
const RENEWALS_PER_LEASE: u32 = 3;
/// Pause after Redis or Postgres failed.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What the parts of a lane share.
pub(crate) struct Lane {
    /// Itself, for the tasks it starts.
    me: Weak<Lane>,
    pub(crate) sender: Arc<Sender>,
    pub(crate) lease: Lease,
    pub(crate) owner: LaneOwner,
    /// Cancelled when the lane is given up, for whatever reason.
    pub(crate) stop: CancellationToken,
    /// Told of everything that moves.
    pub(crate) progress: Arc<Progress>,
    /// What the keeper last found parked.
    parked: Parked,
    /// How the last messages of each campaign ended.
    pub(crate) shares: ErrorShares,
    /// The keeper looks again: something was decided, or came.
    pub(crate) look: Notify,
    /// The keeper looks again, when that pays: the ledger went on.
    pub(crate) look_soon: Notify,
    /// The ledger goes on if it only waits for more: a whole batch is there, or somebody waits for the last ones.
    ledger_due: Notify,
    /// Held by whoever locks rows of several campaigns: the ledger with a batch, a rebuild with all of them. They take the
    /// campaigns' rows and counters in different orders.
    pub(crate) many_campaigns: tokio::sync::Mutex<()>,
    /// The portfolio that its messages count for, while that has a messaging limit.
    limited: Mutex<Option<String>>,
}

impl Lane {
    /// A transaction whose first statement makes sure that the lane is still ours.
    pub(crate) async fn begin(&self) -> Result<Transaction, LaneError> {
        let mut transaction = self.sender.store.begin().await?;
        lanes::fence(&mut transaction, &self.lease).await?;
        Ok(transaction)
    }

    /// The portfolio that has a messaging limit, as of the keeper's last walk.
    pub(crate) fn limited_portfolio(&self) -> Option<String> {
        self.limited
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_limited_portfolio(&self, portfolio: Option<String>) {
        *self.limited.lock().unwrap_or_else(PoisonError::into_inner) = portfolio;
    }

    /// For a task that outlives the borrow.
    pub(crate) fn handle(&self) -> Arc<Self> {
        self.me.upgrade().expect("the lane is alive while it is borrowed")
    }

    /// Waits, but not beyond the lane's end. Returns whether the lane goes on.
    pub(crate) async fn pause(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}

/// Runs a lane until `stop`, or until it belongs to somebody else; then gives the lease back.
pub(crate) async fn run(sender: Arc<Sender>, lease: Lease, stop: CancellationToken, progress: Arc<Progress>) {
    let span = tracing::info_span!("lane", lane = %lease.lane, epoch = lease.epoch);
    async {
        let owner = match LaneOwner::new(&sender.streams, lease.lane.clone(), lease.epoch) {
            Ok(owner) => owner,
            Err(error) => {
                tracing::error!(%error, "the lane cannot be run");
                return;
            }
        };
        let lane = Arc::new_cyclic(|me| Lane {
            me: me.clone(),
            shares: ErrorShares::new(sender.breaker),
            sender,
            lease,
            owner,
            stop,
            progress,
            parked: Parked::default(),
            look: Notify::new(),
            look_soon: Notify::new(),
            ledger_due: Notify::new(),
            many_campaigns: tokio::sync::Mutex::new(()),
            limited: Mutex::new(None),
        });
        // However this ends, a panic included, the parts end with it and the lease is no longer prolonged.
        let _ends = lane.stop.clone().drop_guard();
        let renewals = tokio::spawn(renew(lane.clone()).in_current_span());
        let ledger = tokio::spawn(ledger::run(lane.clone()).in_current_span());
        let hints = tokio::spawn(listen(lane.clone()).in_current_span());
        keep(&lane).await;
        lane.stop.cancel();
        // A panic was reported where it happened.
        let _ = tokio::join!(renewals, ledger, hints);
        give_back(&lane).await;
        tracing::info!("the lane is given up");
    }
    .instrument(span)
    .await;
}

/// Builds the lane where that is needed, and keeps it, until it is over.
async fn keep(lane: &Lane) {
    while !lane.stop.is_cancelled() {
        let kept = build_and_keep(lane).await;
        if let Err(error) = &kept {
            lane.progress.failed(error);
        }
        match kept {
            Ok(()) => return,
            Err(error) if error.is_over() => {
                tracing::warn!(%error, "the lane belongs to another replica");
                return;
            }
            Err(LaneError::Unverified { identity }) => {
                tracing::warn!(%identity, "the lane is not built on this Redis");
            }
            Err(error @ LaneError::Lost(_)) => {
                tracing::error!(%error, "the lane is built anew");
                if let Err(error) = in_time(LONG_WORK, rebuild::call_for(lane)).await {
                    tracing::warn!(%error, "the lane could not be marked for building");
                }
            }
            Err(error) => tracing::warn!(%error, "the lane stopped; going on"),
        }
        lane.pause(AGAIN_AFTER).await;
    }
}

async fn build_and_keep(lane: &Lane) -> Result<(), LaneError> {
    let ground = lane.sender.store.in_time(async {
        let mut connection = lane.sender.store.connection().await?;
        lanes::ground(&mut connection, &lane.lease.lane).await
    });
    let ground = ground.await?;
    match lane.owner.adopt().await? {
        OwnerReply::Superseded => return Err(LaneError::Superseded),
        OwnerReply::Ok(identity) if ground.redis_identity.as_ref() == Some(&identity) => {
            if !ground.built {
                let mut transaction = lane.begin().await?;
                lanes::set_built(&mut transaction, &lane.lease.lane).await?;
                commit(transaction).await?;
            }
        }
        OwnerReply::Ok(identity) | OwnerReply::Unverified { identity } => {
            in_time(LONG_WORK, rebuild::run(lane, &identity, &ground)).await?;
        }
    }
    keeper::Keeper::new(lane).run().await
}

async fn renew(lane: Arc<Lane>) {
    let every = lane.sender.lane_lease / RENEWALS_PER_LEASE;
    while lane.pause(every).await {
        let renewed = async {
            let mut connection = lane.sender.store.connection().await?;
            lanes::renew(&mut connection, &lane.lease, lane.sender.lane_lease).await
        };
        match lane.sender.store.in_time(renewed).await {
            Ok(()) => {}
            Err(error @ campaign_store::StoreError::LeaseLost { .. }) => {
                tracing::warn!(%error, "the lease could not be renewed");
                lane.stop.cancel();
            }
            // The epoch protects what is written; whether the lease runs only decides who may take over.
            Err(error) => tracing::warn!(%error, "the lease could not be renewed now"),
        }
    }
}

async fn listen(lane: Arc<Lane>) {
    let mut hints = lane.sender.waker.subscribe();
    loop {
        tokio::select! {
            () = lane.stop.cancelled() => return,
            hint = hints.recv() => {
                let concerns_us = hint.map_or(true, |about| about.is_none_or(|about| about == lane.lease.lane));
                if concerns_us {
                    lane.look.notify_one();
                }
            }
        }
    }
}

async fn give_back(lane: &Lane) {
    let released = async {
        let mut connection = lane.sender.store.connection().await?;
        lanes::release(&mut connection, &lane.lease).await
    };
    if let Err(error) = lane.sender.store.in_time(released).await {
        tracing::warn!(%error, "the lease could not be given back; it ends by itself");
    }
}
