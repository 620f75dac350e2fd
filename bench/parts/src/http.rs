//! HTTP: the engine's client, against a server that does nothing and against the mock.

use crate::lane::{phone, variables};
use crate::{setting, wait_for_go};
use anyhow::{Result, bail};
use axum::response::IntoResponse;
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::task::JoinSet;
use whatsapp_api::send::{Component, Language, Parameter, TemplateMessage};
use whatsapp_api::{ClientConfig, CloudApi, MessageRequest, SendOutcome};

/// Requests at a time.
const CONCURRENCY: usize = 64;
const NAMES: [&str; 4] = ["nome", "fatura", "valor", "vencimento"];
const ACCEPTED: &str = r#"{"messaging_product":"whatsapp","contacts":[{"input":"+5531980000001","wa_id":"553180000001"}],"messages":[{"id":"wamid.HBgMNTUzMTgwMDAwMDAxFQIAERgSMDAwMDAwMDAwMDAwMDAwMDAx"}]}"#;

/// Client and server share this process, and so does the count of what they cost.
pub async fn post_to_bare_server(count: i64) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let accept = axum::routing::post(async |_: axum::body::Bytes| {
        ([("content-type", "application/json")], ACCEPTED).into_response()
    });
    let router = axum::Router::new().route("/{version}/{number}/messages", accept);
    tokio::spawn(async move { axum::serve(listener, router).await });
    post(&base_url, count).await
}

pub async fn post_to_mock(count: i64) -> Result<()> {
    post(&setting("WHATSAPP_BASE_URL")?, count).await
}

async fn post(base_url: &str, count: i64) -> Result<()> {
    let token = SecretString::from(setting("WHATSAPP_ACCESS_TOKEN")?);
    let mut config = ClientConfig::new(base_url, "v25.0", token);
    config.pool_max_idle = CONCURRENCY;
    let (client, number) = (
        CloudApi::new(config)?,
        Arc::<str>::from(setting("PHONE_NUMBER_ID")?),
    );
    let left = Arc::new(AtomicI64::new(count));
    wait_for_go()?;
    let mut senders = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (client, number, left) = (client.clone(), Arc::clone(&number), Arc::clone(&left));
        senders.spawn(async move {
            loop {
                let seq = left.fetch_sub(1, Ordering::Relaxed);
                if seq <= 0 {
                    return Ok(());
                }
                match client.send(&number, &request(seq)).await {
                    SendOutcome::Accepted { .. } => {}
                    otherwise => bail!("a message was not accepted: {otherwise:?}"),
                }
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

fn request(seq: i64) -> MessageRequest {
    let values = NAMES.iter().zip(variables(seq));
    let message = TemplateMessage {
        name: "lembrete_fatura".to_owned(),
        language: Language {
            code: "pt_BR".to_owned(),
        },
        components: vec![Component::Body {
            parameters: values.map(|(name, text)| Parameter::named(*name, text)).collect(),
        }],
    };
    MessageRequest::template(phone(seq).as_str(), message).with_callback_data(seq.to_string())
}
