//! One message: the body of the Cloud API's request, and sending it.

use crate::setting;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Callback data has the shape of the engine's own: `<campaign>:<round>:<position>`.
const CAMPAIGN: &str = "01955c4e-0000-7000-8000-000000000001";
const NAMES: [&str; 4] = ["nome", "fatura", "valor", "vencimento"];

/// What a job holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    pub seq: i64,
    pub to: String,
    pub values: [String; 4],
}

/// The way out.
pub enum Sender {
    /// The id is made up, as in the engine's simulated transport.
    Simulate,
    /// Posts to the mock of WhatsApp.
    Http {
        client: reqwest::Client,
        url: String,
        connections: Semaphore,
    },
}

impl Sender {
    pub fn new(kind: &str) -> Result<Self> {
        if kind == "simulate" {
            return Ok(Self::Simulate);
        }
        if kind != "http" {
            bail!("SEND: found {kind}; expected simulate or http");
        }
        let connections: usize = setting("HTTP_CONNECTIONS")?.parse()?;
        let mut headers = reqwest::header::HeaderMap::new();
        let token = format!("Bearer {}", setting("WHATSAPP_ACCESS_TOKEN")?);
        headers.insert("authorization", token.parse()?);
        Ok(Self::Http {
            client: reqwest::Client::builder()
                .default_headers(headers)
                .pool_max_idle_per_host(connections)
                .tcp_nodelay(true)
                .build()?,
            url: format!(
                "{}/v25.0/{}/messages",
                setting("WHATSAPP_BASE_URL")?,
                setting("PHONE_NUMBER_ID")?
            ),
            connections: Semaphore::new(connections),
        })
    }

    /// The message's id; none if WhatsApp refuses it.
    pub async fn send(&self, message: &Message) -> Option<String> {
        let body = render(message);
        match self {
            Self::Simulate => Some(format!(
                "wamid.simulated.{}",
                body["biz_opaque_callback_data"].as_str()?
            )),
            Self::Http {
                client,
                url,
                connections,
            } => {
                let _one = connections.acquire().await.ok()?;
                let answer = client
                    .post(url)
                    .json(&body)
                    .send()
                    .await
                    .unwrap_or_else(|error| fail(&error));
                if answer.status().is_server_error() || answer.status() == 429 {
                    fail(&answer.status());
                }
                let answer: Value = answer.json().await.unwrap_or_else(|error| fail(&error));
                Some(answer["messages"][0]["id"].as_str()?.to_owned())
            }
        }
    }
}

/// A benchmark in which sends fail measures something else.
fn fail(reason: &dyn std::fmt::Display) -> ! {
    eprintln!("WhatsApp did not answer as it should: {reason}");
    std::process::exit(1)
}

/// The template "lembrete_fatura", filled.
fn render(message: &Message) -> Value {
    let parameters = NAMES.iter().zip(&message.values);
    let parameters: Vec<Value> = parameters
        .map(|(name, text)| json!({"type": "text", "parameter_name": name, "text": text}))
        .collect();
    json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to,
        "type": "template",
        "template": {
            "name": "lembrete_fatura",
            "language": {"code": "pt_BR"},
            "components": [{"type": "body", "parameters": parameters}],
        },
        "biz_opaque_callback_data": format!("{CAMPAIGN}:1:{}", message.seq),
    })
}
