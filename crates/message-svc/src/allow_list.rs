//! The only people that an environment may write to, for those that must never message a stranger.

use campaign_core::phone::{CanonicalPhone, Region, canonicalise};
use std::collections::HashSet;

/// Most numbers on the list: it is meant for testers, not for audiences.
const ALLOWED_MAX: usize = 10_000;

/// Who may be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowList {
    /// Everyone.
    Everyone,
    /// Nobody else.
    Only(HashSet<CanonicalPhone>),
}

/// Why a list cannot be read. Names the place of a number, not the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidAllowList {
    NotAPhone { position: usize },
    TooLong,
}

impl InvalidAllowList {
    pub(crate) fn found(self) -> String {
        match self {
            Self::NotAPhone { position } => format!("something else at position {position}"),
            Self::TooLong => format!("more than {ALLOWED_MAX} numbers"),
        }
    }

    pub(crate) fn expected(self) -> String {
        match self {
            Self::NotAPhone { .. } => "mobile numbers such as +5531987654321, separated by commas".to_owned(),
            Self::TooLong => format!("up to {ALLOWED_MAX}"),
        }
    }
}

impl AllowList {
    /// Reads numbers separated by commas. Nothing at all means everyone.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidAllowList> {
        let written = text.split(',').map(str::trim).filter(|number| !number.is_empty());
        let mut allowed = HashSet::new();
        for (index, number) in written.enumerate() {
            let phone = canonicalise(number, Region::Brazil)
                .map_err(|_| InvalidAllowList::NotAPhone { position: index + 1 })?;
            allowed.insert(phone);
            if allowed.len() > ALLOWED_MAX {
                return Err(InvalidAllowList::TooLong);
            }
        }
        if allowed.is_empty() {
            Ok(Self::Everyone)
        } else {
            Ok(Self::Only(allowed))
        }
    }

    pub(crate) fn allows(&self, phone: &CanonicalPhone) -> bool {
        match self {
            Self::Everyone => true,
            Self::Only(allowed) => allowed.contains(phone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(text: &str) -> CanonicalPhone {
        text.parse().expect("a phone number")
    }

    #[test]
    fn an_empty_list_allows_everyone() {
        let list = AllowList::parse(" , ").expect("readable");
        assert_eq!(list, AllowList::Everyone);
        assert!(list.allows(&phone("+5531987654321")));
    }

    #[test]
    fn a_list_allows_its_people_however_their_number_is_written() {
        let list = AllowList::parse("(31) 8765-4321, +351 912 345 678").expect("readable");
        assert!(list.allows(&phone("+5531987654321")));
        assert!(list.allows(&phone("+351912345678")));
        assert!(!list.allows(&phone("+5531987654322")));
    }

    #[test]
    fn what_is_no_number_is_refused_by_its_place() {
        let wrong = AllowList::parse("+5531987654321,me").expect_err("not a number");
        assert_eq!(wrong, InvalidAllowList::NotAPhone { position: 2 });
        assert!(!wrong.found().contains("me,"));
        let many: Vec<_> = (0..=ALLOWED_MAX)
            .map(|n| format!("+55319{:08}", 10_000_000 + n))
            .collect();
        assert_eq!(AllowList::parse(&many.join(",")), Err(InvalidAllowList::TooLong));
    }
}
