//! A text with placeholders, parsed once and rendered once per recipient.
//!
//! Parsing accounts for every `{{` and `}}`, so what parses can be rendered without looking for braces
//! again, and nobody receives a literal `{{nome}}`.

use super::ParameterFormat;
use std::fmt;

/// Most distinct placeholders in one text. A body of 1,024 characters has no room for more.
pub const TEXT_MAX_PLACEHOLDERS: usize = 128;

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// Why a text with placeholders cannot be read. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextProblem {
    /// `{{` without its `}}`.
    #[error("the {{{{ at character {position} is never closed: a variable reads {{{{name}}}}")]
    Unclosed {
        /// Where the braces are.
        position: usize,
    },
    /// `}}` without its `{{`.
    #[error("the }}}} at character {position} closes nothing: a variable reads {{{{name}}}}")]
    Unopened {
        /// Where the braces are.
        position: usize,
    },
    /// Not a number, in a text of [`ParameterFormat::Positional`].
    #[error("{{{{{name}}}}} is not a number: positional variables read {{{{1}}}}, {{{{2}}}} and so on")]
    NotANumber {
        /// What stands between the braces.
        name: String,
    },
    /// Not a name, in a text of [`ParameterFormat::Named`].
    #[error(
        "{{{{{name}}}}} is not a name: named variables have lower-case letters, digits and _, and start with a letter"
    )]
    NotAName {
        /// What stands between the braces.
        name: String,
    },
    /// More than [`TEXT_MAX_PLACEHOLDERS`].
    #[error("more than {TEXT_MAX_PLACEHOLDERS} different variables")]
    TooManyPlaceholders,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    /// Index into the names.
    Placeholder(usize),
}

/// A text as it was parsed. Shows ([`fmt::Display`]) exactly what it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText {
    segments: Vec<Segment>,
    names: Vec<String>,
}

impl TemplateText {
    /// Reads a text whose placeholders are `{{1}}` or `{{name}}`, as `format` says.
    pub fn parse(text: &str, format: ParameterFormat) -> Result<Self, TextProblem> {
        let mut parsed = Self {
            segments: Vec::new(),
            names: Vec::new(),
        };
        let mut rest = text;
        while let Some(open) = rest.find(OPEN) {
            let (literal, after) = (&rest[..open], &rest[open + OPEN.len()..]);
            let position = || position_of(text, rest.len() - open);
            parsed.push_literal(text, literal, rest.len())?;
            let name = match (after.find(CLOSE), after.find(OPEN)) {
                (Some(close), next) if next.is_none_or(|next| close < next) => &after[..close],
                _ => return Err(TextProblem::Unclosed { position: position() }),
            };
            check_name(name, format)?;
            parsed.push_placeholder(name)?;
            rest = &after[name.len() + CLOSE.len()..];
        }
        parsed.push_literal(text, rest, rest.len())?;
        if format == ParameterFormat::Positional {
            parsed.order_by_number();
        }
        Ok(parsed)
    }

    fn push_literal(&mut self, text: &str, literal: &str, bytes_to_end: usize) -> Result<(), TextProblem> {
        if let Some(close) = literal.find(CLOSE) {
            return Err(TextProblem::Unopened {
                position: position_of(text, bytes_to_end - close),
            });
        }
        if !literal.is_empty() {
            self.segments.push(Segment::Literal(literal.to_owned()));
        }
        Ok(())
    }

    fn push_placeholder(&mut self, name: &str) -> Result<(), TextProblem> {
        let index = self
            .names
            .iter()
            .position(|known| known == name)
            .unwrap_or(self.names.len());
        if index == TEXT_MAX_PLACEHOLDERS {
            return Err(TextProblem::TooManyPlaceholders);
        }
        if index == self.names.len() {
            self.names.push(name.to_owned());
        }
        self.segments.push(Segment::Placeholder(index));
        Ok(())
    }

    /// Positional values are sent as a list, so they go in the order of their numbers even where the text
    /// says "{{2}} … {{1}}".
    fn order_by_number(&mut self) {
        let number = |name: &String| name.parse::<usize>().unwrap_or(usize::MAX);
        let before = self.names.clone();
        self.names.sort_by_key(number);
        for segment in &mut self.segments {
            if let Segment::Placeholder(index) = segment {
                let name = &before[*index];
                *index = self
                    .names
                    .iter()
                    .position(|known| known == name)
                    .expect("sorting loses no name");
            }
        }
    }

    /// The distinct placeholders: by number, or by first appearance for named ones.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Puts `values`, one for each of [`Self::names`], in the places of the placeholders. Values that are
    /// missing leave nothing behind; [`CompiledTemplate`](super::CompiledTemplate) refuses that case.
    pub fn render<V: AsRef<str>>(&self, values: &[V]) -> String {
        let parts = || self.segments.iter().map(|segment| Self::part(segment, values));
        let mut rendered = String::with_capacity(parts().map(str::len).sum());
        rendered.extend(parts());
        rendered
    }

    /// How many characters [`Self::render`] would give, without building the text.
    pub fn rendered_chars<V: AsRef<str>>(&self, values: &[V]) -> usize {
        self.segments
            .iter()
            .map(|segment| Self::part(segment, values).chars().count())
            .sum()
    }

    fn part<'a, V: AsRef<str>>(segment: &'a Segment, values: &'a [V]) -> &'a str {
        match segment {
            Segment::Literal(literal) => literal,
            Segment::Placeholder(index) => values.get(*index).map_or("", AsRef::as_ref),
        }
    }
}

impl fmt::Display for TemplateText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => formatter.write_str(literal)?,
                Segment::Placeholder(index) => write!(formatter, "{OPEN}{}{CLOSE}", self.names[*index])?,
            }
        }
        Ok(())
    }
}

fn position_of(text: &str, bytes_to_end: usize) -> usize {
    text[..text.len() - bytes_to_end].chars().count() + 1
}

fn check_name(name: &str, format: ParameterFormat) -> Result<(), TextProblem> {
    // What is quoted back is bounded: an unclosed pair may have caught half of the text.
    let quoted = || name.chars().take(64).collect();
    match format {
        ParameterFormat::Positional => {
            let number = name.parse::<usize>().is_ok() && !name.starts_with(['0', '+']);
            if number {
                Ok(())
            } else {
                Err(TextProblem::NotANumber { name: quoted() })
            }
        }
        ParameterFormat::Named => {
            let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
            let goes_on_well = name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if starts_well && goes_on_well {
                Ok(())
            } else {
                Err(TextProblem::NotAName { name: quoted() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParameterFormat::{Named, Positional};
    use proptest::prelude::*;

    #[test]
    fn renders_exactly() {
        let text = TemplateText::parse("Olá {{nome}}, {{nome}}! São {{valor}}.", Named).expect("well formed");
        assert_eq!(text.names(), ["nome", "valor"]);
        let values = ["Ana", "R$ 1,00"];
        assert_eq!(text.render(&values), "Olá Ana, Ana! São R$ 1,00.");
        assert_eq!(text.rendered_chars(&values), text.render(&values).chars().count());
    }

    #[test]
    fn positional_values_go_by_number_not_by_place() {
        let text = TemplateText::parse("Em {{2}}, {{1}} e {{10}}.", Positional).expect("well formed");
        assert_eq!(text.names(), ["1", "2", "10"]);
        assert_eq!(text.render(&["a", "b", "c"]), "Em b, a e c.");
    }

    #[test]
    fn braces_that_make_no_variable_are_refused_with_their_place() {
        let unclosed = |position| TextProblem::Unclosed { position };
        let unopened = |position| TextProblem::Unopened { position };
        for (text, problem) in [
            ("Olá {{nome", unclosed(5)),
            ("Olá {{nome} você", unclosed(5)),
            ("é {{a {{b}}", unclosed(3)),
            ("Olá nome}}.", unopened(9)),
            ("é {{a}} }}", unopened(9)),
            ("{{{a}}}", TextProblem::NotAName { name: "{a".into() }),
            ("{{}}", TextProblem::NotAName { name: String::new() }),
            (
                "{{ nome }}",
                TextProblem::NotAName {
                    name: " nome ".into(),
                },
            ),
            ("{{Nome}}", TextProblem::NotAName { name: "Nome".into() }),
            ("{{1}}", TextProblem::NotAName { name: "1".into() }),
        ] {
            assert_eq!(TemplateText::parse(text, Named), Err(problem), "{text}");
        }
        for name in ["nome", "0", "01", "+1", "-1", " 1", "", "1.5"] {
            let problem = TextProblem::NotANumber { name: name.into() };
            assert_eq!(
                TemplateText::parse(&format!("x {{{{{name}}}}} y"), Positional),
                Err(problem)
            );
        }
    }

    #[test]
    fn a_single_brace_is_text() {
        let text = TemplateText::parse("use {cupom} ou {{codigo}}", Named).expect("well formed");
        assert_eq!(text.render(&["X"]), "use {cupom} ou X");
    }

    #[test]
    fn the_number_of_placeholders_is_bounded() {
        let text = |count: usize| {
            let placeholders: Vec<String> = (1..=count).map(|number| format!("{{{{{number}}}}}")).collect();
            placeholders.join(" ")
        };
        assert!(TemplateText::parse(&text(TEXT_MAX_PLACEHOLDERS), Positional).is_ok());
        let refused = TemplateText::parse(&text(TEXT_MAX_PLACEHOLDERS + 1), Positional);
        assert_eq!(refused, Err(TextProblem::TooManyPlaceholders));
    }

    #[test]
    fn problems_show_the_braces_that_would_be_right() {
        let problem = TemplateText::parse("{{nome}}", Positional).expect_err("not positional");
        assert!(
            problem
                .to_string()
                .starts_with("{{nome}} is not a number: positional variables read {{1}}")
        );
        let problem = TemplateText::parse("{{", Named).expect_err("not closed");
        assert_eq!(
            problem.to_string(),
            "the {{ at character 1 is never closed: a variable reads {{name}}"
        );
    }

    /// A value that passes [`check_value`](super::super::check_value), braces included.
    fn sendable_value() -> impl Strategy<Value = String> {
        let sendable = |value: &String| super::super::check_value(value).is_ok();
        "[aé{} ]{1,4}".prop_filter("may not be sent", sendable)
    }

    proptest! {
        #[test]
        fn what_parses_shows_itself_again(text in r"([a-zé ,{}]{0,6}(\{\{[a-c1-3]{1,2}\}\})?){0,6}") {
            for format in [Positional, Named] {
                if let Ok(parsed) = TemplateText::parse(&text, format) {
                    prop_assert_eq!(parsed.to_string(), text.as_str());
                }
            }
        }

        #[test]
        fn nobody_receives_braces(
            literals in prop::collection::vec("[^{}]{0,10}", 1..6),
            values in prop::collection::vec(sendable_value(), 5),
        ) {
            let text: String = literals
                .iter()
                .enumerate()
                .map(|(index, literal)| if index == 0 { literal.clone() } else { format!("{{{{{index}}}}}{literal}") })
                .collect();
            let parsed = TemplateText::parse(&text, Positional).expect("well formed");
            let rendered = parsed.render(&values);
            prop_assert!(!rendered.contains("{{"), "{}", rendered);
            prop_assert_eq!(rendered.chars().count(), parsed.rendered_chars(&values));
        }

        #[test]
        fn any_text_is_read_or_refused_without_panic(text in r"[a-z0-9{} é]{0,40}") {
            for format in [Positional, Named] {
                if let Ok(parsed) = TemplateText::parse(&text, format) {
                    prop_assert!(!parsed.render(&[""; TEXT_MAX_PLACEHOLDERS]).contains("}}"));
                }
            }
        }
    }
}
