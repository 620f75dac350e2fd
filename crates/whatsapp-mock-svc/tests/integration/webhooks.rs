use std::collections::{HashMap, HashSet};

use serde_json::json;
use whatsapp_api::SendOutcome;
use whatsapp_api::webhook::{DeliveryStatus, InboundContent, PreferenceValue, Update};
use whatsapp_mock_svc::{FaultProfile, WebhookSettings};

use crate::harness::{Mock, PHONE_NUMBER_ID, message, wait_for};
use crate::receiver::{APP_SECRET, Receiver};

fn settings(receiver: &Receiver) -> WebhookSettings {
    WebhookSettings {
        url: Some(receiver.url()),
        app_secret: Some(APP_SECRET.into()),
        sent_ms: 10,
        delivered_ms: 10,
        read_ms: 10,
        read_share: 1.0,
        batch_size: 7,
        retry_min_ms: 10,
        retry_max_ms: 50,
        ..WebhookSettings::default()
    }
}

async fn send_all(mock: &Mock, count: u32) -> HashSet<String> {
    let mut wamids = HashSet::new();
    for seq in 0..count {
        match mock.send(&message("c", seq)).await {
            SendOutcome::Accepted { wamid, .. } => wamids.insert(wamid),
            other => panic!("{other:?}"),
        };
    }
    wamids
}

#[tokio::test]
async fn statuses_come_signed_in_batches_with_their_callback_data() {
    let receiver = Receiver::start(0).await;
    let mock = Mock::start(FaultProfile::default(), settings(&receiver)).await;
    let wamids = send_all(&mock, 20).await;
    let statuses = wait_for("60 statuses", async || {
        let statuses = receiver.statuses();
        (statuses.len() >= 60).then_some(statuses)
    })
    .await;
    assert_eq!((statuses.len(), receiver.unsigned()), (60, 0));
    let told: HashSet<_> = statuses.iter().map(|status| status.wamid.clone()).collect();
    assert_eq!(told, wamids);
    let data: HashSet<_> = statuses
        .iter()
        .filter_map(|status| status.callback_data.clone())
        .collect();
    assert_eq!(data, (0..20).map(|seq| format!("c:1:{seq}")).collect());
    assert!(
        statuses
            .iter()
            .all(|status| status.phone_number_id == PHONE_NUMBER_ID)
    );
    assert!(
        statuses
            .iter()
            .all(|status| status.timestamp_s.is_some_and(|time| time > 1_600_000_000))
    );
    assert!(receiver.bodies().iter().all(|body| body.len() <= 7));
    assert!(receiver.bodies().len() < 60, "batched");
}

#[tokio::test]
async fn what_is_not_answered_200_comes_again() {
    let receiver = Receiver::start(5).await;
    let mock = Mock::start(FaultProfile::default(), settings(&receiver)).await;
    send_all(&mock, 10).await;
    wait_for("30 statuses", async || {
        (receiver.statuses().len() >= 30).then_some(())
    })
    .await;
    assert_eq!((receiver.statuses().len(), receiver.refused()), (30, 5));
}

#[tokio::test]
async fn repeated_and_shuffled_statuses_say_the_same_in_the_end() {
    let receiver = Receiver::start(0).await;
    let webhooks = WebhookSettings {
        shuffle: true,
        repeat_share: 0.5,
        fail_share: 0.5,
        ..settings(&receiver)
    };
    let mock = Mock::start(FaultProfile::default(), webhooks).await;
    send_all(&mock, 30).await;
    wait_for("all is told", async || {
        let overview = mock.get("/mock").await;
        let webhooks = &overview["webhooks"];
        let waits = ["pending", "ready", "delivering"]
            .iter()
            .any(|count| webhooks[count] != 0);
        (!waits).then_some(())
    })
    .await;
    let repeated = mock.get("/mock").await["webhooks"]["repeated"].as_u64().unwrap();
    assert!(repeated > 10, "{repeated}");
    let ended = |wanted: &DeliveryStatus| {
        let statuses = receiver.statuses();
        let of_kind = statuses.into_iter().filter(|status| status.status == *wanted);
        of_kind.map(|status| status.wamid).collect::<HashSet<_>>().len()
    };
    assert_eq!(ended(&DeliveryStatus::Sent), 30);
    assert_eq!(ended(&DeliveryStatus::Failed) + ended(&DeliveryStatus::Read), 30);
    let failed = receiver
        .statuses()
        .into_iter()
        .find(|status| status.status == DeliveryStatus::Failed);
    assert_eq!(failed.unwrap().errors[0].code, 131_026);
    let mut times: HashMap<(String, DeliveryStatus), u32> = HashMap::new();
    for status in receiver.statuses() {
        *times.entry((status.wamid, status.status)).or_default() += 1;
    }
    assert!(times.values().all(|&count| count <= 2) && times.values().any(|&count| count == 2));
}

#[tokio::test]
async fn people_write_press_buttons_and_opt_out() {
    let receiver = Receiver::start(0).await;
    let mock = Mock::start(FaultProfile::default(), settings(&receiver)).await;
    for content in [
        json!({"type": "text", "body": "SAIR"}),
        json!({"type": "button", "text": "Stop", "payload": "STOP"}),
        json!({"type": "interactive", "id": "yes", "title": "Yes"}),
        json!({"type": "preference", "value": "stop"}),
    ] {
        let request = json!({"phone_number_id": PHONE_NUMBER_ID, "from": "5511987654321",
            "content": content, "context_id": "wamid.ours"});
        let (status, answer) = mock.post("/mock/inbound", request).await;
        assert_eq!(status, 200, "{answer}");
    }
    let updates = wait_for("four updates", async || {
        let updates: Vec<_> = receiver.bodies().into_iter().flatten().collect();
        (updates.len() >= 4).then_some(updates)
    })
    .await;
    let texts = updates.iter().filter_map(|update| match update {
        Update::Inbound(inbound) => Some((inbound.context_id.as_deref(), &inbound.content)),
        _ => None,
    });
    let texts: Vec<_> = texts.collect();
    assert_eq!(texts.len(), 3);
    assert!(texts.iter().all(|(context, _)| *context == Some("wamid.ours")));
    assert!(
        texts
            .iter()
            .any(|(_, content)| **content == InboundContent::Text("SAIR".into()))
    );
    let stop = updates.iter().find_map(|update| match update {
        Update::Preference(preference) => Some(preference.clone()),
        _ => None,
    });
    let stop = stop.unwrap();
    assert_eq!(
        (stop.wa_id.as_deref(), stop.value),
        (Some("5511987654321"), PreferenceValue::Stop)
    );

    let nobody = json!({"phone_number_id": "x", "from": "+55", "content": {"type": "text", "body": "x"}});
    let (status, problem) = mock.post("/mock/inbound", nobody).await;
    assert_eq!(
        (status, problem["errors"].as_array().map(Vec::len)),
        (422, Some(2))
    );
}

#[tokio::test]
async fn the_target_can_be_set_while_running_and_verified() {
    let receiver = Receiver::start(0).await;
    let mock = Mock::with_faults(FaultProfile::default()).await;
    send_all(&mock, 1).await;
    let target = json!({"url": receiver.url(), "app_secret": APP_SECRET, "sent_ms": 0, "read_share": 0.0});
    let (status, shown) = mock.put("/mock/webhooks", target).await;
    assert_eq!(status, 200);
    assert!(shown.get("app_secret").is_none(), "{shown}");
    // The secret stays although this change does not repeat it.
    mock.put("/mock/webhooks", json!({"delivered_ms": 1})).await;
    assert_eq!(
        mock.post("/mock/webhooks/verify", json!({})).await.1,
        json!({"verified": true})
    );

    send_all(&mock, 1).await;
    let statuses = wait_for("two statuses", async || {
        let statuses = receiver.statuses();
        (statuses.len() >= 2).then_some(statuses)
    })
    .await;
    assert_eq!((statuses.len(), receiver.unsigned()), (2, 0));
    // Turned off, nothing more comes.
    mock.put("/mock/webhooks", json!({"enabled": false})).await;
    send_all(&mock, 3).await;
    assert_eq!(mock.get("/mock").await["webhooks"]["pending"], 0);
}
