//! The audience: the same pages of the ERP that the engine reads, as messages with their values.

use crate::messages::Message;
use crate::setting;
use anyhow::{Context, Result};
use serde::Deserialize;
use tokio::sync::mpsc;

/// Pages fetched ahead.
const AHEAD: usize = 1;

#[derive(Deserialize)]
struct Page {
    customers: Vec<Customer>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Customer {
    id: String,
    name: Option<String>,
    phone: Option<String>,
}

/// The messages of one page after the other; the next page is fetched while one is worked on.
pub fn pages() -> Result<mpsc::Receiver<Result<Vec<Message>>>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let url = format!(
        "{}/v1/customers?{}&limit={}",
        setting("ERP_BASE_URL")?,
        setting("ERP_QUERY")?,
        setting("ERP_PAGE_SIZE")?
    );
    let key = setting("ERP_API_KEY")?;
    tokio::spawn(async move {
        let client = reqwest::Client::new();
        let (mut cursor, mut seq) = (None, 0);
        loop {
            let page = fetch(&client, &url, &key, cursor.as_deref()).await;
            let next = page.as_ref().ok().and_then(|page| page.next_cursor.clone());
            let messages = page.map(|page| {
                let made = page
                    .customers
                    .into_iter()
                    .filter_map(|customer| message(customer, &mut seq));
                made.collect()
            });
            cursor = next;
            if sender.send(messages).await.is_err() || cursor.is_none() {
                return;
            }
        }
    });
    Ok(receiver)
}

async fn fetch(client: &reqwest::Client, url: &str, key: &str, cursor: Option<&str>) -> Result<Page> {
    // A cursor of the mock ERP needs no escaping.
    let url = cursor.map_or_else(|| url.to_owned(), |cursor| format!("{url}&cursor={cursor}"));
    let answer = client
        .get(url)
        .bearer_auth(key)
        .send()
        .await?
        .error_for_status()?;
    answer.json().await.context("a page of the ERP")
}

/// Whoever has a phone. The engine does more here: it checks the number and the consent, and finds duplicates.
fn message(customer: Customer, seq: &mut i64) -> Option<Message> {
    let digits: String = customer.phone?.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return None;
    }
    *seq += 1;
    let country = if digits.starts_with("55") && digits.len() > 11 {
        ""
    } else {
        "55"
    };
    let first_name = customer.name.as_deref().and_then(|name| name.split(' ').next());
    Some(Message {
        seq: *seq,
        to: format!("+{country}{digits}"),
        values: [
            first_name.unwrap_or("cliente").to_owned(),
            customer.id,
            "R$ 10,00".to_owned(),
            "10/12/2026".to_owned(),
        ],
    })
}
