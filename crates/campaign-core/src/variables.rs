//! Where the value of each placeholder comes from, and how it is written.
//!
//! A [`VariableMapping`] is what people configure. [`VariableMapping::bind`] checks it against a template and
//! gives a [`VariableResolver`], which holds one rule per placeholder in the template's order and so resolves
//! a customer without looking anything up by name.

mod field;
mod format;
mod mapping;

pub use field::{CustomerField, FieldKind, FieldValue, field};
pub use format::VariableFormat;
pub use mapping::{VariableMapping, VariableRule};

use crate::customer::Customer;
use crate::template::{
    BUTTON_PAYLOAD_MAX_CHARS, CompiledTemplate, ParameterKind, Placeholder, ValueProblem, check_media,
    check_value, normalise_value,
};
use std::borrow::Cow;

/// What is wrong with a mapping, for one variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages show")]
pub enum MappingProblem {
    /// The template asks for it and the mapping does not give it.
    #[error("the template's variable {variable} is not mapped")]
    Unmapped { variable: String },
    /// The mapping gives it and the template does not ask for it.
    #[error("the template has no variable {variable}; it has: {known}")]
    Unknown { variable: String, known: String },
    /// There is no such field.
    #[error(
        "{variable}: unknown field {source_field}; known: {}",
        CustomerField::known_paths()
    )]
    UnknownField { variable: String, source_field: String },
    /// The format does not suit what the field holds.
    #[error("{variable}: {} cannot be written as {format}; fitting: {}", .field.path(), .field.kind().fitting_formats())]
    UnfitFormat {
        variable: String,
        field: CustomerField,
        format: VariableFormat,
    },
    /// A constant or fallback that WhatsApp would refuse.
    #[error("{variable}: the {part} {problem}")]
    UnfitValue {
        variable: String,
        part: &'static str,
        problem: ValueProblem,
    },
    /// A payload that is too long.
    #[error("{variable}: the {part} is longer than the {BUTTON_PAYLOAD_MAX_CHARS} characters of a payload")]
    LongPayload { variable: String, part: &'static str },
}

impl MappingProblem {
    /// The variable at fault, as the mapping calls it.
    pub fn variable(&self) -> &str {
        match self {
            Self::Unmapped { variable }
            | Self::Unknown { variable, .. }
            | Self::UnknownField { variable, .. }
            | Self::UnfitFormat { variable, .. }
            | Self::UnfitValue { variable, .. }
            | Self::LongPayload { variable, .. } => variable,
        }
    }
}

/// Everything that is wrong with a mapping for this template; nothing if it can be used.
pub fn validate(template: &CompiledTemplate, mapping: &VariableMapping) -> Vec<MappingProblem> {
    let template = template.clone().with_payloads(&mapping.payload_buttons());
    mapping.bind(&template).err().unwrap_or_default()
}

/// A mapping bound to a template: one rule per placeholder, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableResolver {
    rules: Vec<BoundRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum BoundRule {
    Constant(String),
    Field {
        field: CustomerField,
        format: VariableFormat,
        fallback: Option<String>,
        /// Whether the value must name a medium.
        is_media: bool,
    },
}

/// Why a customer's values do not fill the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// The customer has no such value, and there is no fallback.
    Missing {
        /// Index of the placeholder.
        placeholder: usize,
    },
    /// The value may not be sent.
    Invalid {
        /// Index of the placeholder.
        placeholder: usize,
        /// What is wrong with it.
        problem: ValueProblem,
    },
}

impl VariableMapping {
    /// Binds the mapping to a template, or says everything that is wrong with it.
    pub fn bind(&self, template: &CompiledTemplate) -> Result<VariableResolver, Vec<MappingProblem>> {
        let mut problems = Vec::new();
        let mut rules = Vec::with_capacity(template.placeholders().len());
        let keys: Vec<String> = template.placeholders().iter().map(Placeholder::key).collect();
        for (placeholder, variable) in template.placeholders().iter().zip(&keys) {
            match self.0.get(variable) {
                None => problems.push(MappingProblem::Unmapped {
                    variable: variable.clone(),
                }),
                Some(rule) => match bind_rule(rule, variable, placeholder.kind) {
                    Ok(bound) => rules.push(bound),
                    Err(problem) => problems.push(problem),
                },
            }
        }
        let unknown = self.0.keys().filter(|variable| !keys.contains(variable));
        problems.extend(unknown.map(|variable| MappingProblem::Unknown {
            variable: variable.clone(),
            known: if keys.is_empty() {
                "none".to_owned()
            } else {
                keys.join(", ")
            },
        }));
        if problems.is_empty() {
            Ok(VariableResolver { rules })
        } else {
            Err(problems)
        }
    }
}

fn bind_rule(rule: &VariableRule, variable: &str, kind: ParameterKind) -> Result<BoundRule, MappingProblem> {
    match rule {
        VariableRule::Constant { value } => Ok(BoundRule::Constant(configured(
            value, variable, "constant", kind,
        )?)),
        VariableRule::Field {
            source,
            format,
            fallback,
        } => {
            let field = CustomerField::from_path(source).ok_or_else(|| MappingProblem::UnknownField {
                variable: variable.to_owned(),
                source_field: source.clone(),
            })?;
            if !field.kind().fits(*format) {
                let variable = variable.to_owned();
                return Err(MappingProblem::UnfitFormat {
                    variable,
                    field,
                    format: *format,
                });
            }
            let fallback = fallback
                .as_ref()
                .map(|value| configured(value, variable, "fallback", kind))
                .transpose()?;
            Ok(BoundRule::Field {
                field,
                format: *format,
                fallback,
                is_media: kind.is_media(),
            })
        }
    }
}

/// A value that people configured, in the form in which it is sent.
fn configured(
    value: &str,
    variable: &str,
    part: &'static str,
    kind: ParameterKind,
) -> Result<String, MappingProblem> {
    let value = normalise_value(Cow::Borrowed(value)).into_owned();
    let variable = variable.to_owned();
    let checked = match kind {
        kind if kind.is_media() => check_value(&value).and_then(|()| check_media(&value)),
        _ => check_value(&value),
    };
    if let Err(problem) = checked {
        return Err(MappingProblem::UnfitValue {
            variable,
            part,
            problem,
        });
    }
    if kind == ParameterKind::Payload && value.chars().count() > BUTTON_PAYLOAD_MAX_CHARS {
        return Err(MappingProblem::LongPayload { variable, part });
    }
    Ok(value)
}

impl VariableResolver {
    /// The customer's values in the order of the template's placeholders.
    ///
    /// Line breaks, tabs and runs of spaces inside a value become single spaces, since they come from how an ERP
    /// stores its texts and would cost the person the message. A value that is missing or blank is replaced
    /// by the fallback; one that is there and cannot be sent is not.
    pub fn resolve(&self, customer: &Customer) -> Result<Vec<String>, Unresolved> {
        let resolve = |(placeholder, rule): (usize, &BoundRule)| rule.resolve(customer, placeholder);
        self.rules.iter().enumerate().map(resolve).collect()
    }
}

impl BoundRule {
    fn resolve(&self, customer: &Customer, placeholder: usize) -> Result<String, Unresolved> {
        let (field, format, fallback, is_media) = match self {
            Self::Constant(value) => return Ok(value.clone()),
            Self::Field {
                field,
                format,
                fallback,
                is_media,
            } => (field, format, fallback, *is_media),
        };
        let written = field
            .of(customer)
            .and_then(|value| format.write(value))
            .map(normalise_value);
        let check = |value: &str| match check_value(value) {
            Ok(()) if is_media => check_media(value),
            checked => checked,
        };
        match written.as_deref().map(check) {
            None | Some(Err(ValueProblem::Empty)) => {
                fallback.clone().ok_or(Unresolved::Missing { placeholder })
            }
            Some(Err(problem)) => Err(Unresolved::Invalid { placeholder, problem }),
            Some(Ok(())) => Ok(written.map(Cow::into_owned).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests;
