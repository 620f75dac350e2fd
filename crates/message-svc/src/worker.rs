//! The loop of one lane: be a member, take what there are hands for, start a send for each.

use crate::breaker::Allowance;
use crate::flight::EntryKey;
use crate::lane::Lane;
use crate::lease::TakenAt;
use crate::measures;
use crate::membership::{Duty, Membership};
use crate::send::{InHand, deliver};
use crate::template_cache::TemplateCache;
use campaign_core::ids::LaneId;
use campaign_streams::lane::{LaneMember, Step, Take, TakenEntry, Wait};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, broadcast};

/// Most messages of one take: a script that returns more holds Redis up.
const TAKE_MAX: usize = 256;
/// A take waits for one in so many of all hands. Where many lanes wait, each would else be given the next hand that is
/// free, and take a single message.
const HANDS_SHARE: u32 = 8;
/// How often an instance that waits to be admitted asks.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The longest wait that a take's answer is followed for; meanwhile a campaign may have come.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// How long an idle lane waits to be woken before it asks anyway.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Waits shorter than this are for tokens, and no hint makes tokens come sooner.
const HEEDS_HINTS_FROM: Duration = Duration::from_millis(50);
/// The wait after a take that brought nothing and named no wait: never ask in a tight loop.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// How long a lane waits whose ledger is far behind.
const LEDGER_WAIT: Duration = Duration::from_millis(100);
/// The wait after a take that failed; it doubles each time.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(1);
/// How often what a broken take left behind is looked for: Redis may carry a command out late.
const RECOVER_EVERY: Duration = Duration::from_secs(1);
/// What is kept of the shutdown's deadline for saying farewell.
const LEAVE_MARGIN: Duration = Duration::from_millis(500);

/// One lane's loop.
pub(crate) struct Worker {
    lane: Arc<Lane>,
    member: LaneMember,
    membership: Membership,
    templates: TemplateCache,
    hints: broadcast::Receiver<Option<LaneId>>,
    /// When this instance last became a member.
    admitted_at: Instant,
    recovery: Option<Recovery>,
    again_after: Duration,
}

/// A take broke: entries may have been taken that nobody heard of.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    next: Instant,
    /// Later they are too old to be given back, and become uncertain by the owner's survey.
    until: Instant,
}

/// What to do before the next round.
enum Pause {
    None,
    For(Duration),
    UntilWoken,
}

impl Worker {
    pub(crate) fn new(lane: Arc<Lane>, member: LaneMember) -> Self {
        Self {
            member,
            membership: Membership::new(),
            templates: TemplateCache::default(),
            hints: lane.service.waker.subscribe(),
            admitted_at: Instant::now(),
            recovery: None,
            again_after: AGAIN_AFTER,
            lane,
        }
    }

    /// Works until the soft stop, then finishes what is in hand.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        tracing::info!(lane = %self.lane.id, "working on a lane");
        while !self.lane.service.shutdown.is_stopping() {
            let pause = self.round().await;
            self.rest(pause).await;
        }
        self.finish().await;
        Ok(())
    }

    async fn round(&mut self) -> Pause {
        if let Some(identity) = self.lane.desk.distrusted_by() {
            self.membership.distrusted(identity);
        }
        self.lane.desk.set_member(self.membership.is_member());
        match self.membership.duty() {
            Duty::Ask => self.ask().await,
            Duty::Join(identity) => self.join(identity).await,
            Duty::Take => self.take().await,
        }
    }

    /// Takes nothing: only the answer matters.
    async fn ask(&mut self) -> Pause {
        match self.member.take(0).await {
            Ok(Take::Messages { .. }) => {
                tracing::info!(lane = %self.lane.id, "admitted");
                self.membership.admitted();
                self.admitted_at = Instant::now();
                self.taken_fine(true);
                Pause::None
            }
            Ok(Take::Unverified { identity } | Take::Stranger { identity }) => {
                self.membership.refused(identity, Instant::now());
                self.taken_fine(false);
                match self.membership.duty() {
                    Duty::Join(_) => Pause::None,
                    _ => Pause::For(ASK_EVERY),
                }
            }
            Err(error) => self.take_failed(&error),
        }
    }

    /// The join says that nothing is in flight and that all outcomes lie before it.
    async fn join(&mut self, identity: String) -> Pause {
        // What was taken before this join is not looked for after it: it was reported, though perhaps to a
        // Redis that did not let go of it.
        self.recovery = None;
        self.templates.clear();
        let drained = self.lane.flight.drained();
        if self
            .lane
            .service
            .shutdown
            .run_until_stopping(drained)
            .await
            .is_none()
        {
            return Pause::None;
        }
        let concurrency = self.lane.service.concurrency;
        let Some(answered) = self.lane.desk.join(identity.clone(), concurrency).await else {
            return Pause::For(WAIT_MAX);
        };
        self.membership.joined(identity, answered, Instant::now());
        Pause::For(ASK_EVERY)
    }

    async fn take(&mut self) -> Pause {
        if let Some(pause) = self.recover_when_due().await {
            return pause;
        }
        if self.lane.desk.kept() >= self.lane.service.kept_max {
            tracing::debug!(lane = %self.lane.id, "the ledger is far behind; nothing is taken");
            return Pause::For(LEDGER_WAIT);
        }
        measures::breaker_open(&self.lane.id, self.lane.breaker.is_open());
        let (most, is_probe) = match self.lane.breaker.allowance(Instant::now()) {
            Allowance::All => (TAKE_MAX, false),
            Allowance::Probe => (1, true),
            Allowance::Wait(wait) => return Pause::For(wait.min(WAIT_MAX)),
        };
        let Some(permits) = self.hands(most).await else {
            return Pause::None;
        };
        // Hints from before this take are answered by it.
        while matches!(
            self.hints.try_recv(),
            Ok(_) | Err(broadcast::error::TryRecvError::Lagged(_))
        ) {}
        let taken = TakenAt::now();
        let asked = Instant::now();
        match self.member.take(permits.num_permits()).await {
            Ok(Take::Messages {
                entries,
                wait,
                troubled,
            }) => {
                measures::took(asked.elapsed(), entries.len());
                self.taken_fine(true);
                for (campaign_id, problem) in troubled {
                    tracing::error!(lane = %self.lane.id, %campaign_id, problem, "a campaign cannot be read");
                }
                if is_probe && !entries.is_empty() {
                    self.lane.breaker.probing(Instant::now());
                }
                let pause = pause_after(entries.len(), wait);
                self.start_sending(entries, taken, permits).await;
                pause
            }
            Ok(Take::Unverified { identity } | Take::Stranger { identity }) => {
                tracing::warn!(lane = %self.lane.id, identity, "no longer a member; joining anew");
                self.membership.refused(identity, Instant::now());
                self.taken_fine(false);
                Pause::None
            }
            Err(error) => self.take_failed(&error),
        }
    }

    /// Free hands, waited for, and as many more as are free. Taken messages never wait for hands.
    async fn hands(&self, most: usize) -> Option<OwnedSemaphorePermit> {
        let service = &self.lane.service;
        let free = &service.permits;
        let first = Arc::clone(free).acquire_many_owned(hands_waited_for(service.concurrency, most));
        let mut hands = service.shutdown.run_until_stopping(first).await?.ok()?;
        let more = free.available_permits().min(most - hands.num_permits());
        if more > 0
            && let Ok(others) = Arc::clone(free).try_acquire_many_owned(more as u32)
        {
            hands.merge(others);
        }
        Some(hands)
    }

    async fn start_sending(
        &mut self,
        entries: Vec<TakenEntry>,
        taken: TakenAt,
        mut permits: OwnedSemaphorePermit,
    ) {
        if entries.is_empty() {
            return self.lane.progress.is_answered();
        }
        self.lane.progress.has_work(Instant::now());
        self.lane.flight.begin(entries.iter().map(key_of));
        let mut entries = entries.into_iter();
        while let Some(entry) = entries.next() {
            let template = self
                .templates
                .get(&mut self.member, entry.campaign, Instant::now())
                .await;
            let template = match template {
                Ok(template) => template,
                Err(error) => {
                    tracing::warn!(campaign_id = %entry.campaign, %error, "no template; handing back");
                    let unsent: Vec<_> = std::iter::once(entry).chain(entries).collect();
                    measures::handed_back("no_template", unsent.len());
                    let refund = Step::Refund {
                        tokens: unsent.iter().filter(|entry| !entry.opted_out).count() as u32,
                    };
                    let steps = unsent.iter().map(hand_back).chain([refund]).collect();
                    return self.lane.desk.settle(steps).await;
                }
            };
            let permit = permits.split(1).expect("no more is taken than there are hands");
            let in_hand = InHand {
                entry,
                template,
                taken,
                permit,
            };
            let sending = deliver(Arc::clone(&self.lane), in_hand);
            self.lane.service.spawner.spawn("send", async move {
                sending.await;
                Ok(())
            });
        }
    }

    /// Gives back what a take took whose answer never came. Nothing of it was written; it comes again, with
    /// all checks, by an ordinary take. Its tokens stay spent: the rate is a ceiling.
    async fn recover_when_due(&mut self) -> Option<Pause> {
        let now = Instant::now();
        let recovery = self.recovery?;
        if now < recovery.next {
            return None;
        }
        self.recovery = (now + RECOVER_EVERY < recovery.until).then_some(Recovery {
            next: now + RECOVER_EVERY,
            ..recovery
        });
        let in_hand = self.lane.flight.snapshot();
        let young = self.lane.service.entry_lease.min(self.admitted_at.elapsed());
        match self.member.recover(young).await {
            Ok(Take::Messages { entries, .. }) => {
                let unheard: Vec<_> = entries
                    .into_iter()
                    .filter(|entry| !in_hand.contains(&key_of(entry)))
                    .collect();
                if !unheard.is_empty() {
                    tracing::warn!(lane = %self.lane.id, messages = unheard.len(), "a broken take is undone");
                    measures::recovered(unheard.len());
                    self.lane.flight.begin(unheard.iter().map(key_of));
                    self.lane
                        .desk
                        .settle(unheard.iter().map(hand_back).collect())
                        .await;
                }
                None
            }
            Ok(Take::Unverified { identity } | Take::Stranger { identity }) => {
                self.membership.refused(identity, now);
                Some(Pause::None)
            }
            Err(error) => Some(self.take_failed(&error)),
        }
    }

    fn taken_fine(&mut self, as_member: bool) {
        self.again_after = AGAIN_AFTER;
        self.lane.progress.take_answered(as_member, Instant::now());
    }

    fn take_failed(&mut self, error: &campaign_streams::StreamsError) -> Pause {
        tracing::warn!(lane = %self.lane.id, %error, "nothing could be taken");
        measures::redis_failed("take");
        let now = Instant::now();
        self.lane.progress.take_failed(now);
        self.recovery = Some(Recovery {
            next: now,
            until: now + self.lane.service.entry_lease,
        });
        let wait = self.again_after;
        self.again_after = (wait * 2).min(AGAIN_AFTER_MAX);
        Pause::For(wait)
    }

    async fn rest(&mut self, pause: Pause) {
        let (wait, heeds_hints) = match pause {
            Pause::None => return,
            Pause::For(wait) => (wait, wait >= HEEDS_HINTS_FROM && self.membership.is_member()),
            Pause::UntilWoken => (POLL_EVERY, true),
        };
        let lane = &self.lane.id;
        let hints = &mut self.hints;
        let hinted = async {
            if !heeds_hints {
                return std::future::pending().await;
            }
            loop {
                match hints.recv().await {
                    Ok(Some(woken)) if woken != *lane => {}
                    // The waker lives as long as the service; were it gone, the poll would do.
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = hinted => {}
            () = self.lane.service.shutdown.stopping() => {}
        }
    }

    /// Waits for what is in hand, then says farewell. What is not finished in time stays with this instance's
    /// name on it and becomes uncertain.
    async fn finish(self) {
        let shutdown = &self.lane.service.shutdown;
        let left = shutdown.remaining().saturating_sub(LEAVE_MARGIN);
        if tokio::time::timeout(left, self.lane.flight.drained())
            .await
            .is_err()
        {
            let in_hand = self.lane.flight.snapshot().len();
            tracing::warn!(lane = %self.lane.id, in_hand, "not everything was finished in time");
            return;
        }
        self.lane.desk.leave().await;
        tracing::info!(lane = %self.lane.id, "left the lane");
    }
}

/// How many hands a take waits for that can use so many.
fn hands_waited_for(concurrency: u32, most: usize) -> u32 {
    (concurrency / HANDS_SHARE).clamp(1, u32::try_from(most).unwrap_or(u32::MAX))
}

fn key_of(entry: &TakenEntry) -> EntryKey {
    (entry.campaign, entry.id)
}

/// Due at once, the attempt not spent.
fn hand_back(entry: &TakenEntry) -> Step {
    Step::Parked {
        campaign: entry.campaign,
        id: entry.id,
        due_ms: 0,
        attempts: entry.attempt - 1,
    }
}

fn pause_after(messages: usize, wait: Wait) -> Pause {
    match wait {
        Wait::For(wait) if wait.is_zero() && messages > 0 => Pause::None,
        Wait::For(wait) => Pause::For(wait.clamp(WAIT_MIN, WAIT_MAX)),
        // It took all there was, and feeding wakes. What nobody wakes for, such as a message handed back, is polled for.
        Wait::UntilWoken => Pause::UntilWoken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_take_waits_for_a_small_part_of_all_hands() {
        assert_eq!(hands_waited_for(1_024, TAKE_MAX), 128);
        assert_eq!(hands_waited_for(8, TAKE_MAX), 1);
        assert_eq!(hands_waited_for(1_000_000, TAKE_MAX), TAKE_MAX as u32);
        assert_eq!(hands_waited_for(1_024, 1), 1, "a probe needs one");
    }
}
