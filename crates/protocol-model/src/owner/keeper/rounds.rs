//! The end of a round, as `sender-svc/src/lane/rounds.rs` has it.

use super::super::{Owner, Stop};
use super::Micro;
use crate::env::Env;
use crate::ids::{CampaignNo, Epoch, Time};
use campaign_core::campaign::OnUncertain;

impl Owner {
    /// Everything of the round is fed. Ends it once the lane is empty and every outcome is applied.
    pub(super) fn step_round(&mut self, env: &mut Env, campaign: CampaignNo) {
        let (Some(work), Some(open)) = (self.work(campaign), self.open.get_mut(&campaign)) else {
            return;
        };
        let Some(survey) = open.survey else { return };
        if survey.outstanding > 0 {
            open.empty_since = None;
            open.resend_asked = None;
            return;
        }
        if open.closed && work.pending == 0 && work.next_again.is_some_and(|due| due > env.now) {
            return;
        }
        let last_of_round = *open.empty_since.get_or_insert(survey.last_outcome);
        self.then(Micro::RoundApplied(campaign, last_of_round));
    }

    /// What the round reported is applied. What is sent again by itself must know of what others reported, too.
    pub(super) fn round_applied(&mut self, env: &Env, campaign: CampaignNo) {
        let (Some(work), Some(open)) = (self.work(campaign), self.open.get_mut(&campaign)) else {
            return;
        };
        let Some(survey) = open.survey else { return };
        if work.on_uncertain == OnUncertain::Resend {
            let asked = open
                .resend_asked
                .get_or_insert((survey.last_outcome, open.surveyed_at));
            let (last, as_of) = *asked;
            self.then(Micro::ResendApplied(campaign, last, as_of));
        } else {
            self.then(Micro::CloseRound(campaign, env.now));
        }
    }

    pub(super) fn close_round(
        &mut self,
        env: &mut Env,
        epoch: Epoch,
        campaign: CampaignNo,
        as_of: Time,
    ) -> Result<(), Stop> {
        let Some(work) = self.work(campaign) else {
            return Ok(());
        };
        let now = env.now;
        let rows = &mut env.postgres.fence(epoch)?.campaigns[campaign];
        if rows.dispatch.generation != work.dispatch.generation {
            return Ok(());
        }
        let reopened = rows.close_round(now, as_of);
        if reopened > 0 {
            self.say(env, || {
                format!("campaign {campaign}: a new round of {reopened} begins")
            });
            self.open.remove(&campaign);
            return Ok(());
        }
        if let Some(open) = self.open.get_mut(&campaign) {
            open.closed = true;
            open.resend_asked = None;
        }
        self.then(Micro::Finish(campaign, as_of));
        Ok(())
    }
}

/// Whether the ledger has applied everything up to `outcome`: it deletes what it has applied.
pub(super) fn is_applied(env: &Env, epoch: Epoch, outcome: u64) -> Result<bool, Stop> {
    let first = env.redis.first_outcome(epoch)?;
    Ok(first.is_none_or(|first| first > outcome))
}
