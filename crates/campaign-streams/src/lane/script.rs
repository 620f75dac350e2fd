//! The scripts, each with the functions they share in front.

use crate::entry::{array, number, text};
use crate::{Result, StreamsError};
use redis::{Script, Value};
use std::sync::LazyLock;

macro_rules! scripts {
    ($flags:literal: $($name:ident = $file:literal),+ $(,)?) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!("#!lua", $flags, "\n", include_str!("scripts/prelude.lua"), include_str!($file)))
        });)+
    };
}

// Without `allow-oom` a Redis out of memory refuses the script whole: nothing is half done.
scripts! { "":
    FEED = "scripts/feed.lua",
    OPEN = "scripts/open.lua",
    RECOVER = "scripts/recover.lua",
    TAKE = "scripts/take.lua",
    VERIFY = "scripts/verify.lua",
}

macro_rules! publishing_scripts {
    ($($name:ident = $($file:literal),+);+ $(;)?) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                "#!lua\n",
                include_str!("scripts/prelude.lua"),
                include_str!("scripts/outcomes.lua"),
                $(include_str!($file)),+
            ))
        });)+
    };
}

// These have the functions in front that append outcomes; `settle` has the lane's pace there, too.
publishing_scripts! {
    REPORT = "scripts/report.lua";
    SETTLE = "scripts/pace.lua", "scripts/settle.lua";
    SURVEY = "scripts/survey.lua";
}

// These free memory, read, or write a few bytes that people wait for: a pause, an opt-out.
scripts! { " flags=allow-oom":
    ADOPT = "scripts/adopt.lua",
    CLOSE = "scripts/close.lua",
    CONTROL = "scripts/control.lua",
    MEMBER = "scripts/member.lua",
    MEMBERS = "scripts/members.lua",
    OPTOUT = "scripts/optout.lua",
    RATE = "scripts/rate.lua",
    SPAN = "scripts/span.lua",
    UNVERIFY = "scripts/unverify.lua",
}

/// A script's answer: a word, and what follows it.
pub(super) struct Answer {
    pub(super) word: String,
    rest: std::vec::IntoIter<Value>,
}

impl Answer {
    pub(super) fn read(value: Value) -> Result<Self> {
        let mut rest = array(value, "script answer")?.into_iter();
        let word = text(rest.next().unwrap_or(Value::Nil), "script answer")?;
        Ok(Self { word, rest })
    }

    pub(super) fn next(&mut self) -> Value {
        self.rest.next().unwrap_or(Value::Nil)
    }

    pub(super) fn text(&mut self) -> Result<String> {
        text(self.next(), "script answer")
    }

    pub(super) fn number(&mut self) -> Result<i64> {
        number(self.next(), "script answer")
    }

    pub(super) fn list(&mut self) -> Result<Vec<Value>> {
        array(self.next(), "script answer")
    }

    pub(super) fn unexpected<T>(self) -> Result<T> {
        Err(StreamsError::undecodable(
            "script answer",
            format!("unknown word {:?}", self.word),
        ))
    }
}
