//! P4: what a vanished member had in hand becomes uncertain, once, and is not sent again.

use crate::ground::{Ground, PATIENCE, id};
use campaign_core::contracts::{Outcome, OutcomeSource};
use campaign_core::message::MessageState;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::wait_for;

/// The longest a live member may hold an entry, in these tests.
const IDLE: Duration = Duration::from_millis(150);

#[tokio::test]
async fn live_work_is_not_reclaimed() {
    let ground = Ground::new().await;
    let campaign = ground.open_with(1, 3).await;
    ground.member().await.take_all(2).await;
    let survey = ground.survey(campaign, Duration::from_mins(1)).await;
    assert_eq!(
        (survey.outstanding, survey.in_flight, survey.reclaimed),
        (3, 2, 0)
    );
    assert!(
        survey
            .oldest_fed_ms
            .is_some_and(|fed_ms| fed_ms > 1_600_000_000_000),
        "{survey:?}"
    );
    assert!(ground.outcomes().await.is_empty());
}

#[tokio::test]
async fn abandoned_entries_become_uncertain_once_however_many_look() {
    const ABANDONED: usize = 100;
    let ground = Ground::new().await;
    let campaign = ground.open_with(1, 110).await;
    ground.member().await.take_all(ABANDONED).await;
    wait_for(PATIENCE, "the entries to be abandoned long enough", async || {
        let surveys = futures::future::join_all((0..20).map(|_| ground.survey(campaign, IDLE))).await;
        let surveys = surveys.into_iter();
        let reclaimed: u64 = surveys.map(|survey| survey.reclaimed).sum();
        assert!(
            reclaimed == 0 || reclaimed == ABANDONED as u64,
            "{reclaimed} by twenty at once"
        );
        (reclaimed > 0).then_some(())
    })
    .await;

    let outcomes = ground.outcomes().await;
    let seqs: BTreeSet<i64> = outcomes
        .iter()
        .map(|outcome| {
            let Outcome::Message(message) = outcome else {
                panic!("of a message: {outcome:?}")
            };
            assert_eq!(
                (message.state, message.source),
                (MessageState::Uncertain, OutcomeSource::Send)
            );
            assert_eq!((message.key.campaign, message.attempts), (campaign, Some(1)));
            assert_eq!(
                message.error.as_ref().map(|note| note.code.as_str()),
                Some("lost")
            );
            message.key.seq.0
        })
        .collect();
    assert_eq!(
        (outcomes.len(), seqs),
        (ABANDONED, (1..=100).collect()),
        "each exactly once"
    );
    let after = ground.survey(campaign, IDLE).await;
    assert_eq!((after.outstanding, after.in_flight, after.reclaimed), (10, 0, 0));
    assert_eq!(after.outcomes, ABANDONED as u64);
    let (_, last) = ground.owner.outcomes_span().await.expect("Redis answers");
    assert_eq!(after.last_outcome, last);
    assert_eq!(ground.pending(campaign).await, 0);
    let next = ground.member().await.take_all(10).await;
    assert_eq!(next[0].id, id(1, 101), "what was never taken is not touched");
}

#[tokio::test]
async fn one_survey_settles_a_bounded_number() {
    let ground = Ground::new().await;
    let campaign = ground.open_with(1, 450).await;
    ground.member().await.take_all(450).await;
    let mut reclaimed = Vec::new();
    while reclaimed.iter().sum::<u64>() < 450 {
        reclaimed.push(ground.survey(campaign, Duration::ZERO).await.reclaimed);
    }
    assert_eq!(reclaimed, [200, 200, 50]);
}
