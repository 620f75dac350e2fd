//! What a first campaign needs, for development: an account, two templates, two phone numbers. What is there
//! already stays as it is.

use crate::Step;
use campaign_core::ids::{AccountId, TemplateId};
use campaign_core::template::Template;
use campaign_store::accounts::{self, Account};
use campaign_store::phone_numbers::{self, PhoneNumber};
use campaign_store::{Store, StoreError, lock_first_setup, templates};
use chrono::Utc;
use serde_json::{Value, json};
use uuid::Uuid;

/// Meta's id of the development account, as in its documentation.
const WABA_ID: &str = "102290129340398";
/// Meta's ids of the numbers, how people read them, and messages a second.
const PHONE_NUMBERS: [(&str, &str, i32); 2] = [
    ("106540352242922", "+55 11 3000-0001", 1_000),
    ("106540352242923", "+55 11 3000-0002", 80),
];

/// Creates what is missing. Returns whether anything was.
pub async fn ensure(store: &Store) -> anyhow::Result<bool> {
    let mut transaction = store.begin().await?;
    lock_first_setup(&mut transaction).await?;
    let (account, mut created) = ensure_account(&mut transaction).await?;
    for template in [reminder(), offer()] {
        created |= ensure_template(&mut transaction, account, template).await?;
    }
    for (id, display_number, throughput) in PHONE_NUMBERS {
        created |= ensure_phone_number(&mut transaction, account, id, display_number, throughput).await?;
    }
    transaction.commit().await?;
    Ok(created)
}

async fn ensure_account(connection: Step<'_>) -> anyhow::Result<(AccountId, bool)> {
    if let Some(account) = accounts::by_waba_id(connection, WABA_ID).await? {
        return Ok((account.id, false));
    }
    let account = Account {
        id: AccountId(Uuid::now_v7()),
        waba_id: WABA_ID.to_owned(),
        portfolio_id: None,
        name: "Development".to_owned(),
        access_token_secret: None,
        app_secret_secret: None,
        created_at: Utc::now(),
        updated_at: Utc::now(),
    };
    accounts::create(connection, &account).await?;
    Ok((account.id, true))
}

async fn ensure_template(connection: Step<'_>, account: AccountId, template: Value) -> anyhow::Result<bool> {
    let template: Template = serde_json::from_value(template)?;
    if templates::latest(connection, account, &template.name, &template.language)
        .await?
        .is_some()
    {
        return Ok(false);
    }
    templates::create(connection, TemplateId(Uuid::now_v7()), account, &template).await?;
    Ok(true)
}

async fn ensure_phone_number(
    connection: Step<'_>,
    account_id: AccountId,
    id: &str,
    display_number: &str,
    throughput_per_second: i32,
) -> anyhow::Result<bool> {
    let phone_number_id = id.parse()?;
    match phone_numbers::get(connection, &phone_number_id).await {
        Ok(_) => return Ok(false),
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let number = PhoneNumber {
        phone_number_id,
        account_id,
        display_number: display_number.to_owned(),
        throughput_per_second,
        reported_throughput_per_second: None,
        active: true,
        created_at: Utc::now(),
        updated_at: Utc::now(),
    };
    phone_numbers::create(connection, &number).await?;
    Ok(true)
}

fn reminder() -> Value {
    json!({
        "name": "lembrete_fatura", "language": "pt_BR", "category": "UTILITY", "status": "APPROVED",
        "parameter_format": "NAMED",
        "components": [
            {"type": "HEADER", "format": "TEXT", "text": "Lembrete de fatura"},
            {"type": "BODY", "text": "Olá, {{nome}}! Sua fatura {{fatura}}, no valor de {{valor}}, vence ou venceu em \
                {{vencimento}}. Se já pagou, desconsidere esta mensagem."},
            {"type": "FOOTER", "text": "Responda SAIR para não receber mais"},
        ]
    })
}

fn offer() -> Value {
    json!({
        "name": "oferta_especial", "language": "pt_BR", "category": "MARKETING", "status": "APPROVED",
        "parameter_format": "POSITIONAL",
        "components": [
            {"type": "BODY", "text": "Olá, {{1}}! Separamos ofertas especiais para clientes de {{2}}. Aproveite esta \
                semana."},
            {"type": "FOOTER", "text": "Responda SAIR para não receber mais"},
            {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Quero saber mais"}]},
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_ones_that_whatsapp_accepts() {
        for template in [reminder(), offer()] {
            let template: Template = serde_json::from_value(template).expect("Meta's shape");
            assert!(template.compile().is_ok(), "{:?}", template.compile());
            assert!(template.status.can_be_sent());
        }
    }
}
