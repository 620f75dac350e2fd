//! What the demo asks of the mock of WhatsApp: to forget, to send receipts, and what it accepted.

use crate::api::Client;
use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// The mock's control interface.
pub(super) struct Mock {
    client: Client,
}

/// What the mock accepted for one campaign.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Acceptances {
    /// Messages.
    pub(super) accepted: i64,
    /// People.
    pub(super) unique_recipients: i64,
    /// Different callback data: one for each position in the audience and round.
    pub(super) unique_callback_data: i64,
    /// The most messages that one person got.
    pub(super) max_per_recipient: i64,
    /// People who got more than one, as many as it lists.
    #[serde(skip_serializing)]
    pub(super) duplicates: Vec<Duplicate>,
    /// Whether there are more than are listed.
    pub(super) more_duplicates: bool,
    /// Milliseconds since 1970.
    pub(super) first_at_ms: Option<i64>,
    /// Milliseconds since 1970.
    pub(super) last_at_ms: Option<i64>,
    /// The most within any one second.
    pub(super) peak_in_one_second: i64,
    /// Whether the log was too small, so that its counts are too low.
    pub(super) overflow: bool,
}

/// Somebody who got more than one message.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Duplicate {
    pub(super) recipient: String,
    pub(super) count: i64,
    #[serde(default)]
    pub(super) callback_data: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Overview {
    webhooks: Outbox,
}

/// What waits to be told.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Outbox {
    pending: i64,
    ready: i64,
    inbound: i64,
    delivering: i64,
}

impl Outbox {
    /// Statuses, or messages that wait for one.
    pub(super) fn left(self) -> i64 {
        self.pending + self.ready + self.inbound + self.delivering
    }
}

#[derive(Debug, Deserialize)]
struct Webhooks {
    url: Option<String>,
}

impl Mock {
    pub(super) fn new(url: &str, further_roots: Option<&[u8]>) -> Result<Self, Failure> {
        let name = "the mock of WhatsApp";
        Ok(Self {
            client: Client::new(name, "WHATSAPP_BASE_URL", url, None, further_roots)?,
        })
    }

    /// Begins anew: nothing was accepted yet.
    pub(super) async fn forget(&self) -> Result<(), Failure> {
        self.client.delete(&["mock", "acceptances"]).await?;
        Ok(())
    }

    /// Switches receipts on, to `url` if one is given.
    pub(super) async fn send_receipts(&self, url: Option<&str>) -> Result<(), Failure> {
        let mut settings = json!({ "enabled": true });
        if let Some(url) = url {
            settings["url"] = url.into();
        }
        let answer = self.client.put(&["mock", "webhooks"], &settings).await?;
        match answer.read::<Webhooks>()?.url {
            Some(_) => Ok(()),
            None => Err(Failure::Usage(
                "WEBHOOK_URL: found nothing, and the mock has no target either; expected where message-svc takes \
                 webhooks, as in http://127.0.0.1:8081/webhooks/whatsapp"
                    .to_owned(),
            )),
        }
    }

    /// Allows a number its throughput.
    pub(super) async fn set_throughput(&self, phone_number_id: &str, per_second: u32) -> Result<(), Failure> {
        let settings = json!({ "throughput": per_second });
        self.client
            .put(&["mock", "numbers", phone_number_id], &settings)
            .await?;
        Ok(())
    }

    /// What waits to be told.
    pub(super) async fn outbox(&self) -> Result<Outbox, Failure> {
        let overview: Overview = self.client.get(&["mock"], &vec![]).await?.read()?;
        Ok(overview.webhooks)
    }

    /// What was accepted for a campaign.
    pub(super) async fn acceptances(&self, campaign: Uuid) -> Result<Acceptances, Failure> {
        let of = vec![("campaign", campaign.to_string())];
        self.client.get(&["mock", "acceptances"], &of).await?.read()
    }
}
