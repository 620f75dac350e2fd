//! Which campaigns of a lane have their audience fetched.

use super::{Cursor, Fetch, rule};
use crate::lane::Lane;
use crate::lane::error::LaneError;
use crate::lane::keeper::Open;
use campaign_core::ids::CampaignId;
use campaign_store::dispatches::Work;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// The fetches of a lane.
#[derive(Default)]
pub(in crate::lane) struct Audiences {
    of: BTreeMap<CampaignId, Fetching>,
}

enum Fetching {
    /// Says in the end when that was.
    UnderWay(CancellationToken, JoinHandle<Instant>),
    /// None if it panicked.
    Ended(Option<Instant>),
}

impl Fetching {
    /// Whether what was read then, and says that the audience is incomplete, is news to it.
    async fn begins_again(&mut self, read_at: Instant) -> bool {
        if let Self::UnderWay(_, task) = self {
            if !task.is_finished() {
                return false;
            }
            *self = Self::Ended(task.await.ok());
        }
        matches!(self, Self::Ended(at) if at.is_none_or(|at| at < read_at))
    }
}

impl Audiences {
    /// Makes sure that the campaign's audience is being fetched, which was incomplete at `read_at`.
    pub(in crate::lane) async fn ensure(
        &mut self,
        lane: &Lane,
        open: &Open,
        work: &Work,
        read_at: Instant,
    ) -> Result<(), LaneError> {
        if let Some(fetching) = self.of.get_mut(&work.campaign)
            && !fetching.begins_again(read_at).await
        {
            return Ok(());
        }
        let Some(rule) = rule(lane, &open.campaign, open.template.clone()).await? else {
            return Ok(());
        };
        let stop = lane.stop.child_token();
        let fetch = Fetch {
            lane: lane.handle(),
            campaign: open.campaign.clone(),
            rule,
            stop: stop.clone(),
            next: Some(Cursor(work.dispatch.erp_cursor.clone())),
            ahead: None,
        };
        let span = tracing::info_span!("audience", campaign_id = %work.campaign);
        campaign_runtime::link_to(&span, &work.dispatch.trace);
        let task = tokio::spawn(fetch.run().instrument(span));
        self.of.insert(work.campaign, Fetching::UnderWay(stop, task));
        Ok(())
    }

    /// Stops the fetches of campaigns that are over.
    pub(in crate::lane) fn retain(&mut self, current: &BTreeSet<CampaignId>) {
        self.of.retain(|campaign, fetching| {
            let Fetching::UnderWay(stop, task) = fetching else {
                return current.contains(campaign);
            };
            if !current.contains(campaign) {
                stop.cancel();
            }
            current.contains(campaign) || !task.is_finished()
        });
    }

    /// Stops all of them.
    pub(in crate::lane) async fn stop(&mut self) {
        for fetching in self.of.values() {
            if let Fetching::UnderWay(stop, _) = fetching {
                stop.cancel();
            }
        }
        for (_, fetching) in std::mem::take(&mut self.of) {
            if let Fetching::UnderWay(_, task) = fetching {
                // A panic was reported where it happened.
                let _ = task.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn only_what_was_read_after_its_end_begins_a_fetch_again() {
        let ended = Instant::now();
        let before = ended
            .checked_sub(Duration::from_millis(1))
            .expect("some time ago");
        let after = ended + Duration::from_millis(1);
        let task = tokio::spawn(async move { ended });
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
        let mut fetching = Fetching::UnderWay(CancellationToken::new(), task);
        assert!(!fetching.begins_again(before).await, "it has seen more");
        assert!(fetching.begins_again(after).await);

        let forever = tokio::spawn(std::future::pending());
        let mut fetching = Fetching::UnderWay(CancellationToken::new(), forever);
        assert!(!fetching.begins_again(after).await);
        assert!(Fetching::Ended(None).begins_again(before).await, "it panicked");
    }
}
