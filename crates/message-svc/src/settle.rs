//! Carries out the steps of a lane's sends, in batches, in the order in which they were handed in.
//!
//! One task for each lane, so that all outcomes of this instance stand in one order: a join that is handed in
//! last also stands last. A settle whose answer never came is repeated with the same steps until Redis
//! answers; repeating is safe, and giving up would lose what WhatsApp has accepted.

use crate::flight::{EntryKey, Flight};
use crate::kept::Kept;
use crate::measures;
use crate::pacing::Pacing;
use crate::progress::Progress;
use crate::service::OUTCOMES_MAX;
use campaign_core::contracts::Outcome;
use campaign_core::ids::InstanceId;
use campaign_streams::lane::{LaneMember, Settled, Step};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Most steps of one settle, give or take those of one message.
const STEPS_MAX: usize = 500;
/// Where Redis is slow, be it for many lanes, steps gather for as long as one settle takes, but no longer than this.
const GATHER_MAX: Duration = Duration::from_millis(50);
/// Most orders that wait; whoever hands in more waits too, with its permit.
const ORDERS_MAX: usize = 2_048;
/// How often an idle lane asks what the ledger has applied, while something is kept.
const KEPT_CHECK_EVERY: Duration = Duration::from_millis(250);
/// The wait after a settle that failed; it doubles each time.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
const AGAIN_AFTER_MAX: Duration = Duration::from_millis(500);

/// What can be ordered.
#[derive(Debug)]
enum Order {
    Steps(Vec<Step>),
    Join {
        identity: String,
        concurrency: u32,
        answered: oneshot::Sender<Option<String>>,
    },
    Leave {
        done: oneshot::Sender<()>,
    },
}

/// Where orders are handed in.
#[derive(Clone)]
pub(crate) struct Desk {
    orders: mpsc::Sender<Order>,
    standing: Arc<Standing>,
}

/// A desk that does not keep its settler waiting for more.
#[derive(Debug, Clone)]
pub(crate) struct SideDesk(mpsc::WeakSender<Order>);

impl SideDesk {
    /// Has outcomes published that are in Redis already, so that they are kept until the ledger has them. Never
    /// waits: where there is no room, they are in Redis only.
    pub(crate) fn keep(&self, steps: Vec<Step>) {
        let Some(orders) = self.0.upgrade() else { return };
        if orders.try_send(Order::Steps(steps)).is_err() {
            tracing::warn!("too much waits to be settled; what a webhook told is not kept in memory");
        }
    }

    /// One whose settler has ended.
    #[cfg(test)]
    pub(crate) fn closed() -> Self {
        Self(mpsc::channel(1).0.downgrade())
    }
}

/// What worker and settler tell each other.
#[derive(Debug, Default)]
struct Standing {
    /// Outcomes kept.
    kept: AtomicUsize,
    /// Whether the worker believes itself a member.
    is_member: AtomicBool,
    /// The identity of a Redis that did not trust a member.
    distrusted_by: Mutex<Option<String>>,
}

impl Desk {
    /// Hands steps in; waits while too many wait already. Nothing is lost but at the hard stop.
    pub(crate) async fn settle(&self, steps: Vec<Step>) {
        // The settler ends only after all desks, or by the hard stop.
        let _ = self.orders.send(Order::Steps(steps)).await;
    }

    /// Publishes what is kept and then a join on `identity`, in one step. Returns the identity of the Redis
    /// that took it; none if the lane already holds so many outcomes that it must be asked again later.
    pub(crate) async fn join(&self, identity: String, concurrency: u32) -> Option<String> {
        let (answered, answer) = oneshot::channel();
        let order = Order::Join {
            identity,
            concurrency,
            answered,
        };
        self.orders.send(order).await.ok()?;
        answer.await.ok().flatten()
    }

    /// Publishes that this instance has finished everything here.
    pub(crate) async fn leave(&self) {
        let (done, finished) = oneshot::channel();
        if self.orders.send(Order::Leave { done }).await.is_ok() {
            let _ = finished.await;
        }
    }

    /// For those who are not the lane's worker.
    pub(crate) fn aside(&self) -> SideDesk {
        SideDesk(self.orders.downgrade())
    }

    /// Outcomes that the ledger has not applied yet.
    pub(crate) fn kept(&self) -> usize {
        self.standing.kept.load(Ordering::Relaxed)
    }

    /// Tells the settler whether it should be trusted.
    pub(crate) fn set_member(&self, is_member: bool) {
        self.standing.is_member.store(is_member, Ordering::Release);
    }

    /// The Redis that did not trust this member since the last call, if any.
    pub(crate) fn distrusted_by(&self) -> Option<String> {
        let mut by = self
            .standing
            .distrusted_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        by.take()
    }
}

/// Carries the orders out.
pub(crate) struct Settler {
    orders: mpsc::Receiver<Order>,
    standing: Arc<Standing>,
    member: LaneMember,
    instance: InstanceId,
    interval: Duration,
    /// How long the last settle took.
    took: Duration,
    flight: Arc<Flight>,
    progress: Arc<Progress>,
    pacing: Arc<Pacing>,
    kept: Kept,
    /// The identity of the last join; empty before the first.
    joined: String,
    /// Outcomes in the lane, as of the last answer.
    outcomes: u64,
}

impl Settler {
    pub(crate) fn new(
        member: LaneMember,
        instance: InstanceId,
        interval: Duration,
        flight: Arc<Flight>,
        progress: Arc<Progress>,
        pacing: Arc<Pacing>,
    ) -> (Desk, Self) {
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let standing = Arc::new(Standing::default());
        let desk = Desk {
            orders: sender,
            standing: Arc::clone(&standing),
        };
        let settler = Self {
            orders,
            standing,
            member,
            instance,
            interval,
            took: Duration::ZERO,
            flight,
            progress,
            pacing,
            kept: Kept::default(),
            joined: String::new(),
            outcomes: 0,
        };
        (desk, settler)
    }

    /// Works until the last desk is gone.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        loop {
            match tokio::time::timeout(KEPT_CHECK_EVERY, self.orders.recv()).await {
                Ok(Some(order)) => self.carry_out(order).await,
                Ok(None) => return Ok(()),
                Err(_) if self.kept.is_empty() => {}
                Err(_) => {
                    self.settle(Vec::new()).await;
                }
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        let mut next = Some(order);
        while let Some(order) = next.take() {
            match order {
                Order::Steps(steps) => {
                    let (mut steps, other) = self.gather(steps).await;
                    bring_together(&mut steps);
                    self.settle(steps).await;
                    next = other;
                }
                Order::Join {
                    identity,
                    concurrency,
                    answered,
                } => {
                    // A worker that no longer waits has been dropped by the hard stop.
                    let _ = answered.send(self.join(identity, concurrency).await);
                }
                Order::Leave { done } => {
                    self.leave().await;
                    let _ = done.send(());
                }
            }
        }
    }

    /// Adds what comes within the interval, or within as long as the last settle took, up to the most; an order of
    /// another kind ends it.
    async fn gather(&mut self, mut steps: Vec<Step>) -> (Vec<Step>, Option<Order>) {
        if steps.len() + self.orders.len() < STEPS_MAX && !self.interval.is_zero() {
            tokio::time::sleep(self.took.min(GATHER_MAX).max(self.interval)).await;
        }
        while steps.len() < STEPS_MAX {
            match self.orders.try_recv() {
                Ok(Order::Steps(more)) => steps.extend(more),
                Ok(other) => return (steps, Some(other)),
                Err(_) => break,
            }
        }
        (steps, None)
    }

    async fn join(&mut self, identity: String, concurrency: u32) -> Option<String> {
        if self.outcomes > OUTCOMES_MAX && self.settle(Vec::new()).await.outcomes > OUTCOMES_MAX {
            return None;
        }
        let kept = self.kept.len();
        self.joined.clone_from(&identity);
        let mut steps = self.kept.take_steps();
        steps.push(event(Outcome::Join {
            instance: self.instance,
            identity,
            concurrency,
        }));
        let settled = self.settle(steps).await;
        tracing::info!(
            lane = %self.member.lane(),
            identity = %settled.identity,
            kept,
            "joined, everything kept published before"
        );
        measures::joined();
        Some(settled.identity)
    }

    async fn leave(&mut self) {
        if !self.joined.is_empty() {
            // Redis may have been replaced a moment ago. Who has left is not waited for by a rebuild, so nobody
            // would publish again what was lost.
            let mut steps = self.kept.take_steps();
            let instance = self.instance;
            steps.push(event(Outcome::Left { instance }));
            self.settle(steps).await;
        }
    }

    /// Has Redis carry the steps out, however often it takes.
    async fn settle(&mut self, steps: Vec<Step>) -> Settled {
        let mut again_after = AGAIN_AFTER;
        let mut repeated = false;
        self.member.observe(self.pacing.drain());
        loop {
            let was_member = self.standing.is_member.load(Ordering::Acquire);
            let started = Instant::now();
            let answer = if repeated {
                self.member.settle_again(&self.joined, &steps).await
            } else {
                self.member.settle(&self.joined, &steps).await
            };
            match answer {
                Ok(settled) => {
                    self.took = started.elapsed();
                    measures::settled(self.took, steps.len());
                    self.progress.settle_answered();
                    self.take_over(steps, &settled, repeated, was_member);
                    return settled;
                }
                Err(error) => {
                    measures::redis_failed("settle");
                    self.progress.settle_failed(Instant::now());
                    tracing::warn!(lane = %self.member.lane(), %error, steps = steps.len(), "settling again");
                    tokio::time::sleep(again_after).await;
                    again_after = (again_after * 2).min(AGAIN_AFTER_MAX);
                    repeated = true;
                }
            }
        }
    }

    fn take_over(&mut self, steps: Vec<Step>, settled: &Settled, repeated: bool, was_member: bool) {
        let landed: Vec<EntryKey> = steps.iter().filter_map(entry_of).collect();
        self.kept.settled(steps, settled, repeated);
        self.outcomes = settled.outcomes;
        if was_member && !settled.trusted {
            let mut by = self
                .standing
                .distrusted_by
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *by = Some(settled.identity.clone());
        }
        self.standing.kept.store(self.kept.len(), Ordering::Relaxed);
        measures::kept(self.member.lane(), self.kept.len());
        // Last: whoever waits for nothing to be in hand must see all of the above.
        self.flight.end(landed);
    }
}

/// Acceptances first, by campaign: those that stand side by side are told to Redis as one. It does not matter in which
/// order the ledger hears of different messages.
fn bring_together(steps: &mut [Step]) {
    steps.sort_by_key(|step| match step {
        Step::Accepted { campaign, .. } => (false, Some(*campaign)),
        _ => (true, None),
    });
}

fn event(outcome: Outcome) -> Step {
    Step::Event {
        outcome,
        trace: String::new(),
    }
}

/// The entry that a step lets go of.
fn entry_of(step: &Step) -> Option<EntryKey> {
    match step {
        Step::Accepted { campaign, id, .. }
        | Step::Settled { campaign, id, .. }
        | Step::Parked { campaign, id, .. } => Some((*campaign, *id)),
        Step::Event { .. } | Step::Refund { .. } | Step::Slow { .. } | Step::TooFast { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use campaign_core::contracts::{MessageOutcome, OutcomeSource};
    use campaign_core::ids::{CampaignId, Generation, MessageKey, Seq};
    use campaign_core::message::MessageState;
    use campaign_streams::StreamId;

    #[test]
    fn acceptances_of_a_campaign_come_to_stand_side_by_side_in_their_order() {
        let [one, other] = [1, 2].map(|number| CampaignId(uuid::Uuid::from_u128(number)));
        let accepted = |campaign: CampaignId, seq: i64| {
            let id = StreamId::of_message(Generation(1), Seq(seq));
            let key = MessageKey {
                campaign,
                generation: Generation(1),
                seq: Seq(seq),
            };
            let at = chrono::DateTime::UNIX_EPOCH;
            let outcome = MessageOutcome::new(key, MessageState::Accepted, at, OutcomeSource::Send);
            Step::Accepted {
                campaign,
                id,
                outcome: Outcome::Message(outcome),
                trace: String::new(),
            }
        };
        let mut steps = vec![
            Step::Refund { tokens: 7 },
            accepted(other, 1),
            accepted(one, 2),
            Step::Refund { tokens: 8 },
            accepted(other, 3),
            accepted(one, 1),
        ];
        bring_together(&mut steps);
        let told = steps.iter().map(|step| match step {
            Step::Accepted { campaign, id, .. } => (campaign.0.as_u128(), id.low),
            Step::Refund { tokens } => (0, u64::from(*tokens)),
            _ => unreachable!("there are no others"),
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [(1, 2), (1, 1), (2, 1), (2, 3), (0, 7), (0, 8)]
        );
    }
}
