//! The fields of a customer that a template can be filled from.

use super::VariableFormat;
use crate::customer::Customer;
use chrono::NaiveDate;

/// What a field holds for one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// A text.
    Text(&'a str),
    /// An amount in centavos.
    Cents(i64),
    /// A day.
    Date(NaiveDate),
    /// A phone number as the ERP has it.
    Phone(&'a str),
}

/// What a field holds in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Texts.
    Text,
    /// Amounts in centavos.
    Cents,
    /// Days.
    Date,
    /// Phone numbers.
    Phone,
}

impl FieldKind {
    /// Whether values of this kind can be written in a format. Amounts and days have one way of being written
    /// for people, so their raw form is not among them.
    pub const fn fits(self, format: VariableFormat) -> bool {
        use VariableFormat as Format;
        match self {
            Self::Text => matches!(
                format,
                Format::Text | Format::FirstName | Format::Upper | Format::Lower
            ),
            Self::Cents => matches!(format, Format::BrlAmount),
            Self::Date => matches!(format, Format::Date),
            Self::Phone => matches!(format, Format::Text | Format::Phone),
        }
    }

    pub(super) fn fitting_formats(self) -> String {
        let fitting = VariableFormat::ALL.iter().filter(|format| self.fits(**format));
        fitting
            .map(|format| format.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

macro_rules! customer_fields {
    ($($(#[$doc:meta])* $field:ident = $path:literal, $kind:ident, $customer:ident => $value:expr;)+) => {
        /// A field of a [`Customer`], named by its path.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CustomerField {
            $($(#[$doc])* $field),+
        }

        impl CustomerField {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$field),+];

            /// Its name in a mapping, as in `customer.name`.
            pub const fn path(self) -> &'static str {
                match self { $(Self::$field => $path),+ }
            }

            /// What it holds.
            pub const fn kind(self) -> FieldKind {
                match self { $(Self::$field => FieldKind::$kind),+ }
            }

            /// Its value for one customer.
            pub fn of(self, customer: &Customer) -> Option<FieldValue<'_>> {
                match self {
                    $(Self::$field => {
                        let $customer = customer;
                        $value.map(FieldValue::$kind)
                    })+
                }
            }
        }
    };
}

customer_fields! {
    /// The ERP's id.
    Id = "customer.id", Text, customer => Some(customer.id.as_str());
    /// Full name.
    Name = "customer.name", Text, customer => customer.name.as_deref();
    /// Phone number.
    Phone = "customer.phone", Phone, customer => customer.phone.as_deref();
    /// E-mail address.
    Email = "customer.email", Text, customer => customer.email.as_deref();
    /// City.
    City = "customer.city", Text, customer => customer.city.as_deref();
    /// State, by its two letters.
    State = "customer.state", Text, customer => customer.state.as_deref();
    /// Date of birth.
    BirthDate = "customer.birth_date", Date, customer => customer.birth_date;
    /// Day of the last purchase.
    LastPurchaseOn = "customer.last_purchase_on", Date, customer => customer.last_purchase_on;
    /// Value of the last purchase.
    LastPurchaseCents = "customer.last_purchase_cents", Cents, customer => customer.last_purchase_cents;
    /// Number of the open invoice.
    InvoiceNumber = "customer.open_invoice.number", Text,
        customer => customer.open_invoice.as_ref().map(|invoice| invoice.number.as_str());
    /// What is owed on the open invoice.
    InvoiceAmountCents = "customer.open_invoice.amount_cents", Cents,
        customer => customer.open_invoice.as_ref().map(|invoice| invoice.amount_cents);
    /// When the open invoice is or was due.
    InvoiceDueOn = "customer.open_invoice.due_on", Date,
        customer => customer.open_invoice.as_ref().map(|invoice| invoice.due_on);
}

impl CustomerField {
    /// The field that a path names.
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.path() == path)
    }

    /// All paths, for an error that says what would be right.
    pub fn known_paths() -> String {
        Self::ALL
            .iter()
            .map(|field| field.path())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The value that a path names, if there is such a field and this customer has it.
pub fn field<'a>(customer: &'a Customer, path: &str) -> Option<FieldValue<'a>> {
    CustomerField::from_path(path)?.of(customer)
}
