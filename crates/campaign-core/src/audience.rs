//! From a customer to a recipient, or to the reason why not.
//!
//! Runs once for each of perhaps millions of customers, so everything that is the same for all of them is
//! worked out when the rule is made. What depends on other rows (duplicates, opt-outs) is not decided
//! here.

use crate::customer::Customer;
use crate::message::SkipReason;
use crate::phone::{CanonicalPhone, PhoneProblem, Region, canonicalise};
use crate::template::{CompiledTemplate, TemplateCategory};
use crate::variables::{MappingProblem, Unresolved, VariableMapping, VariableResolver};

/// Who may be in the audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudienceOptions {
    /// Skip customers who did not agree to receive marketing.
    pub consent_required: bool,
    /// Skip customers whom the ERP no longer counts as active.
    pub active_required: bool,
    /// Where a number without a country code is taken to be.
    pub default_region: Region,
}

impl AudienceOptions {
    /// What a category needs: marketing goes only to those who agreed to it, and everything only to active
    /// customers.
    pub const fn for_category(category: TemplateCategory) -> Self {
        Self {
            consent_required: matches!(category, TemplateCategory::Marketing),
            active_required: true,
            default_region: Region::Brazil,
        }
    }
}

/// A customer, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evaluated {
    /// Can be sent to.
    Recipient {
        /// The number to send to.
        phone: CanonicalPhone,
        /// The number as the ERP has it.
        phone_as_given: String,
        /// The values, in the order of the template's placeholders.
        variables: Vec<String>,
    },
    /// Cannot be sent to.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// What exactly, where the reason leaves it open: the variable, or the part that is too long. Never a
        /// value.
        detail: Option<String>,
        /// The number, if it is one.
        phone: Option<CanonicalPhone>,
    },
}

/// One campaign's way of judging customers.
#[derive(Debug, Clone)]
pub struct AudienceRule {
    template: CompiledTemplate,
    resolver: VariableResolver,
    options: AudienceOptions,
}

/// A reason to skip, and what exactly.
type Skip = (SkipReason, Option<String>);

impl AudienceRule {
    /// Binds the mapping to the template, or says everything that does not fit.
    pub fn new(
        template: CompiledTemplate,
        mapping: &VariableMapping,
        options: AudienceOptions,
    ) -> Result<Self, Vec<MappingProblem>> {
        let template = template.with_payloads(&mapping.payload_buttons());
        let resolver = mapping.bind(&template)?;
        Ok(Self {
            template,
            resolver,
            options,
        })
    }

    /// The template that the variables are for.
    pub fn template(&self) -> &CompiledTemplate {
        &self.template
    }

    /// Judges one customer. The first of these that holds is the reason: inactive, no consent, the phone, a
    /// variable, the length.
    pub fn evaluate(&self, customer: &Customer) -> Evaluated {
        let phone_as_given = customer.phone.as_deref().unwrap_or_default();
        let phone = canonicalise(phone_as_given, self.options.default_region);
        let judged = self.check_customer(customer).and_then(|()| {
            let phone = phone.map_err(|problem| skip_for_phone(problem, phone_as_given))?;
            Ok((phone, self.fill(customer)?))
        });
        match judged {
            Ok((phone, variables)) => Evaluated::Recipient {
                phone,
                phone_as_given: phone_as_given.to_owned(),
                variables,
            },
            Err((reason, detail)) => Evaluated::Skipped {
                reason,
                detail,
                phone: phone.ok(),
            },
        }
    }

    fn check_customer(&self, customer: &Customer) -> Result<(), Skip> {
        if self.options.active_required && !customer.active {
            Err((SkipReason::Inactive, None))
        } else if self.options.consent_required && !customer.marketing_consent {
            Err((SkipReason::NoConsent, None))
        } else {
            Ok(())
        }
    }

    fn fill(&self, customer: &Customer) -> Result<Vec<String>, Skip> {
        let variables = self
            .resolver
            .resolve(customer)
            .map_err(|unresolved| self.skip_for_variable(&unresolved))?;
        let fits = self.template.check_lengths(&variables);
        fits.map_err(|problem| (SkipReason::TooLong, Some(problem.to_string())))?;
        Ok(variables)
    }

    fn skip_for_variable(&self, unresolved: &Unresolved) -> Skip {
        let key = |placeholder: &usize| self.template.placeholders()[*placeholder].key();
        match unresolved {
            Unresolved::Missing { placeholder } => (SkipReason::MissingVariable, Some(key(placeholder))),
            Unresolved::Invalid { placeholder, problem } => (
                SkipReason::InvalidVariable,
                Some(format!("{} {problem}", key(placeholder))),
            ),
        }
    }
}

fn skip_for_phone(problem: PhoneProblem, phone_as_given: &str) -> Skip {
    match problem {
        PhoneProblem::Landline => (SkipReason::Landline, None),
        PhoneProblem::Invalid if phone_as_given.trim().is_empty() => (
            SkipReason::InvalidPhone,
            Some("the customer has no phone number".to_owned()),
        ),
        PhoneProblem::Invalid => (SkipReason::InvalidPhone, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;
    use chrono::DateTime;
    use serde_json::json;

    fn template(category: &str) -> CompiledTemplate {
        let template: Template = serde_json::from_value(json!({
            "name": "oferta", "language": "pt_BR", "category": category, "status": "APPROVED",
            "parameter_format": "NAMED",
            "components": [{"type": "BODY", "text": "Olá {{nome}}, de {{cidade}}."}]
        }))
        .expect("Meta's shape");
        template.compile().expect("well formed")
    }

    fn rule(category: &str) -> AudienceRule {
        let mapping = serde_json::from_value(json!({
            "nome": {"source": "customer.name", "format": "first_name", "fallback": "cliente"},
            "cidade": {"source": "customer.city"},
        }))
        .expect("a mapping");
        let template = template(category);
        let options = AudienceOptions::for_category(template.category());
        AudienceRule::new(template, &mapping, options).expect("fits")
    }

    fn customer() -> Customer {
        serde_json::from_value(json!({
            "id": "c-1", "name": "JOÃO SOUZA", "phone": "(31) 8765-4321", "city": "Betim",
            "active": true, "marketing_consent": true, "updated_at": DateTime::UNIX_EPOCH,
        }))
        .expect("a customer")
    }

    fn skipped(
        rule: &AudienceRule,
        customer: &Customer,
    ) -> (SkipReason, Option<String>, Option<CanonicalPhone>) {
        match rule.evaluate(customer) {
            Evaluated::Skipped {
                reason,
                detail,
                phone,
            } => (reason, detail, phone),
            recipient @ Evaluated::Recipient { .. } => panic!("not skipped: {recipient:?}"),
        }
    }

    fn number() -> CanonicalPhone {
        "+5531987654321".parse().expect("a mobile number")
    }

    #[test]
    fn a_recipient_has_one_form_of_number_and_values_in_order() {
        assert_eq!(
            rule("MARKETING").evaluate(&customer()),
            Evaluated::Recipient {
                phone: number(),
                phone_as_given: "(31) 8765-4321".into(),
                variables: vec!["João".into(), "Betim".into()],
            }
        );
    }

    #[test]
    fn each_reason_is_told_from_the_others() {
        let rule = rule("MARKETING");
        let phone = |text: &str| Customer {
            phone: Some(text.into()),
            ..customer()
        };
        let city = |text: &str| Customer {
            city: Some(text.into()),
            ..customer()
        };
        let same = Some(number());
        let detail = |text: &str| Some(text.to_owned());
        for (customer, expected) in [
            (
                Customer {
                    active: false,
                    ..customer()
                },
                (SkipReason::Inactive, None, same),
            ),
            (
                Customer {
                    marketing_consent: false,
                    ..customer()
                },
                (SkipReason::NoConsent, None, same),
            ),
            (phone("3132654321"), (SkipReason::Landline, None, None)),
            (phone("123"), (SkipReason::InvalidPhone, None, None)),
            (
                phone(" "),
                (
                    SkipReason::InvalidPhone,
                    detail("the customer has no phone number"),
                    None,
                ),
            ),
            (
                Customer {
                    phone: None,
                    ..customer()
                },
                (
                    SkipReason::InvalidPhone,
                    detail("the customer has no phone number"),
                    None,
                ),
            ),
            (
                Customer {
                    city: None,
                    ..customer()
                },
                (SkipReason::MissingVariable, detail("cidade"), same),
            ),
            (
                city("{{cidade}}"),
                (
                    SkipReason::InvalidVariable,
                    detail("cidade holds {{ or ends with {, as an unfilled variable does"),
                    same,
                ),
            ),
            (
                city(&"x".repeat(1020)),
                (
                    SkipReason::TooLong,
                    detail("the body would have 1034 characters; WhatsApp takes 1024"),
                    same,
                ),
            ),
        ] {
            assert_eq!(skipped(&rule, &customer), expected);
        }
    }

    /// What a customer gives to a button or a header is checked as what the campaign gives.
    #[test]
    fn who_gives_no_medium_or_too_long_a_payload_is_skipped() {
        let template: Template = serde_json::from_value(json!({
            "name": "natal", "language": "pt_BR", "category": "UTILITY", "status": "APPROVED",
            "components": [
                {"type": "HEADER", "format": "IMAGE"}, {"type": "BODY", "text": "Feliz Natal!"},
                {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Quero"}]}]
        }))
        .expect("Meta's shape");
        let template = template.compile_for_sending().expect("well formed");
        let mapping = serde_json::from_value(json!({
            "header.image": {"source": "customer.city"},
            "button.0.payload": {"source": "customer.name"},
        }))
        .expect("a mapping");
        let options = AudienceOptions::for_category(template.category());
        let rule = AudienceRule::new(template, &mapping, options).expect("fits");
        let with = |image: Option<&str>, payload: &str| Customer {
            city: image.map(str::to_owned),
            name: Some(payload.to_owned()),
            ..customer()
        };
        let image = Some("https://loja.example/natal.png");
        let sent = rule.evaluate(&with(image, &"x".repeat(128)));
        assert!(matches!(sent, Evaluated::Recipient { .. }), "{sent:?}");
        for (customer, reason) in [
            (with(image, &"x".repeat(129)), SkipReason::TooLong),
            (with(Some("natal.png"), "sim"), SkipReason::InvalidVariable),
            (with(None, "sim"), SkipReason::MissingVariable),
        ] {
            let (found, detail, _) = skipped(&rule, &customer);
            assert_eq!(found, reason, "{detail:?}");
            assert!(detail.is_some(), "it says what");
        }
    }

    #[test]
    fn only_marketing_needs_consent_to_marketing() {
        let without = Customer {
            marketing_consent: false,
            ..customer()
        };
        assert!(matches!(
            rule("UTILITY").evaluate(&without),
            Evaluated::Recipient { .. }
        ));
        assert_eq!(skipped(&rule("MARKETING"), &without).0, SkipReason::NoConsent);
    }

    #[test]
    fn the_gravest_reason_comes_first() {
        let hopeless = Customer {
            active: false,
            marketing_consent: false,
            phone: None,
            city: None,
            ..customer()
        };
        assert_eq!(skipped(&rule("MARKETING"), &hopeless).0, SkipReason::Inactive);
        let silent = Customer {
            active: true,
            ..hopeless
        };
        assert_eq!(skipped(&rule("MARKETING"), &silent).0, SkipReason::NoConsent);
    }

    #[test]
    fn a_mapping_that_does_not_fit_makes_no_rule() {
        let template = template("UTILITY");
        let options = AudienceOptions::for_category(template.category());
        let problems =
            AudienceRule::new(template, &VariableMapping::default(), options).expect_err("unmapped");
        assert_eq!(problems.len(), 2);
    }
}
