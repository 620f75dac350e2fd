//! A ledger that is behind works on several batches at once: one is written while the next is read and the one before
//! is told of.

use crate::stage::{SOON, Stage, lane};
use campaign_core::contracts::{MESSAGE_EVENTS_STREAM, MessageOutcome, Outcome, OutcomeSource};
use campaign_core::ids::{CampaignId, Generation, MessageKey, Seq};
use campaign_core::message::MessageState;
use chrono::Utc;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::wait_for;

/// All of them are fed though nobody takes.
const CUSTOMERS: u32 = 2_200;
/// With four outcomes for each message this is more than two batches.
const STATES: [MessageState; 4] = [
    MessageState::Accepted,
    MessageState::Sent,
    MessageState::Delivered,
    MessageState::Read,
];
/// Outcomes that share an entry.
const OUTCOMES_EACH: i64 = 64;
/// Long enough for several attempts at telling.
const A_WHILE: Duration = Duration::from_millis(1_500);

impl Stage {
    /// Publishes what became of every fed message, a state after the other. Returns how many messages that are.
    async fn publish_all(&self, id: CampaignId) -> i64 {
        let seqs = self.first_pending(id, i64::from(CUSTOMERS)).await;
        let outcome = |seq: &Seq, state| {
            let key = MessageKey {
                campaign: id,
                generation: Generation(1),
                seq: *seq,
            };
            let source = OutcomeSource::Webhook;
            Outcome::Message(MessageOutcome::new(key, state, Utc::now(), source))
        };
        for state in STATES {
            let outcomes = seqs.iter().map(|seq| outcome(seq, state)).collect();
            self.publish(outcomes).await;
        }
        i64::try_from(seqs.len()).expect("few")
    }

    /// Entries of the lane's outcomes.
    async fn outcome_entries(&self) -> i64 {
        let key = self.streams.keys().lane(&lane()).outcomes();
        self.redis.run(&["XLEN", &key]).await
    }
}

/// P3: what is recorded is told, however often telling fails, and leaves the lane only then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_batches_leave_the_lane_only_once_each_was_told_of() {
    let stage = Stage::start(CUSTOMERS).await;
    let id = stage.fed_in(0).await;
    let () = stage
        .redis
        .run(&["SET", MESSAGE_EVENTS_STREAM, "this is no stream"])
        .await;
    let messages = stage.publish_all(id).await;
    stage.reaches(id, MessageState::Accepted, 1).await;
    tokio::time::sleep(A_WHILE).await;
    // Of a message that went on meanwhile only the last is told.
    let at_least = messages / OUTCOMES_EACH;
    let left = stage.outcome_entries().await;
    assert!(left >= at_least, "{left} entries: what was not told stays");

    let () = stage.redis.run(&["DEL", MESSAGE_EVENTS_STREAM]).await;
    let events = stage.listen_for_events();
    stage.reaches(id, MessageState::Read, messages).await;
    wait_for(SOON, "the lane's outcomes to be gone", async || {
        (stage.outcome_entries().await == 0).then_some(())
    })
    .await;
    wait_for(SOON, "everybody's last event", async || {
        let events = events.lock().expect("not poisoned");
        let read = events.iter().filter(|(.., state, _)| *state == "read");
        let of: BTreeSet<Seq> = read.map(|(_, seq, ..)| *seq).collect();
        (i64::try_from(of.len()).ok() == Some(messages)).then_some(())
    })
    .await;
}
