//! Waiting for the receipts: the mock has told all of them, and the ledger has written them down.

use super::mock::Mock;
use crate::follow::{LOOK_EVERY, Ticker, look};
use crate::output::thousands;
use crate::progress::{CampaignDetail, Progress};
use crate::{Context, Failure};
use campaign_core::message::MessageState;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long to wait for receipts after the end.
pub(super) const RECEIPTS_WITHIN: Duration = Duration::from_mins(1);
/// How long nothing may have changed once everybody has a receipt.
const QUIET_WITH_ALL: Duration = Duration::from_secs(1);
/// How long nothing may have changed if some have none: the mock can be told to lose some.
const QUIET_WITHOUT: Duration = Duration::from_secs(5);

/// The campaign after the last receipt.
pub(super) struct Settled {
    pub(super) detail: CampaignDetail,
    /// Receipts that the mock has not got rid of; 0 if all is told.
    pub(super) receipts_left: i64,
}

/// Waits until no more receipts come, at most [`RECEIPTS_WITHIN`].
pub(super) async fn settle(context: &Context, mock: &Mock, campaign: Uuid) -> Result<Settled, Failure> {
    let begun = Instant::now();
    let mut ticker = Ticker::new();
    let mut quiet = Quiet::default();
    loop {
        // In this order: receipts that were told before the look are in it, or will be within moments.
        let receipts_left = mock.outbox().await?.left();
        let (_, detail) = look(context, campaign).await?;
        let progress = &detail.progress;
        let with_receipt = progress.accepted() - progress.without_receipt();
        let text = format!(
            "{} of {} have a receipt",
            thousands(with_receipt),
            thousands(progress.accepted())
        );
        ticker.show(with_receipt, progress.accepted(), &text);
        let is_over = quiet.is_over(progress, receipts_left, Instant::now());
        if is_over || begun.elapsed() >= RECEIPTS_WITHIN {
            return Ok(Settled {
                detail,
                receipts_left,
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether the counters have come to rest.
#[derive(Debug, Default)]
struct Quiet {
    last: Option<(Vec<i64>, Instant)>,
}

impl Quiet {
    fn is_over(&mut self, progress: &Progress, receipts_left: i64, now: Instant) -> bool {
        let counts: Vec<i64> = MessageState::ALL
            .iter()
            .map(|state| progress.count(*state))
            .collect();
        let since = match &self.last {
            Some((before, since)) if *before == counts && receipts_left == 0 => *since,
            _ => {
                self.last = Some((counts, now));
                return false;
            }
        };
        let enough = if progress.without_receipt() == 0 {
            QUIET_WITH_ALL
        } else {
            QUIET_WITHOUT
        };
        now.duration_since(since) >= enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::progress;

    #[test]
    fn receipts_are_over_when_nothing_is_left_and_nothing_changes() {
        let begun = Instant::now();
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let some = progress(&[("read", 5), ("sent", 2)], &[]);
        let all = progress(&[("read", 5), ("delivered", 2)], &[]);
        let mut quiet = Quiet::default();
        assert!(!quiet.is_over(&some, 0, at(0)));
        assert!(!quiet.is_over(&some, 0, at(4_000)), "two receipts may still come");
        assert!(!quiet.is_over(&all, 0, at(4_500)), "they came");
        assert!(
            !quiet.is_over(&all, 3, at(6_000)),
            "the mock has something to tell"
        );
        assert!(!quiet.is_over(&all, 0, at(6_500)));
        assert!(quiet.is_over(&all, 0, at(7_500)));
    }

    #[test]
    fn receipts_that_never_come_are_given_up() {
        let begun = Instant::now();
        let some = progress(&[("read", 5), ("sent", 2)], &[]);
        let mut quiet = Quiet::default();
        assert!(!quiet.is_over(&some, 0, begun));
        assert!(quiet.is_over(&some, 0, begun + QUIET_WITHOUT));
    }
}
