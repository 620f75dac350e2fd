//! A segment as the query string of `GET /v1/customers`: a list repeats its name once per value, dates are
//! `YYYY-MM-DD`, booleans `true` and `false`.

use super::{Segment, SegmentProblem, quoted};
use std::str::FromStr;

impl Segment {
    /// The criteria as names and values, ready to be encoded.
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        for (name, list) in [
            ("states", &self.states),
            ("cities", &self.cities),
            ("tags_any", &self.tags_any),
            ("tags_all", &self.tags_all),
        ] {
            pairs.extend(list.iter().map(|value| (name, value.clone())));
        }
        let mut single = |name, value: Option<String>| pairs.extend(value.map(|value| (name, value)));
        single("last_purchase_from", text(self.last_purchase_from));
        single("last_purchase_to", text(self.last_purchase_to));
        single("days_overdue_min", text(self.days_overdue_min));
        single("days_overdue_max", text(self.days_overdue_max));
        single("amount_cents_min", text(self.amount_cents_min));
        single("amount_cents_max", text(self.amount_cents_max));
        single("birthday_month", text(self.birthday_month));
        single("marketing_consent", text(self.marketing_consent));
        single("active", text(self.active));
        pairs
    }

    /// Reads what [`Segment::to_query`] wrote. An unknown name, a value that cannot be read or a single
    /// value given twice is a problem, and so is whatever [`Segment::problems`] finds.
    pub fn from_query<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Vec<SegmentProblem>> {
        let mut segment = Self::default();
        let mut problems = Vec::new();
        for (name, value) in pairs {
            if let Err(problem) = segment.read(name, value) {
                problems.push(problem);
            }
        }
        problems.extend(segment.problems());
        if problems.is_empty() {
            Ok(segment)
        } else {
            Err(problems)
        }
    }

    fn read(&mut self, name: &str, value: &str) -> Result<(), SegmentProblem> {
        const DATE: &str = "a date as YYYY-MM-DD";
        const NUMBER: &str = "a whole number";
        const FLAG: &str = "true or false";
        match name {
            "states" => self.states.push(value.to_owned()),
            "cities" => self.cities.push(value.to_owned()),
            "tags_any" => self.tags_any.push(value.to_owned()),
            "tags_all" => self.tags_all.push(value.to_owned()),
            "last_purchase_from" => read_once(&mut self.last_purchase_from, name, value, DATE)?,
            "last_purchase_to" => read_once(&mut self.last_purchase_to, name, value, DATE)?,
            "days_overdue_min" => read_once(&mut self.days_overdue_min, name, value, NUMBER)?,
            "days_overdue_max" => read_once(&mut self.days_overdue_max, name, value, NUMBER)?,
            "amount_cents_min" => read_once(&mut self.amount_cents_min, name, value, NUMBER)?,
            "amount_cents_max" => read_once(&mut self.amount_cents_max, name, value, NUMBER)?,
            "birthday_month" => read_once(&mut self.birthday_month, name, value, NUMBER)?,
            "marketing_consent" => read_once(&mut self.marketing_consent, name, value, FLAG)?,
            "active" => read_once(&mut self.active, name, value, FLAG)?,
            _ => {
                return Err(SegmentProblem::new(
                    name,
                    "an unknown name",
                    "the name of a criterion",
                ));
            }
        }
        Ok(())
    }
}

fn text<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn read_once<T: FromStr>(
    slot: &mut Option<T>,
    name: &str,
    value: &str,
    expected: &str,
) -> Result<(), SegmentProblem> {
    let read = value
        .parse()
        .map_err(|_| SegmentProblem::new(name, quoted(value), expected))?;
    if slot.replace(read).is_some() {
        return Err(SegmentProblem::new(name, "more than one value", "one value"));
    }
    Ok(())
}
