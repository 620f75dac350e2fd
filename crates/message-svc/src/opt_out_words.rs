//! The words by which a person stops all messages.
//!
//! Meta does not act on them, so this service does. Only a message that is nothing but the word counts: a
//! sentence that contains it may mean anything.

use std::collections::HashSet;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest message that is compared, in bytes: no word is near it, and messages may be long.
const COMPARED_MAX_BYTES: usize = 128;

/// A set of words, compared without case, accents, and what is no letter or digit around them.
#[derive(Debug, Clone)]
pub struct OptOutWords(HashSet<String>);

impl OptOutWords {
    /// Reads words separated by commas.
    pub fn parse(text: &str) -> Self {
        Self(
            text.split(',')
                .map(fold)
                .filter(|word| !word.is_empty())
                .collect(),
        )
    }

    /// Whether no word stops anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this message is one of the words and nothing else.
    pub fn contain(&self, message: &str) -> bool {
        let message = message.trim();
        message.len() <= COMPARED_MAX_BYTES && self.0.contains(&fold(message))
    }
}

fn fold(text: &str) -> String {
    let folded: String = text
        .nfkd()
        .filter(|character| !is_combining_mark(*character) && !is_invisible(*character))
        .flat_map(char::to_uppercase)
        .collect();
    let word = folded.trim_matches(|character: char| !character.is_alphanumeric());
    // A sign alone may be a word too.
    if word.is_empty() { folded.trim() } else { word }.to_owned()
}

/// Marks without width that keyboards and copying leave around a word.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_word_counts_whatever_its_case_and_accents() {
        let words = OptOutWords::parse("SAIR, parar,Não quero,🛑");
        for said in [
            "sair",
            " SAIR \n",
            "Parár",
            "NAO QUERO",
            "não quero",
            "\u{200b}Sair\u{feff}",
            "\u{a0}sair\u{a0}",
            "ＳＡＩＲ",
            "Sair!",
            "sair.",
            "\"Sair\" 🙏",
            "🛑",
        ] {
            assert!(words.contain(said), "{said}");
        }
        for said in ["", "!", "quero sair", "sair?não", "sairei", &"sair ".repeat(40)] {
            assert!(!words.contain(said), "{said}");
        }
        assert!(OptOutWords::parse(" ,").is_empty());
    }
}
