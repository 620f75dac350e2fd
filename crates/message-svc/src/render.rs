//! One recipient's message: a campaign's template, filled with one list of values.

use campaign_core::ids::MessageKey;
use campaign_core::phone::CanonicalPhone;
use campaign_core::template::{
    CompiledTemplate, ComponentParameters, Parameter as Value, ParameterKind, RenderProblem, Section,
};
use whatsapp_api::MessageRequest;
use whatsapp_api::send::{ButtonKind, Component, Language, Media, Parameter, TemplateMessage};

/// The request for one message, or why WhatsApp would refuse it.
pub(crate) fn render(
    template: &CompiledTemplate,
    phone: &CanonicalPhone,
    values: &[String],
    key: MessageKey,
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
    Ok(MessageRequest::template(phone.as_str(), message).with_callback_data(key.to_string()))
}

/// A footer takes no values, so it is never sent.
fn component(filled: &ComponentParameters<'_>) -> Option<Component> {
    let parameters = filled.parameters.iter().map(parameter).collect();
    match filled.section {
        Section::Header => Some(Component::Header { parameters }),
        Section::Body => Some(Component::Body { parameters }),
        Section::Footer => None,
        Section::Button(index) => {
            let copies_a_code = filled
                .parameters
                .iter()
                .any(|value| value.kind == ParameterKind::CouponCode);
            Some(Component::Button {
                sub_type: if copies_a_code {
                    ButtonKind::CopyCode
                } else {
                    ButtonKind::Url
                },
                index: index.to_string(),
                parameters,
            })
        }
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
            document: media(value.value),
        },
        ParameterKind::CouponCode => Parameter::CouponCode {
            coupon_code: value.value.to_owned(),
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
        let request = render(&compiled(), &phone, &values, key()).expect("it renders");
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
        let problem = render(&compiled(), &phone, &values, key()).expect_err("a line break");
        assert!(problem.to_string().contains("first_name"), "{problem}");
        assert!(render(&compiled(), &phone, &values[..2], key()).is_err());
    }
}
