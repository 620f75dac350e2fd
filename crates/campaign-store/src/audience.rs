//! The audience: rows written once, by COPY, in the transaction that moves the ERP's cursor.

use crate::{Connection, Result, suppressions};
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::{MessageState, SkipReason};
use campaign_core::phone::CanonicalPhone;
use sqlx::Row;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

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

/// Looks up what is there already, one by one as [`crate::messages::lock`] does.
pub async fn present(
    connection: &mut Connection,
    campaign: CampaignId,
    customers: &[String],
    phones: &[CanonicalPhone],
) -> Result<Present> {
    let as_text: Vec<String> = phones.iter().map(ToString::to_string).collect();
    let mut present = Present::default();
    let rows = sqlx::query(
        "-- audience.present_customers
         SELECT u.customer_id FROM UNNEST($2::text[]) AS u (customer_id) CROSS JOIN LATERAL (
             SELECT FROM messages AS m WHERE m.campaign = $1 AND m.customer_id = u.customer_id OFFSET 0) AS m",
    )
    .bind(campaign.0)
    .bind(customers)
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        present.customers.insert(row.try_get("customer_id")?);
    }
    let rows = sqlx::query(
        "-- audience.present_phones
         SELECT u.phone, m.seq FROM UNNEST($2::text[]) AS u (phone) CROSS JOIN LATERAL (
             SELECT seq FROM messages AS m WHERE m.campaign = $1 AND m.phone = u.phone OFFSET 0) AS m",
    )
    .bind(campaign.0)
    .bind(&as_text)
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        present
            .phones
            .insert(crate::read::text(&row, "phone")?, Seq(row.try_get("seq")?));
    }
    present.suppressed = suppressions::among(connection, phones).await?;
    Ok(present)
}

/// Writes rows, all or none.
pub async fn insert(connection: &mut Connection, campaign: CampaignId, rows: &[AudienceRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut text = String::with_capacity(rows.len() * 160);
    for row in rows {
        write_row(&mut text, campaign, row);
    }
    let mut copy = connection
        .copy_in_raw(
            "COPY messages (campaign, seq, state, generation, customer_id, phone_as_given, phone, duplicate_of, \
             variables, error_code, error_text, settled_at) FROM STDIN",
        )
        .await?;
    copy.send(text.as_bytes()).await?;
    copy.finish().await?;
    Ok(())
}

/// One line of COPY's text format: <https://www.postgresql.org/docs/15/sql-copy.html>, "Text Format".
fn write_row(line: &mut String, campaign: CampaignId, row: &AudienceRow) {
    let state = if row.skip.is_some() {
        MessageState::Skipped
    } else {
        MessageState::Pending
    };
    let reason = row.skip.as_ref().map(|(reason, _)| reason.as_str());
    let detail = row.skip.as_ref().and_then(|(_, detail)| detail.as_deref());
    write!(line, "{campaign}\t{}\t{state}\t1\t", row.seq).expect("a String takes everything");
    write_text(line, &row.customer_id);
    line.push('\t');
    write_optional(line, row.phone_as_given.as_deref());
    line.push('\t');
    write_optional(line, row.phone.as_ref().map(ToString::to_string).as_deref());
    line.push('\t');
    write_optional(line, row.duplicate_of.map(|seq| seq.to_string()).as_deref());
    line.push('\t');
    write_text(line, &array_literal(&row.variables));
    line.push('\t');
    write_optional(line, reason);
    line.push('\t');
    write_optional(line, detail);
    line.push('\t');
    write_optional(line, row.skip.is_some().then_some("now"));
    line.push('\n');
}

fn write_optional(line: &mut String, value: Option<&str>) {
    match value {
        Some(value) => write_text(line, value),
        None => line.push_str("\\N"),
    }
}

/// Escapes what COPY gives a meaning to. Postgres takes no NUL in text, so one is left out.
fn write_text(line: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => line.push_str("\\\\"),
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\0' => {}
            other => line.push(other),
        }
    }
}

fn array_literal(values: &[String]) -> String {
    let mut literal = String::from("{");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            literal.push(',');
        }
        literal.push('"');
        for character in value.chars() {
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
    use uuid::Uuid;

    #[test]
    fn a_line_escapes_what_copy_and_arrays_give_a_meaning_to() {
        let mut line = String::new();
        let row = AudienceRow {
            seq: Seq(3),
            customer_id: "C\t1".to_owned(),
            phone_as_given: None,
            phone: None,
            duplicate_of: Some(Seq(1)),
            variables: vec!["a\"b".to_owned(), "c\\d".to_owned()],
            skip: Some((SkipReason::Duplicate, None)),
        };
        write_row(&mut line, CampaignId(Uuid::nil()), &row);
        let expected = "00000000-0000-0000-0000-000000000000\t3\tskipped\t1\tC\\t1\t\\N\t\\N\t1\t\
                        {\"a\\\\\"b\",\"c\\\\\\\\d\"}\tduplicate\t\\N\tnow\n";
        assert_eq!(line, expected);
    }
}
