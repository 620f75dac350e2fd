//! The breaker: holds a campaign when too many of its last messages ended in a final error, before the account
//! suffers for it.
//!
//! Ends are counted where outcomes are folded, in memory: a window of the last messages for each campaign, nothing
//! read from tables. A message counts once: what was accepted and fails later changes its place in the window. A
//! new owner begins with an empty window, so a change of owner delays the breaker by at most its minimum.
//!
//! Errors are of two kinds with a limit each. *Message* errors (a bad parameter, media that cannot be had, texts
//! that do not fit) say that the campaign is wrong. *Recipient* errors (no WhatsApp, marketing stopped) say that its
//! list is poor: some are normal, many cost the number its quality. What Meta withholds by its own choice (131049,
//! its limit of marketing for each person; 130472, an experiment) says nothing about either and counts as sent.

use campaign_core::ids::CampaignId;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use whatsapp_api::Scope;
use whatsapp_api::errors::entry;

/// Codes with which Meta withholds a message by its own choice.
const WITHHELD: [i64; 2] = [130_472, 131_049];

/// When a campaign is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Messages looked back upon; 0 switches the breaker off.
    pub(crate) window: usize,
    /// Ends below which nothing is concluded.
    pub(crate) minimum: usize,
    /// Share of message errors that is too much, in percent.
    pub(crate) message_percent: usize,
    /// Share of recipient errors that is too much, in percent.
    pub(crate) recipient_percent: usize,
}

/// How a message ended, as far as the breaker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Accepted, or withheld by Meta's own choice.
    Fine,
    /// The message is at fault.
    Message,
    /// The recipient cannot be sent to.
    Recipient,
}

impl End {
    /// By the error's code: Meta's, or a word of the engine's own.
    pub(crate) fn of_error(code: Option<&str>) -> Self {
        let Some(code) = code.and_then(|code| code.parse().ok()) else {
            return Self::Message;
        };
        match entry(code).map(|entry| entry.decision.scope) {
            _ if WITHHELD.contains(&code) => Self::Fine,
            Some(Scope::Recipient | Scope::Pair) => Self::Recipient,
            Some(Scope::Message | Scope::Template | Scope::Lane | Scope::Account | Scope::Unknown) | None => {
                Self::Message
            }
        }
    }
}

/// The windows of a lane's campaigns.
#[derive(Debug)]
pub(crate) struct ErrorShares {
    limits: Limits,
    windows: Mutex<BTreeMap<CampaignId, Window>>,
}

/// The last messages of a campaign.
#[derive(Debug, Default)]
struct Window {
    /// In the order in which they ended.
    order: VecDeque<i64>,
    ends: HashMap<i64, End>,
    message: usize,
    recipient: usize,
    /// Why it was held. What is in hand then still ends, and counts for nothing.
    tripped: bool,
}

impl ErrorShares {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            windows: Mutex::default(),
        }
    }

    /// Notes how messages of a campaign ended, in order.
    pub(crate) fn note(&self, campaign: CampaignId, ends: &[(i64, End)]) {
        if self.limits.window == 0 || ends.is_empty() {
            return;
        }
        let mut windows = self.lock();
        let window = windows.entry(campaign).or_default();
        if !window.tripped {
            for &(seq, end) in ends {
                window.note(seq, end, self.limits.window);
            }
        }
    }

    /// Campaigns that are to be held now, and why. They come again until [`Self::held`] says that they are.
    pub(crate) fn over(&self) -> Vec<(CampaignId, String)> {
        let windows = self.lock();
        let untripped = windows.iter().filter(|(_, window)| !window.tripped);
        untripped
            .filter_map(|(campaign, window)| Some((*campaign, window.reason(&self.limits)?)))
            .collect()
    }

    /// The campaign is held.
    pub(crate) fn held(&self, campaign: CampaignId) {
        let held = Window {
            tripped: true,
            ..Window::default()
        };
        self.lock().insert(campaign, held);
    }

    /// The campaign goes on: it is judged by what comes now.
    pub(crate) fn released(&self, campaign: CampaignId) {
        self.lock().remove(&campaign);
    }

    /// Nothing holds the campaign: if it was held, it goes on. A hold may come and go between two looks.
    pub(crate) fn nothing_holds(&self, campaign: CampaignId) {
        let mut windows = self.lock();
        if windows.get(&campaign).is_some_and(|window| window.tripped) {
            windows.remove(&campaign);
        }
    }

    /// Forgets campaigns that are over.
    pub(crate) fn retain(&self, current: &BTreeSet<CampaignId>) {
        self.lock().retain(|campaign, _| current.contains(campaign));
    }

    /// Each change leaves the windows whole, so a panic elsewhere leaves them right.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<CampaignId, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn note(&mut self, seq: i64, end: End, most: usize) {
        match self.ends.insert(seq, end) {
            Some(before) => self.count(before, false),
            None => self.order.push_back(seq),
        }
        self.count(end, true);
        while self.order.len() > most {
            let gone = self.order.pop_front().and_then(|seq| self.ends.remove(&seq));
            if let Some(end) = gone {
                self.count(end, false);
            }
        }
    }

    fn count(&mut self, end: End, comes: bool) {
        let counter = match end {
            End::Fine => return,
            End::Message => &mut self.message,
            End::Recipient => &mut self.recipient,
        };
        if comes {
            *counter += 1;
        } else {
            *counter = counter.saturating_sub(1);
        }
    }

    fn reason(&self, limits: &Limits) -> Option<String> {
        let ended = self.order.len();
        if ended < limits.minimum.max(1) {
            return None;
        }
        let (errors, percent, of) = if self.message * 100 >= limits.message_percent * ended {
            (self.message, limits.message_percent, "errors of the message")
        } else if self.recipient * 100 >= limits.recipient_percent * ended {
            (
                self.recipient,
                limits.recipient_percent,
                "recipients that cannot be sent to",
            )
        } else {
            return None;
        };
        Some(format!(
            "{errors} of the last {ended} messages ended in {of}, at least {percent}%; resume the kind errors to go on"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LIMITS: Limits = Limits {
        window: 100,
        minimum: 10,
        message_percent: 20,
        recipient_percent: 60,
    };

    fn campaign() -> CampaignId {
        CampaignId(Uuid::from_u128(1))
    }

    fn shares(ends: impl IntoIterator<Item = (i64, End)>) -> ErrorShares {
        let shares = ErrorShares::new(LIMITS);
        for end in ends {
            shares.note(campaign(), &[end]);
        }
        shares
    }

    #[test]
    fn codes_are_of_the_message_of_the_recipient_or_metas_own_choice() {
        for (code, end) in [
            (Some("131026"), End::Recipient),
            (Some("131050"), End::Recipient),
            (Some("131049"), End::Fine),
            (Some("130472"), End::Fine),
            (Some("131008"), End::Message),
            (Some("999999"), End::Message),
            (Some("unsendable"), End::Message),
            (None, End::Message),
        ] {
            assert_eq!(End::of_error(code), end, "{code:?}");
        }
    }

    #[test]
    fn nothing_is_concluded_from_few_and_a_share_trips() {
        let errors = |count| (0..count).map(|seq| (seq, End::Message));
        assert!(shares(errors(9)).over().is_empty(), "under the minimum");
        let over = shares(errors(10)).over();
        assert!(over[0].1.starts_with("10 of the last 10"), "{over:?}");
        let mixed =
            |errors: i64| (0..50).map(move |seq| (seq, if seq < errors { End::Message } else { End::Fine }));
        assert!(shares(mixed(9)).over().is_empty());
        assert_eq!(shares(mixed(10)).over().len(), 1);
    }

    #[test]
    fn poor_recipients_have_a_limit_of_their_own() {
        let poor =
            |poor: i64| (0..50).map(move |seq| (seq, if seq < poor { End::Recipient } else { End::Fine }));
        assert!(shares(poor(29)).over().is_empty());
        let over = shares(poor(30)).over();
        assert!(over[0].1.contains("recipients"), "{over:?}");
    }

    #[test]
    fn a_message_counts_once_and_an_old_one_is_forgotten() {
        let accepted_then_failed = (0..100)
            .map(|seq| (seq, End::Fine))
            .chain((0..20).map(|seq| (seq, End::Message)));
        assert!(
            shares(accepted_then_failed.clone()).over()[0]
                .1
                .starts_with("20 of the last 100")
        );
        let and_then_fine = accepted_then_failed.chain((100..120).map(|seq| (seq, End::Fine)));
        assert!(shares(and_then_fine).over().is_empty());
        let fine_then_failed = (0..1_000).map(|seq| (seq, if seq < 980 { End::Fine } else { End::Message }));
        let over = shares(fine_then_failed).over();
        assert!(over[0].1.starts_with("20 of the last 100"), "{over:?}");
    }

    #[test]
    fn what_is_held_is_said_once_and_judged_anew_when_it_goes_on() {
        let shares = shares((0..10).map(|seq| (seq, End::Message)));
        assert_eq!(shares.over().len(), 1);
        assert_eq!(shares.over().len(), 1, "until it is held");
        shares.held(campaign());
        shares.note(
            campaign(),
            &(10..40).map(|seq| (seq, End::Message)).collect::<Vec<_>>(),
        );
        assert!(shares.over().is_empty(), "what was in hand counts for nothing");
        shares.released(campaign());
        shares.note(
            campaign(),
            &(40..49).map(|seq| (seq, End::Message)).collect::<Vec<_>>(),
        );
        assert!(shares.over().is_empty());
        shares.note(campaign(), &[(49, End::Message)]);
        assert_eq!(shares.over().len(), 1);
    }

    #[test]
    fn only_a_window_that_tripped_is_given_up_where_nothing_holds() {
        let errors = |seqs: std::ops::Range<i64>| seqs.map(|seq| (seq, End::Message)).collect::<Vec<_>>();
        let shares = shares(errors(0..9));
        shares.nothing_holds(campaign());
        shares.note(campaign(), &errors(9..10));
        assert_eq!(shares.over().len(), 1, "its nine still count");
        shares.held(campaign());
        shares.nothing_holds(campaign());
        shares.note(campaign(), &errors(10..20));
        assert_eq!(shares.over().len(), 1, "it is judged again");
    }
}
