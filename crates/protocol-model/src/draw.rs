//! Draws cases at random.

use crate::action::{Action, CampaignPlan, Case, Process, Task};
use crate::whatsapp::Wire;
use proptest::prelude::*;
use proptest::strategy::Union;

/// Kinds of trouble. A case has some of them only: what one kind breaks is easily covered up by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    LostAnswers,
    SenderCrashes,
    MemberCrashes,
    SenderFreezes,
    MemberFreezes,
    Stops,
    RedisWiped,
    RedisRolledBack,
    StreamLost,
    LongWaits,
    Silences,
    WebhooksLost,
    Cancels,
    Pauses,
    Resends,
}

impl Trouble {
    pub(crate) const ALL: &'static [Self] = &[
        Self::LostAnswers,
        Self::SenderCrashes,
        Self::MemberCrashes,
        Self::SenderFreezes,
        Self::MemberFreezes,
        Self::Stops,
        Self::RedisWiped,
        Self::RedisRolledBack,
        Self::StreamLost,
        Self::LongWaits,
        Self::Silences,
        Self::WebhooksLost,
        Self::Cancels,
        Self::Pauses,
        Self::Resends,
    ];

    fn weight(self) -> u32 {
        match self {
            Self::LongWaits => 5,
            Self::LostAnswers | Self::MemberCrashes | Self::MemberFreezes => 3,
            Self::SenderCrashes | Self::SenderFreezes | Self::RedisWiped | Self::RedisRolledBack => 2,
            _ => 1,
        }
    }

    fn of(action: Action) -> Option<Self> {
        Some(match action {
            Action::BreakOff(_) => Self::LostAnswers,
            Action::Crash(Process::Sender(_)) => Self::SenderCrashes,
            Action::Crash(Process::Member(_)) => Self::MemberCrashes,
            Action::Freeze(Process::Sender(_)) => Self::SenderFreezes,
            Action::Freeze(Process::Member(_)) => Self::MemberFreezes,
            Action::Stop(_) => Self::Stops,
            Action::WipeRedis { .. } => Self::RedisWiped,
            Action::RollBackRedis(_) => Self::RedisRolledBack,
            Action::LoseStream(_) => Self::StreamLost,
            Action::Wait(301..) => Self::Silences,
            Action::Wait(6..) => Self::LongWaits,
            Action::LoseWebhook(_) => Self::WebhooksLost,
            Action::Cancel(_) => Self::Cancels,
            Action::Pause(_) | Action::Resume(_) => Self::Pauses,
            Action::ResendFailed(_) => Self::Resends,
            _ => return None,
        })
    }

    fn draw(self) -> BoxedStrategy<Action> {
        let campaign = || 0..2_usize;
        let sender = || (0..2_usize).prop_map(Process::Sender);
        let member = || (0..3_usize).prop_map(Process::Member);
        match self {
            Self::LostAnswers => task().prop_map(Action::BreakOff).boxed(),
            Self::SenderCrashes => sender().prop_map(Action::Crash).boxed(),
            Self::MemberCrashes => member().prop_map(Action::Crash).boxed(),
            Self::SenderFreezes => sender().prop_map(Action::Freeze).boxed(),
            Self::MemberFreezes => member().prop_map(Action::Freeze).boxed(),
            Self::Stops => (0..3_usize).prop_map(Action::Stop).boxed(),
            Self::RedisWiped => any::<bool>()
                .prop_map(|same_identity| Action::WipeRedis { same_identity })
                .boxed(),
            Self::RedisRolledBack => (1..40_u8).prop_map(Action::RollBackRedis).boxed(),
            Self::StreamLost => campaign().prop_map(Action::LoseStream).boxed(),
            Self::LongWaits => prop::sample::select(vec![11, 16, 31, 61, 121])
                .prop_map(Action::Wait)
                .boxed(),
            Self::Silences => Just(Action::Wait(301)).boxed(),
            Self::WebhooksLost => (0..4_usize).prop_map(Action::LoseWebhook).boxed(),
            Self::Cancels => campaign().prop_map(Action::Cancel).boxed(),
            Self::Pauses => prop_oneof![
                campaign().prop_map(Action::Pause),
                campaign().prop_map(Action::Resume)
            ]
            .boxed(),
            Self::Resends => campaign().prop_map(Action::ResendFailed).boxed(),
        }
    }
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

fn thaw() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0..2_usize).prop_map(Process::Sender),
        (0..3_usize).prop_map(Process::Member),
    ]
    .prop_map(Action::Thaw)
}

fn action(troubles: &[Trouble]) -> impl Strategy<Value = Action> + use<> {
    let troubles = troubles.iter().map(|trouble| (trouble.weight(), trouble.draw()));
    prop_oneof![
        30 => (task(), 1..8_u8).prop_map(|(task, steps)| Action::Run(task, steps)),
        12 => (1..6_u8).prop_map(Action::Everyone),
        2 => (6..20_u8).prop_map(Action::Everyone),
        3 => thaw(),
        4 => prop::sample::select(vec![1, 2, 5]).prop_map(Action::Wait),
        3 => (0..4_usize, any::<bool>())
            .prop_map(|(nth, comes_again)| Action::Webhook { nth, comes_again }),
        22 => Union::new_weighted(troubles.collect()),
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

/// A case with up to `actions` things that happen, with some of these troubles, or all where there are few.
pub(crate) fn case(actions: usize, troubles: &'static [Trouble]) -> impl Strategy<Value = Case> {
    let least = if troubles == Trouble::ALL {
        0
    } else {
        troubles.len()
    };
    let some = prop::sample::subsequence(troubles.to_vec(), least..=troubles.len());
    (
        prop::collection::vec(campaign(), 1..3),
        2..4_usize,
        1..5_usize,
        1..3_usize,
        prop::collection::vec(wire(), 0..8),
        (0..30_u8, some),
        prop::collection::vec(action(troubles), 1..actions),
    )
        .prop_map(
            |(campaigns, members, window, batch, wires, (begun, some), mut actions)| {
                actions.retain(|action| Trouble::of(*action).is_none_or(|trouble| some.contains(&trouble)));
                actions.insert(0, Action::Everyone(begun));
                Case {
                    campaigns,
                    members,
                    window,
                    batch,
                    wires,
                    actions,
                }
            },
        )
}
