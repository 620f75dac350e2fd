//! Bodies as Meta writes them.

use std::collections::HashMap;
use std::sync::Arc;

use whatsapp_api::GraphError;
use whatsapp_api::webhook::body::{Body, Change, Contact, Entry, Profile, Status};

use super::{Batch, Event, StatusKind, WebhookSettings};
use crate::answer::Refusal;
use crate::numbers::Numbers;
use crate::person;

/// How long a conversation lasts.
const CONVERSATION_S: u64 = 24 * 3_600;

/// Whose the phone numbers of a batch are, and how people write them: looked up once.
pub(crate) struct Identities {
    by_id: HashMap<String, (Arc<str>, Arc<str>)>,
}

impl Identities {
    pub(crate) fn of(batch: &Batch, numbers: &Numbers) -> Self {
        let mut by_id = HashMap::new();
        let mut add = |id: &str| {
            if !by_id.contains_key(id) {
                by_id.insert(id.to_owned(), numbers.identity(id));
            }
        };
        match batch {
            Batch::Statuses(events) => events
                .iter()
                .for_each(|event| add(&event.message.phone_number_id)),
            Batch::Inbound(requests) => requests
                .iter()
                .for_each(|(_, request)| add(&request.phone_number_id)),
            Batch::Notices(_) => {}
        }
        Self { by_id }
    }

    fn account_id(&self, id: &str) -> &str {
        &self.identity(id).0
    }

    fn display_phone_number(&self, id: &str) -> &str {
        &self.identity(id).1
    }

    fn identity(&self, id: &str) -> &(Arc<str>, Arc<str>) {
        self.by_id
            .get(id)
            .expect("every number of the batch was looked up")
    }
}

pub(crate) fn render(
    settings: &WebhookSettings,
    batch: &Batch,
    identities: &Identities,
    now_s: u64,
) -> serde_json::Result<Vec<u8>> {
    let failure = [Refusal::of(settings.fail_code).into_error()];
    let entries = match batch {
        Batch::Statuses(events) => status_entries(events, &failure, identities),
        Batch::Inbound(requests) => {
            let entries = requests.iter().map(|(wamid, request)| {
                let id = request.phone_number_id.as_str();
                let change = request.change(wamid, now_s);
                entry(id, change, identities)
            });
            joined(entries)
        }
        Batch::Notices(notices) => {
            let entries = notices.iter().map(|(at_s, notice)| Entry {
                id: &notice.account_id,
                time: Some(*at_s),
                changes: vec![Change::raw(notice.field, notice.value.clone())],
            });
            entries.collect()
        }
    };
    serde_json::to_vec(&Body::of(entries))
}

/// One change for each run of statuses from the same phone number, so that their order stays.
fn status_entries<'a>(
    events: &'a [Event],
    failure: &'a [GraphError],
    identities: &'a Identities,
) -> Vec<Entry<'a>> {
    let runs = events
        .chunk_by(|left, right| left.message.phone_number_id == right.message.phone_number_id)
        .map(|run| {
            let id: &str = &run[0].message.phone_number_id;
            let statuses = run.iter().map(|event| status(event, failure)).collect();
            let contacts = run
                .iter()
                .filter_map(|event| contact(event.message.wa_id))
                .collect();
            let change = Change::statuses(id, statuses).with_contacts(contacts);
            entry(id, change, identities)
        });
    joined(runs)
}

fn entry<'a>(phone_number_id: &'a str, change: Change<'a>, identities: &'a Identities) -> Entry<'a> {
    Entry {
        id: identities.account_id(phone_number_id),
        time: None,
        changes: vec![change.with_display_phone_number(identities.display_phone_number(phone_number_id))],
    }
}

/// Neighbours of the same account as one entry.
fn joined<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<Entry<'a>> {
    let mut joined: Vec<Entry<'a>> = Vec::new();
    for entry in entries {
        match joined.last_mut() {
            Some(last) if last.id == entry.id => last.changes.extend(entry.changes),
            _ => joined.push(entry),
        }
    }
    joined
}

fn status<'a>(event: &Event, failure: &'a [GraphError]) -> Status<'a> {
    let price = event.message.price;
    let (status, errors, pricing): (_, &[_], _) = match event.status {
        StatusKind::Sent => ("sent", &[], Some(price.pricing())),
        StatusKind::Delivered => ("delivered", &[], Some(price.pricing())),
        StatusKind::Read => ("read", &[], None),
        StatusKind::Failed => ("failed", failure, None),
    };
    let until_s = (event.status == StatusKind::Sent).then_some(event.at_s + CONVERSATION_S);
    let wa_id = event.message.wa_id;
    Status {
        id: super::outbox::wamid(event.serial),
        status,
        timestamp: event.at_s.to_string(),
        recipient_id: person::wa_id_text(wa_id),
        recipient_user_id: person::user_id(wa_id),
        biz_opaque_callback_data: event.message.callback.text().map(Into::into),
        conversation: pricing
            .as_ref()
            .and_then(|_| price.conversation(format!("{:032x}", event.serial), until_s)),
        pricing,
        errors,
    }
}

/// A person as webhooks introduce them; those known by user id alone are not.
pub(super) fn contact(wa_id: u64) -> Option<Contact> {
    Some(Contact {
        profile: Profile {
            name: format!("Person {}", wa_id % 10_000),
        },
        wa_id: person::wa_id_text(wa_id),
        user_id: person::user_id(wa_id)?,
    })
}
