//! One recipient's message: a campaign's template, filled with one list of values.

use campaign_core::ids::MessageKey;
use campaign_core::phone::CanonicalPhone;
use campaign_core::template::{
    CompiledTemplate, ComponentParameters, Parameter as Value, ParameterKind, RenderProblem, Section,
    TemplateCategory,
};
use whatsapp_api::send::{ButtonKind, Component, Language, Media, Parameter, TemplateMessage};
use whatsapp_api::{MessageRequest, ProductPolicy};

/// Longest shown name of a document; Meta takes more, people do not read it.
const FILENAME_MAX_CHARS: usize = 240;

/// The request for one message, or why WhatsApp would refuse it. `marketing`: what templates of that category say
/// where they have an endpoint of their own.
pub(crate) fn render(
    template: &CompiledTemplate,
    phone: &CanonicalPhone,
    values: &[String],
    key: MessageKey,
    marketing: Option<ProductPolicy>,
) -> Result<MessageRequest, RenderProblem> {
    template.check_values(values)?;
    let components = template
        .parameters(values)?
        .iter()
        .filter_map(component)
        .collect();
    let message = TemplateMessage {
        name: template.name().to_owned(),
        language: Language {
            code: template.language().to_owned(),
        },
        components,
    };
    let mut request = MessageRequest::template(phone.as_str(), message).with_callback_data(key.to_string());
    if template.category() == TemplateCategory::Marketing {
        request.product_policy = marketing;
    }
    Ok(request)
}

/// A footer takes no values, so it is never sent.
fn component(filled: &ComponentParameters<'_>) -> Option<Component> {
    let parameters = filled.parameters.iter().map(parameter).collect();
    match filled.section {
        Section::Header => Some(Component::Header { parameters }),
        Section::Body => Some(Component::Body { parameters }),
        Section::Footer => None,
        Section::Button(index) => Some(Component::Button {
            sub_type: button_kind(filled.parameters.first()?.kind),
            index: index.to_string(),
            parameters,
        }),
    }
}

/// A button takes one value, which tells what the button is.
fn button_kind(kind: ParameterKind) -> ButtonKind {
    match kind {
        ParameterKind::CouponCode => ButtonKind::CopyCode,
        ParameterKind::Payload => ButtonKind::QuickReply,
        ParameterKind::UrlSuffix
        | ParameterKind::Text
        | ParameterKind::Image
        | ParameterKind::Video
        | ParameterKind::Document => ButtonKind::Url,
    }
}

fn parameter(value: &Value<'_>) -> Parameter {
    match value.kind {
        ParameterKind::Text | ParameterKind::UrlSuffix => Parameter::Text {
            text: value.value.to_owned(),
            parameter_name: value.name.map(str::to_owned),
        },
        ParameterKind::Image => Parameter::Image {
            image: media(value.value),
        },
        ParameterKind::Video => Parameter::Video {
            video: media(value.value),
        },
        ParameterKind::Document => Parameter::Document {
            document: Media {
                filename: file_name(value.value),
                ..media(value.value)
            },
        },
        ParameterKind::CouponCode => Parameter::CouponCode {
            coupon_code: value.value.to_owned(),
        },
        ParameterKind::Payload => Parameter::Payload {
            payload: value.value.to_owned(),
        },
    }
}

/// An address is fetched by Meta; anything else is the id of an upload.
fn media(value: &str) -> Media {
    let is_link = value.starts_with("https://") || value.starts_with("http://");
    let text = Some(value.to_owned());
    let (id, link) = if is_link { (None, text) } else { (text, None) };
    Media {
        id,
        link,
        filename: None,
    }
}

/// The name that people see of a document: the end of its address, if that names a file.
fn file_name(value: &str) -> Option<String> {
    let (_, address) = value.split_once("://")?;
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let (_, name) = path.rsplit_once('/')?;
    let names_a_file = name
        .rsplit_once('.')
        .is_some_and(|(stem, end)| !stem.is_empty() && !end.is_empty());
    (names_a_file && name.chars().count() <= FILENAME_MAX_CHARS).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use campaign_core::ids::{CampaignId, Generation, Seq};
    use campaign_core::template::Template;
    use serde_json::json;
    use uuid::Uuid;

    fn compiled() -> CompiledTemplate {
        let template: Template = serde_json::from_value(json!({
            "name": "order_ready", "language": "pt_BR", "category": "UTILITY",
            "parameter_format": "NAMED", "status": "APPROVED",
            "components": [
                {"type": "HEADER", "format": "IMAGE"},
                {"type": "BODY", "text": "Olá {{first_name}}, seu pedido está pronto."},
                {"type": "FOOTER", "text": "Responda SAIR para parar."},
                {"type": "BUTTONS", "buttons": [
                    {"type": "URL", "text": "Ver", "url": "https://example.com/{{1}}"},
                    {"type": "COPY_CODE"}]}
            ]
        }))
        .expect("a template");
        template.compile_for_sending().expect("it compiles")
    }

    fn key() -> MessageKey {
        MessageKey {
            campaign: CampaignId(Uuid::nil()),
            generation: Generation(2),
            seq: Seq(9),
        }
    }

    #[test]
    fn every_kind_of_value_has_metas_shape() {
        let phone = "+5531987654321".parse().expect("a phone");
        let values = ["https://example.com/a.png", "Ana", "o/41", "SAVE10"].map(str::to_owned);
        let request = render(&compiled(), &phone, &values, key(), None).expect("it renders");
        let written = serde_json::to_value(&request).expect("it is JSON");
        assert_eq!(written["to"], "+5531987654321");
        assert_eq!(
            written["biz_opaque_callback_data"],
            format!("{}:2:9", Uuid::nil())
        );
        assert_eq!(
            written["template"]["components"],
            json!([
                {"type": "header", "parameters": [
                    {"type": "image", "image": {"link": "https://example.com/a.png"}}]},
                {"type": "body", "parameters": [
                    {"type": "text", "text": "Ana", "parameter_name": "first_name"}]},
                {"type": "button", "sub_type": "url", "index": "0", "parameters": [
                    {"type": "text", "text": "o/41"}]},
                {"type": "button", "sub_type": "copy_code", "index": "1", "parameters": [
                    {"type": "coupon_code", "coupon_code": "SAVE10"}]}
            ])
        );
        assert!(matches!(
            media("1234"),
            Media {
                id: Some(_),
                link: None,
                ..
            }
        ));
    }

    #[test]
    fn what_whatsapp_would_refuse_is_not_rendered() {
        let phone = "+5531987654321".parse().expect("a phone");
        let values = ["https://example.com/a.png", "Ana\n", "o", "S"].map(str::to_owned);
        let problem = render(&compiled(), &phone, &values, key(), None).expect_err("a line break");
        assert!(problem.to_string().contains("first_name"), "{problem}");
        assert!(render(&compiled(), &phone, &values[..2], key(), None).is_err());
    }

    fn of_kind(category: &str, header: &str, button: &serde_json::Value) -> CompiledTemplate {
        let template: Template = serde_json::from_value(json!({
            "name": "oferta", "language": "pt_BR", "category": category, "status": "APPROVED",
            "components": [
                {"type": "HEADER", "format": header},
                {"type": "BODY", "text": "Temos {{1}} para você."},
                {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Quero"}, button]}
            ]
        }))
        .expect("a template");
        template.compile_for_sending().expect("it compiles")
    }

    fn written(
        template: &CompiledTemplate,
        values: &[&str],
        marketing: Option<ProductPolicy>,
    ) -> serde_json::Value {
        let phone = "+5531987654321".parse().expect("a phone");
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let request = render(template, &phone, &values, key(), marketing).expect("it renders");
        serde_json::to_value(&request).expect("it is JSON")
    }

    #[test]
    fn a_quick_reply_says_what_it_sends_back_only_if_the_campaign_says_so() {
        let button = json!({"type": "QUICK_REPLY", "text": "Não"});
        let template = of_kind("UTILITY", "VIDEO", &button);
        let video = json!({"type": "header", "parameters": [{"type": "video", "video": {"id": "77"}}]});
        let body = json!({"type": "body", "parameters": [{"type": "text", "text": "algo"}]});
        let plain = written(&template, &["77", "algo"], None);
        assert_eq!(plain["template"]["components"], json!([video, body]));
        let template = template.with_payloads(&[1, 7]);
        let filled = written(&template, &["77", "algo", "nao-quero"], None);
        let reply = json!({"type": "button", "sub_type": "quick_reply", "index": "1", "parameters": [
            {"type": "payload", "payload": "nao-quero"}]});
        assert_eq!(filled["template"]["components"], json!([video, body, reply]));
    }

    #[test]
    fn a_document_shows_the_name_of_its_file() {
        let button = json!({"type": "QUICK_REPLY", "text": "Não"});
        let template = of_kind("UTILITY", "DOCUMENT", &button);
        for (value, expected) in [
            (
                "https://h.example/f/fatura.pdf?x=/y.z",
                json!({"link": "https://h.example/f/fatura.pdf?x=/y.z", "filename": "fatura.pdf"}),
            ),
            ("https://h.example/f", json!({"link": "https://h.example/f"})),
            ("https://h.example", json!({"link": "https://h.example"})),
            ("4711", json!({"id": "4711"})),
        ] {
            let written = written(&template, &[value, "algo"], None);
            let header = &written["template"]["components"][0]["parameters"][0];
            assert_eq!(header, &json!({"type": "document", "document": expected}));
        }
    }

    #[test]
    fn only_marketing_goes_by_the_marketing_endpoint() {
        let button = json!({"type": "QUICK_REPLY", "text": "Não"});
        for (category, policy, expected) in [
            ("MARKETING", Some(ProductPolicy::Strict), json!("STRICT")),
            ("MARKETING", None, serde_json::Value::Null),
            ("UTILITY", Some(ProductPolicy::Strict), serde_json::Value::Null),
            (
                "AUTHENTICATION",
                Some(ProductPolicy::Strict),
                serde_json::Value::Null,
            ),
        ] {
            let template = of_kind(category, "IMAGE", &button);
            let written = written(&template, &["1", "algo"], policy);
            assert_eq!(written["product_policy"], expected, "{category}");
        }
    }
}
