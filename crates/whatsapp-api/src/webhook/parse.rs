//! Reads a raw webhook body, field by field, forgiving each element by itself.

use serde_json::Value;

use super::{
    AccountUpdate, DeliveryStatus, Inbound, InboundContent, MAX_UPDATES, MAX_WEBHOOK_BYTES, Preference,
    PreferenceValue, Quality, Status, StatusPricing, TemplateStatus, Update, Webhook, WebhookError,
};
use crate::lenient;

/// Reads all updates of one body. The signature must have been checked before.
pub fn parse(raw: &[u8]) -> Result<Webhook, WebhookError> {
    if raw.len() > MAX_WEBHOOK_BYTES {
        return Err(WebhookError::TooLarge(raw.len()));
    }
    let body: Value = serde_json::from_slice(raw)?;
    let entries = list(&body, "entry").ok_or(WebhookError::NoEntry)?;
    let mut reader = Reader::default();
    for entry in entries {
        let account_id = string(entry, "id").unwrap_or_default();
        match list(entry, "changes") {
            Some(changes) => {
                for change in changes {
                    reader.change(&account_id, change)?;
                }
            }
            None => reader.webhook.unreadable += 1,
        }
    }
    Ok(reader.webhook)
}

#[derive(Default)]
struct Reader {
    webhook: Webhook,
}

impl Reader {
    fn change(&mut self, account_id: &str, change: &Value) -> Result<(), WebhookError> {
        let (Some(field), Some(value)) = (change["field"].as_str(), change.get("value")) else {
            return self.push(None);
        };
        match field {
            "messages" => self.messages(value),
            "user_preferences" => self.preferences(value),
            "message_template_status_update" => self.push(template_status(account_id, value)),
            "phone_number_quality_update" => self.push(quality(account_id, value)),
            "account_update" => self.push(account(account_id, value)),
            other => self.push(Some(Update::Unknown(other.to_owned()))),
        }
    }

    fn messages(&mut self, value: &Value) -> Result<(), WebhookError> {
        let phone_number_id = string(&value["metadata"], "phone_number_id");
        let lists = (list(value, "statuses"), list(value, "messages"));
        if lists == (None, None) {
            return self.push(Some(Update::Unknown("messages".into())));
        }
        for element in lists.0.into_iter().flatten() {
            self.push(status(phone_number_id.as_deref(), element))?;
        }
        for element in lists.1.into_iter().flatten() {
            self.push(inbound(phone_number_id.as_deref(), &value["contacts"], element))?;
        }
        Ok(())
    }

    fn preferences(&mut self, value: &Value) -> Result<(), WebhookError> {
        let phone_number_id = string(&value["metadata"], "phone_number_id");
        let Some(elements) = list(value, "user_preferences") else {
            return self.push(None);
        };
        for element in elements {
            self.push(preference(phone_number_id.clone(), element))?;
        }
        Ok(())
    }

    fn push(&mut self, update: Option<Update>) -> Result<(), WebhookError> {
        if self.webhook.updates.len() + self.webhook.unreadable >= MAX_UPDATES {
            return Err(WebhookError::TooManyUpdates);
        }
        match update {
            Some(update) => self.webhook.updates.push(update),
            None => self.webhook.unreadable += 1,
        }
        Ok(())
    }
}

fn status(phone_number_id: Option<&str>, value: &Value) -> Option<Update> {
    let errors = list(value, "errors").into_iter().flatten();
    Some(Update::Status(Status {
        phone_number_id: phone_number_id?.to_owned(),
        wamid: string(value, "id")?,
        status: DeliveryStatus::from(value["status"].as_str()?),
        timestamp_s: lenient::integer(&value["timestamp"]),
        recipient_id: string(value, "recipient_id"),
        callback_data: string(value, "biz_opaque_callback_data"),
        errors: errors
            .filter_map(|error| serde::Deserialize::deserialize(error).ok())
            .collect(),
        pricing: value
            .get("pricing")
            .filter(|pricing| pricing.is_object())
            .map(pricing),
    }))
}

fn pricing(value: &Value) -> StatusPricing {
    StatusPricing {
        billable: value["billable"].as_bool(),
        model: string(value, "pricing_model"),
        category: string(value, "category"),
        kind: string(value, "type"),
    }
}

fn inbound(phone_number_id: Option<&str>, contacts: &Value, value: &Value) -> Option<Update> {
    let from_user_id = string(value, "from_user_id");
    let from = string(value, "from").or_else(|| phone_of(contacts, from_user_id.as_deref()?));
    Some(Update::Inbound(Inbound {
        phone_number_id: phone_number_id?.to_owned(),
        from,
        from_user_id,
        wamid: string(value, "id")?,
        content: inbound_content(value)?,
        context_id: string(&value["context"], "id"),
        timestamp_s: lenient::integer(&value["timestamp"]),
    }))
}

/// The `wa_id` that the contacts beside a message give to a user id.
fn phone_of(contacts: &Value, user_id: &str) -> Option<String> {
    let contacts = contacts.as_array()?;
    let is_theirs = |contact: &&Value| string(contact, "user_id").as_deref() == Some(user_id);
    string(contacts.iter().find(is_theirs)?, "wa_id")
}

fn inbound_content(value: &Value) -> Option<InboundContent> {
    let kind = value["type"].as_str()?;
    Some(match kind {
        "text" => InboundContent::Text(string(&value["text"], "body")?),
        "button" => InboundContent::Button {
            text: string(&value["button"], "text").unwrap_or_default(),
            payload: string(&value["button"], "payload"),
        },
        "interactive" => {
            let interactive = &value["interactive"];
            let replies = ["button_reply", "list_reply"];
            match replies.iter().find_map(|key| interactive.get(key)) {
                Some(reply) => InboundContent::Interactive {
                    text: string(reply, "title").unwrap_or_default(),
                    payload: string(reply, "id"),
                },
                None => InboundContent::Other(kind.to_owned()),
            }
        }
        other => InboundContent::Other(other.to_owned()),
    })
}

fn preference(phone_number_id: Option<String>, value: &Value) -> Option<Update> {
    Some(Update::Preference(Preference {
        phone_number_id,
        wa_id: string(value, "wa_id"),
        user_id: string(value, "user_id"),
        category: string(value, "category").unwrap_or_default(),
        value: match value["value"].as_str()? {
            "stop" => PreferenceValue::Stop,
            "resume" => PreferenceValue::Resume,
            _ => return None,
        },
        timestamp_s: lenient::integer(&value["timestamp"]),
    }))
}

fn template_status(account_id: &str, value: &Value) -> Option<Update> {
    Some(Update::TemplateStatus(TemplateStatus {
        account_id: account_id.to_owned(),
        template_id: string(value, "message_template_id"),
        name: string(value, "message_template_name")?,
        language: string(value, "message_template_language")?.replace('-', "_"),
        event: string(value, "event")?,
        reason: string(value, "reason").filter(|reason| reason != "NONE"),
    }))
}

fn quality(account_id: &str, value: &Value) -> Option<Update> {
    Some(Update::Quality(Quality {
        account_id: account_id.to_owned(),
        display_phone_number: string(value, "display_phone_number"),
        event: string(value, "event")?,
        current_limit: string(value, "current_limit"),
    }))
}

fn account(account_id: &str, value: &Value) -> Option<Update> {
    Some(Update::Account(AccountUpdate {
        account_id: account_id.to_owned(),
        event: string(value, "event")?,
        reason: string(&value["violation_info"], "violation_type")
            .or_else(|| string(&value["ban_info"], "waba_ban_state"))
            .or_else(|| string(&value["restriction_info"][0], "restriction_type")),
    }))
}

fn list<'a>(value: &'a Value, key: &str) -> Option<&'a Vec<Value>> {
    value.get(key)?.as_array()
}

/// A text that is there and not empty.
fn string(value: &Value, key: &str) -> Option<String> {
    lenient::text(value.get(key)?).filter(|text| !text.is_empty())
}
