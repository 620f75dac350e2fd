//! A customer as the ERP tells it.
//!
//! ERPs differ, so reading is lenient: unknown fields are ignored, and all but the id and the time of
//! the last change may be missing. What is missing is never guessed in the customer's disfavour: without a
//! word about consent there is none.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

/// A person whom the ERP knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The ERP's id, opaque to us.
    pub id: String,
    /// Full name.
    #[serde(default)]
    pub name: Option<String>,
    /// Phone as the ERP has it, in whatever format; [`crate::phone`] makes it canonical.
    #[serde(default)]
    pub phone: Option<String>,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// City.
    #[serde(default)]
    pub city: Option<String>,
    /// State: the two letters of the UF.
    #[serde(default)]
    pub state: Option<String>,
    /// Date of birth.
    #[serde(default)]
    pub birth_date: Option<NaiveDate>,
    /// Labels that people gave the customer.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether the customer is one still. An ERP without this notion has only active ones.
    #[serde(default = "active_unless_said")]
    pub active: bool,
    /// Whether the customer agreed to receive marketing.
    #[serde(default)]
    pub marketing_consent: bool,
    /// Day of the last purchase.
    #[serde(default)]
    pub last_purchase_on: Option<NaiveDate>,
    /// Value of the last purchase, in centavos.
    #[serde(default)]
    pub last_purchase_cents: Option<i64>,
    /// The oldest invoice that is not paid.
    #[serde(default)]
    pub open_invoice: Option<OpenInvoice>,
    /// When the ERP last changed this customer.
    pub updated_at: DateTime<Utc>,
}

/// An invoice that is not paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenInvoice {
    /// Its number.
    pub number: String,
    /// What is owed, in centavos.
    pub amount_cents: i64,
    /// The day it is, or was, due.
    pub due_on: NaiveDate,
}

impl OpenInvoice {
    /// Days since it was due; negative while it is not due yet.
    pub fn days_overdue(&self, today: NaiveDate) -> i64 {
        (today - self.due_on).num_days()
    }
}

const fn active_unless_said() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erp_may_say_more_or_less_than_we_know() {
        let customer: Customer = serde_json::from_str(
            r#"{"id": "7", "updated_at": "2026-03-01T12:00:00Z", "loyalty": {"points": 3}}"#,
        )
        .expect("unknown and missing fields are fine");
        assert_eq!(customer.id, "7");
        assert!(customer.active);
        assert!(!customer.marketing_consent, "consent is never assumed");
        assert_eq!((customer.phone, customer.tags), (None, vec![]));
    }

    #[test]
    fn days_overdue_count_from_the_due_day() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 3, day).expect("a valid day");
        let invoice = OpenInvoice {
            number: "1".into(),
            amount_cents: 100,
            due_on: day(10),
        };
        assert_eq!(invoice.days_overdue(day(10)), 0);
        assert_eq!(invoice.days_overdue(day(13)), 3);
        assert_eq!(invoice.days_overdue(day(8)), -2);
    }
}
