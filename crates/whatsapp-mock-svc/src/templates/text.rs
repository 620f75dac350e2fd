//! A text with variables, and Meta's rules about them.

use super::ParameterFormat;

/// A text, taken apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    /// Variables, each once, in the order in which they come.
    pub(super) variables: Vec<String>,
    /// How often each comes.
    occurrences: Vec<usize>,
    /// Characters outside the variables.
    fixed_chars: usize,
    fixed_words: usize,
    edges: Edges,
}

/// Where variables stand.
#[derive(Clone, Copy, Debug, Default)]
struct Edges {
    starts: bool,
    ends: bool,
    touch: bool,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextProblem {
    /// A brace that is not closed, or a name that is none.
    Variables,
    /// Numbers do not count from 1 without gaps.
    Gap,
    /// A variable stands at the start or at the end.
    AtEdge,
    /// Nothing stands between two variables.
    Adjacent,
    /// There are too many variables for so few words.
    TooMany,
}

impl Text {
    pub(super) fn parse(text: &str, format: ParameterFormat) -> Result<Self, TextProblem> {
        let mut parsed = Self::default();
        let mut rest = text.trim();
        let mut after_variable = false;
        parsed.edges.starts = rest.starts_with("{{");
        parsed.edges.ends = rest.ends_with("}}");
        while let Some((fixed, from_variable)) = rest.split_once("{{") {
            parsed.edges.touch |= after_variable && fixed.trim().is_empty();
            parsed.fixed(fixed);
            let (name, after) = from_variable.split_once("}}").ok_or(TextProblem::Variables)?;
            parsed.variable(name.trim(), format)?;
            after_variable = true;
            rest = after;
        }
        parsed.fixed(rest);
        parsed.check_numbers(format)?;
        Ok(parsed)
    }

    /// What Meta's review minds about where variables stand.
    pub(super) fn check_placement(&self) -> Result<(), TextProblem> {
        if self.edges.touch {
            return Err(TextProblem::Adjacent);
        }
        if self.edges.starts || self.edges.ends {
            return Err(TextProblem::AtEdge);
        }
        // Meta does not publish its ratio; that a text has more words than twice its variables is what
        // providers tell their customers.
        if self.fixed_words <= 2 * self.variables.len() && !self.variables.is_empty() {
            return Err(TextProblem::TooMany);
        }
        Ok(())
    }

    /// Characters of the text as it was written, without its variables.
    pub(super) fn fixed_chars(&self) -> usize {
        self.fixed_chars
    }

    /// Characters of the text with these values for its variables.
    pub(super) fn filled_chars(&self, value_chars: impl Fn(usize) -> usize) -> usize {
        let values = self.occurrences.iter().enumerate();
        self.fixed_chars
            + values
                .map(|(index, count)| count * value_chars(index))
                .sum::<usize>()
    }

    fn fixed(&mut self, text: &str) {
        self.fixed_chars += text.chars().count();
        self.fixed_words += text.split_whitespace().count();
    }

    fn variable(&mut self, name: &str, format: ParameterFormat) -> Result<(), TextProblem> {
        let is_name = match format {
            ParameterFormat::Positional => name.parse::<u16>().is_ok_and(|number| number > 0),
            ParameterFormat::Named => {
                let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
                name.bytes()
                    .next()
                    .is_some_and(|first| first.is_ascii_lowercase())
                    && name.bytes().all(named)
            }
        };
        if !is_name {
            return Err(TextProblem::Variables);
        }
        if let Some(index) = self.variables.iter().position(|known| known == name) {
            self.occurrences[index] += 1;
        } else {
            self.variables.push(name.to_owned());
            self.occurrences.push(1);
        }
        Ok(())
    }

    /// Positional variables are sorted, so that a value's place is its number.
    fn check_numbers(&mut self, format: ParameterFormat) -> Result<(), TextProblem> {
        if format == ParameterFormat::Named {
            return Ok(());
        }
        let mut numbered: Vec<(usize, usize)> = Vec::new();
        for (name, count) in self.variables.iter().zip(&self.occurrences) {
            numbered.push((name.parse().map_err(|_| TextProblem::Variables)?, *count));
        }
        numbered.sort_unstable();
        if numbered
            .iter()
            .enumerate()
            .any(|(index, (number, _))| *number != index + 1)
        {
            return Err(TextProblem::Gap);
        }
        self.variables = numbered.iter().map(|(number, _)| number.to_string()).collect();
        self.occurrences = numbered.into_iter().map(|(_, count)| count).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParameterFormat::{Named, Positional};

    fn problem(text: &str, format: ParameterFormat) -> Option<TextProblem> {
        match Text::parse(text, format) {
            Ok(text) => text.check_placement().err(),
            Err(problem) => Some(problem),
        }
    }

    #[test]
    fn good_texts_are_taken_apart() {
        let text = Text::parse("For you, {{2}}, dear {{1}}: {{2}} again.", Positional).expect("right");
        assert_eq!(text.variables, ["1", "2"]);
        assert_eq!(
            text.filled_chars(|index| [10, 100][index]),
            "For you, , dear :  again.".len() + 210
        );
        let text = Text::parse("Hello {{first_name}}, all is well today.", Named).expect("right");
        assert_eq!(
            (text.variables, problem("Hello", Positional)),
            (vec!["first_name".to_owned()], None)
        );
    }

    #[test]
    fn each_rule_has_its_text() {
        for (text, format, expected) in [
            (
                "An open {{1 brace is not closed",
                Positional,
                TextProblem::Variables,
            ),
            (
                "A name {{name}} where numbers are asked for",
                Positional,
                TextProblem::Variables,
            ),
            (
                "A number {{1}} where names are asked for",
                Named,
                TextProblem::Variables,
            ),
            (
                "A {{Name}} in capitals is not a name here",
                Named,
                TextProblem::Variables,
            ),
            (
                "From one {{1}} to three {{3}} is a gap, so no",
                Positional,
                TextProblem::Gap,
            ),
            (
                "{{1}} starts this text with a variable",
                Positional,
                TextProblem::AtEdge,
            ),
            (
                "This text ends with a variable {{1}}",
                Positional,
                TextProblem::AtEdge,
            ),
            (
                "These two {{1}} {{2}} touch each other in it",
                Positional,
                TextProblem::Adjacent,
            ),
            ("Too {{1}} few", Positional, TextProblem::TooMany),
        ] {
            assert_eq!(problem(text, format), Some(expected), "{text}");
        }
    }
}
