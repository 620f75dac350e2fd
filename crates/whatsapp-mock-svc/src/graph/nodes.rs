//! `GET /{version}/{id}`, of a phone number, a template or an account; and an account's phone numbers.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::paging::{self, PageQuery, Paging};
use super::{Answer, Api, Node, Parameters, fields, list_url, templates};
use crate::answer::Refusal;
use crate::limits::MessagingLimit;
use crate::numbers::{Number, NumberState};

/// Throughput from which on Meta calls it high.
const HIGH_THROUGHPUT: u32 = 1_000;

/// Fields of a phone number for one who asks for none.
const DEFAULT_NUMBER_FIELDS: &[&str] = &[
    "verified_name",
    "code_verification_status",
    "display_phone_number",
    "quality_rating",
    "platform_type",
    "throughput",
    "id",
];
/// All fields of a phone number; those that are not kept here never have a value.
const NUMBER_FIELDS: &[&str] = &[
    "account_mode",
    "certificate",
    "code_verification_status",
    "conversational_automation",
    "country_code",
    "country_dial_code",
    "display_phone_number",
    "eligibility_for_api_business_global_search",
    "health_status",
    "id",
    "is_official_business_account",
    "is_on_biz_app",
    "is_pin_enabled",
    "is_preverified_number",
    "last_onboarded_time",
    "messaging_limit_tier",
    "name_status",
    "new_certificate",
    "new_name_status",
    "platform_type",
    "quality_rating",
    "quality_score",
    "search_visibility",
    "status",
    "throughput",
    "username",
    "verified_name",
    "webhook_configuration",
    "whatsapp_business_manager_messaging_limit",
];
const ACCOUNT_FIELDS: &[&str] = &[
    "account_review_status",
    "currency",
    "id",
    "message_template_namespace",
    "name",
    "timezone_id",
];

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(numbers))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct NodeQuery {
    /// Names with a comma between them.
    fields: Option<String>,
}

/// Shows a phone number, a template or an account.
#[utoipa::path(get, path = "/{version}/{id}", tag = "nodes",
    params(("version" = String, Path), ("id" = String, Path), NodeQuery),
    responses((status = 200, body = Object)))]
async fn show(State(api): State<Api>, node: Node, Parameters(query): Parameters<NodeQuery>) -> Answer<Value> {
    let mut ledger = api.mock.ledger();
    let asked = query.fields.as_deref();
    if let Some(template) = ledger.accounts.template(&node.id) {
        return templates::node_of(template, asked).map(axum::Json);
    }
    if ledger.accounts.is_known(&node.id) && !ledger.numbers.is_known(&node.id) {
        let account = json!({
            "id": node.id, "name": "Mock Account", "currency": "BRL", "timezone_id": "25",
            "message_template_namespace": "mock_namespace", "account_review_status": "APPROVED",
        });
        let default = &["name", "timezone_id", "message_template_namespace", "id"];
        return fields::select(account, asked, default, ACCOUNT_FIELDS, "WhatsAppBusinessAccount")
            .map(axum::Json);
    }
    ledger.numbers.known(&node.id, &node.method)?;
    let limit = ledger.accounts.limit(&ledger.numbers.identity(&node.id).0);
    let number = ledger.numbers.known(&node.id, &node.method)?;
    number_with(number_node(&node.id, number, limit), asked).map(axum::Json)
}

/// A page of phone numbers.
#[derive(Serialize, ToSchema)]
struct NumberList {
    #[schema(value_type = Vec<Object>)]
    data: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paging: Option<Paging>,
}

/// Lists the phone numbers of an account.
#[utoipa::path(get, path = "/{version}/{account_id}/phone_numbers", tag = "nodes",
    params(("version" = String, Path), ("account_id" = String, Path), NodeQuery, PageQuery),
    responses((status = 200, body = NumberList)))]
async fn numbers(
    State(api): State<Api>,
    node: Node,
    Parameters(query): Parameters<NodeQuery>,
    Parameters(page): Parameters<PageQuery>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer<NumberList> {
    let account_id = node.account(&api.mock)?;
    let ledger = api.mock.ledger();
    let limit = ledger.accounts.limit(&account_id);
    let numbers = ledger.numbers.of_account(&account_id);
    let ids: Vec<&str> = numbers.iter().map(|(id, _)| *id).collect();
    let (range, paging) = paging::page(&ids, &page, &list_url(&uri, &headers))?;
    let data = numbers[range]
        .iter()
        .map(|(id, number)| number_with(number_node(id, number, limit), query.fields.as_deref()))
        .collect::<Result<_, _>>()?;
    Ok(axum::Json(NumberList { data, paging }))
}

fn number_with(node: Value, asked: Option<&str>) -> Result<Value, Refusal> {
    fields::select(
        node,
        asked,
        DEFAULT_NUMBER_FIELDS,
        NUMBER_FIELDS,
        "WhatsAppBusinessPhoneNumber",
    )
}

fn number_node(id: &str, number: &Number, limit: MessagingLimit) -> Value {
    let level = if number.throughput >= HIGH_THROUGHPUT {
        "HIGH"
    } else {
        "STANDARD"
    };
    let status = match number.state {
        NumberState::Connected => "CONNECTED",
        NumberState::Locked | NumberState::SpamLimited => "RESTRICTED",
        NumberState::Unregistered => "PENDING",
        NumberState::Deleted => "DELETED",
    };
    json!({
        "id": id,
        "verified_name": number.verified_name,
        "code_verification_status": "VERIFIED",
        "display_phone_number": written(&number.display),
        "quality_rating": number.quality_rating,
        "quality_score": {"score": number.quality_rating},
        "platform_type": "CLOUD_API",
        "throughput": {"level": level},
        "status": status,
        "name_status": "APPROVED",
        "account_mode": "LIVE",
        "is_official_business_account": false,
        "is_on_biz_app": false,
        "is_pin_enabled": false,
        "is_preverified_number": false,
        "messaging_limit_tier": limit,
        "whatsapp_business_manager_messaging_limit": limit,
    })
}

/// As Meta writes numbers of North America; others without blanks.
fn written(digits: &str) -> String {
    match digits.as_bytes() {
        [b'1', _, _, _, _, _, _, _, _, _, _] => {
            format!("+1 {}-{}-{}", &digits[1..4], &digits[4..7], &digits[7..])
        }
        _ => format!("+{digits}"),
    }
}
