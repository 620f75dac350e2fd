//! Bad input: each is refused with the field at fault, and leaves nothing behind.

use crate::harness::{Scheduler, campaign};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// A campaign with something changed.
fn with(field: &str, value: Value) -> Value {
    let mut body = campaign();
    body[field] = value;
    body
}

#[tokio::test]
async fn each_wrong_field_of_a_campaign_is_named() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let mapping = |mapping: Value| with("mapping", mapping);
    let late = |policy: &str| {
        let mut body = with("scheduled_at", json!("2020-01-01T09:00:00Z"));
        body["misfire_policy"] = json!(policy);
        body
    };
    let ok = json!({"source": "customer.name"});
    for (body, field) in [
        (with("name", json!("")), "/name"),
        (with("name", json!("x".repeat(201))), "/name"),
        (
            with("template", json!({"name": "nada", "language": "pt_BR"})),
            "/template",
        ),
        (
            with("template", json!({"id": "00000000-0000-7000-8000-000000000000"})),
            "/template",
        ),
        (with("template", json!({"language": "pt_BR"})), "/template"),
        (with("template", json!({"name": "nada"})), "/template"),
        (with("template", Value::Null), "/template"),
        (with("phone_number_id", json!("999")), "/phone_number_id"),
        (with("phone_number_id", json!("+55")), "/phone_number_id"),
        (with("segment", Value::Null), "/segment"),
        (with("segment", json!({"states": ["XX"]})), "/segment/states"),
        (
            with("segment", json!({"birthday_month": 13})),
            "/segment/birthday_month",
        ),
        (with("segment", json!({"colour": "red"})), "/segment/colour"),
        (mapping(json!({"nome": ok})), "/mapping/cidade"),
        (
            mapping(json!({"nome": ok, "cidade": ok, "valor": ok})),
            "/mapping/valor",
        ),
        (
            mapping(json!({"nome": {"source": "customer.shoe"}, "cidade": ok})),
            "/mapping/nome",
        ),
        (
            mapping(json!({"nome": {"source": "customer.name", "format": "date"}, "cidade": ok})),
            "/mapping/nome",
        ),
        (with("priority", json!("urgent")), "/priority"),
        (with("time_zone", json!("America/Atlantis")), "/time_zone"),
        (with("scheduled_at", json!("tomorrow")), "/scheduled_at"),
        (with("scheduled_at", json!("2999-01-01T09:00")), "/scheduled_at"),
        (late("start"), "/scheduled_at"),
        (late("skip"), "/scheduled_at"),
        (late("wait"), "/scheduled_at"),
        (with("expires_at", json!("2020-01-01T09:00:00Z")), "/expires_at"),
        (with("misfire_policy", json!("maybe")), "/misfire_policy"),
        (with("on_uncertain", json!("guess")), "/on_uncertain"),
        (with("colour", json!("red")), "/colour"),
        (with("name", json!(7)), "/name"),
    ] {
        let answer = scheduler.post("/v1/campaigns", body.clone()).await;
        assert_eq!(answer.fields(422), [field], "{body}: {}", answer.text);
    }
    let several = scheduler
        .post("/v1/campaigns", json!({"priority": "urgent"}))
        .await;
    assert_eq!(
        several.fields(422),
        ["/name", "/phone_number_id", "/template", "/segment", "/priority"]
    );
    let listed = scheduler.get("/v1/campaigns").await.expect(200);
    assert_eq!(listed["items"], json!([]), "what is refused is not written");
}

/// A template in one language needs no other word; one in several does, and the problem names them.
#[tokio::test]
async fn the_language_of_a_template_is_asked_for_only_if_there_are_several() {
    let scheduler = Scheduler::start().await;
    let account = scheduler.with_account().await;
    let mut body = campaign();
    body["template"] = json!({"name": "oferta"});
    scheduler.post("/v1/campaigns", body.clone()).await.expect(201);
    let english = json!({
        "account_id": account, "name": "oferta", "language": "en_US", "category": "MARKETING",
        "parameter_format": "NAMED", "status": "APPROVED",
        "components": [{"type": "BODY", "text": "Hello {{nome}}, from {{cidade}}."}]
    });
    let created = scheduler
        .ask("admin", Method::POST, "/v1/templates", Some(english))
        .await
        .expect(201);
    let answer = scheduler.post("/v1/campaigns", body.clone()).await;
    assert!(answer.text.contains("one of en_US, pt_BR"), "{}", answer.text);
    assert_eq!(answer.fields(422), ["/template/language"]);
    body["template"] = json!({"name": "oferta", "language": "en_US"});
    let chosen = scheduler.post("/v1/campaigns", body).await.expect(201);
    assert_eq!(chosen["template_id"], created["id"]);
}

/// The medium of a header and the payload of a quick reply are part of the mapping, and checked with it.
#[tokio::test]
async fn media_and_payloads_are_checked_when_a_campaign_is_drafted() {
    let scheduler = Scheduler::start().await;
    let account = scheduler.with_account().await;
    let template = json!({
        "account_id": account, "name": "natal", "language": "pt_BR", "category": "MARKETING", "status": "APPROVED",
        "components": [
            {"type": "HEADER", "format": "IMAGE"}, {"type": "BODY", "text": "Feliz Natal!"},
            {"type": "BUTTONS", "buttons": [
                {"type": "QUICK_REPLY", "text": "Quero"}, {"type": "COPY_CODE", "text": "Copiar"}]}]
    });
    scheduler
        .ask("admin", Method::POST, "/v1/templates", Some(template))
        .await
        .expect(201);
    let draft = |image: Value, payload: Value| {
        let mut body = campaign();
        body["template"] = json!({"name": "natal"});
        body["mapping"] = json!({"header.image": image, "button.0.payload": payload,
                                 "button.1.code": {"constant": "NATAL10"}});
        body
    };
    let image = json!({"constant": "https://loja.example/natal.png"});
    let payload = json!({"constant": "natal-sim"});
    let id = scheduler
        .post("/v1/campaigns", draft(image.clone(), payload.clone()))
        .await
        .expect(201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let preview = scheduler
        .get(&format!("/v1/campaigns/{id}/preview"))
        .await
        .expect(200);
    let message = &preview["recipients"][0]["message"];
    assert_eq!(message["header"], "https://loja.example/natal.png");
    assert_eq!(
        message["buttons"][0],
        json!({"label": "Quero", "target": "natal-sim"})
    );
    assert_eq!(message["buttons"][1]["target"], "NATAL10");
    let mut without = draft(image.clone(), payload.clone());
    without["mapping"]
        .as_object_mut()
        .unwrap()
        .remove("button.0.payload");
    scheduler.post("/v1/campaigns", without).await.expect(201);
    for (body, field) in [
        (
            draft(json!({"constant": "natal.png"}), payload.clone()),
            "/mapping/header.image",
        ),
        (
            draft(json!({"constant": "https://"}), payload.clone()),
            "/mapping/header.image",
        ),
        (
            draft(image.clone(), json!({"constant": "x".repeat(129)})),
            "/mapping/button.0.payload",
        ),
        (
            draft(image.clone(), json!({"source": "customer.shoe"})),
            "/mapping/button.0.payload",
        ),
    ] {
        let answer = scheduler.post("/v1/campaigns", body).await;
        assert_eq!(answer.fields(422), [field], "{}", answer.text);
    }
    // A medium from a field that holds none skips the customer, with the reason, before anything is sent.
    let from_field = draft(json!({"source": "customer.city"}), payload);
    let id = scheduler.post("/v1/campaigns", from_field).await.expect(201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let preview = scheduler
        .get(&format!("/v1/campaigns/{id}/preview"))
        .await
        .expect(200);
    assert_eq!(preview["recipients"], json!([]));
    assert!(preview["skipped_by"]["invalid_variable"].as_i64().unwrap() > 0);
}

/// What did not fit when it was drafted is refused then; what does not fit any more, at each later step.
#[tokio::test]
async fn a_mapping_is_checked_when_a_campaign_is_edited_scheduled_and_tested() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let path = format!("/v1/campaigns/{id}");
    let edit = async |body| {
        scheduler
            .ask("supervisor", Method::PATCH, &path, Some(body))
            .await
    };
    let half = json!({"mapping": {"nome": {"source": "customer.name"}}});
    assert_eq!(edit(half).await.fields(422), ["/mapping/cidade"]);
    scheduler
        .as_sender(&format!(
            "UPDATE campaigns SET mapping = mapping - 'cidade' WHERE id = '{id}'"
        ))
        .await;
    assert_eq!(
        edit(json!({"name": "Páscoa"})).await.fields(422),
        ["/mapping/cidade"]
    );
    let scheduled = scheduler.act(&format!("{path}/schedule")).await;
    assert_eq!(scheduled.fields(422), ["/mapping/cidade"]);
    let phones = json!({"phones": ["+5511987654321"]});
    let tested = scheduler.post(&format!("{path}/test"), phones).await;
    assert_eq!(tested.fields(422), ["/mapping/cidade"]);
}

#[tokio::test]
async fn bodies_that_cannot_be_read_say_why() {
    let scheduler = Scheduler::start().await;
    let huge = json!({"name": "x".repeat(1024 * 1024)});
    scheduler.post("/v1/campaigns", huge.clone()).await.expect(413);
    let key = [("idempotency-key", "a")];
    scheduler
        .ask_with("supervisor", Method::POST, "/v1/campaigns", Some(huge), &key)
        .await
        .expect(413);
    scheduler.act("/v1/campaigns").await.expect(400);
    scheduler.get("/v1/nothing").await.expect(404);
    scheduler
        .ask("supervisor", Method::DELETE, "/v1/campaigns", None)
        .await
        .expect(405);
    assert_eq!(scheduler.get("/v1/campaigns/first").await.fields(400), ["id"]);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("cursor=zz", "cursor"),
        ("sort=up", "sort"),
    ] {
        assert_eq!(
            scheduler.get(&format!("/v1/campaigns?{query}")).await.fields(400),
            [field],
            "{query}"
        );
    }
    assert_eq!(
        scheduler.get("/v1/campaigns?status=LOST").await.fields(422),
        ["status"]
    );
}

#[tokio::test]
async fn a_campaign_is_scheduled_only_if_it_can_be_sent() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let path = format!("/v1/campaigns/{id}/schedule");

    scheduler.customers.store(0, Ordering::Relaxed);
    assert_eq!(scheduler.act(&path).await.fields(422), ["/segment"]);
    scheduler.customers.store(12, Ordering::Relaxed);

    let shown = scheduler.get(&format!("/v1/campaigns/{id}")).await.expect(200);
    let status = format!("/v1/templates/{}/status", shown["template_id"].as_str().unwrap());
    let set = async |to: &str| {
        scheduler
            .ask("admin", Method::PUT, &status, Some(json!({"status": to})))
            .await
    };
    set("PAUSED").await.expect(200);
    assert_eq!(scheduler.act(&path).await.fields(422), ["/template"]);
    assert_eq!(set("LOVED").await.fields(422), ["/status"]);
    set("APPROVED").await.expect(200);

    let number = "/v1/phone-numbers/106540352242922";
    let patch = async |body| scheduler.ask("admin", Method::PATCH, number, Some(body)).await;
    patch(json!({"active": false})).await.expect(200);
    assert_eq!(scheduler.act(&path).await.fields(422), ["/phone_number_id"]);
    patch(json!({"active": true})).await.expect(200);
    assert_eq!(
        patch(json!({"throughput_per_second": 0})).await.fields(422),
        ["/throughput_per_second"]
    );

    let past = scheduler
        .post(&path, json!({"scheduled_at": "2020-01-01T09:00"}))
        .await;
    assert_eq!(past.fields(422), ["/scheduled_at"]);
    let later = json!({"scheduled_at": "2026-12-24T09:00", "time_zone": "America/Recife"});
    let scheduled = scheduler.post(&path, later).await.expect(200);
    assert_eq!(scheduled["status"], "SCHEDULED");
    assert_eq!(scheduled["scheduled_at"], "2026-12-24T12:00:00Z");
    assert_eq!(scheduled["scheduled_at_local"], "2026-12-24T09:00:00-03:00");
}

#[tokio::test]
async fn templates_and_numbers_are_checked() {
    let scheduler = Scheduler::start().await;
    let account = scheduler.with_account().await;
    let template = |name: &str, body: &str| {
        json!({
            "account_id": account, "name": name, "language": "pt_BR", "category": "UTILITY",
            "components": [{"type": "BODY", "text": body}]
        })
    };
    let post = async |path: &str, body| scheduler.ask("admin", Method::POST, path, Some(body)).await;
    assert_eq!(
        post("/v1/templates", template("Olá", "Oi.")).await.fields(422),
        ["/name"]
    );
    assert_eq!(
        post("/v1/templates", template("oi", "{{1}} oi."))
            .await
            .fields(422),
        ["/components"]
    );
    let created = post("/v1/templates", template("oferta", "Oi {{1}}."))
        .await
        .expect(201);
    assert_eq!(
        (&created["version"], &created["variables"]),
        (&json!(2), &json!(["1"]))
    );
    let number = json!({"phone_number_id": "x", "account_id": uuid::Uuid::nil(), "display_number": ""});
    assert_eq!(
        post("/v1/phone-numbers", number).await.fields(422),
        ["/phone_number_id", "/account_id", "/display_number"]
    );
    let twice = json!({"waba_id": "102290129340398", "name": "again"});
    post("/v1/accounts", twice).await.expect(409);
}

/// The messaging limit is the portfolio's, so that all its accounts show and change the same one.
#[tokio::test]
async fn a_messaging_limit_belongs_to_the_portfolio() {
    let scheduler = Scheduler::start().await;
    let account = scheduler.with_account().await;
    let path = format!("/v1/accounts/{account}");
    let patch = async |path: &str, body| scheduler.ask("admin", Method::PATCH, path, Some(body)).await;
    let alone = patch(&path, json!({"messaging_limit": 250})).await;
    assert_eq!(alone.fields(422), ["/messaging_limit"]);
    let none = patch(
        &path,
        json!({"portfolio_id": "2729063490586005", "messaging_limit": 0}),
    )
    .await;
    assert_eq!(none.fields(422), ["/messaging_limit"]);
    let limited = json!({"portfolio_id": "2729063490586005", "messaging_limit": 2000});
    let shown = patch(&path, limited).await.expect(200);
    assert_eq!(
        (&shown["messaging_limit"], &shown["messaging_limit_used"]),
        (&json!(2000), &json!(0))
    );
    let sister = json!({"waba_id": "102290129340399", "name": "Filial", "portfolio_id": "2729063490586005"});
    let sister = scheduler
        .ask("admin", Method::POST, "/v1/accounts", Some(sister))
        .await
        .expect(201);
    assert_eq!(sister["messaging_limit"], 2000);
    let sister = format!("/v1/accounts/{}", sister["id"].as_str().unwrap());
    patch(&sister, json!({"messaging_limit": null})).await.expect(200);
    let shown = scheduler.get(&path).await.expect(200);
    assert_eq!(
        (&shown["messaging_limit"], &shown["messaging_limit_used"]),
        (&json!(null), &json!(null))
    );
}
