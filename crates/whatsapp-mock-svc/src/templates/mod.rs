//! The templates of an account: registered, reviewed, paused, and what a message must bring for them.
//!
//! An account has a registry as soon as its first template is registered; from then on a message must fit
//! its template, as with Meta. Before, and unless the mock is strict, any template goes.
//!
//! - `creation`: reads what is to be registered, and refuses what Meta refuses;
//! - `text`: variables in a text, and Meta's rules about them;
//! - `fit`: whether a message fits.

mod creation;
mod fit;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub(crate) use creation::{NewTemplate, checked};
pub(crate) use fit::check;

use crate::answer::Refusal;
use text::Text;

/// Most templates of one account, as with Meta for accounts that are not verified; 2388019 beyond.
pub const MAX_TEMPLATES: usize = 6_000;

/// What a template is for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Category {
    /// Promotions.
    Marketing,
    /// What a person asked for.
    Utility,
    /// Codes.
    Authentication,
}

/// Where a template stands with Meta.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TemplateStatus {
    /// Can be sent.
    Approved,
    /// Is looked at.
    Pending,
    /// Was looked at, and is not taken.
    Rejected,
    /// People did not like it; it rests.
    Paused,
    /// People did not like it; for good.
    Disabled,
    /// Is looked at again.
    InAppeal,
    /// Was deleted a moment ago.
    PendingDeletion,
    /// There are too many.
    LimitExceeded,
    /// Put away.
    Archived,
}

impl TemplateStatus {
    /// Why a message cannot be sent with a template in this status.
    fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Approved => None,
            Self::Paused => Some(Refusal::of(132_015)),
            Self::Disabled => Some(Refusal::of(132_016)),
            Self::Pending
            | Self::Rejected
            | Self::InAppeal
            | Self::PendingDeletion
            | Self::LimitExceeded
            | Self::Archived => Some(Refusal::because(
                132_001,
                "the template has not been approved in this language",
            )),
        }
    }
}

/// How the variables of a template are called.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ParameterFormat {
    /// `{{1}}`, `{{2}}`.
    #[default]
    Positional,
    /// `{{first_name}}`.
    Named,
}

/// A template as Meta lists it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Template {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) status: TemplateStatus,
    pub(crate) category: Category,
    pub(crate) parameter_format: ParameterFormat,
    components: Vec<Value>,
    /// Why it was rejected; `NONE` if it was not.
    pub(crate) rejected_reason: String,
    #[serde(skip)]
    shape: Shape,
}

impl Template {
    /// The texts of its components.
    pub(crate) fn text(&self) -> String {
        let texts = self
            .components
            .iter()
            .filter_map(|component| component["text"].as_str());
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// What a message must bring.
#[derive(Clone, Debug)]
struct Shape {
    header: Header,
    body: Text,
    buttons: Vec<Button>,
}

#[derive(Clone, Debug)]
enum Header {
    None,
    Text(Text),
    /// With its format, as in `IMAGE`.
    Medium(&'static str),
    Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Button {
    /// Whether its address ends in a variable.
    Url {
        has_variable: bool,
    },
    QuickReply,
    CopyCode,
    /// Any other: it takes no parameter here.
    Plain,
}

/// The templates of one account, by name and language: the order of its pages.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_name: BTreeMap<String, BTreeMap<String, Template>>,
}

/// Whether a registry takes a template.
pub(crate) enum Room {
    Yes,
    /// There is one of this name and language.
    Taken,
    Full,
}

impl Registry {
    pub(crate) fn room_for(&self, name: &str, language: &str) -> Room {
        if self.find(name, language).is_some() {
            Room::Taken
        } else if self.all().count() >= MAX_TEMPLATES {
            Room::Full
        } else {
            Room::Yes
        }
    }

    pub(crate) fn insert(&mut self, template: Template) {
        let languages = self.by_name.entry(template.name.clone()).or_default();
        languages.insert(template.language.clone(), template);
    }

    pub(crate) fn find(&self, name: &str, language: &str) -> Option<&Template> {
        self.by_name.get(name)?.get(language)
    }

    pub(crate) fn find_mut(&mut self, name: &str, language: &str) -> Option<&mut Template> {
        self.by_name.get_mut(name)?.get_mut(language)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Template> {
        self.by_name.values().flat_map(BTreeMap::values)
    }

    /// Removes every language of a name, or the one with this id; what was removed.
    pub(crate) fn remove(&mut self, name: &str, id: Option<&str>) -> Vec<Template> {
        let Some(languages) = self.by_name.get_mut(name) else {
            return Vec::new();
        };
        let is_meant = |template: &Template| id.is_none_or(|id| template.id == id);
        let removed = languages
            .values()
            .filter(|template| is_meant(template))
            .cloned()
            .collect();
        languages.retain(|_, template| !is_meant(template));
        if languages.is_empty() {
            self.by_name.remove(name);
        }
        removed
    }
}
