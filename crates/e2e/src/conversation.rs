//! Talking to a running system, as its users do.

use crate::report::Report;
use crate::stack::{ACCESS_TOKEN, ERP_KEY, LANE, Stack, WABA_ID};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::wait_for_ok;

/// The template that campaigns send, of the development data.
const REMINDER: &str = "lembrete_fatura";

impl Stack {
    /// Calls the REST API of the first scheduler; anything but success panics.
    pub async fn api(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.try_api(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status}: {answer}");
        answer
    }

    /// Calls the REST API of the first scheduler.
    pub async fn try_api(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.schedulers[0].base_url());
        let mut request = self.http.request(method, url).bearer_auth(&self.api_key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the scheduler answers");
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Calls the control API of the mock of WhatsApp.
    pub async fn whatsapp(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.whatsapp.base_url()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the mock answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or(Value::Null)
    }

    /// Creates the template of [`Stack::create`]'s campaigns at WhatsApp: from now on the mock knows it, approved or
    /// still to be reviewed, and refuses every other of the account.
    pub async fn register_reminder(&self, approved: bool) {
        let listed = self.api(Method::GET, "/v1/templates?limit=50", None).await;
        let items = listed["items"].as_array().expect("templates").clone();
        let is_ours = |template: &Value| template["name"] == REMINDER;
        let mut template = items.into_iter().find(is_ours).expect("the development data");
        for component in template["components"].as_array_mut().expect("components") {
            if component["type"] == "BODY" {
                component["example"] = json!({"body_text_named_params": [
                    {"param_name": "nome", "example": "Ana"}, {"param_name": "fatura", "example": "7"},
                    {"param_name": "valor", "example": "R$ 1,00"}, {"param_name": "vencimento", "example": "10/12"},
                ]});
            }
        }
        let account = format!("/mock/accounts/{WABA_ID}");
        let settings = json!({ "approves_at_once": approved });
        self.whatsapp(Method::PUT, &account, Some(settings)).await;
        let mut created = json!({});
        for field in ["name", "language", "category", "parameter_format", "components"] {
            created[field] = template[field].clone();
        }
        self.register_template(WABA_ID, created).await;
    }

    /// Creates a template at WhatsApp, as its own interface would.
    pub async fn register_template(&self, waba_id: &str, template: Value) {
        let url = format!("{}/v25.0/{waba_id}/message_templates", self.whatsapp.base_url());
        let request = self.http.post(url).bearer_auth(ACCESS_TOKEN).json(&template);
        let answer = request.send().await.expect("the mock answers");
        let status = answer.status();
        let said = answer.text().await.unwrap_or_default();
        assert!(status.is_success(), "{status}: {said}");
    }

    /// What the REST API answers, as text.
    pub async fn api_text(&self, path: &str) -> String {
        let url = format!("{}{path}", self.schedulers[0].base_url());
        text(self.http.get(url).bearer_auth(&self.api_key)).await
    }

    /// What the mock of WhatsApp answers, as text.
    pub async fn whatsapp_text(&self, path: &str) -> String {
        text(self.http.get(format!("{}{path}", self.whatsapp.base_url()))).await
    }

    /// How many messages WhatsApp has accepted of a campaign.
    pub async fn accepted_by_whatsapp(&self, campaign: &str) -> u64 {
        let summary = self
            .whatsapp(
                Method::GET,
                &format!("/mock/acceptances?campaign={campaign}"),
                None,
            )
            .await;
        summary["accepted"].as_u64().expect("a number")
    }

    /// Waits until WhatsApp has accepted so many messages of a campaign.
    pub async fn sent_at_least(&self, campaign: &str, messages: u64, within: Duration) {
        wait_for_ok(within, "the campaign to be under way", async || {
            match self.accepted_by_whatsapp(campaign).await {
                sent if sent >= messages => Ok(()),
                sent => Err(format!("{sent} of {messages} messages were accepted")),
            }
        })
        .await;
    }

    /// Sets how the mock of the ERP misbehaves; `{}` is not at all.
    pub async fn erp_faults(&self, faults: Value) {
        let url = format!("{}/mock/faults", self.erp.base_url());
        let answer = self.http.put(url).bearer_auth(ERP_KEY).json(&faults).send().await;
        let answer = answer.expect("the ERP answers");
        assert!(answer.status().is_success(), "{faults}: {}", answer.status());
    }

    /// A customer opts out in the ERP.
    pub async fn erp_opt_out(&self, customer: &str) {
        let url = format!("{}/mock/customers/{customer}/opt-out", self.erp.base_url());
        let answer = self
            .http
            .post(url)
            .bearer_auth(ERP_KEY)
            .send()
            .await
            .expect("the ERP answers");
        assert!(answer.status().is_success(), "{customer}: {}", answer.status());
    }

    /// What the ERP knows of the messages to a customer.
    pub async fn erp_contacts(&self, customer: &str) -> Value {
        let url = format!("{}/v1/customers/{customer}/contacts", self.erp.base_url());
        let answer = self
            .http
            .get(url)
            .bearer_auth(ERP_KEY)
            .send()
            .await
            .expect("the ERP answers");
        answer.json().await.expect("JSON")
    }

    /// The most memory that Redis has used, in bytes.
    pub async fn redis_peak_bytes(&self) -> u64 {
        let memory = self.redis.info("memory").await;
        let peak = memory
            .lines()
            .find_map(|line| line.strip_prefix("used_memory_peak:"));
        peak.and_then(|bytes| bytes.trim().parse().ok())
            .expect("Redis tells its peak")
    }

    /// Creates a campaign to every customer; `change` has fields that differ. Returns its id.
    pub async fn create(&self, change: Value) -> String {
        let mut body = json!({
            "name": "e2e", "phone_number_id": LANE, "segment": {},
            "template": {"name": REMINDER, "language": "pt_BR"},
            "mapping": {
                "nome": {"source": "customer.name", "format": "first_name", "fallback": "cliente"},
                "fatura": {"source": "customer.id", "format": "text"},
                "valor": {"constant": "R$ 10,00"},
                "vencimento": {"constant": "10/12/2026"},
            },
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let created = self.api(Method::POST, "/v1/campaigns", Some(body)).await;
        created["id"].as_str().expect("an id").to_owned()
    }

    /// Schedules a campaign, for now unless `when` says otherwise.
    pub async fn schedule(&self, id: &str, when: Option<Value>) {
        self.api(Method::POST, &format!("/v1/campaigns/{id}/schedule"), when)
            .await;
    }

    /// The campaign, with its progress.
    pub async fn campaign(&self, id: &str) -> Value {
        self.api(Method::GET, &format!("/v1/campaigns/{id}"), None).await
    }

    /// Waits until the campaign is as `holds` wants it.
    pub async fn wait_until(
        &self,
        id: &str,
        what: &str,
        within: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_for_ok(within, what, async || {
            let path = format!("/v1/campaigns/{id}");
            match self.try_api(Method::GET, &path, None).await {
                (StatusCode::OK, campaign) if holds(&campaign) => Ok(campaign),
                (StatusCode::OK, campaign) => Err(format!("{} {}", campaign["status"], campaign["progress"])),
                (status, problem) => Err(format!("{status} {problem}")),
            }
        })
        .await
    }

    /// Waits until the campaign is finished, and until every webhook has arrived and is in the ledger.
    pub async fn finished(&self, id: &str, within: Duration) -> Report {
        self.wait_until(id, "the campaign to finish", within, |campaign| {
            !campaign["finished_at"].is_null()
        })
        .await;
        self.webhooks_drained(within).await;
        let campaign = self.campaign(id).await;
        let acceptances = self
            .whatsapp(Method::GET, &format!("/mock/acceptances?campaign={id}"), None)
            .await;
        Report {
            campaign,
            acceptances,
        }
    }

    /// Whether nothing of the campaign is left to do.
    pub async fn is_finished(&self, id: &str) -> bool {
        !self.campaign(id).await["finished_at"].is_null()
    }

    /// Waits until the mock has delivered every webhook and the ledger has applied every outcome.
    pub async fn webhooks_drained(&self, within: Duration) {
        wait_for_ok(within, "the webhooks to arrive", async || {
            let webhooks = self.whatsapp(Method::GET, "/mock", None).await["webhooks"].clone();
            let waiting: u64 = ["pending", "ready", "inbound", "delivering"]
                .iter()
                .filter_map(|part| webhooks[part].as_u64())
                .sum();
            if waiting == 0 {
                Ok(())
            } else {
                Err(webhooks.to_string())
            }
        })
        .await;
        wait_for_ok(within, "the ledger to apply every outcome", async || {
            let queues = self.api(Method::GET, "/v1/queues", None).await;
            let lanes = queues["lanes"].as_array().cloned().unwrap_or_default();
            if lanes.iter().all(|lane| lane["outcomes"] == 0) {
                Ok(())
            } else {
                Err(queues.to_string())
            }
        })
        .await;
    }
}

async fn text(request: reqwest::RequestBuilder) -> String {
    let answer = request.send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.text().await.expect("text")
}
