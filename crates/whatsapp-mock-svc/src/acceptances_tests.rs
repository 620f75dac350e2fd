//! The log is exact, small, and honest about its bounds.

use super::*;

#[test]
fn every_recipient_and_callback_is_counted_exactly() {
    let mut log = AcceptanceLog::default();
    for seq in 0..5_000_u32 {
        let recipient = 5_511_900_000_000 + u64::from(seq % 4_999);
        let campaign = if seq % 2 == 0 { "even" } else { "odd" };
        log.record(
            "1",
            recipient,
            Some(&format!("{campaign}:1:{}", seq / 2)),
            u64::from(seq) * 1_000,
        );
    }
    // 0 and 4999 are the same recipient in different campaigns: no duplicate of either.
    let all = log.summary(None);
    assert_eq!(
        (all.accepted, all.unique_recipients, all.unique_callback_data),
        (5_000, 5_000, 5_000)
    );
    assert_eq!(
        (all.max_per_recipient, all.duplicates.len(), all.overflow),
        (1, 0, false)
    );
    assert_eq!((all.first_at_ms, all.last_at_ms), (Some(0), Some(4_999)));
    let even = log.summary(Some("even"));
    assert_eq!((even.accepted, even.peak_in_one_second), (2_500, 500));
    assert_eq!(log.summary(Some("none")), Summary::default());

    log.record("1", 5_511_900_000_002, Some("even:2:1"), 9_000_000);
    let even = log.summary(Some("even"));
    assert_eq!(
        (even.accepted, even.unique_recipients, even.max_per_recipient),
        (2_501, 2_500, 2)
    );
    assert_eq!(
        even.duplicates,
        [Duplicate {
            recipient: "+5511900000002".into(),
            count: 2,
            callback_data: Some("even:2:1".into())
        }]
    );
}

#[test]
fn the_same_callback_data_twice_is_one() {
    let mut log = AcceptanceLog::default();
    for data in ["c:1:1", "c:1:1", "free", "free", "c:65535:1", "c:65534:1"] {
        log.record("1", 1_234_567_890, Some(data), 0);
    }
    log.record("1", 1_234_567_890, None, 0);
    let summary = log.summary(None);
    assert_eq!((summary.accepted, summary.unique_callback_data), (7, 4));
}

#[test]
fn the_export_has_every_recipient_with_its_callback_data() {
    let mut log = AcceptanceLog::default();
    let given = [Some("c:1:9"), Some("fr\"ee"), None, Some("c:65535:2")];
    for (index, data) in given.iter().enumerate() {
        log.record("7", 1_000_000_000 + index as u64, *data, 0);
    }
    let mut lines: Vec<serde_json::Value> = (0..)
        .map_while(|shard| log.export(shard, None))
        .flat_map(|lines| lines.lines().map(str::to_owned).collect::<Vec<_>>())
        .map(|line| serde_json::from_str(&line).expect("NDJSON"))
        .collect();
    lines.sort_by_key(|line| line["recipient"].as_str().map(str::to_owned));
    let data: Vec<_> = lines.iter().map(|line| line["callback_data"].as_str()).collect();
    assert_eq!(data, given);
    assert_eq!(lines[0]["recipient"], "+1000000000");
    assert!(log.export(SHARDS, None).is_none());
}

#[test]
fn what_does_not_fit_says_so() {
    let mut log = AcceptanceLog::default();
    for index in 0..MAX_FREE_CALLBACKS {
        log.record(
            "7",
            1_000_000_000 + index as u64,
            Some(&format!("free {index}")),
            0,
        );
    }
    assert!(!log.summary(None).overflow);
    log.record("7", 1, Some("one more"), 0);
    assert!(log.summary(None).overflow);

    let mut log = AcceptanceLog::default();
    for _ in 0..u16::MAX {
        log.record("7", 1_000_000_000, None, 0);
    }
    assert!(!log.summary(None).overflow);
    log.record("7", 1_000_000_000, None, 0);
    assert!(log.summary(None).overflow, "the count of one recipient is full");
}

#[test]
fn a_recipient_takes_less_than_64_bytes() {
    const RECIPIENTS: u32 = 250_000;
    let mut log = AcceptanceLog::default();
    for seq in 0..RECIPIENTS {
        log.record(
            "7",
            5_511_900_000_000 + u64::from(seq),
            Some(&format!("c:1:{seq}")),
            0,
        );
    }
    // A table has 8 buckets for every 7 entries of its capacity, with a control byte each.
    let buckets = |capacity: usize| capacity * 8 / 7;
    let entries: usize = log.shards.iter().map(|shard| buckets(shard.capacity())).sum();
    let callbacks: usize = log.callbacks.iter().map(|shard| buckets(shard.capacity())).sum();
    let bytes = entries * (size_of::<(u64, Entry)>() + 1) + callbacks * (size_of::<u64>() + 1);
    assert!(
        bytes < RECIPIENTS as usize * 64,
        "{} bytes each",
        bytes / RECIPIENTS as usize
    );
}
