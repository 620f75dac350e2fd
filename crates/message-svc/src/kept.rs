//! The outcomes that were published and that the ledger has not applied yet.
//!
//! If Redis loses its data, these are all that is left of them; they are published again before this
//! instance joins the lane anew. Pure: the settler tells it what Redis answered.

use campaign_core::contracts::Outcome;
use campaign_streams::StreamId;
use campaign_streams::lane::{Settled, Step};
use std::collections::VecDeque;

/// Outcomes in the order in which they were published.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    outcomes: VecDeque<KeptOutcome>,
}

#[derive(Debug)]
struct KeptOutcome {
    /// None: it was published by a settle whose answer never came, some time before the next known one.
    id: Option<StreamId>,
    outcome: Outcome,
    trace: String,
}

impl Kept {
    pub(crate) fn len(&self) -> usize {
        self.outcomes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// Takes over what a settle published, then lets go of what the ledger has applied. `repeated`: the
    /// same steps were sent before, and the answer to that never came.
    pub(crate) fn settled(&mut self, steps: Vec<Step>, settled: &Settled, repeated: bool) {
        for (step, id) in steps.into_iter().zip(&settled.published) {
            // On the second try the entry may be gone because the first one has published its outcome.
            let may_be_published = repeated && matches!(step, Step::Settled { .. });
            let Some((outcome, trace)) = published(step) else {
                continue;
            };
            if id.is_some() || may_be_published {
                self.outcomes.push_back(KeptOutcome {
                    id: *id,
                    outcome,
                    trace,
                });
            }
        }
        if settled.trusted {
            self.forget_applied(settled.oldest_outcome);
        }
    }

    /// Everything, as events to be published again in one settle. Nothing is kept until
    /// [`Self::settled`] takes these steps over, so the caller must not give up before.
    pub(crate) fn take_steps(&mut self) -> Vec<Step> {
        self.outcomes
            .drain(..)
            .map(|KeptOutcome { outcome, trace, .. }| Step::Event { outcome, trace })
            .collect()
    }

    /// Outcomes leave the stream from its head, so all before the oldest are applied.
    fn forget_applied(&mut self, oldest: Option<StreamId>) {
        let Some(oldest) = oldest else {
            self.outcomes.clear();
            return;
        };
        // An unknown id is at most the next known one.
        let applied = self
            .outcomes
            .iter()
            .rposition(|kept| kept.id.is_some_and(|id| id < oldest));
        if let Some(last) = applied {
            self.outcomes.drain(..=last);
        }
    }
}

/// What a step publishes and must be kept. A join is made anew each time; after a leave nobody is left.
fn published(step: Step) -> Option<(Outcome, String)> {
    let (Step::Accepted { outcome, trace, .. }
    | Step::Settled { outcome, trace, .. }
    | Step::Event { outcome, trace }) = step
    else {
        return None;
    };
    let is_membership = matches!(outcome, Outcome::Join { .. } | Outcome::Left { .. });
    (!is_membership).then_some((outcome, trace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use campaign_core::contracts::{MessageOutcome, OutcomeSource};
    use campaign_core::ids::{CampaignId, Generation, InstanceId, MessageKey, Seq};
    use campaign_core::message::MessageState;
    use chrono::Utc;
    use uuid::Uuid;

    const CAMPAIGN: CampaignId = CampaignId(Uuid::nil());

    fn id(low: u64) -> StreamId {
        StreamId { high: 1, low }
    }

    fn failed(seq: i64) -> Step {
        let key = MessageKey {
            campaign: CAMPAIGN,
            generation: Generation(1),
            seq: Seq(seq),
        };
        Step::Settled {
            campaign: CAMPAIGN,
            id: id(seq.unsigned_abs()),
            outcome: Outcome::Message(MessageOutcome::new(
                key,
                MessageState::Failed,
                Utc::now(),
                OutcomeSource::Send,
            )),
            trace: String::new(),
        }
    }

    fn answer(published: &[Option<u64>], oldest: Option<u64>, trusted: bool) -> Settled {
        Settled {
            identity: "a".into(),
            trusted,
            oldest_outcome: oldest.map(id),
            published: published.iter().map(|low| low.map(id)).collect(),
            outcomes: 0,
        }
    }

    #[test]
    fn what_was_published_is_kept_until_the_ledger_has_applied_it() {
        let mut kept = Kept::default();
        let steps = vec![
            failed(1),
            Step::Refund { tokens: 1 },
            failed(2),
            failed(3),
            Step::Event {
                outcome: Outcome::Left {
                    instance: InstanceId(Uuid::nil()),
                },
                trace: String::new(),
            },
        ];
        // The second one's entry belongs to somebody else, who reports it.
        kept.settled(
            steps,
            &answer(&[Some(11), None, None, Some(13), Some(14)], Some(11), true),
            false,
        );
        assert_eq!(kept.len(), 2);
        kept.settled(Vec::new(), &answer(&[], Some(13), false), false);
        assert_eq!(kept.len(), 2, "an answer that is not trusted says nothing");
        kept.settled(Vec::new(), &answer(&[], Some(13), true), false);
        assert_eq!(kept.len(), 1, "11 is before the oldest that is left, 13 is not");
        kept.settled(Vec::new(), &answer(&[], None, true), false);
        assert!(kept.is_empty());
    }

    #[test]
    fn a_repeated_settle_keeps_what_its_first_try_may_have_published() {
        let mut kept = Kept::default();
        kept.settled(vec![failed(1)], &answer(&[None], Some(5), true), true);
        assert_eq!(kept.len(), 1);
        kept.settled(vec![failed(2)], &answer(&[Some(20)], Some(10), true), false);
        assert_eq!(kept.len(), 2);
        kept.settled(Vec::new(), &answer(&[], Some(21), true), false);
        assert!(kept.is_empty(), "what came before an applied one is applied");
    }

    #[test]
    fn everything_kept_can_be_published_again_and_is_kept_under_its_new_id() {
        let mut kept = Kept::default();
        kept.settled(
            vec![failed(1), failed(2)],
            &answer(&[Some(1), Some(2)], Some(1), true),
            false,
        );
        let again = kept.take_steps();
        assert_eq!(again.len(), 2);
        assert!(again.iter().all(|step| matches!(step, Step::Event { .. })));
        kept.settled(again, &answer(&[Some(7), Some(8)], Some(7), false), false);
        assert_eq!(kept.len(), 2);
        kept.settled(Vec::new(), &answer(&[], Some(8), true), false);
        assert_eq!(kept.len(), 1);
    }
}
