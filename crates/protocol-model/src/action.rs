//! What can happen next, and the world in which it happens, as a person reads them.

use crate::ids::{CampaignNo, Time};
use crate::whatsapp::Wire;
use campaign_core::campaign::OnUncertain;
use std::fmt;

/// One of the things that take steps. Numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// The keeper of a `sender-svc`.
    Keeper(usize),
    /// The ledger of a `sender-svc`.
    Ledger(usize),
    /// The worker of a `message-svc`.
    Worker(usize),
    /// The settler of a `message-svc`.
    Settler(usize),
    /// A message that a `message-svc` has in hand.
    Send(usize, usize),
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// A `sender-svc`.
    Sender(usize),
    /// A `message-svc`.
    Member(usize),
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A task takes its next steps.
    Run(Task, u8),
    /// All take a step, in turn, so many times.
    Everyone(u8),
    /// A task's next step is carried out, but the task never hears of it.
    BreakOff(Task),
    /// A process dies and is started anew.
    Crash(Process),
    /// A process stands still.
    Freeze(Process),
    /// A process goes on, believing what it believed.
    Thaw(Process),
    /// A `message-svc` is asked to stop.
    Stop(usize),
    /// Redis loses everything: by `FLUSHALL` (the same identity), or by a restart.
    WipeRedis {
        /// By `FLUSHALL`.
        same_identity: bool,
    },
    /// Redis comes back as it was so many changes ago, with a new identity.
    RollBackRedis(u8),
    /// One campaign's stream is deleted.
    LoseStream(CampaignNo),
    /// Time passes, in seconds.
    Wait(Time),
    /// One of the webhooks on their way arrives.
    Webhook {
        /// Which.
        nth: usize,
        /// It will come again.
        comes_again: bool,
    },
    /// The webhooks of one message that are on their way never arrive.
    LoseWebhook(usize),
    /// A person cancels a campaign.
    Cancel(CampaignNo),
    /// A person pauses a campaign.
    Pause(CampaignNo),
    /// A person lets a paused campaign go on.
    Resume(CampaignNo),
    /// A person asks to send again what failed.
    ResendFailed(CampaignNo),
}

/// A campaign as the search draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignPlan {
    /// The phones that the ERP names, page by page.
    pub pages: Vec<Vec<usize>>,
    /// Whether what is uncertain goes again by itself.
    pub resend: bool,
}

impl CampaignPlan {
    pub(crate) fn on_uncertain(&self) -> OnUncertain {
        if self.resend {
            OnUncertain::Resend
        } else {
            OnUncertain::Hold
        }
    }
}

/// One case: a small world, and what happens in it before it calms down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The campaigns, at least one.
    pub campaigns: Vec<CampaignPlan>,
    /// How many `message-svc` there are; `sender-svc` are two.
    pub members: usize,
    /// Most messages of a campaign in the lane.
    pub window: usize,
    /// Most rows fed at once.
    pub batch: usize,
    /// What becomes of the first writes; the others are accepted.
    pub wires: Vec<Wire>,
    /// What happens.
    pub actions: Vec<Action>,
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, campaign) in self.campaigns.iter().enumerate() {
            let policy = campaign.on_uncertain();
            writeln!(
                formatter,
                "campaign {number}: pages {:?}, on_uncertain {policy}",
                campaign.pages
            )?;
        }
        let Self {
            members,
            window,
            batch,
            wires,
            ..
        } = self;
        writeln!(
            formatter,
            "{members} members, window {window}, batch {batch}, first writes {wires:?}"
        )?;
        for action in &self.actions {
            writeln!(formatter, "{action:?}")?;
        }
        Ok(())
    }
}
