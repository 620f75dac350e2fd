//! From the development data to a campaign that is under way.

use super::DemoArgs;
use super::mock::Mock;
use crate::commands::number::PhoneNumber;
use crate::progress::Campaign;
use crate::{Context, Failure};
use chrono::{SecondsFormat, Utc};
use serde_json::json;
use uuid::Uuid;

/// Most messages a second that the mock allows a number.
const MOCK_THROUGHPUT_MAX: u32 = 100_000;

/// What is under way.
pub(super) struct Prepared {
    pub(super) campaign: Uuid,
    pub(super) name: String,
    /// Messages a second that the number allows.
    pub(super) throughput_per_second: u32,
}

/// Makes the mock forget, and starts the campaign.
pub(super) async fn prepare(context: &Context, mock: &Mock, args: &DemoArgs) -> Result<Prepared, Failure> {
    let number = ["v1", "phone-numbers", &args.phone_number_id];
    let number: PhoneNumber = context.api.get(&number, &vec![]).await?.read()?;
    // First the mock: whoever is not one refuses here, before anything is sent.
    mock.forget().await?;
    mock.send_receipts(args.webhook_url.as_deref()).await?;
    let throughput = number.throughput_per_second.min(MOCK_THROUGHPUT_MAX);
    mock.set_throughput(&number.id, throughput).await?;

    let campaign = create(context, args).await?;
    let path = ["v1", "campaigns", &campaign.id.to_string(), "schedule"];
    context.api.post(&path, &json!({})).await?;
    Ok(Prepared {
        campaign: campaign.id,
        name: campaign.name,
        throughput_per_second: number.throughput_per_second,
    })
}

async fn create(context: &Context, args: &DemoArgs) -> Result<Campaign, Failure> {
    let body = json!({
        "name": format!("Demo of {}", Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)),
        "template": { "name": args.template, "language": args.language },
        "phone_number_id": args.phone_number_id,
        "segment": args.segment()?,
        // With fallbacks, so that nobody is skipped for a name or a city that the ERP does not know.
        "mapping": {
            "1": { "source": "customer.name", "format": "first_name", "fallback": "cliente" },
            "2": { "source": "customer.city", "fallback": "sua cidade" },
        },
    });
    context.api.post(&["v1", "campaigns"], &body).await?.read()
}
