//! Settling: the outcome first, then the entry may go; and only its owner speaks for it.

use crate::ground::{Ground, accepted, failed, granted, id, outcome, raw};
use campaign_core::contracts::Outcome;
use campaign_core::message::MessageState;
use campaign_streams::StreamId;
use campaign_streams::lane::{OutcomeReader, Step};
use std::time::Duration;

/// P4: what left the stream has its outcome in Redis, and the stream's length is what is outstanding.
#[tokio::test]
async fn an_entry_goes_once_its_outcome_stands() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 3).await;
    member.take_all(3).await;
    let settled = member
        .settle(&[accepted(campaign, id(1, 1)), failed(campaign, id(1, 2))])
        .await;
    assert!(settled.trusted);
    assert_eq!(
        (settled.identity.as_str(), settled.outcomes),
        (ground.identity.as_str(), 2)
    );
    assert_eq!(
        settled.oldest_outcome, settled.published[0],
        "nothing is applied yet"
    );
    assert_eq!(
        (ground.outstanding(campaign).await, ground.pending(campaign).await),
        (1, 1)
    );
    let states: Vec<_> = ground.outcomes().await.iter().map(state).collect();
    assert_eq!(states, [MessageState::Accepted, MessageState::Failed]);
}

fn state(outcome: &Outcome) -> MessageState {
    match outcome {
        Outcome::Message(message) => message.state,
        other => panic!("not of a message: {other:?}"),
    }
}

/// P4: where no outcome can be written, no entry goes.
#[tokio::test]
async fn an_entry_stays_if_its_outcome_cannot_be_written() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 2).await;
    member.take_all(2).await;
    let () = raw(
        &ground.redis,
        &["SET", &ground.keys.outcomes(), "of another type"],
    )
    .await;
    for step in [accepted(campaign, id(1, 1)), failed(campaign, id(1, 2))] {
        let settled = member.lane.settle(&member.identity, &[step]).await;
        assert!(settled.is_err(), "{settled:?}");
    }
    assert_eq!(
        (ground.outstanding(campaign).await, ground.pending(campaign).await),
        (2, 2)
    );
}

/// P2: a settle repeated after a broken reply publishes what the ledger takes twice, and nothing else.
#[tokio::test]
async fn settling_twice_is_harmless() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 3).await;
    member.take_all(3).await;
    let parking = Step::Parked {
        campaign,
        id: id(1, 3),
        due_ms: i64::MAX / 1_000_000,
        attempts: 1,
    };
    let steps = [accepted(campaign, id(1, 1)), failed(campaign, id(1, 2)), parking];
    let first = member.settle(&steps).await;
    let second = member.settle_again(&steps).await;
    assert!(first.published[0].is_some() && first.published[1].is_some());
    assert!(
        second.published[0].is_some(),
        "an acceptance is published whoever owns the entry"
    );
    assert_eq!(second.published[1..], [None, None]);
    assert_eq!(ground.outcomes().await.len(), 3);
    assert_eq!(ground.survey(campaign, Duration::ZERO).await.parked, 1);
    assert_eq!(ground.outstanding(campaign).await, 1);
}

/// P4: what was parked may have been taken anew when the parking is repeated, and be on its way to the wire. Parked
/// again, somebody else would send it too.
#[tokio::test]
async fn what_was_taken_anew_is_not_parked_by_a_settle_that_is_repeated() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 1).await;
    member.take_all(1).await;
    let parking = Step::Parked {
        campaign,
        id: id(1, 1),
        due_ms: 0,
        attempts: 0,
    };
    let steps = [parking, Step::Refund { tokens: 1 }];
    member.settle(&steps).await;
    member.take_all(1).await;
    assert!(member.settle_again(&steps).await.trusted);
    let survey = ground.survey(campaign, Duration::from_mins(1)).await;
    assert_eq!((survey.in_flight, survey.parked), (1, 0), "it is in hand");
    member.settle(&steps).await;
    assert_eq!(
        ground.survey(campaign, Duration::from_mins(1)).await.parked,
        1,
        "another settle parks"
    );
}

/// P1: when a stream is lost, the word of whoever took a message of it is all that says it may have been sent.
#[tokio::test]
async fn what_is_said_of_an_entry_that_is_gone_is_published() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 1).await;
    member.take_all(1).await;
    ground.lose_stream(campaign).await;
    let settled = member.settle(&[failed(campaign, id(1, 1))]).await;
    assert!(settled.trusted);
    assert!(settled.published[0].is_some());
}

/// P4: only the entry's owner says that it failed or comes back; an acceptance counts from anyone.
#[tokio::test]
async fn a_member_that_lost_an_entry_can_only_report_its_acceptance() {
    let ground = Ground::new().await;
    let (mut owner, mut other) = (ground.member().await, ground.member().await);
    let campaign = ground.open_with(1, 2).await;
    owner.take_all(2).await;
    let parking = Step::Parked {
        campaign,
        id: id(1, 1),
        due_ms: 0,
        attempts: 5,
    };
    let refused = other.settle(&[failed(campaign, id(1, 1)), parking]).await;
    assert!(refused.trusted);
    assert_eq!(refused.published, [None, None]);
    assert!(ground.outcomes().await.is_empty());
    assert_eq!(
        ground.survey(campaign, Duration::from_mins(1)).await.in_flight,
        2,
        "still its owner's"
    );

    let told = other.settle(&[accepted(campaign, id(1, 1))]).await;
    assert!(told.published[0].is_some());
    assert_eq!(ground.outstanding(campaign).await, 1);
    assert!(owner.settle(&[failed(campaign, id(1, 2))]).await.published[0].is_some());
}

/// P1: one that is no member is not trusted: what it says is published, and no entry is moved.
#[tokio::test]
async fn an_outcome_of_a_stranger_is_published_and_moves_nothing() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 2).await;
    member.take_all(2).await;
    granted(ground.owner.set_member(member.instance, None).await);
    let parking = Step::Parked {
        campaign,
        id: id(1, 2),
        due_ms: 0,
        attempts: 1,
    };
    let settled = member.settle(&[failed(campaign, id(1, 1)), parking]).await;
    assert!(!settled.trusted);
    assert!(settled.published[0].is_some());
    assert_eq!(
        (ground.outstanding(campaign).await, ground.pending(campaign).await),
        (2, 2)
    );
    assert_eq!(ground.survey(campaign, Duration::from_mins(1)).await.parked, 0);
}

/// P7: a campaign whose keys are broken keeps the outcomes of no other back.
#[tokio::test]
async fn a_campaign_in_trouble_does_not_hold_back_the_outcomes_of_others() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let (broken, healthy) = (ground.open_with(1, 2).await, ground.open_with(1, 1).await);
    member.take_all(3).await;
    let () = raw(
        &ground.redis,
        &["SET", &ground.keys.messages(broken), "of another type"],
    )
    .await;
    let () = raw(
        &ground.redis,
        &["SET", &ground.keys.alarms(broken), "of another type"],
    )
    .await;
    let parking = Step::Parked {
        campaign: broken,
        id: id(1, 2),
        due_ms: 0,
        attempts: 1,
    };
    let steps = [accepted(broken, id(1, 1)), parking, failed(healthy, id(1, 1))];
    let settled = member.settle(&steps).await;
    assert_eq!(
        settled.published.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(ground.outstanding(healthy).await, 0);
}

/// P3: the ledger reads from the head, again until it deletes; a poison outcome steps aside.
#[tokio::test]
async fn outcomes_are_read_from_the_head_until_they_are_deleted() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 2).await;
    let mut reader = OutcomeReader::new(&ground.streams, &ground.lane, Duration::from_millis(10));
    assert!(reader.read(10).await.expect("Redis answers").outcomes.is_empty());
    let outcomes = ground.keys.outcomes();
    let poison: String = raw(&ground.redis, &["XADD", &outcomes, "*", "body", "not JSON"]).await;
    member.take_all(2).await;
    let settled = member
        .settle(&[accepted(campaign, id(1, 1)), failed(campaign, id(1, 2))])
        .await;

    let read = reader.read(10).await.expect("Redis answers").outcomes;
    let ids: Vec<_> = read.iter().map(|entry| Some(entry.id)).collect();
    assert_eq!(ids, settled.published, "the poison did not fail the batch");
    let letters = campaign_streams::dead_letters::list(
        &ground.streams,
        campaign_streams::dead_letters::Letters::Dead,
        None,
        10,
    )
    .await
    .expect("listed");
    assert_eq!((letters.len(), &letters[0].letter.id), (1, &poison));

    assert_eq!(
        reader.read(10).await.expect("Redis answers").outcomes.len(),
        2,
        "until it is deleted"
    );
    assert_eq!(granted(ground.owner.first_outcome().await), Some(read[0].id));
    reader.delete(&read[..1]).await.expect("deleted");
    let span = ground.owner.outcomes_span().await.expect("Redis answers");
    assert_eq!(
        span,
        (settled.published[1], settled.published[1].expect("published"))
    );
    reader.delete(&read[1..]).await.expect("deleted");
    let span = ground.owner.outcomes_span().await.expect("Redis answers");
    assert_eq!(span, (None, read[1].id), "the last id stays known");
}

/// P3: an event is published as it is; no word of the lane's is lost for lack of an entry.
#[tokio::test]
async fn events_concern_no_entry() {
    let ground = Ground::new().await;
    let mut stranger = ground.stranger();
    let joining = Outcome::Join {
        instance: stranger.instance,
        identity: ground.identity.clone(),
        concurrency: 8,
    };
    let late = outcome(
        ground.open(1).await,
        StreamId { high: 1, low: 9 },
        MessageState::Read,
    );
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let steps = [
        Step::Event {
            outcome: joining.clone(),
            trace: trace.clone(),
        },
        Step::Event {
            outcome: late.clone(),
            trace: String::new(),
        },
    ];
    assert!(
        !stranger.settle(&steps).await.trusted,
        "it may ask to join before it is a member"
    );
    let mut reader = OutcomeReader::new(&ground.streams, &ground.lane, Duration::from_millis(10));
    let read = reader.read(10).await.expect("Redis answers").outcomes;
    assert_eq!((&read[0].outcome, &read[0].trace), (&joining, &trace));
    assert_eq!(ground.outcomes().await.len(), 2);
}
