//! What a message costs, as status webhooks tell it.
//!
//! Source: "Pricing", section "Webhooks", read 2026-11: the price stands on `sent` and on one of
//! `delivered` and `read`; `conversation` is there up to v23.0 only.

use whatsapp_api::webhook::body::{Conversation, Origin, Pricing};

use crate::templates::Category;

/// Which rate applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rate {
    Marketing,
    /// By `/marketing_messages`.
    MarketingLite,
    Utility,
    Authentication,
    Service,
}

impl Rate {
    /// The rate of a template; those of unknown category are taken for marketing.
    pub(crate) fn of_template(category: Option<Category>, is_marketing_endpoint: bool) -> Self {
        match category {
            Some(Category::Utility) => Self::Utility,
            Some(Category::Authentication) => Self::Authentication,
            Some(Category::Marketing) | None if is_marketing_endpoint => Self::MarketingLite,
            Some(Category::Marketing) | None => Self::Marketing,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::MarketingLite => "marketing_lite",
            Self::Utility => "utility",
            Self::Authentication => "authentication",
            Self::Service => "service",
        }
    }
}

/// What a message costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) rate: Rate,
    /// Whether the person had written within a day: then texts and utility templates cost nothing.
    pub(crate) is_in_window: bool,
    /// Whether webhooks still tell of conversations.
    pub(crate) has_conversation: bool,
}

impl Price {
    pub(crate) fn pricing(self) -> Pricing {
        let is_free = self.is_in_window && matches!(self.rate, Rate::Utility | Rate::Service);
        Pricing {
            billable: !is_free,
            pricing_model: "PMP",
            category: self.rate.name(),
            kind: if is_free {
                "free_customer_service"
            } else {
                "regular"
            },
        }
    }

    /// The conversation of a message; `until_s` on the status `sent`.
    pub(crate) fn conversation(self, id: String, until_s: Option<u64>) -> Option<Conversation> {
        self.has_conversation.then(|| Conversation {
            id,
            expiration_timestamp: until_s.map(|seconds| seconds.to_string()),
            origin: Origin {
                kind: self.rate.name(),
            },
        })
    }
}

/// Whether webhooks of this version of the API still tell of conversations: up to v23.0.
pub(crate) fn has_conversation(version: &str) -> bool {
    const LAST_WITH: u32 = 23;
    let major = version
        .strip_prefix('v')
        .and_then(|number| number.split_once('.'));
    major
        .and_then(|(major, _)| major.parse().ok())
        .is_some_and(|major: u32| major <= LAST_WITH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_follow_the_category_and_the_window() {
        let price = |rate, is_in_window| {
            let price = Price {
                rate,
                is_in_window,
                has_conversation: false,
            };
            let pricing = price.pricing();
            (pricing.billable, pricing.category, pricing.kind)
        };
        assert_eq!(price(Rate::Marketing, true), (true, "marketing", "regular"));
        assert_eq!(price(Rate::Utility, false), (true, "utility", "regular"));
        assert_eq!(
            price(Rate::Utility, true),
            (false, "utility", "free_customer_service")
        );
        assert_eq!(
            price(Rate::Service, true),
            (false, "service", "free_customer_service")
        );
        assert_eq!(Rate::of_template(None, true), Rate::MarketingLite);
        assert_eq!(Rate::of_template(Some(Category::Utility), false), Rate::Utility);
    }

    #[test]
    fn conversations_end_with_version_23() {
        assert!(has_conversation("v23.0") && has_conversation("v19.0"));
        assert!(!has_conversation("v24.0") && !has_conversation("x"));
    }
}
