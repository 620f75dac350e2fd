//! `biz_opaque_callback_data`, kept small.
//!
//! The engine sends `<campaign>:<generation>:<seq>`; a million of those as strings would be most of this
//! process's memory, so that form is kept as numbers beside one shared campaign name. Any other data is
//! kept as it is.

use std::fmt;
use std::sync::Arc;

/// Callback data as remembered with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    /// None was given.
    None,
    /// `<campaign>:<generation>:<seq>`
    Numbered {
        campaign: Arc<str>,
        generation: u16,
        seq: u32,
    },
    /// Anything else.
    Free(Arc<str>),
}

/// Callback data as it stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    None,
    Numbered {
        campaign: &'a str,
        generation: u16,
        seq: u32,
    },
    Free(&'a str),
}

impl<'a> Parsed<'a> {
    pub(crate) fn of(data: Option<&'a str>) -> Self {
        match data {
            None => Self::None,
            Some(data) => Self::numbered(data).unwrap_or(Self::Free(data)),
        }
    }

    /// The campaign, or nothing for data of another form.
    pub(crate) fn campaign(&self) -> &'a str {
        match self {
            Self::Numbered { campaign, .. } => campaign,
            Self::None | Self::Free(_) => "",
        }
    }

    fn numbered(data: &'a str) -> Option<Self> {
        let (rest, seq_text) = data.rsplit_once(':')?;
        let (campaign, generation_text) = rest.rsplit_once(':')?;
        let generation: u16 = generation_text.parse().ok()?;
        let seq: u32 = seq_text.parse().ok()?;
        // What comes back must be the same text: `+7` and `07` are numbers too.
        let same = generation.to_string() == generation_text && seq.to_string() == seq_text;
        (same && !campaign.is_empty()).then_some(Self::Numbered {
            campaign,
            generation,
            seq,
        })
    }
}

impl Callback {
    /// Remembers what was parsed; `campaign` is the shared copy of its campaign's name.
    pub(crate) fn remember(parsed: Parsed<'_>, campaign: Arc<str>) -> Self {
        match parsed {
            Parsed::None => Self::None,
            Parsed::Numbered { generation, seq, .. } => Self::Numbered {
                campaign,
                generation,
                seq,
            },
            Parsed::Free(data) => Self::Free(data.into()),
        }
    }

    /// The text as it was given.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::None => None,
            other => Some(other.to_string()),
        }
    }
}

impl fmt::Display for Callback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Numbered {
                campaign,
                generation,
                seq,
            } => write!(formatter, "{campaign}:{generation}:{seq}"),
            Self::Free(data) => formatter.write_str(data),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_as_it_was() {
        for data in [
            "c:1:7",
            "c:01:7",
            "c:1:+7",
            "c:1",
            "::",
            ":1:7",
            "a:b:1:2",
            "x",
            "",
            "c:70000:1",
        ] {
            let parsed = Parsed::of(Some(data));
            let callback = Callback::remember(parsed, parsed.campaign().into());
            assert_eq!(callback.text().as_deref(), Some(data));
        }
        assert_eq!(Parsed::of(Some("a:b:1:2")).campaign(), "a:b");
        assert_eq!(Parsed::of(Some("c:01:7")), Parsed::Free("c:01:7"));
        assert_eq!(Callback::remember(Parsed::None, "".into()).text(), None);
    }
}
