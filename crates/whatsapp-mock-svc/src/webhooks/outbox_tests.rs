//! The life of messages, told by the second.

use std::collections::HashMap;

use super::*;
use StatusKind::{Delivered, Failed, Read, Sent};

fn settings() -> WebhookSettings {
    WebhookSettings {
        url: Some("http://127.0.0.1:1".into()),
        read_share: 1.0,
        batch_size: 10,
        ..WebhookSettings::default()
    }
}

fn message(number: u64) -> Message {
    Message {
        phone_number_id: "1".into(),
        wa_id: number,
        callback: Callback::None,
        lot: Lot::of(1, &[&number.to_le_bytes()]),
        price: crate::pricing::Price {
            rate: crate::pricing::Rate::Marketing,
            is_in_window: false,
            has_conversation: false,
        },
    }
}

/// Everything told in 20 s of the outbox's time.
fn told(settings: &WebhookSettings, messages: u64) -> (Vec<Event>, OutboxReport) {
    let mut outbox = Outbox::new(0);
    for number in 0..messages {
        outbox.accept(settings, message(number), 0);
    }
    let mut events = Vec::new();
    for now_ms in (0..20_000).step_by(10) {
        while let Some(Batch::Statuses(batch)) = outbox.next_batch(settings, now_ms * 1_000) {
            assert!(batch.len() <= settings.batch_size);
            events.extend(batch);
        }
    }
    let report = outbox.report();
    assert_eq!((report.pending, report.ready), (0, 0), "all is told");
    (events, report)
}

fn lives(events: &[Event]) -> HashMap<u64, Vec<StatusKind>> {
    let mut lives: HashMap<u64, Vec<StatusKind>> = HashMap::new();
    for event in events {
        lives.entry(event.serial).or_default().push(event.status);
    }
    lives
}

#[test]
fn each_message_is_sent_then_delivered_then_read() {
    let (events, _) = told(&settings(), 95);
    let lives = lives(&events);
    assert_eq!(lives.len(), 95);
    assert!(lives.values().all(|life| life == &[Sent, Delivered, Read]));
}

#[test]
fn shares_fail_and_read_as_configured() {
    let settings = WebhookSettings {
        fail_share: 0.2,
        read_share: 0.5,
        ..settings()
    };
    let (events, _) = told(&settings, 2_000);
    let count = |kind| events.iter().filter(|event| event.status == kind).count();
    assert_eq!((count(Sent), count(Failed) + count(Delivered)), (2_000, 2_000));
    assert!((330..470).contains(&count(Failed)), "{}", count(Failed));
    assert!((700..900).contains(&count(Read)), "{}", count(Read));
    assert!(
        lives(&events)
            .values()
            .all(|life| !(life.contains(&Failed) && life.contains(&Read)))
    );
}

#[test]
fn chance_repeats_loses_and_delays() {
    let settings = WebhookSettings {
        repeat_share: 0.1,
        lost_share: 0.1,
        late_share: 0.1,
        ..settings()
    };
    let (events, report) = told(&settings, 1_000);
    for count in [report.repeated, report.lost, report.late] {
        assert!((200..400).contains(&count), "{report:?}");
    }
    assert_eq!(events.len() as u64, 3_000 + report.repeated - report.lost);
    let disordered = lives(&events).into_values().filter(|life| {
        life.iter().position(|kind| *kind == Delivered) > life.iter().position(|kind| *kind == Read)
    });
    assert!(disordered.count() > 10);
}

#[test]
fn shuffling_mixes_messages_but_loses_none() {
    let ordered = told(&settings(), 40).0;
    let shuffled = told(
        &WebhookSettings {
            shuffle: true,
            ..settings()
        },
        40,
    )
    .0;
    let serials = |events: &[Event]| events[..40].iter().map(|event| event.serial).collect::<Vec<_>>();
    assert_ne!(serials(&ordered), serials(&shuffled));
    assert_eq!(lives(&shuffled).values().map(Vec::len).sum::<usize>(), 120);
}

#[test]
fn a_full_outbox_drops_statuses_and_says_so() {
    let mut outbox = Outbox::new(0);
    for number in 0..=MAX_PENDING as u64 {
        outbox.accept(&settings(), message(number), 0);
    }
    let report = outbox.report();
    assert_eq!((report.pending, report.dropped), (MAX_PENDING, 1));
}

#[test]
fn inbound_messages_are_bounded() {
    let mut outbox = Outbox::new(0);
    let request: InboundRequest = serde_json::from_str(
        r#"{"phone_number_id":"1","from":"55","content":{"type":"text","body":"SAIR"}}"#,
    )
    .expect("reads");
    for _ in 0..MAX_INBOUND {
        assert!(outbox.accept_inbound(request.clone()).is_some());
    }
    assert!(outbox.accept_inbound(request).is_none());
}

#[test]
fn a_waiting_message_is_small() {
    assert!(size_of::<Pending>() <= 96, "{}", size_of::<Pending>());
}
