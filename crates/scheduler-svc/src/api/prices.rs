//! `/v1/prices`: what messages cost, by country and category.

use crate::api::Api;
use crate::api::auth::{Admin, Viewer};
use crate::api::change::{Change, ok, to_value};
use crate::api::problems::{Answer, Faults};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::cost::{Money, Price, PriceList};
use campaign_runtime::{Json, Problem};
use campaign_store::costs;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, replace))
}

/// What messages cost.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceListBody {
    /// ISO 4217, as in `USD`: of every price, and of the budgets of campaigns.
    currency: String,
    /// At most 2,000.
    prices: Vec<PriceBody>,
    /// Since when it holds; not given when it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<DateTime<Utc>>,
}

/// What one message costs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceBody {
    /// How the phone begins, as in `+55`; the longest that fits counts. `*` for whoever has no price of their own.
    country: String,
    /// As in `MARKETING`.
    category: String,
    /// As in `"0.0625"`: up to 6 decimals.
    price: String,
}

/// Shows the price list.
#[utoipa::path(get, path = "/v1/prices", tag = "prices", responses((status = 200, body = PriceListBody)))]
async fn show(_: Viewer, State(api): State<Api>) -> Answer {
    let mut connection = api.store.connection().await?;
    match costs::price_list(&mut connection).await? {
        Some((list, updated_at)) => ok(&body(list, Some(updated_at))),
        None => Err(Problem::not_found("there is no price list yet; PUT one").into()),
    }
}

/// Replaces the price list. What was counted with the old one stays.
#[utoipa::path(put, path = "/v1/prices", tag = "prices", request_body = PriceListBody,
    responses((status = 200, body = PriceListBody)))]
async fn replace(Admin(caller): Admin, State(api): State<Api>, Json(new): Json<PriceListBody>) -> Answer {
    let mut faults = Faults::default();
    let mut prices = Vec::with_capacity(new.prices.len());
    for (index, price) in new.prices.into_iter().enumerate() {
        match price.price.parse::<Money>() {
            Ok(amount) => prices.push(Price {
                country: price.country,
                category: price.category,
                price: amount,
            }),
            Err(error) => faults.add(format!("/prices/{index}/price"), error.to_string(), "an amount"),
        }
    }
    faults.finish()?;
    let list = PriceList {
        currency: new.currency,
        prices,
    };
    let mut faults = Faults::default();
    for (field, expected) in list.problems() {
        faults.add(field, "cannot be used", expected);
    }
    faults.finish()?;
    let mut change = Change::begin(&api, &caller).await?;
    costs::set_price_list(change.connection(), &list).await?;
    let view = body(list, Some(Utc::now()));
    change.record("prices.replace", "prices", to_value(&view)).await?;
    change.commit(StatusCode::OK, &view).await
}

fn body(list: PriceList, updated_at: Option<DateTime<Utc>>) -> PriceListBody {
    let prices = list.prices.into_iter().map(|price| PriceBody {
        country: price.country,
        category: price.category,
        price: price.price.to_string(),
    });
    PriceListBody {
        currency: list.currency,
        prices: prices.collect(),
        updated_at,
    }
}
