//! Outcomes lie in entries of up to 64, and are counted, read and deleted as if each lay alone.

use crate::ground::{Ground, accepted, failed, id, outcome, raw};
use campaign_core::contracts::Outcome;
use campaign_core::ids::MessageKey;
use campaign_core::message::MessageState;
use campaign_streams::StreamId;
use campaign_streams::dead_letters::{self, Letters};
use campaign_streams::lane::{OutcomeReader, OutcomeReporter, Step};
use std::collections::BTreeSet;
use std::time::Duration;

fn reader(ground: &Ground) -> OutcomeReader {
    OutcomeReader::new(&ground.streams, &ground.lane, Duration::from_millis(10))
}

async fn entries(ground: &Ground) -> u64 {
    raw(&ground.redis, &["XLEN", &ground.keys.outcomes()]).await
}

fn key(outcome: &Outcome) -> MessageKey {
    match outcome {
        Outcome::Message(message) => message.key,
        other => panic!("not of a message: {other:?}"),
    }
}

/// One entry for many, whoever speaks, and every outcome knows which entry it is in.
#[tokio::test]
async fn what_is_published_together_shares_entries() {
    let ground = Ground::new().await;
    let (mut member, mut other) = (ground.member().await, ground.member().await);
    let campaign = ground.open_with(1, 150).await;
    let mine = member.take_all(140).await;
    other.take_all(10).await;
    let mut steps = vec![Step::Refund { tokens: 1 }];
    // Every tenth belongs to somebody else, so that its outcome is not published.
    for (place, entry) in mine.iter().enumerate() {
        steps.push(accepted(campaign, entry.id));
        if place % 14 == 0 {
            steps.push(failed(campaign, id(1, 141 + place as i64 / 14)));
        }
    }
    let settled = member.settle(&steps).await;
    let published: Vec<StreamId> = settled.published.iter().flatten().copied().collect();
    assert_eq!((published.len(), settled.outcomes), (140, 140));
    assert_eq!(settled.published.len(), steps.len());
    let is_strange = |step: &Step| matches!(step, Step::Settled { .. } | Step::Refund { .. });
    let silent = steps.iter().zip(&settled.published);
    for (step, id) in silent {
        assert_eq!(id.is_none(), is_strange(step), "{step:?}");
    }
    assert_eq!(entries(&ground).await, 3);
    assert_eq!(settled.oldest_outcome, Some(published[0]));
    let read = reader(&ground).read(1_000).await.expect("read");
    assert!(read.complete);
    let ids: Vec<StreamId> = read.iter().map(|entry| entry.id).collect();
    assert_eq!(
        ids, published,
        "in order, each in the entry that its settle named"
    );
    let closing: Vec<usize> = read
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.closes)
        .map(|(place, _)| place)
        .collect();
    // One, and then fourteen each time, are told together, and what is told together stays together.
    assert_eq!(closing, [56, 112, 139]);
}

/// Told together or alone, in the order in which they were handed in, and each with its own trace.
#[tokio::test]
async fn each_outcome_keeps_its_place_and_its_trace() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let (one, other) = (ground.open_with(1, 120).await, ground.open_with(1, 2).await);
    let trace_of = |seq: i64| match seq {
        3 | 120 => format!("00-{seq:032}-0000000000000001-01"),
        _ => String::new(),
    };
    let with_trace = |campaign, seq| match accepted(campaign, id(1, seq)) {
        Step::Accepted {
            campaign,
            id,
            outcome,
            ..
        } => Step::Accepted {
            campaign,
            id,
            outcome,
            trace: trace_of(seq),
        },
        step => step,
    };
    member.take_all(122).await;
    let mut steps: Vec<Step> = (1..=100).map(|seq| with_trace(one, seq)).collect();
    steps.extend((1..=2).map(|seq| with_trace(other, seq)));
    steps.push(failed(one, id(1, 101)));
    steps.extend((102..=120).map(|seq| with_trace(one, seq)));
    let settled = member.settle(&steps).await;
    let read = reader(&ground).read(1_000).await.expect("read").outcomes;
    assert_eq!(read.len(), steps.len());
    for ((step, entry), published) in steps.iter().zip(&read).zip(&settled.published) {
        let (outcome, trace) = step.outcome().expect("each publishes one");
        assert_eq!((key(&entry.outcome), entry.trace.as_str()), (key(outcome), trace));
        assert_eq!(*published, Some(entry.id));
    }
    assert_eq!(
        (ground.outstanding(one).await, ground.pending(other).await),
        (0, 0)
    );
}

/// P4: an entry goes only when the ledger has all of it.
#[tokio::test]
async fn an_entry_stays_until_its_last_outcome_is_applied() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 70).await;
    let steps: Vec<Step> = member
        .take_all(70)
        .await
        .iter()
        .map(|entry| accepted(campaign, entry.id))
        .collect();
    member.settle(&steps).await;
    let mut reader = reader(&ground);
    let read = reader.read(1_000).await.expect("read").outcomes;
    reader.delete(&read[..63]).await.expect("nothing to delete");
    assert_eq!(reader.read(1_000).await.expect("read").len(), 70);
    reader.delete(&read[..64]).await.expect("deleted");
    assert_eq!(reader.read(1_000).await.expect("read").len(), 6);
    let settled = member.settle(&[]).await;
    assert_eq!(settled.outcomes, 6);
    assert_eq!(settled.oldest_outcome, Some(read[64].id));
    reader
        .delete(&read)
        .await
        .expect("deleted, those that are gone as well");
    let settled = member.settle(&[]).await;
    assert_eq!((settled.outcomes, settled.oldest_outcome), (0, None));
}

/// However outcomes were published, their number is told right; also after all were deleted.
#[tokio::test]
async fn those_that_wait_are_counted_one_by_one() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 100).await;
    let mut reader = reader(&ground);
    let reporter = OutcomeReporter::new(&ground.streams, &ground.lane).expect("a good url");
    let told: Vec<Outcome> = (1..=130)
        .map(|seq| outcome(campaign, id(1, seq), MessageState::Read))
        .collect();
    for round in 0..2 {
        assert_eq!(
            reporter.append(&told, "").await.expect("appended"),
            130,
            "round {round}"
        );
        member.take_all(40).await;
        let seqs = round * 50 + 1..=round * 50 + 40;
        let steps: Vec<Step> = seqs.map(|seq| accepted(campaign, id(1, seq))).collect();
        member.settle(&steps[..30]).await;
        assert_eq!(member.settle(&steps[30..]).await.outcomes, 170);
        // The rest is lost with whoever took it.
        member.take_all(10).await;
        let survey = ground.survey(campaign, Duration::ZERO).await;
        assert_eq!((survey.reclaimed, survey.outcomes), (10, 180));
        assert_eq!(reporter.waiting().await.expect("counted"), 180);
        let depths = campaign_streams::depths::of_lanes(&ground.streams).await;
        assert!(
            depths
                .expect("Redis answers")
                .iter()
                .all(|lane| lane.outcomes == 180)
        );
        let read = reader.read(1_000).await.expect("read").outcomes;
        assert_eq!(read.len(), 180);
        reader.delete(&read[..130]).await.expect("deleted");
        assert_eq!(reporter.waiting().await.expect("counted"), 50);
        reader.delete(&read[130..]).await.expect("deleted");
        assert_eq!(
            (reporter.waiting().await.expect("counted"), entries(&ground).await),
            (0, 0)
        );
    }
}

/// Single ones and full entries mixed: of single ones a read brings no more than was asked for.
#[tokio::test]
async fn a_read_is_bounded_whatever_the_entries_hold() {
    let ground = Ground::new().await;
    let campaign = ground.open(1).await;
    let reporter = OutcomeReporter::new(&ground.streams, &ground.lane).expect("a good url");
    let said = |seq: i64| outcome(campaign, id(1, seq), MessageState::Sent);
    for seq in 1..=300 {
        reporter.append(&[said(seq)], "").await.expect("appended");
    }
    let many: Vec<Outcome> = (301..=1_300).map(said).collect();
    reporter.append(&many, "").await.expect("appended");
    let mut reader = reader(&ground);
    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let read = reader.read(200).await.expect("read");
        sizes.push(read.len());
        let complete = read.complete;
        seen.extend(read.iter().filter_map(|entry| match &entry.outcome {
            Outcome::Message(message) => Some(message.key.seq.0),
            _ => None,
        }));
        reader.delete(&read).await.expect("deleted");
        if complete {
            break;
        }
    }
    assert!(seen.iter().copied().eq(1..=1_300), "all, in order");
    assert_eq!((sizes[0], sizes.iter().sum()), (200, 1_300), "{sizes:?}");
}

/// P3: one that cannot be read is set aside alone; those beside it count.
#[tokio::test]
async fn an_unreadable_outcome_spares_its_neighbours() {
    let ground = Ground::new().await;
    let campaign = ground.open(1).await;
    let line =
        |seq: i64| serde_json::to_string(&outcome(campaign, id(1, seq), MessageState::Sent)).expect("JSON");
    let body = [line(1), "not JSON".to_owned(), line(2), "{}".to_owned()].join("\n");
    let entry: String = raw(
        &ground.redis,
        &[
            "XADD",
            &ground.keys.outcomes(),
            "5-4",
            "body",
            &body,
            "trace",
            "",
            "count",
            "4",
        ],
    )
    .await;
    let mut reader = reader(&ground);
    let read = reader.read(10).await.expect("read").outcomes;
    let closes: Vec<bool> = read.iter().map(|entry| entry.closes).collect();
    assert_eq!(closes, [false, true]);
    let letters = dead_letters::list(&ground.streams, Letters::Dead, None, 10)
        .await
        .expect("listed");
    let bodies: BTreeSet<&str> = letters
        .iter()
        .flat_map(|letter| &letter.letter.fields)
        .filter(|(name, _)| name == "body")
        .map(|(_, body)| body.as_str())
        .collect();
    assert_eq!(bodies, BTreeSet::from(["not JSON", "{}"]));
    assert!(letters.iter().all(|letter| letter.letter.id == entry));
    assert_eq!(entries(&ground).await, 1, "until the others are applied");
    reader.read(10).await.expect("read again");
    let again = dead_letters::list(&ground.streams, Letters::Dead, None, 10)
        .await
        .expect("listed");
    assert_eq!(again.len(), 2, "each is kept once, however often it is read");
    reader.delete(&read).await.expect("deleted");
    assert_eq!(entries(&ground).await, 0);
}

/// An entry of an earlier version, written by itself, and a clock that went back: nothing is counted below what is there.
#[tokio::test]
async fn entries_that_were_not_counted_are_counted_by_themselves() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open(1).await;
    let reporter = OutcomeReporter::new(&ground.streams, &ground.lane).expect("a good url");
    let told: Vec<Outcome> = (1..=70)
        .map(|seq| outcome(campaign, id(1, seq), MessageState::Read))
        .collect();
    reporter.append(&told, "").await.expect("appended");
    let body = serde_json::to_string(&told[0]).expect("JSON");
    let later = "9999999999999-0";
    let _: String = raw(
        &ground.redis,
        &["XADD", &ground.keys.outcomes(), later, "body", &body],
    )
    .await;
    let settled = member.settle(&[]).await;
    assert_eq!(settled.outcomes, 64, "what the first entry holds, at least");
    reporter.append(&told[..1], "").await.expect("behind the clock");
    let read = reader(&ground).read(1_000).await.expect("read").outcomes;
    assert_eq!(read.len(), 72);
    assert!(read.windows(2).all(|two| two[0].id <= two[1].id));
}

/// P4: where it cannot be found out what waits, nothing is written, and nobody is told that it was applied.
#[tokio::test]
async fn whoever_may_not_look_does_not_publish() {
    let ground = Ground::new().await;
    let reporter = OutcomeReporter::new(&ground.streams, &ground.lane).expect("a good url");
    let told = [outcome(ground.open(1).await, id(1, 1), MessageState::Read)];
    reporter.append(&told, "").await.expect("appended");
    let () = raw(&ground.redis, &["ACL", "SETUSER", "default", "-xinfo"]).await;
    reporter
        .append(&told, "")
        .await
        .expect_err("it has no right to look");
    let () = raw(&ground.redis, &["ACL", "SETUSER", "default", "+xinfo"]).await;
    assert_eq!(entries(&ground).await, 1);
}
