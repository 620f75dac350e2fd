//! Looks at the world after every step that changed something, and once more at the end.

use crate::env::Env;
use crate::ids::Recipient;
use crate::member::Member;
use crate::promise::{Promise, Violation};
use crate::whatsapp::Acceptance;
use campaign_core::ids::Generation;
use campaign_core::message::MessageState;
use std::collections::{BTreeMap, BTreeSet};

/// What the last look saw.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    changes: u64,
    /// Recipients whose acceptance something in the world could prove.
    evidence: BTreeSet<Recipient>,
    rows: BTreeMap<Recipient, (MessageState, Generation)>,
}

fn evidence(env: &Env, members: &[Member]) -> BTreeSet<Recipient> {
    let mut found = env.redis.evidence();
    found.extend(members.iter().flat_map(Member::evidence));
    for (campaign, rows) in env.postgres.campaigns.iter().enumerate() {
        let accepted = rows.rows.iter().filter(|(_, row)| row.stored.state.is_accepted());
        found.extend(accepted.map(|(seq, _)| (campaign, *seq)));
    }
    found
}

impl Watch {
    /// A fault may destroy evidence.
    pub(crate) fn after_fault(&mut self, env: &Env, members: &[Member]) {
        self.evidence = evidence(env, members);
    }

    /// Looks, if anything has changed.
    pub(crate) fn look(&mut self, env: &mut Env, members: &[Member]) {
        let changes = env.changes();
        if self.changes == changes {
            return;
        }
        self.changes = changes;
        self.look_at_evidence(env, members);
        self.look_at_rows(env);
        look_at_sums(env);
        look_at_windows(env);
    }

    fn look_at_evidence(&mut self, env: &mut Env, members: &[Member]) {
        let now = evidence(env, members);
        if let Some((campaign, seq)) = self.evidence.difference(&now).next() {
            let what = format!("nothing proves any more that row {seq} of campaign {campaign} was accepted");
            env.violate(Promise::EvidenceIsKept, || what);
        }
        self.evidence = now;
    }

    fn look_at_rows(&mut self, env: &mut Env) {
        let mut broken = None;
        for (campaign, rows) in env.postgres.campaigns.iter().enumerate() {
            for (&seq, row) in &rows.rows {
                let now = (row.stored.state, row.stored.generation);
                let before = self.rows.insert((campaign, seq), now).unwrap_or(now);
                let (down, same_round) = (now.0.rank() < before.0.rank(), now.1 <= before.1);
                if down && (same_round || before.0.is_accepted()) {
                    let text = format!(
                        "row {seq} of campaign {campaign} went from {} to {}",
                        before.0, now.0
                    );
                    broken.get_or_insert((Promise::LadderOnlyRises, text));
                }
                let accepted = || {
                    env.whatsapp
                        .accepted
                        .iter()
                        .any(|a| a.key.recipient() == (campaign, seq))
                };
                if now.0.is_accepted() && now != before && !accepted() {
                    let text = format!(
                        "row {seq} of campaign {campaign} is {} and never was accepted",
                        now.0
                    );
                    broken.get_or_insert((Promise::LedgerTellsTheTruth, text));
                }
            }
        }
        if let Some((promise, what)) = broken {
            env.violate(promise, || what);
        }
    }

    /// Everything has ended.
    pub(crate) fn at_the_end(&self, env: &Env) -> Result<(), Violation> {
        let broken = |promise, what| Err(Violation { promise, what });
        if let Some((campaign, seq)) = self
            .evidence
            .iter()
            .find(|recipient| !is_accepted(env, **recipient))
        {
            let what = format!("the proof that row {seq} of campaign {campaign} was accepted never came");
            return broken(Promise::EvidenceIsKept, what);
        }
        for acceptance in &env.whatsapp.accepted {
            let (campaign, seq) = acceptance.key.recipient();
            let state = env.postgres.campaigns[campaign]
                .rows
                .get(&seq)
                .map(|row| row.stored.state);
            let known = state.is_some_and(|state| state.is_accepted() || state == MessageState::Uncertain);
            if !known && !is_excused(env, *acceptance) {
                let what = format!("row {seq} of campaign {campaign} is {state:?}, and was accepted");
                return broken(Promise::LedgerTellsTheTruth, what);
            }
        }
        for (campaign, rows) in env.postgres.campaigns.iter().enumerate() {
            let audience: BTreeSet<_> = rows.pages.iter().flatten().collect();
            if rows.rows.len() != audience.len() && !crate::postgres::is_over(rows.status) {
                let what = format!("campaign {campaign} has {} rows", rows.rows.len());
                return broken(Promise::OneRowEach, what);
            }
            for (seq, row) in &rows.rows {
                let state = row.stored.state;
                let is_uncertain = state == MessageState::Uncertain;
                if !state.is_final() && !is_uncertain {
                    let what = format!("row {seq} of campaign {campaign} ends as {state}");
                    return broken(Promise::OneRowEach, what);
                }
                if is_uncertain && !env.guessed && !env.handed_out.contains(&(campaign, *seq)) {
                    let what = format!("row {seq} of campaign {campaign} is uncertain, nobody ever took it");
                    return broken(Promise::UncertainForAReason, what);
                }
            }
        }
        Ok(())
    }
}

/// It was sent again by itself, because nobody had heard of this acceptance; and then it failed.
fn is_excused(env: &Env, acceptance: Acceptance) -> bool {
    let (campaign, seq) = acceptance.key.recipient();
    let row = env.postgres.campaigns[campaign].rows.get(&seq);
    row.and_then(|row| row.resent_at)
        .is_some_and(|resent_at| acceptance.came_too_late_for(resent_at))
}

fn is_accepted(env: &Env, (campaign, seq): Recipient) -> bool {
    let rows = &env.postgres.campaigns[campaign].rows;
    rows.get(&seq).is_some_and(|row| row.stored.state.is_accepted())
}

fn look_at_sums(env: &mut Env) {
    let mut broken = None;
    for (campaign, rows) in env.postgres.campaigns.iter().enumerate() {
        for &state in MessageState::ALL {
            let counted = rows.rows.values().filter(|row| row.stored.state == state).count() as i64;
            if rows.count(state) != counted {
                let kept = rows.count(state);
                broken = Some(format!(
                    "campaign {campaign} counts {kept} {state}, its rows are {counted}"
                ));
            }
        }
        let phones: BTreeSet<_> = rows.rows.values().map(|row| row.phone).collect();
        if phones.len() != rows.rows.len() {
            broken = Some(format!("campaign {campaign} has two rows for one phone"));
        }
    }
    if let Some(what) = broken {
        env.violate(Promise::SumsBalance, || what);
    }
}

fn look_at_windows(env: &mut Env) {
    let window = env.window;
    let streams = env.redis.data.campaigns.iter();
    let longest =
        streams.filter_map(|(campaign, keys)| Some((*campaign, keys.stream.as_ref()?.entries.len())));
    let over = longest
        .filter(|(_, length)| *length > window)
        .max_by_key(|(_, length)| *length);
    if let Some((campaign, length)) = over {
        env.violate(Promise::WindowIsBounded, || {
            format!("campaign {campaign} has {length} messages in the lane, its window is {window}")
        });
    }
}
