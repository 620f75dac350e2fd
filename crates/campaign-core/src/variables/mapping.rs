//! What people configure: for each variable of the template, a field of the customer or a constant.

use super::VariableFormat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rules by variable, named as [`Placeholder::key`](crate::template::Placeholder::key) says. Those of the
/// template must all be there; the payloads of its quick replies may be:
///
/// ```json
/// {
///   "nome":         {"source": "customer.name", "format": "first_name", "fallback": "cliente"},
///   "valor":        {"source": "customer.open_invoice.amount_cents", "format": "brl_amount"},
///   "header.image": {"constant": "https://loja.example/natal.png"},
///   "button.0.payload": {"constant": "natal-sim"}
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VariableMapping(pub BTreeMap<String, VariableRule>);

impl VariableMapping {
    /// The buttons, from 0, of which the mapping names the payload, as in `button.0.payload`.
    pub fn payload_buttons(&self) -> Vec<usize> {
        let named = self.0.keys().filter_map(|key| {
            let index = key.strip_prefix("button.")?.strip_suffix(".payload")?;
            // As the key is written, so that no two keys name one button.
            let number: usize = index.parse().ok()?;
            (number.to_string() == index).then_some(number)
        });
        let mut buttons: Vec<usize> = named.collect();
        buttons.sort_unstable();
        buttons
    }
}

/// Where the value of one variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RuleJson", into = "RuleJson")]
pub enum VariableRule {
    /// The same for everybody.
    Constant {
        /// The value.
        value: String,
    },
    /// A field of the customer.
    Field {
        /// Path of the field, as in `customer.name`. Whether it exists is said by [`super::validate`], with
        /// the paths that do.
        source: String,
        /// How the value is written.
        format: VariableFormat,
        /// What stands there for customers who have no value. Without it they are skipped.
        fallback: Option<String>,
    },
}

/// The JSON form, flat so that people write no tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<VariableFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    constant: Option<String>,
}

impl TryFrom<RuleJson> for VariableRule {
    type Error = &'static str;

    fn try_from(json: RuleJson) -> Result<Self, Self::Error> {
        match json {
            RuleJson {
                source: Some(source),
                format,
                fallback,
                constant: None,
            } => Ok(Self::Field {
                source,
                format: format.unwrap_or(VariableFormat::Text),
                fallback,
            }),
            RuleJson {
                source: None,
                format: None,
                fallback: None,
                constant: Some(value),
            } => Ok(Self::Constant { value }),
            _ => Err(
                "a variable has either a `source`, with `format` and `fallback` if wanted, or only a `constant`",
            ),
        }
    }
}

impl From<VariableRule> for RuleJson {
    fn from(rule: VariableRule) -> Self {
        match rule {
            VariableRule::Constant { value } => Self {
                source: None,
                format: None,
                fallback: None,
                constant: Some(value),
            },
            VariableRule::Field {
                source,
                format,
                fallback,
            } => Self {
                source: Some(source),
                format: Some(format),
                fallback,
                constant: None,
            },
        }
    }
}
