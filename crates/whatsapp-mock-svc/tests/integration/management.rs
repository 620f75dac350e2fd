//! Templates and phone numbers as management clients see them, and what Meta reports about them.

use serde_json::{Value, json};
use whatsapp_api::webhook::Update;
use whatsapp_mock_svc::{FaultProfile, WebhookSettings};

use crate::harness::{Mock, PHONE_NUMBER_ID, wait_for};
use crate::receiver::{APP_SECRET, Receiver};
use crate::strict::{ACCOUNT_ID, template};

fn list(query: &str) -> String {
    format!("/v25.0/{ACCOUNT_ID}/message_templates?{query}")
}

#[tokio::test]
async fn templates_are_listed_page_by_page_and_filtered() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    assert_eq!(
        mock.graph("GET", &list(""), None).await,
        (200, json!({"data": []}))
    );
    for name in ["a_1", "a_2", "b_1", "b_2", "b_3"] {
        assert_eq!(mock.register(&template(name, "UTILITY")).await.0, 200);
    }
    let (mut path, mut names, mut pages) = (list("limit=2&fields=name,status"), Vec::new(), 0);
    loop {
        let (_, page) = mock.graph("GET", &path, None).await;
        for item in page["data"].as_array().unwrap() {
            assert_eq!(
                item.as_object().unwrap().keys().collect::<Vec<_>>(),
                ["id", "name", "status"]
            );
            names.push(item["name"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(next) = page["paging"]["next"].as_str() else {
            break;
        };
        path = next
            .strip_prefix(&format!("http://{}", mock.addr))
            .unwrap()
            .to_owned();
    }
    assert_eq!(
        (names, pages),
        (["a_1", "a_2", "b_1", "b_2", "b_3"].map(str::to_owned).to_vec(), 3)
    );

    for (query, count) in [
        ("name=b_", 3),
        ("status=APPROVED", 0),
        ("status=APPROVED,PENDING", 5),
        ("language=en", 0),
        ("category=UTILITY&name=a", 2),
        ("content=something%20new", 5),
    ] {
        let (_, page) = mock.graph("GET", &list(query), None).await;
        assert_eq!(page["data"].as_array().unwrap().len(), count, "{query}");
    }
    let (_, whole) = mock
        .graph("GET", &list("summary=total_count&limit=1"), None)
        .await;
    assert_eq!(whole["summary"]["total_count"], 5);
    let template = &whole["data"][0];
    assert_eq!(
        (&template["parameter_format"], &template["language"]),
        (&json!("POSITIONAL"), &json!("pt_BR"))
    );
    let id = template["id"].as_str().unwrap();
    let (_, one) = mock.graph("GET", &format!("/v25.0/{id}?fields=name"), None).await;
    assert_eq!(one, json!({"id": id, "name": "a_1"}));
}

#[tokio::test]
async fn templates_are_refused_and_deleted_as_meta_does() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    assert_eq!(mock.register(&template("offer", "MARKETING")).await.0, 200);
    let (status, again) = mock.register(&template("offer", "MARKETING")).await;
    assert_eq!(
        (status, &again["error"]["error_subcode"]),
        (400, &json!(2_388_024))
    );
    let mut at_edge = template("edge", "MARKETING");
    at_edge["components"][0]["text"] = json!("{{1}} comes first in this template");
    let error = mock.register(&at_edge).await.1["error"].clone();
    assert_eq!(
        (&error["code"], &error["error_subcode"]),
        (&json!(100), &json!(2_388_299))
    );
    assert!(error["error_user_title"].is_string() && error["error_user_msg"].is_string());
    assert_eq!(mock.register(&json!({"name": "x"})).await.1["error"]["code"], 100);

    let delete = list("name=offer");
    assert_eq!(
        mock.graph("DELETE", &delete, None).await,
        (200, json!({"success": true}))
    );
    assert_eq!(
        mock.graph("DELETE", &delete, None).await.1["error"]["error_subcode"],
        2_593_002
    );
    assert_eq!(mock.graph("GET", &list(""), None).await.1, json!({"data": []}));
}

#[tokio::test]
async fn numbers_show_what_was_set() {
    let mock = Mock::with_faults(FaultProfile::default()).await;
    let settings = json!({"throughput": 80, "account_id": "55", "display_phone_number": "15550783881",
        "verified_name": "A Shop", "quality_rating": "YELLOW"});
    assert_eq!(
        mock.put(&format!("/mock/numbers/{PHONE_NUMBER_ID}"), settings)
            .await
            .0,
        200
    );
    mock.put("/mock/accounts/55", json!({"messaging_limit": "TIER_10K"}))
        .await;
    let fields = "throughput,whatsapp_business_manager_messaging_limit,quality_rating,display_phone_number,\
                  verified_name,status";
    let expected = json!({"id": PHONE_NUMBER_ID, "throughput": {"level": "STANDARD"}, "status": "CONNECTED",
        "whatsapp_business_manager_messaging_limit": "TIER_10K", "quality_rating": "YELLOW",
        "display_phone_number": "+1 555-078-3881", "verified_name": "A Shop"});
    let (_, number) = mock
        .graph("GET", &format!("/v25.0/{PHONE_NUMBER_ID}?fields={fields}"), None)
        .await;
    assert_eq!(number, expected);
    let (_, numbers) = mock.graph("GET", "/v25.0/55/phone_numbers", None).await;
    assert_eq!(numbers["data"][0]["id"], PHONE_NUMBER_ID);
    assert!(numbers["paging"]["cursors"]["after"].is_string());
}

#[tokio::test]
async fn changes_are_told_by_signed_webhooks() {
    let receiver = Receiver::start(0).await;
    let webhooks = WebhookSettings {
        url: Some(receiver.url()),
        app_secret: Some(APP_SECRET.into()),
        ..WebhookSettings::default()
    };
    let mock = Mock::start(FaultProfile::default(), webhooks).await;
    mock.register(&template("offer", "MARKETING")).await;
    let path = format!("/mock/accounts/{ACCOUNT_ID}/templates/offer/pt_BR");
    assert_eq!(
        mock.put(&path, json!({"status": "PAUSED"})).await.1,
        json!({"told": true})
    );
    let number = format!("/mock/numbers/{PHONE_NUMBER_ID}");
    mock.put(&number, json!({})).await;
    let change = json!({"event": "FLAGGED", "quality_rating": "RED"});
    assert_eq!(
        mock.post(&format!("{number}/quality"), change).await.1,
        json!({"told": true})
    );
    let update = format!("/mock/accounts/{ACCOUNT_ID}/update");
    assert_eq!(
        mock.post(&update, json!({"event": "ACCOUNT_VIOLATION"})).await.1,
        json!({"told": true})
    );
    let reinstated = json!({"event": "DISABLED_UPDATE", "ban_state": "REINSTATE"});
    assert_eq!(mock.post(&update, reinstated).await.1, json!({"told": true}));
    let misfit = json!({"event": "ACCOUNT_VIOLATION", "ban_state": "REINSTATE"});
    let (status, refused) = mock.post(&update, misfit).await;
    assert_eq!(
        (status, &refused["errors"][0]["field"]),
        (422, &json!("/ban_state"))
    );
    let updates = wait_for("four updates", async || {
        let updates: Vec<Update> = receiver.bodies().into_iter().flatten().collect();
        (updates.len() >= 4).then_some(updates)
    })
    .await;
    assert_eq!((updates.len(), receiver.unsigned()), (4, 0), "{updates:?}");
    let raw = receiver.raw();
    assert!(
        raw.contains(r#""event":"PAUSED""#) && raw.contains(r#""message_template_name":"offer""#),
        "{raw}"
    );
    assert!(
        raw.contains("phone_number_quality_update") && raw.contains("account_update"),
        "{raw}"
    );
    assert!(raw.contains(r#""waba_ban_state":"REINSTATE""#), "{raw}");
}

#[tokio::test]
async fn statuses_carry_what_a_message_costs_and_who_got_it() {
    let receiver = Receiver::start(0).await;
    let webhooks = WebhookSettings {
        url: Some(receiver.url()),
        app_secret: Some(APP_SECRET.into()),
        read_share: 1.0,
        ..WebhookSettings::default()
    };
    let mock = Mock::start(FaultProfile::default(), webhooks).await;
    mock.put(
        &format!("/mock/accounts/{ACCOUNT_ID}"),
        json!({"approves_at_once": true}),
    )
    .await;
    mock.register(&template("receipt", "UTILITY")).await;
    let message = json!({"messaging_product": "whatsapp", "to": "+5531987654321", "type": "template",
        "template": {"name": "receipt", "language": {"code": "pt_BR"}, "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]}});
    mock.graph(
        "POST",
        &format!("/v23.0/{PHONE_NUMBER_ID}/messages"),
        Some(&message),
    )
    .await;
    wait_for("three statuses", async || {
        (receiver.statuses().len() == 3).then_some(())
    })
    .await;
    let statuses: Vec<Value> = receiver.values("statuses");
    let kinds: Vec<_> = statuses
        .iter()
        .map(|status| status["status"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["sent", "delivered", "read"]);
    let pricing = json!({"billable": true, "pricing_model": "PMP", "category": "utility", "type": "regular"});
    assert_eq!(
        (&statuses[0]["pricing"], &statuses[1]["pricing"]),
        (&pricing, &pricing)
    );
    assert_eq!(statuses[2].get("pricing"), None);
    assert_eq!(statuses[0]["conversation"]["origin"]["type"], "utility");
    assert!(statuses[0]["conversation"]["expiration_timestamp"].is_string());
    assert_eq!(statuses[1]["conversation"].get("expiration_timestamp"), None);
    assert_eq!(statuses[0]["recipient_id"], "553187654321");
    let contacts = receiver.values("contacts");
    assert_eq!(contacts[0]["wa_id"], "553187654321");
    assert_eq!(contacts[0]["user_id"], statuses[0]["recipient_user_id"]);
}
