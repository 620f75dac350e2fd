use proptest::prelude::*;
use serde_json::{Value, json};
use whatsapp_api::errors::{GraphError, decide};
use whatsapp_api::webhook::{
    self, DeliveryStatus, Inbound, InboundContent, MAX_UPDATES, MAX_WEBHOOK_BYTES, PreferenceValue, Update,
    WebhookError, body,
};
use whatsapp_api::{Action, signature};

fn parse(value: &Value) -> webhook::Webhook {
    webhook::parse(&serde_json::to_vec(value).unwrap()).unwrap()
}

fn messages(value: &Value) -> Value {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "102", "changes": [
        {"field": "messages", "value": value}]}]})
}

fn with_metadata(lists: &Value) -> Value {
    let mut value = json!({"messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": "106"}});
    for (key, list) in lists.as_object().unwrap() {
        value[key] = list.clone();
    }
    messages(&value)
}

#[test]
fn statuses_are_read_with_codes_as_numbers_or_strings() {
    let webhook = parse(&with_metadata(&json!({"statuses": [
        {"id": "wamid.1", "status": "delivered", "timestamp": "1750030073", "recipient_id": "551187654321",
         "biz_opaque_callback_data": "c:1:7", "pricing": {"billable": true}},
        {"id": "wamid.2", "status": "failed", "timestamp": 1_750_030_074,
         "errors": [{"code": "132015", "title": "paused"}, {"code": 131_049, "title": "limit"}]},
        {"id": "wamid.3", "status": "warehoused"}
    ]})));
    assert_eq!((webhook.updates.len(), webhook.unreadable), (3, 0));
    let Update::Status(first) = &webhook.updates[0] else {
        panic!()
    };
    assert_eq!(first.phone_number_id, "106");
    assert_eq!(first.timestamp_s, Some(1_750_030_073));
    assert_eq!(first.callback_data.as_deref(), Some("c:1:7"));
    let Update::Status(second) = &webhook.updates[1] else {
        panic!()
    };
    assert_eq!(second.timestamp_s, Some(1_750_030_074));
    let actions: Vec<_> = second.errors.iter().map(|error| decide(error).action).collect();
    assert_eq!(actions, [Action::HoldCampaign, Action::FailForADay]);
    let Update::Status(third) = &webhook.updates[2] else {
        panic!()
    };
    assert_eq!(third.status, DeliveryStatus::Other("warehoused".into()));
}

#[test]
fn inbound_messages_of_every_kind_are_read() {
    let webhook = parse(&with_metadata(&json!({"messages": [
        {"from": "5511", "id": "wamid.1", "timestamp": "1", "type": "text", "text": {"body": "SAIR"}},
        {"from_user_id": "BR.1", "id": "wamid.2", "type": "button", "context": {"id": "wamid.ours"},
         "button": {"text": "Stop", "payload": "STOP"}},
        {"from": "5511", "id": "wamid.3", "type": "interactive",
         "interactive": {"type": "list_reply", "list_reply": {"id": "row", "title": "Row"}}},
        {"from": "5511", "id": "wamid.4", "type": "sticker", "sticker": {}}
    ]})));
    let inbound: Vec<&Inbound> = webhook
        .updates
        .iter()
        .map(|update| match update {
            Update::Inbound(inbound) => inbound,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(inbound[0].content, InboundContent::Text("SAIR".into()));
    assert_eq!(
        (inbound[1].from.as_deref(), inbound[1].from_user_id.as_deref()),
        (None, Some("BR.1"))
    );
    assert_eq!(inbound[1].context_id.as_deref(), Some("wamid.ours"));
    let payload = |payload: &str| Some(payload.to_owned());
    assert_eq!(
        inbound[1].content,
        InboundContent::Button {
            text: "Stop".into(),
            payload: payload("STOP")
        }
    );
    assert_eq!(
        inbound[2].content,
        InboundContent::Interactive {
            text: "Row".into(),
            payload: payload("row")
        }
    );
    assert_eq!(inbound[3].content, InboundContent::Other("sticker".into()));
}

#[test]
fn people_without_a_phone_are_read_and_the_contacts_may_tell_it() {
    let text = |user_id: &str| json!({"from_user_id": user_id, "id": "wamid.1", "type": "text", "text": {"body": "SAIR"}});
    let webhook = parse(&with_metadata(&json!({
        "contacts": [7, {"user_id": "BR.1", "wa_id": "5511"}, {"user_id": "BR.2"}],
        "messages": [text("BR.1"), text("BR.2"), text("BR.3"),
            {"from": "5511", "id": "wamid.4", "type": "interactive", "interactive": {"type": "nfm_reply"}}],
    })));
    assert_eq!((webhook.updates.len(), webhook.unreadable), (4, 0));
    let from: Vec<_> = webhook
        .updates
        .iter()
        .map(|update| match update {
            Update::Inbound(inbound) => inbound.from.as_deref(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(from, [Some("5511"), None, None, Some("5511")]);
    let webhook = parse(
        &json!({"entry": [{"changes": [{"field": "user_preferences", "value": {
        "user_preferences": [{"user_id": "BR.1", "category": "marketing_messages", "value": "stop"}]}}]}]}),
    );
    let Update::Preference(preference) = &webhook.updates[0] else {
        panic!("{webhook:?}")
    };
    assert_eq!(
        (preference.wa_id.as_deref(), preference.user_id.as_deref()),
        (None, Some("BR.1"))
    );
}

#[test]
fn every_entry_and_change_is_read_and_an_odd_element_costs_only_itself() {
    let metadata = json!({"phone_number_id": "106"});
    let status = |id: &str| json!({"id": id, "status": "sent"});
    let webhook = parse(&json!({"entry": [
        7,
        {"id": "1"},
        {"id": "1", "changes": [
            null,
            {"field": "messages", "value": {"metadata": metadata, "statuses": [
                status("a"), null, {"id": "b"}, {"id": {}, "status": "sent"}, "x", status("c")]}},
            {"field": "messages", "value": {"statuses": [status("no-number")]}},
            {"field": "user_preferences", "value": {"metadata": metadata, "user_preferences": [
                {"wa_id": "5511", "category": "marketing_messages", "value": "stop", "timestamp": 5},
                {"wa_id": "5511", "value": "perhaps"}]}},
            {"field": "flows", "value": {}}]},
        {"id": 2, "changes": [
            {"field": "message_template_status_update", "value": {"event": "PAUSED",
             "message_template_id": 9, "message_template_name": "hello",
             "message_template_language": "en-US", "reason": "NONE"}},
            {"field": "phone_number_quality_update", "value": {"event": "DOWNGRADE",
             "display_phone_number": "1555", "current_limit": "TIER_10K"}},
            {"field": "account_update", "value": {"event": "ACCOUNT_VIOLATION",
             "violation_info": {"violation_type": "SPAM"}}}]}
    ]}));
    let statuses = webhook
        .updates
        .iter()
        .filter(|update| matches!(update, Update::Status(_)));
    assert_eq!(statuses.count(), 2);
    assert_eq!(webhook.unreadable, 9);
    let Update::Preference(preference) = &webhook.updates[2] else {
        panic!("{webhook:?}")
    };
    assert_eq!(
        (preference.value, preference.timestamp_s),
        (PreferenceValue::Stop, Some(5))
    );
    assert_eq!(webhook.updates[3], Update::Unknown("flows".into()));
    let Update::TemplateStatus(template) = &webhook.updates[4] else {
        panic!("{webhook:?}")
    };
    assert_eq!(
        (template.account_id.as_str(), template.language.as_str()),
        ("2", "en_US")
    );
    assert_eq!(
        (template.template_id.as_deref(), template.reason.as_deref()),
        (Some("9"), None)
    );
    assert!(matches!(&webhook.updates[5], Update::Quality(quality) if quality.event == "DOWNGRADE"));
    assert!(
        matches!(&webhook.updates[6], Update::Account(account) if account.reason.as_deref() == Some("SPAM"))
    );
}

#[test]
fn what_is_no_webhook_is_refused_whole() {
    assert!(matches!(
        webhook::parse(b"{\"entry\":["),
        Err(WebhookError::NotJson(_))
    ));
    assert!(matches!(webhook::parse(b"{}"), Err(WebhookError::NoEntry)));
    let large = vec![b' '; MAX_WEBHOOK_BYTES + 1];
    assert!(matches!(webhook::parse(&large), Err(WebhookError::TooLarge(_))));
}

#[test]
fn a_thousand_updates_are_read_and_one_more_is_refused() {
    let statuses = |count: usize| {
        let list = vec![json!({"id": "wamid", "status": "sent"}); count];
        serde_json::to_vec(&with_metadata(&json!({"statuses": list}))).unwrap()
    };
    assert_eq!(
        webhook::parse(&statuses(MAX_UPDATES)).unwrap().updates.len(),
        MAX_UPDATES
    );
    let refused = webhook::parse(&statuses(MAX_UPDATES + 1));
    assert!(matches!(refused, Err(WebhookError::TooManyUpdates)));
}

#[test]
fn what_the_mock_writes_is_what_we_read() {
    let errors = [GraphError::new(131_026, "undeliverable").with_details("not on WhatsApp")];
    let changes = vec![
        body::Change::statuses(
            "106",
            vec![body::Status {
                id: "wamid.1".into(),
                status: "failed",
                timestamp: "12".into(),
                recipient_id: Some("551187654321".into()),
                recipient_user_id: None,
                biz_opaque_callback_data: Some("c:1:7".into()),
                conversation: None,
                pricing: None,
                errors: &errors,
            }],
        ),
        body::Change::preferences(
            "106",
            vec![body::Preference {
                wa_id: "5511",
                detail: "User requested to resume marketing messages",
                category: "marketing_messages",
                value: "resume",
                timestamp: 3,
            }],
        ),
    ];
    let raw = serde_json::to_vec(&body::Body::new("102", changes)).unwrap();
    let header = signature::sign(b"secret", &raw);
    assert!(signature::verify(b"secret", &raw, &header));
    let webhook = webhook::parse(&raw).unwrap();
    let Update::Status(status) = &webhook.updates[0] else {
        panic!()
    };
    assert_eq!(
        (status.errors[0].code, status.errors[0].details()),
        (131_026, "not on WhatsApp")
    );
    assert_eq!(
        (status.timestamp_s, status.callback_data.as_deref()),
        (Some(12), Some("c:1:7"))
    );
    assert!(matches!(&webhook.updates[1],
        Update::Preference(preference) if preference.value == PreferenceValue::Resume));
}

/// Random JSON that is built from the names a webhook uses, so that it gets deep into the reader.
fn odd_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "entry",
        "changes",
        "id",
        "field",
        "value",
        "metadata",
        "phone_number_id",
        "statuses",
        "messages",
        "status",
        "errors",
        "code",
        "error_data",
        "type",
        "text",
        "body",
        "button",
        "interactive",
        "button_reply",
        "user_preferences",
        "wa_id",
        "event",
        "timestamp",
        "context",
    ]);
    let words = prop::sample::select(vec![
        "messages",
        "user_preferences",
        "sent",
        "text",
        "button",
        "stop",
        "1",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 128, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8).prop_map(|pairs| {
                Value::Object(
                    pairs
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_the_reader_panic(entry in odd_json(), change in odd_json(), value in odd_json()) {
        for body in [
            json!({"entry": entry}),
            json!({"entry": [{"id": "1", "changes": change}]}),
            messages(&value),
            messages(&json!({"metadata": {"phone_number_id": "1"}, "statuses": [value], "messages": [value]})),
        ] {
            let parsed = webhook::parse(&serde_json::to_vec(&body).unwrap());
            prop_assert!(!matches!(parsed, Err(WebhookError::NotJson(_) | WebhookError::NoEntry))
                || !body["entry"].is_array());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(raw in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = webhook::parse(&raw);
    }
}
