//! Every method and path of every service: the scheduler's and the WhatsApp mock's from their own descriptions, the
//! others' by name.

use crate::{cloud_api, schema};
use e2e::{APP_SECRET, ERP_KEY, LANE, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use testkit::ServiceProcess;

/// Nothing has this id.
const UNKNOWN: &str = "0199aaaa-0000-7000-8000-000000000001";

/// One method of one path.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) service: String,
    pub(crate) address: SocketAddr,
    pub(crate) method: String,
    /// With `{name}` for each parameter.
    pub(crate) path: String,
    /// Each parameter of the path, with a value that names something that is there.
    pub(crate) good: Vec<(String, String)>,
    /// Names of its query parameters.
    pub(crate) query: Vec<String>,
    /// A body that is well formed, where it takes one.
    pub(crate) body: Option<Value>,
    /// Every field that the body may have.
    pub(crate) fields: Vec<String>,
    /// `Authorization`, where it needs one.
    pub(crate) bearer: Option<String>,
    /// Bodies are signed as webhooks are.
    pub(crate) signed: bool,
}

impl Endpoint {
    fn plain(service: &ServiceProcess, method: &str, path: &str, body: Option<Value>) -> Self {
        let fields = body.iter().flat_map(schema::names).collect();
        Self {
            service: service.name().to_owned(),
            address: service.address(),
            method: method.to_owned(),
            path: path.to_owned(),
            good: Vec::new(),
            query: Vec::new(),
            body,
            fields,
            bearer: None,
            signed: false,
        }
    }

    /// The path with these parameters.
    pub(crate) fn path_with(&self, value: impl Fn(&str) -> String) -> String {
        let replace = |path: String, (name, good): &(String, String)| {
            path.replace(&format!("{{{name}}}"), &value(good))
        };
        self.good.iter().fold(self.path.clone(), replace)
    }

    /// The path with parameters that name something.
    pub(crate) fn good_path(&self) -> String {
        self.path_with(str::to_owned)
    }

    pub(crate) fn secret(&self) -> Option<&'static str> {
        self.signed.then_some(APP_SECRET)
    }
}

/// Every endpoint of the stack.
pub(crate) async fn all(stack: &Stack) -> Vec<Endpoint> {
    let mut endpoints = scheduler(stack).await;
    endpoints.extend(erp(&stack.erp));
    endpoints.extend(cloud_api::endpoints(stack).await);
    endpoints.extend(webhooks(&stack.messengers[0]));
    for service in stack.services() {
        let probes = ["/livez", "/readyz", "/metrics"];
        endpoints.extend(probes.map(|probe| Endpoint::plain(service, "GET", probe, None)));
    }
    endpoints
}

async fn scheduler(stack: &Stack) -> Vec<Endpoint> {
    let document = stack.api(Method::GET, "/openapi.json", None).await;
    let draft = stack.create(json!({"name": "bad input"})).await;
    let templates = stack.api(Method::GET, "/v1/templates", None).await;
    let accounts = stack.api(Method::GET, "/v1/accounts", None).await;
    let first = |list: &Value| list["items"][0]["id"].as_str().unwrap_or_default().to_owned();
    let account = first(&accounts);
    let good = |path: &str, name: &str| match (path.split('/').nth(2), name) {
        // A preview asks the ERP, at the ERP's pace: hundreds of them would take minutes.
        _ if path.ends_with("/preview") => UNKNOWN.to_owned(),
        (Some("campaigns"), "id") => draft.clone(),
        (Some("templates"), "id") => first(&templates),
        (Some("accounts"), "id") => account.clone(),
        (Some("phone-numbers"), "id") => LANE.to_owned(),
        (Some("suppressions"), _) => "+5531987654321".to_owned(),
        (Some("dead-letters"), _) => "1-1".to_owned(),
        // Neither the key that is used here nor a request.
        _ => UNKNOWN.to_owned(),
    };
    let body = |path: &str, method: &str| sample(path, method, &account);
    described(&stack.schedulers[0], &document, stack.api_key(), good, body)
}

/// What a service's `/openapi.json` says. `good` names something that is there, by path and parameter; `body` is what
/// the handler takes, by path and method, where the schema does not say enough.
pub(crate) fn described(
    service: &ServiceProcess,
    document: &Value,
    bearer: &str,
    good: impl Fn(&str, &str) -> String,
    body: impl Fn(&str, &str) -> Option<Value>,
) -> Vec<Endpoint> {
    let mut endpoints = vec![Endpoint::plain(service, "GET", "/openapi.json", None)];
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let sample = || body(path, method).unwrap_or_else(|| schema::sample(schema, document));
            let sample = (!schema.is_null()).then(sample);
            let plain = Endpoint::plain(service, &method.to_uppercase(), path, sample);
            let named = |place: &str| schema::parameters(operation, place);
            endpoints.push(Endpoint {
                good: named("path")
                    .into_iter()
                    .map(|name| (name.clone(), good(path, &name)))
                    .collect(),
                query: named("query"),
                fields: schema::properties(schema, document),
                bearer: Some(bearer.to_owned()),
                ..plain
            });
        }
    }
    endpoints
}

/// A body that the handler takes, so that one wrong field at a time reaches what looks at that field.
fn sample(path: &str, method: &str, account: &str) -> Option<Value> {
    let body = match (path, method) {
        ("/v1/campaigns", "post") => json!({
            "name": "bad input", "phone_number_id": LANE, "segment": {},
            "template": {"name": "lembrete_fatura", "language": "pt_BR"},
            "mapping": {
                "nome": {"source": "customer.name", "format": "first_name", "fallback": "cliente"},
                "fatura": {"source": "customer.id", "format": "text"},
                "valor": {"constant": "R$ 10,00"},
                "vencimento": {"constant": "10/12/2026"},
            },
        }),
        ("/v1/templates", "post") => json!({
            "account_id": account, "name": "bad_input", "language": "pt_BR", "category": "UTILITY",
            "parameter_format": "NAMED", "components": [
                {"type": "BODY", "text": "Boa tarde, {{nome}}.", "example": {"body_text": [["Ana"]]}},
                {"type": "BUTTONS", "buttons": [{"type": "COPY_CODE", "text": "Copiar", "example": "A1"}]}],
        }),
        ("/v1/accounts", "post") => json!({"waba_id": "77", "name": "bad input"}),
        ("/v1/phone-numbers", "post") => json!({
            "phone_number_id": "88", "account_id": account, "display_number": "+55 31 0000-0000",
            "throughput_per_second": 80,
        }),
        ("/v1/api-keys", "post") => json!({"name": "bad input", "role": "viewer"}),
        ("/v1/suppressions", "post") => json!({"phone": "+5511912345678", "reason": "asked"}),
        _ => return None,
    };
    Some(body)
}

fn erp(service: &ServiceProcess) -> impl Iterator<Item = Endpoint> {
    let routes = [
        ("GET", "/v1/customers", None),
        ("GET", "/v1/customers/{id}", None),
        (
            "PATCH",
            "/v1/customers/{id}",
            Some(json!({"name": "Ana", "phone": "+5531987654321", "city": "Recife"})),
        ),
        ("GET", "/v1/customers/{id}/contacts", None),
        ("POST", "/mock/customers/{id}/opt-out", None),
        ("GET", "/mock/faults", None),
        (
            "PUT",
            "/mock/faults",
            Some(json!({"latency_ms": 0, "error_share": 0})),
        ),
    ];
    routes.into_iter().map(|(method, path, body)| Endpoint {
        good: vec![("id".to_owned(), "C00000001".to_owned())],
        query: [
            "limit",
            "cursor",
            "page_size",
            "state",
            "tag",
            "birthday_month",
            "updated_since",
        ]
        .map(str::to_owned)
        .to_vec(),
        bearer: Some(ERP_KEY.to_owned()),
        ..Endpoint::plain(service, method, path, body)
    })
}

fn webhooks(service: &ServiceProcess) -> [Endpoint; 2] {
    let path = "/webhooks/whatsapp";
    let status = json!({"id": "wamid.A", "status": "failed", "timestamp": "1772366400",
        "recipient_id": "5531987654321", "errors": [{"code": 131_026, "title": "Message undeliverable"}],
        "biz_opaque_callback_data": "0199aaaa-0000-7000-8000-000000000001:1:7"});
    let value = json!({"metadata": {"phone_number_id": LANE}, "statuses": [status]});
    let body = json!({"object": "whatsapp_business_account", "entry": [
        {"id": "1", "changes": [{"field": "messages", "value": value}]}]});
    [
        Endpoint {
            query: ["hub.mode", "hub.verify_token", "hub.challenge"]
                .map(str::to_owned)
                .to_vec(),
            ..Endpoint::plain(service, "GET", path, None)
        },
        Endpoint {
            signed: true,
            ..Endpoint::plain(service, "POST", path, Some(body))
        },
    ]
}
