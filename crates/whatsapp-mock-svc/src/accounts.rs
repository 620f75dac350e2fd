//! WhatsApp Business Accounts: their templates, and the portfolio whose limit they share.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use whatsapp_api::send::TemplateMessage;

use crate::answer::Refusal;
use crate::limits::{MessagingLimit, RecentPeople};
use crate::templates::{self, Category, NewTemplate, Registry, Room, Template, TemplateStatus};

/// The account of every number that nothing else was said about.
pub const DEFAULT_ACCOUNT_ID: &str = "102290129340398";
/// Most accounts, and most portfolios.
pub const MAX_ACCOUNTS: usize = 256;
/// Template ids count up from here.
const FIRST_TEMPLATE_ID: u64 = 1_689_556_908_129_832;

/// What can be set about an account; what is absent stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// Digits; accounts of the same portfolio share its messaging limit. At first, the account's own id.
    pub portfolio_id: Option<String>,
    /// The limit of the account's portfolio.
    pub messaging_limit: Option<MessagingLimit>,
    /// Whether templates are approved as soon as they are registered.
    pub approves_at_once: Option<bool>,
}

/// An account as it is now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountReport {
    /// Meta's id of it.
    pub account_id: String,
    /// Its portfolio.
    pub portfolio_id: String,
    /// The limit of the portfolio.
    pub messaging_limit: MessagingLimit,
    /// People written to in the last 24 hours, while there is a limit.
    pub recent_people: usize,
    /// Whether templates are approved as soon as they are registered.
    pub approves_at_once: bool,
    /// Templates registered; absent while any template goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<usize>,
}

#[derive(Debug, Default)]
struct Account {
    portfolio_id: String,
    approves_at_once: bool,
    registry: Option<Registry>,
}

#[derive(Debug)]
struct Portfolio {
    limit: MessagingLimit,
    people: RecentPeople,
}

/// All accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    is_strict: bool,
    by_id: HashMap<String, Account>,
    portfolios: HashMap<String, Portfolio>,
    next_template_id: u64,
}

impl Accounts {
    /// With the default account. A strict mock begins as Meta does: with a registry, and 250 people a day.
    pub(crate) fn new(is_strict: bool) -> Self {
        let mut accounts = Self {
            is_strict,
            by_id: HashMap::new(),
            portfolios: HashMap::new(),
            next_template_id: FIRST_TEMPLATE_ID,
        };
        accounts.account(DEFAULT_ACCOUNT_ID);
        accounts
    }

    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Changes an account, or adds it; `None` if there are too many.
    pub(crate) fn set(&mut self, id: &str, settings: AccountSettings) -> Option<AccountReport> {
        let account = self.account(id)?;
        account.approves_at_once = settings.approves_at_once.unwrap_or(account.approves_at_once);
        account.portfolio_id = settings.portfolio_id.unwrap_or(account.portfolio_id.clone());
        let portfolio_id = account.portfolio_id.clone();
        let portfolio = self.portfolio(portfolio_id);
        portfolio.limit = settings.messaging_limit.unwrap_or(portfolio.limit);
        self.report(id)
    }

    pub(crate) fn report(&self, id: &str) -> Option<AccountReport> {
        let account = self.by_id.get(id)?;
        let portfolio = self.portfolios.get(&account.portfolio_id);
        Some(AccountReport {
            account_id: id.to_owned(),
            portfolio_id: account.portfolio_id.clone(),
            messaging_limit: self.limit(id),
            recent_people: portfolio.map_or(0, |portfolio| portfolio.people.len()),
            approves_at_once: account.approves_at_once,
            templates: account.registry.as_ref().map(|registry| registry.all().count()),
        })
    }

    pub(crate) fn reports(&self) -> Vec<AccountReport> {
        let mut reports: Vec<_> = self.by_id.keys().filter_map(|id| self.report(id)).collect();
        reports.sort_by(|left, right| left.account_id.cmp(&right.account_id));
        reports
    }

    /// The limit of an account's portfolio.
    pub(crate) fn limit(&self, id: &str) -> MessagingLimit {
        let account = self.by_id.get(id);
        let portfolio = account.and_then(|account| self.portfolios.get(&account.portfolio_id));
        portfolio.map_or(self.first_limit(), |portfolio| portfolio.limit)
    }

    /// The registry of an account, if it has one.
    pub(crate) fn registry(&self, id: &str) -> Option<&Registry> {
        self.by_id.get(id)?.registry.as_ref()
    }

    /// A template anywhere, by its id.
    pub(crate) fn template(&self, template_id: &str) -> Option<&Template> {
        let registries = self
            .by_id
            .values()
            .filter_map(|account| account.registry.as_ref());
        registries
            .flat_map(Registry::all)
            .find(|template| template.id == template_id)
    }

    /// What a template is for, if the message fits it; `None` if any template goes.
    pub(crate) fn check(&self, id: &str, message: &TemplateMessage) -> Result<Option<Category>, Refusal> {
        match self.registry(id) {
            Some(registry) => templates::check(registry, message).map(|template| Some(template.category)),
            None => Ok(None),
        }
    }

    /// Registers a template. The account must be known.
    pub(crate) fn register(&mut self, id: &str, new: NewTemplate) -> Result<&Template, Refusal> {
        let template_id = self.next_template_id;
        let account = self
            .account(id)
            .ok_or_else(|| Refusal::because(100, "this mock knows no more than 256 accounts"))?;
        let status = if account.approves_at_once {
            TemplateStatus::Approved
        } else {
            TemplateStatus::Pending
        };
        let template = templates::checked(new, template_id.to_string(), status)?;
        let registry = account.registry.get_or_insert_default();
        match registry.room_for(&template.name, &template.language) {
            Room::Yes => {}
            Room::Taken => {
                return Err(Refusal::of_template(
                    Some(2_388_024),
                    "Content in this language already exists",
                    "There is already content for this template in this language.",
                ));
            }
            Room::Full => {
                return Err(Refusal::of_template(
                    Some(2_388_019),
                    "Message template limit exceeded",
                    "The account has as many templates as it can have.",
                ));
            }
        }
        let (name, language) = (template.name.clone(), template.language.clone());
        registry.insert(template);
        self.next_template_id += 1;
        let registry = self.registry(id).expect("it was made a moment ago");
        Ok(registry
            .find(&name, &language)
            .expect("it was inserted a moment ago"))
    }

    /// A template that is to change.
    pub(crate) fn template_mut(&mut self, id: &str, name: &str, language: &str) -> Option<&mut Template> {
        self.by_id
            .get_mut(id)?
            .registry
            .as_mut()?
            .find_mut(name, language)
    }

    /// Deletes a name, or one language of it; what was deleted.
    pub(crate) fn delete(&mut self, id: &str, name: &str, template_id: Option<&str>) -> Vec<Template> {
        let registry = self
            .by_id
            .get_mut(id)
            .and_then(|account| account.registry.as_mut());
        registry.map_or_else(Vec::new, |registry| registry.remove(name, template_id))
    }

    /// Whether the account's portfolio may write to this person too.
    ///
    /// Meta's documentation names no code of its own for this limit. 131048 is the one whose details are
    /// "restrictions on how many messages can be sent from this phone number", and the one that providers
    /// report when the messaging limit is used up (WANotifier, "Fix Error: [131048]", read 2026-11).
    pub(crate) fn check_limit(&mut self, id: &str, person: u64, now_us: u64) -> Result<(), Refusal> {
        let Some(portfolio) = self.portfolio_of(id) else {
            return Ok(());
        };
        if portfolio.people.allows(portfolio.limit, person, now_us) {
            return Ok(());
        }
        Err(Refusal::because(
            131_048,
            "Message failed to send because there are restrictions on how many messages can be sent from \
             this phone number: the messaging limit of its portfolio is used up",
        ))
    }

    pub(crate) fn count(&mut self, id: &str, person: u64, now_us: u64) {
        if let Some(portfolio) = self.portfolio_of(id) {
            portfolio.people.count(portfolio.limit, person, now_us);
        }
    }

    /// Forgets who was written to; settings and templates stay.
    pub(crate) fn forget(&mut self) {
        for portfolio in self.portfolios.values_mut() {
            portfolio.people = RecentPeople::default();
        }
    }

    fn portfolio_of(&mut self, id: &str) -> Option<&mut Portfolio> {
        let account = self.by_id.get(id)?;
        self.portfolios.get_mut(&account.portfolio_id)
    }

    fn account(&mut self, id: &str) -> Option<&mut Account> {
        if !self.by_id.contains_key(id) {
            if self.by_id.len() >= MAX_ACCOUNTS {
                return None;
            }
            let account = Account {
                portfolio_id: id.to_owned(),
                approves_at_once: false,
                registry: self.is_strict.then(Registry::default),
            };
            self.by_id.insert(id.to_owned(), account);
            self.portfolio(id.to_owned());
        }
        self.by_id.get_mut(id)
    }

    /// At most one for each account, and one for each change of an account's: bounded by forgetting those
    /// that no account belongs to.
    fn portfolio(&mut self, id: String) -> &mut Portfolio {
        if self.portfolios.len() >= 2 * MAX_ACCOUNTS {
            let by_id = &self.by_id;
            self.portfolios
                .retain(|id, _| by_id.values().any(|account| account.portfolio_id == *id));
        }
        let limit = self.first_limit();
        self.portfolios.entry(id).or_insert_with(|| Portfolio {
            limit,
            people: RecentPeople::default(),
        })
    }

    fn first_limit(&self) -> MessagingLimit {
        if self.is_strict {
            MessagingLimit::Tier250
        } else {
            MessagingLimit::Unlimited
        }
    }
}
