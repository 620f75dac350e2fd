//! What can happen next, as the search draws it and as a person reads it.

use crate::ids::{CampaignNo, Time};
use crate::whatsapp::Wire;
use campaign_core::campaign::OnUncertain;
use proptest::prelude::*;
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
    /// One of the webhooks on their way never arrives.
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
        if self.resend { OnUncertain::Resend } else { OnUncertain::Hold }
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

fn task() -> impl Strategy<Value = Task> {
    prop_oneof![
        5 => (0..2_usize).prop_map(Task::Keeper),
        3 => (0..2_usize).prop_map(Task::Ledger),
        3 => (0..3_usize).prop_map(Task::Worker),
        3 => (0..3_usize).prop_map(Task::Settler),
        4 => (0..3_usize, 0..2_usize).prop_map(|(member, nth)| Task::Send(member, nth)),
    ]
}

fn process() -> impl Strategy<Value = Process> {
    prop_oneof![
        (0..2_usize).prop_map(Process::Sender),
        (0..3_usize).prop_map(Process::Member),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let campaign = || 0..2_usize;
    prop_oneof![
        24 => (task(), 1..8_u8).prop_map(|(task, steps)| Action::Run(task, steps)),
        12 => (1..16_u8).prop_map(Action::Everyone),
        3 => task().prop_map(Action::BreakOff),
        3 => process().prop_map(Action::Crash),
        3 => process().prop_map(Action::Freeze),
        3 => process().prop_map(Action::Thaw),
        1 => (0..3_usize).prop_map(Action::Stop),
        2 => any::<bool>().prop_map(|same_identity| Action::WipeRedis { same_identity }),
        2 => (1..40_u8).prop_map(Action::RollBackRedis),
        1 => campaign().prop_map(Action::LoseStream),
        9 => prop::sample::select(vec![1, 2, 5, 11, 16, 31, 61, 121, 301]).prop_map(Action::Wait),
        3 => (0..4_usize, any::<bool>())
            .prop_map(|(nth, comes_again)| Action::Webhook { nth, comes_again }),
        1 => (0..4_usize).prop_map(Action::LoseWebhook),
        1 => campaign().prop_map(Action::Cancel),
        1 => campaign().prop_map(Action::Pause),
        1 => campaign().prop_map(Action::Resume),
        1 => campaign().prop_map(Action::ResendFailed),
    ]
}

fn wire() -> impl Strategy<Value = Wire> {
    prop::sample::select(vec![
        Wire::Accepted,
        Wire::AcceptedUnheard,
        Wire::Swallowed,
        Wire::RefusedForNow,
        Wire::RefusedForLong,
        Wire::RefusedForGood,
        Wire::NotSent,
    ])
}

fn campaign() -> impl Strategy<Value = CampaignPlan> {
    let page = prop::collection::vec(0..6_usize, 1..4);
    let resend = prop::bool::weighted(0.25);
    (prop::collection::vec(page, 1..3), resend).prop_map(|(pages, resend)| CampaignPlan { pages, resend })
}

/// Any case with up to `actions` things that happen.
pub fn case(actions: usize) -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(campaign(), 1..3),
        2..4_usize,
        1..5_usize,
        1..3_usize,
        prop::collection::vec(wire(), 0..8),
        prop::collection::vec(action(), 1..actions),
    )
        .prop_map(|(campaigns, members, window, batch, wires, actions)| Case {
            campaigns,
            members,
            window,
            batch,
            wires,
            actions,
        })
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, campaign) in self.campaigns.iter().enumerate() {
            let policy = campaign.on_uncertain();
            writeln!(formatter, "campaign {number}: pages {:?}, on_uncertain {policy}", campaign.pages)?;
        }
        let Self { members, window, batch, wires, .. } = self;
        writeln!(formatter, "{members} members, window {window}, batch {batch}, first writes {wires:?}")?;
        for action in &self.actions {
            writeln!(formatter, "{action:?}")?;
        }
        Ok(())
    }
}
