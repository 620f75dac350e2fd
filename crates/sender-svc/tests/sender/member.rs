//! A scripted member of a lane: it takes as fast as it may, and does with each message what the test says.

use crate::stage::lane;
use campaign_core::contracts::{ErrorNote, MessageOutcome, Outcome, OutcomeSource};
use campaign_core::ids::LaneId;
use campaign_core::ids::{InstanceId, MessageKey, Seq};
use campaign_core::message::MessageState;
use campaign_streams::Streams;
use campaign_streams::lane::{LaneMember, Step, Take, TakenEntry};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// What the test wants done with a message.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Accept,
    /// WhatsApp accepts it, and the answer takes [`ANSWER_AFTER`].
    AcceptSlowly,
    Report(MessageState, &'static str),
    Defer(DateTime<Utc>),
    /// WhatsApp refuses it for now: it is due again after this.
    Park(Duration),
    /// Keep it and never say anything, as a process does that was killed.
    Vanish,
}

/// Shorter than the reclaim idle time and the grace of the tests.
const ANSWER_AFTER: Duration = Duration::from_millis(700);

type Script = dyn Fn(&TakenEntry) -> Act + Send + Sync;

/// How often each message was accepted, by `(seq, phone)`.
pub(crate) type Accepted = Arc<Mutex<HashMap<(Seq, String), u32>>>;

/// Who was accepted when, by phone.
pub(crate) type Log = Arc<Mutex<Vec<(Instant, String)>>>;

pub(crate) struct Member {
    pub(crate) accepted: Accepted,
    pub(crate) log: Log,
    task: JoinHandle<()>,
}

impl Member {
    pub(crate) fn start(
        streams: &Streams,
        script: impl Fn(&TakenEntry) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(streams, lane(), script)
    }

    pub(crate) fn start_on(
        streams: &Streams,
        lane: LaneId,
        script: impl Fn(&TakenEntry) -> Act + Send + Sync + 'static,
    ) -> Self {
        let (accepted, log) = (Accepted::default(), Log::default());
        let instance = InstanceId(Uuid::new_v4());
        let actor = Actor {
            lane: LaneMember::new(streams, lane, instance).expect("a member"),
            instance,
            joined: String::new(),
            kept: Vec::new(),
            accepted: accepted.clone(),
            log: log.clone(),
            script: Box::new(script),
        };
        Self {
            accepted,
            log,
            task: tokio::spawn(actor.run()),
        }
    }

    /// Ends it between two takes, without a word.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }

    pub(crate) fn seqs_accepted(&self) -> Vec<i64> {
        let accepted = self.accepted.lock().expect("not poisoned");
        accepted.keys().map(|(seq, _)| seq.0).collect()
    }

    /// P2 and P4: nobody was accepted twice. Returns how many were accepted.
    pub(crate) fn accepted_once(&self) -> usize {
        let accepted = self.accepted.lock().expect("not poisoned");
        let twice: Vec<_> = accepted.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "accepted more than once: {twice:?}");
        accepted.len()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Actor {
    lane: LaneMember,
    instance: InstanceId,
    joined: String,
    /// Everything it ever published: more than a real member keeps, never less.
    kept: Vec<Outcome>,
    accepted: Accepted,
    log: Log,
    script: Box<Script>,
}

impl Actor {
    async fn run(mut self) {
        loop {
            match self.lane.take(50).await {
                Ok(Take::Messages { entries, .. }) if entries.is_empty() => pause().await,
                Ok(Take::Messages { entries, .. }) => self.act(entries).await,
                Ok(Take::Unverified { identity } | Take::Stranger { identity }) => self.join(identity).await,
                Err(_) => pause().await,
            }
        }
    }

    async fn join(&mut self, identity: String) {
        let mut steps: Vec<Step> = self.kept.iter().cloned().map(event).collect();
        let join = Outcome::Join {
            instance: self.instance,
            identity: identity.clone(),
            concurrency: 50,
        };
        steps.push(event(join));
        if self.lane.settle(&self.joined, &steps).await.is_ok() {
            self.joined = identity;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    async fn act(&mut self, entries: Vec<TakenEntry>) {
        let acts: Vec<Act> = entries.iter().map(|entry| (self.script)(entry)).collect();
        let acted = entries.iter().zip(&acts);
        let steps: Vec<Step> = acted.filter_map(|(entry, act)| self.step(entry, act)).collect();
        if acts.iter().any(|act| matches!(act, Act::AcceptSlowly)) {
            tokio::time::sleep(ANSWER_AFTER).await;
        }
        self.kept.extend(
            steps
                .iter()
                .filter_map(|step| step.outcome())
                .map(|(outcome, _)| outcome.clone()),
        );
        // As a real member does: what was accepted is told, however long Redis takes to listen.
        while self.lane.settle(&self.joined, &steps).await.is_err() {
            pause().await;
        }
    }

    fn step(&self, entry: &TakenEntry, act: &Act) -> Option<Step> {
        let (generation, seq) = entry.id.message().expect("a lane's id");
        let key = MessageKey {
            campaign: entry.campaign,
            generation,
            seq,
        };
        let outcome = |state| MessageOutcome {
            attempts: Some(entry.attempt),
            ..MessageOutcome::new(key, state, Utc::now(), OutcomeSource::Send)
        };
        let settled = |outcome| Step::Settled {
            campaign: entry.campaign,
            id: entry.id,
            outcome: Outcome::Message(outcome),
            trace: String::new(),
        };
        match act {
            Act::Vanish => None,
            Act::Park(wait) => Some(Step::Parked {
                campaign: entry.campaign,
                id: entry.id,
                due_ms: Utc::now().timestamp_millis() + wait.as_millis() as i64,
                attempts: entry.attempt,
            }),
            Act::Report(state, code) => Some(settled(MessageOutcome {
                error: Some(ErrorNote::new(*code, "told by the test")),
                ..outcome(*state)
            })),
            Act::Defer(due) => Some(settled(MessageOutcome {
                due: Some(*due),
                ..outcome(MessageState::Deferred)
            })),
            Act::Accept | Act::AcceptSlowly => {
                let phone = entry.message.as_ref().expect("readable").phone.to_string();
                let log = (Instant::now(), phone.clone());
                self.log.lock().expect("not poisoned").push(log);
                *self
                    .accepted
                    .lock()
                    .expect("not poisoned")
                    .entry((seq, phone))
                    .or_default() += 1;
                let accepted = MessageOutcome {
                    wamid: Some(format!("wamid.{seq}")),
                    ..outcome(MessageState::Accepted)
                };
                Some(Step::Accepted {
                    campaign: entry.campaign,
                    id: entry.id,
                    outcome: Outcome::Message(accepted),
                    trace: String::new(),
                })
            }
        }
    }
}

fn event(outcome: Outcome) -> Step {
    Step::Event {
        outcome,
        trace: String::new(),
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}
