//! What this process holds of a lane: messages taken, and not yet settled in Redis.

use crate::measures;
use campaign_core::ids::CampaignId;
use campaign_streams::StreamId;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A message in its lane.
pub(crate) type EntryKey = (CampaignId, StreamId);

/// The messages in hand. Only the lane's worker adds to it, only its settler removes.
///
/// A message is counted, not just noted: one that was parked may be taken again before the answer to the
/// parking was read, and is then in hand twice for a moment.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    held: Mutex<HashMap<EntryKey, u32>>,
    empty: Notify,
}

impl Flight {
    pub(crate) fn begin(&self, keys: impl IntoIterator<Item = EntryKey>) {
        let mut held = self.lock();
        let mut begun = 0;
        for key in keys {
            *held.entry(key).or_default() += 1;
            begun += 1;
        }
        drop(held);
        measures::in_hand(begun);
    }

    pub(crate) fn end(&self, keys: impl IntoIterator<Item = EntryKey>) {
        let mut held = self.lock();
        let mut landed = 0;
        for key in keys {
            if let Entry::Occupied(mut times) = held.entry(key) {
                landed += 1;
                *times.get_mut() -= 1;
                if *times.get() == 0 {
                    times.remove();
                }
            }
        }
        let is_empty = held.is_empty();
        drop(held);
        measures::landed(landed);
        if is_empty {
            self.empty.notify_waiters();
        }
    }

    /// What is in hand now. What a recovery finds must be compared with what was in hand *before* it was
    /// asked: meanwhile entries settle, and would look as if nobody had heard of them.
    pub(crate) fn snapshot(&self) -> HashSet<EntryKey> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Completes when nothing is in hand.
    pub(crate) async fn drained(&self) {
        loop {
            let emptied = self.empty.notified();
            tokio::pin!(emptied);
            // Listens from before the look, so that nothing can end unheard between the two.
            emptied.as_mut().enable();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Each change leaves the counts whole, so a panic elsewhere leaves them right.
    fn lock(&self) -> MutexGuard<'_, HashMap<EntryKey, u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use uuid::Uuid;

    #[tokio::test]
    async fn it_is_drained_when_the_last_message_is_settled() {
        let flight = Arc::new(Flight::default());
        let key = |low| (CampaignId(Uuid::nil()), StreamId { high: 1, low });
        flight.drained().await;
        flight.begin([key(1), key(2)]);
        let before = flight.snapshot();
        let waiting = tokio::spawn({
            let flight = Arc::clone(&flight);
            async move { flight.drained().await }
        });
        flight.end([key(1), key(9)]);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !flight.is_empty());
        flight.end([key(2)]);
        waiting.await.expect("it completes");
        assert!(before.contains(&key(1)), "a snapshot does not change");
    }

    #[test]
    fn a_message_taken_again_before_its_parking_was_confirmed_stays_in_hand() {
        let flight = Flight::default();
        let key = (CampaignId(Uuid::nil()), StreamId { high: 1, low: 1 });
        flight.begin([key]);
        flight.begin([key]);
        flight.end([key]);
        assert!(flight.snapshot().contains(&key));
        flight.end([key]);
        assert!(flight.is_empty());
    }
}
