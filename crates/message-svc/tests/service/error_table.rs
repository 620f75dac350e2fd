//! Every code of WHATSAPP's table over HTTP, as the answer to a send: what the ledger is told, and what is not burnt.
//! The list is written out by hand, code by code, so that a slip in the engine's own table shows.

use crate::cloud_api::Stage;
use crate::harness::PATIENCE;
use campaign_core::campaign::HoldKind::{self, Account, Number, Quality, Stopped, Template};
use campaign_core::contracts::{Outcome, Trouble, TroubleScope};
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
use std::collections::BTreeMap;
use testkit::wait_for;
use whatsapp_api::errors::{ERROR_TABLE, decide_code};

/// What a trouble concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Campaign,
    Lane,
    Account,
}

impl Reach {
    pub(crate) fn scope(self, campaign: CampaignId) -> TroubleScope {
        match self {
            Self::Campaign => TroubleScope::Campaign(campaign),
            Self::Lane => TroubleScope::Lane,
            Self::Account => TroubleScope::Account,
        }
    }
}

/// What a code leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeadsTo {
    Failure,
    FailureAndSuppression,
    /// Tried again, the attempt spent.
    Retry,
    /// Tried again, the attempt not spent.
    Slowing,
    /// The owner is told to hold, and nothing is burnt.
    Hold(Reach, HoldKind),
}

use LeadsTo::{Failure, FailureAndSuppression, Hold, Retry, Slowing};
use Reach::{Campaign, Lane};

#[rustfmt::skip]
pub(crate) const WHOLE_TABLE: &[(LeadsTo, &[i64])] = &[
    (Hold(Lane, Account), &[0, 190]),
    (Hold(Lane, Number), &[3, 10, 200, 299, 131_005, 33, 131_037, 131_045, 133_010]),
    (Hold(Lane, Quality), &[131_048]),
    (Hold(Reach::Account, Account), &[368, 131_031, 131_042, 131_064]),
    (Hold(Campaign, Template), &[132_015]),
    (Hold(Campaign, Stopped), &[131_063, 132_000, 132_001, 132_005, 132_007, 132_012, 132_016]),
    (Slowing, &[4, 80_007, 130_429]),
    (Retry, &[1, 2, 131_000, 131_016, 131_056, 131_057, 133_004]),
    (Failure, &[100, 131_008, 131_009, 131_021, 131_051, 131_052, 131_053, 132_018, 135_000]),
    (Failure, &[131_026, 131_030, 130_403, 130_472, 130_497, 131_047, 131_049]),
    (FailureAndSuppression, &[131_050]),
    // A code that nobody has heard of.
    (Failure, &[987_654]),
];

/// Every code with what it leads to, and a position of its own.
pub(crate) fn cases() -> impl Iterator<Item = (i64, i64, LeadsTo)> {
    let codes = WHOLE_TABLE
        .iter()
        .flat_map(|(leads_to, codes)| codes.iter().map(|code| (*code, *leads_to)));
    (1..)
        .zip(codes)
        .map(|(seq, (code, leads_to))| (seq, code, leads_to))
}

#[test]
fn the_list_is_the_whole_table() {
    let listed: Vec<i64> = cases().map(|(_, code, _)| code).collect();
    for entry in ERROR_TABLE {
        for code in [entry.first, entry.last] {
            assert!(listed.contains(&code), "{code}");
        }
    }
}

fn troubles(stage: &Stage) -> Vec<Trouble> {
    let outcomes = stage.owner.ledger.outcomes().into_iter();
    outcomes
        .filter_map(|outcome| match outcome {
            Outcome::Trouble(trouble) => Some(trouble),
            _ => None,
        })
        .collect()
}

/// Codes about one message, all at once: they fail, or they go again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_about_a_message_fail_it_or_bring_it_back() {
    let stage = Stage::set().await;
    let about_one: Vec<_> = cases()
        .filter(|(_, _, leads_to)| !matches!(leads_to, Hold(..)))
        .collect();
    let (first, last) = (about_one[0].0, about_one[about_one.len() - 1].0);
    assert_eq!(
        last - first + 1,
        about_one.len() as i64,
        "one stretch of positions"
    );
    for (seq, code, _) in &about_one {
        stage.whatsapp.refuse(*seq, &[*code]);
    }
    let campaign = stage.owner.open(false).await;
    let _service = stage.service().await;
    stage.owner.feed(campaign, 1, 1, last).await;

    let ledger = &stage.owner.ledger;
    let fails = |leads_to: LeadsTo| matches!(leads_to, Failure | FailureAndSuppression);
    let expected = about_one.iter().filter(|case| fails(case.2)).count();
    let failed = ledger.wait_for(MessageState::Failed, expected).await;
    let accepted = ledger
        .wait_for(MessageState::Accepted, last as usize - expected)
        .await;
    let told: BTreeMap<i64, String> = failed
        .into_iter()
        .map(|outcome| (outcome.key.seq.0, outcome.error.unwrap().code))
        .collect();
    let attempts: BTreeMap<i64, Option<i32>> = accepted
        .into_iter()
        .map(|outcome| (outcome.key.seq.0, outcome.attempts))
        .collect();
    for (seq, code, leads_to) in about_one {
        let (failure, went) = (told.get(&seq), attempts.get(&seq));
        match leads_to {
            Failure | FailureAndSuppression => assert_eq!(failure, Some(&code.to_string()), "{code}"),
            Retry => assert_eq!(went, Some(&Some(2)), "{code}"),
            Slowing => assert_eq!(went, Some(&Some(1)), "{code}"),
            Hold(..) => unreachable!("left out above"),
        }
    }
    let suppressed = ledger.outcomes().into_iter().filter_map(|outcome| match outcome {
        Outcome::OptOut(opt_out) => Some(opt_out.source),
        _ => None,
    });
    assert_eq!(suppressed.collect::<Vec<_>>(), ["error_131050"]);
    assert!(troubles(&stage).is_empty());
}

/// Codes about more than a message, one after the other: the owner is told what to hold and why, and the message goes
/// out unharmed once WhatsApp takes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_about_more_than_a_message_are_told_and_burn_nothing() {
    let stage = Stage::set().await;
    let _service = stage.service().await;
    for (_, code, leads_to) in cases() {
        let Hold(reach, hold) = leads_to else { continue };
        stage.whatsapp.refuse(1, &[code]);
        let campaign = stage.owner.open(false).await;
        stage.owner.feed(campaign, 1, 1, 1).await;
        let trouble = wait_for(PATIENCE, &format!("{code} to be told"), async || {
            let told = troubles(&stage).into_iter();
            told.rev().find(|trouble| trouble.error.code == code.to_string())
        })
        .await;
        assert_eq!(
            (trouble.scope, trouble.hold),
            (reach.scope(campaign), hold),
            "{code}"
        );
        let advice = decide_code(code).advice;
        assert!(
            trouble.error.text.ends_with(advice),
            "{code}: {}",
            trouble.error.text
        );
        let accepted = wait_for(PATIENCE, &format!("the message of {code}"), async || {
            let accepted = stage.owner.ledger.messages(MessageState::Accepted).into_iter();
            accepted.rev().find(|outcome| outcome.key.campaign == campaign)
        })
        .await;
        assert_eq!(accepted.attempts, Some(1), "{code} burnt an attempt");
    }
    assert!(stage.owner.ledger.messages(MessageState::Failed).is_empty());
}
