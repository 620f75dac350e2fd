//! The audience: rows written once, a page at a time, in the transaction that moves the ERP's cursor.

use crate::{Connection, Result, suppressions};
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::{MessageState, SkipReason};
use campaign_core::phone::CanonicalPhone;
use sqlx::Row;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// A row of the audience, as it is first written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceRow {
    /// Its position.
    pub seq: Seq,
    /// The ERP's id of the customer.
    pub customer_id: String,
    /// The number as the ERP has it.
    pub phone_as_given: Option<String>,
    /// Who receives it. None for a row that must not stand in the way of another with the same number.
    pub phone: Option<CanonicalPhone>,
    /// The row that has the same number.
    pub duplicate_of: Option<Seq>,
    /// The template's values.
    pub variables: Vec<String>,
    /// Why it is not sent to, and what exactly; none if it is.
    pub skip: Option<(SkipReason, Option<String>)>,
}

/// What a campaign has already of a page.
#[derive(Debug, Clone, Default)]
pub struct Present {
    /// Customers that have a row.
    pub customers: HashSet<String>,
    /// Numbers that have a row, and which.
    pub phones: HashMap<CanonicalPhone, Seq>,
    /// Numbers that are not to be messaged.
    pub suppressed: HashSet<CanonicalPhone>,
}

/// Looks up what is there already.
pub async fn present(
    connection: &mut Connection,
    campaign: CampaignId,
    customers: &[String],
    phones: &[CanonicalPhone],
) -> Result<Present> {
    let mut present = written(&mut *connection, campaign, customers, phones).await?;
    present.suppressed = suppressions::among(connection, phones).await?;
    Ok(present)
}

/// Looks up which customers and numbers have a row, one by one as [`crate::messages::lock`] does. Who is suppressed is
/// left open.
pub async fn written(
    connection: &mut Connection,
    campaign: CampaignId,
    customers: &[String],
    phones: &[CanonicalPhone],
) -> Result<Present> {
    let mut present = Present::default();
    if !customers.is_empty() {
        present.customers = customers_with_a_row(&mut *connection, campaign, customers).await?;
    }
    if !phones.is_empty() {
        present.phones = phones_with_a_row(connection, campaign, phones).await?;
    }
    Ok(present)
}

async fn customers_with_a_row(
    connection: &mut Connection,
    campaign: CampaignId,
    customers: &[String],
) -> Result<HashSet<String>> {
    let rows = sqlx::query(
        "-- audience.present_customers
         SELECT u.customer_id FROM UNNEST($2::text[]) AS u (customer_id) CROSS JOIN LATERAL (
             SELECT FROM messages AS m WHERE m.campaign = $1 AND m.customer_id = u.customer_id OFFSET 0) AS m",
    )
    .persistent(false)
    .bind(campaign.0)
    .bind(customers)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("customer_id")?)).collect()
}

async fn phones_with_a_row(
    connection: &mut Connection,
    campaign: CampaignId,
    phones: &[CanonicalPhone],
) -> Result<HashMap<CanonicalPhone, Seq>> {
    let as_text: Vec<String> = phones.iter().map(ToString::to_string).collect();
    let rows = sqlx::query(
        "-- audience.present_phones
         SELECT u.phone, m.seq FROM UNNEST($2::text[]) AS u (phone) CROSS JOIN LATERAL (
             SELECT seq FROM messages AS m WHERE m.campaign = $1 AND m.phone = u.phone OFFSET 0) AS m",
    )
    .persistent(false)
    .bind(campaign.0)
    .bind(&as_text)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((crate::read::text(row, "phone")?, Seq(row.try_get("seq")?))))
        .collect()
}

/// Writes rows, all or none. As in [`messages::update`](crate::messages::update), the arrays are taken apart side by side.
///
/// Not by `COPY`: its end goes in a packet of its own, which TCP holds back until the one before it is acknowledged (40 ms),
/// since sqlx leaves Nagle's algorithm on.
pub async fn insert(connection: &mut Connection, campaign: CampaignId, rows: &[AudienceRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query(
        "-- audience.insert
         INSERT INTO messages (campaign, seq, state, generation, customer_id, phone_as_given, phone, duplicate_of,
             variables, error_code, error_text, settled_at)
         SELECT $1, seq,
             CASE WHEN error_code IS NULL THEN (SELECT $2::text::message_state) ELSE (SELECT $3::text::message_state) END,
             1, customer_id, phone_as_given, phone, duplicate_of, variables::text[], error_code, error_text,
             CASE WHEN error_code IS NULL THEN NULL ELSE now() END
         FROM (SELECT UNNEST($4::bigint[]) AS seq, UNNEST($5::text[]) AS customer_id, UNNEST($6::text[]) AS phone_as_given,
             UNNEST($7::text[]) AS phone, UNNEST($8::bigint[]) AS duplicate_of, UNNEST($9::text[]) AS variables,
             UNNEST($10::text[]) AS error_code, UNNEST($11::text[]) AS error_text) AS u",
    )
    .bind(campaign.0)
    .bind(MessageState::Pending.as_str())
    .bind(MessageState::Skipped.as_str())
    .bind(column!(row => row.seq.0))
    .bind(column!(row => without_nul(&row.customer_id)))
    .bind(column!(row => row.phone_as_given.as_deref().map(without_nul)))
    .bind(column!(row => row.phone.as_ref().map(ToString::to_string)))
    .bind(column!(row => row.duplicate_of.map(|seq| seq.0)))
    .bind(column!(row => array_literal(&row.variables)))
    .bind(column!(row => row.skip.as_ref().map(|(reason, _)| reason.as_str())))
    .bind(column!(row => row.skip.as_ref().and_then(|(_, detail)| detail.as_deref()).map(without_nul)))
    .execute(connection)
    .await?;
    Ok(())
}

/// Postgres takes no NUL in text, so one is left out.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', ""))
    } else {
        Cow::Borrowed(text)
    }
}

fn array_literal(values: &[String]) -> String {
    let mut literal = String::from("{");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            literal.push(',');
        }
        literal.push('"');
        for character in value.chars().filter(|character| *character != '\0') {
            if matches!(character, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(character);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_escapes_what_its_syntax_gives_a_meaning_to() {
        let variables = ["a\"b", "c\\d", "e,{f}\0"].map(str::to_owned);
        assert_eq!(array_literal(&variables), r#"{"a\"b","c\\d","e,{f}"}"#);
    }
}
