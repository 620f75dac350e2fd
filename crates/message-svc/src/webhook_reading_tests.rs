//! What each kind of update becomes.

use super::*;
use campaign_core::ids::{CampaignId, Generation, Seq};
use uuid::Uuid;
use whatsapp_api::GraphError;

fn words() -> OptOutWords {
    OptOutWords::parse("SAIR,PARAR")
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}

fn key() -> MessageKey {
    MessageKey {
        campaign: CampaignId(Uuid::from_u128(3)),
        generation: Generation(1),
        seq: Seq(2),
    }
}

fn status(status: DeliveryStatus, callback_data: Option<&str>, errors: Vec<GraphError>) -> Update {
    Update::Status(Status {
        phone_number_id: "5511".into(),
        wamid: "wamid.A".into(),
        status,
        timestamp_s: Some(1_700_000_000),
        recipient_id: Some("553187654321".into()),
        callback_data: callback_data.map(str::to_owned),
        errors,
        pricing: None,
    })
}

fn inbound(from: Option<&str>, content: InboundContent) -> Update {
    Update::Inbound(Inbound {
        phone_number_id: "5511".into(),
        from: from.map(str::to_owned),
        from_user_id: None,
        wamid: "wamid.B".into(),
        content,
        context_id: None,
        timestamp_s: None,
    })
}

#[test]
fn a_status_with_our_callback_data_becomes_an_outcome_of_its_lane() {
    let callback = key().to_string();
    for (delivery, state) in [
        (DeliveryStatus::Sent, MessageState::Sent),
        (DeliveryStatus::Delivered, MessageState::Delivered),
        (DeliveryStatus::Read, MessageState::Read),
    ] {
        let reading = read(status(delivery, Some(&callback), Vec::new()), &words(), now());
        let (lane, outcome) = reading.status.expect("a status");
        assert_eq!(lane.as_str(), "5511");
        assert_eq!((outcome.key, outcome.state), (key(), state));
        assert_eq!(outcome.at.timestamp(), 1_700_000_000);
        assert_eq!(outcome.source, OutcomeSource::Webhook);
        assert_eq!(outcome.wamid.as_deref(), Some("wamid.A"));
        assert!(reading.opt_out.is_none() && reading.unknown.is_none());
    }
}

#[test]
fn pricing_is_read_whichever_way_it_is_said() {
    let pricing = |billable, kind: &str| StatusPricing {
        billable,
        model: Some("PMP".into()),
        category: Some("marketing".into()),
        kind: Some(kind.into()),
    };
    for (pricing, billable) in [
        (pricing(Some(true), "regular"), true),
        (pricing(Some(false), "free_customer_service"), false),
        (pricing(None, "regular"), true),
        (pricing(None, "free_entry_point"), false),
    ] {
        let Update::Status(mut update) = status(DeliveryStatus::Sent, Some(&key().to_string()), Vec::new())
        else {
            unreachable!("a status");
        };
        update.pricing = Some(pricing);
        let (_, outcome) = read(Update::Status(update), &words(), now())
            .status
            .expect("a status");
        let reported = outcome.pricing.expect("its pricing");
        assert_eq!(
            (reported.billable, reported.category.as_deref()),
            (billable, Some("MARKETING"))
        );
    }
}

#[test]
fn a_message_id_of_megabytes_goes_no_further() {
    for (length, kept) in [(WAMID_MAX_BYTES, true), (WAMID_MAX_BYTES + 1, false)] {
        let Update::Status(mut update) = status(DeliveryStatus::Sent, Some(&key().to_string()), Vec::new())
        else {
            unreachable!("a status");
        };
        update.wamid = "w".repeat(length);
        let (_, outcome) = read(Update::Status(update), &words(), now())
            .status
            .expect("the status counts all the same");
        assert_eq!(outcome.wamid.is_some(), kept, "{length} bytes");
    }
}

#[test]
fn a_status_of_someone_else_is_counted_and_nothing_more() {
    for (callback, reason) in [
        (None, "no_callback_data"),
        (Some("order-7"), "foreign_callback_data"),
    ] {
        let reading = read(
            status(DeliveryStatus::Read, callback, Vec::new()),
            &words(),
            now(),
        );
        assert!(reading.status.is_none());
        assert_eq!(reading.unknown, Some(reason));
        let aside = reading.aside.expect("kept for a person");
        assert!(!aside.is_wish && aside.wamid == "wamid.A");
    }
    let played = read(status(DeliveryStatus::Played, None, Vec::new()), &words(), now());
    assert!(played.status.is_none() && played.unknown.is_none());
}

#[test]
fn a_failure_carries_its_error_and_a_stop_of_marketing_suppresses() {
    let callback = key().to_string();
    let undeliverable = GraphError::new(131_026, "x").with_details("not on WhatsApp");
    let reading = read(
        status(DeliveryStatus::Failed, Some(&callback), vec![undeliverable]),
        &words(),
        now(),
    );
    let (_, outcome) = reading.status.expect("a status");
    assert_eq!(outcome.state, MessageState::Undelivered);
    let note = outcome.error.expect("an error");
    assert_eq!(
        (note.code.as_str(), note.text.as_str()),
        ("131026", "Message undeliverable: not on WhatsApp")
    );
    assert!(reading.opt_out.is_none());

    // Even without our callback data: the wish is the person's.
    let stopped = GraphError::new(131_050, "stopped");
    let reading = read(
        status(DeliveryStatus::Failed, None, vec![stopped]),
        &words(),
        now(),
    );
    let (_, opt_out) = reading.opt_out.expect("a suppression");
    assert_eq!(
        opt_out.phone.as_str(),
        "+5531987654321",
        "the ninth digit is added"
    );
    assert_eq!(opt_out.source, "error_131050");
}

#[test]
fn the_exact_word_by_text_or_button_is_an_opt_out() {
    let button = |payload: Option<&str>| InboundContent::Button {
        text: "Parar".into(),
        payload: payload.map(str::to_owned),
    };
    for (content, opts_out) in [
        (InboundContent::Text(" sair ".into()), true),
        (InboundContent::Text("quero sair daqui".into()), false),
        (button(None), true),
        (button(Some("PARAR")), true),
        (button(Some("details")), true),
        (
            InboundContent::Button {
                text: "Ofertas".into(),
                payload: Some("details".into()),
            },
            false,
        ),
        (InboundContent::Other("image".into()), false),
    ] {
        let reading = read(inbound(Some("5531987654321"), content.clone()), &words(), now());
        assert_eq!(reading.opt_out.is_some(), opts_out, "{content:?}");
        if let Some((lane, opt_out)) = reading.opt_out {
            assert_eq!(lane.expect("named").as_str(), "5511");
            assert!(opt_out.stop && opt_out.source == "keyword" && opt_out.at == now());
        }
    }
    let nameless = read(
        inbound(None, InboundContent::Text("SAIR".into())),
        &words(),
        now(),
    );
    assert_eq!(nameless.unknown, Some("person"));
    assert!(nameless.aside.is_some_and(|aside| aside.is_wish));
}

/// The ledger knows whom the message went to, so the webhook need not.
#[test]
fn a_stop_of_marketing_without_a_phone_is_told_by_its_message() {
    let callback = key().to_string();
    for (callback, told_by_message) in [(Some(callback.as_str()), true), (None, false)] {
        let stopped = vec![GraphError::new(131_050, "stopped")];
        let Update::Status(mut update) = status(DeliveryStatus::Failed, callback, stopped) else {
            unreachable!("a status");
        };
        update.recipient_id = None;
        let reading = read(Update::Status(update), &words(), now());
        assert!(reading.opt_out.is_none());
        assert_eq!(
            reading.status.is_some_and(|(_, outcome)| outcome.suppress),
            told_by_message
        );
        assert_eq!(reading.aside.is_some_and(|aside| aside.is_wish), !told_by_message);
    }
}

#[test]
fn a_time_that_cannot_be_true_is_now() {
    for (seconds, expected) in [
        (Some(1_700_000_000), 1_700_000_000),
        (Some(1_800_000_001), 1_800_000_000),
        (Some(1_700_000_000_000), 1_800_000_000),
        (Some(i64::MAX), 1_800_000_000),
        (Some(0), 1_800_000_000),
        (Some(-5), 1_800_000_000),
        (None, 1_800_000_000),
    ] {
        assert_eq!(time(seconds, now()).timestamp(), expected, "{seconds:?}");
    }
}

#[test]
fn what_concerns_an_account_goes_to_the_scheduler_in_metas_words() {
    use whatsapp_api::webhook::{AccountUpdate, Quality, TemplateStatus};
    let template = Update::TemplateStatus(TemplateStatus {
        account_id: "102290129340398".into(),
        template_id: Some("7".into()),
        name: "oferta".into(),
        language: "pt_BR".into(),
        event: "PAUSED".into(),
        reason: Some("LOW_QUALITY".into()),
    });
    let quality = Update::Quality(Quality {
        account_id: "102290129340398".into(),
        display_phone_number: Some("551130000001".into()),
        event: "FLAGGED".into(),
        current_limit: None,
    });
    let account = Update::Account(AccountUpdate {
        account_id: "102290129340398".into(),
        event: "ACCOUNT_RESTRICTION".into(),
        reason: None,
    });
    for (update, kind) in [
        (template, "template_status"),
        (quality, "quality"),
        (account, "account"),
    ] {
        let reading = read(update, &words(), now());
        let event = reading.account_event.expect("an event");
        assert_eq!(
            (reading.kind, event.waba_id.as_str(), event.at),
            (kind, "102290129340398", now())
        );
        let word = match event.change {
            AccountChange::Template { event, .. }
            | AccountChange::Quality { event, .. }
            | AccountChange::Account { event, .. } => event,
        };
        assert!(["PAUSED", "FLAGGED", "ACCOUNT_RESTRICTION"].contains(&word.as_str()));
        assert!(reading.status.is_none() && reading.opt_out.is_none());
    }
}

#[test]
fn a_preference_stops_and_resumes() {
    for (value, stop) in [(PreferenceValue::Stop, true), (PreferenceValue::Resume, false)] {
        let update = Update::Preference(Preference {
            phone_number_id: None,
            wa_id: Some("553187654321".into()),
            user_id: None,
            category: "marketing_messages".into(),
            value,
            timestamp_s: Some(1_700_000_000),
        });
        let (lane, opt_out) = read(update, &words(), now()).opt_out.expect("a wish");
        assert_eq!((lane, opt_out.stop), (None, stop));
        assert_eq!(opt_out.source, "preference");
    }
}
