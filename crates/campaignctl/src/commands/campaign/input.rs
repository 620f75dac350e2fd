//! What a campaign is made of: flags, or a JSON file, or a file with some fields replaced by flags.

use crate::commands::{json_or_file, one_of};
use crate::failure::Failure;
use campaign_core::campaign::{MisfirePolicy, OnUncertain, Priority};
use clap::Args;
use serde_json::{Map, Value, json};
use std::str::FromStr;
use uuid::Uuid;

/// What a campaign is made of. A new one needs a name, a template, a phone number and a segment.
#[derive(Debug, Args)]
pub(crate) struct CampaignArgs {
    /// The campaign as the API takes it: JSON, @FILE or @-; the other flags replace fields of it
    #[arg(long, value_name = "JSON")]
    from: Option<String>,
    /// For people
    #[arg(long)]
    name: Option<String>,
    /// Template: its name and language (lembrete_fatura:pt_BR), its name alone if it exists in one language only, or a
    /// version's id
    #[arg(long)]
    template: Option<TemplateChoice>,
    /// Meta's id of the number to send from
    #[arg(long, value_name = "ID")]
    phone_number_id: Option<String>,
    /// Who receives it, as criteria of the ERP's customers: JSON such as `{"states":["SP"]}`, @FILE or @-
    #[arg(long, value_name = "JSON")]
    segment: Option<String>,
    /// Where a variable of the template comes from: nome=customer.name:first_name?cliente; the format after `:`
    /// and the fallback after `?` can be left out
    #[arg(long = "variable", value_name = "NAME=SOURCE[:FORMAT][?FALLBACK]")]
    variables: Vec<Variable>,
    /// The same value of a variable for everybody: cupom=NATAL10, header.image=https://loja.example/natal.png (or the
    /// id of an upload), button.0.payload=natal-sim
    #[arg(long = "constant", value_name = "NAME=VALUE")]
    constants: Vec<Constant>,
    /// Share of the number among campaigns that run at once
    #[arg(long, value_parser = one_of(Priority::ALL.iter().map(|name| name.as_str())))]
    priority: Option<String>,
    /// When it starts: 2026-12-01T09:00 in the time zone, or with an offset. `schedule` makes it so
    #[arg(long, value_name = "TIME")]
    scheduled_at: Option<String>,
    /// IANA name of the zone, as in America/Sao_Paulo
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What was not sent by then is cancelled
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// What happens if its time passes while the engine is down
    #[arg(long, value_parser = one_of(MisfirePolicy::ALL.iter().map(|name| name.as_str())))]
    misfire_policy: Option<String>,
    /// What happens to messages that may or may not have been accepted
    #[arg(long, value_parser = one_of(OnUncertain::ALL.iter().map(|name| name.as_str())))]
    on_uncertain: Option<String>,
}

impl CampaignArgs {
    /// The body of the request.
    pub(crate) fn body(self) -> Result<Value, Failure> {
        let mut body = match self.from.as_deref().map(json_or_file).transpose()? {
            None => Map::new(),
            Some(Value::Object(fields)) => fields,
            Some(_) => {
                return Err(Failure::Usage(
                    "--from: the campaign is not a JSON object".to_owned(),
                ));
            }
        };
        let segment = self.segment.as_deref().map(json_or_file).transpose()?;
        let texts = [
            ("name", self.name),
            ("phone_number_id", self.phone_number_id),
            ("priority", self.priority),
            ("scheduled_at", self.scheduled_at),
            ("time_zone", self.time_zone),
            ("expires_at", self.expires_at),
            ("misfire_policy", self.misfire_policy),
            ("on_uncertain", self.on_uncertain),
        ];
        let mut set = |field: &str, value: Option<Value>| {
            body.extend(value.map(|value| (field.to_owned(), value)));
        };
        for (field, text) in texts {
            set(field, text.map(Value::from));
        }
        set("segment", segment);
        set("template", self.template.map(|template| template.0));
        if !self.variables.is_empty() || !self.constants.is_empty() {
            let mapping = body.entry("mapping").or_insert_with(|| json!({}));
            let Value::Object(mapping) = mapping else {
                return Err(Failure::Usage(
                    "--from: the mapping is not a JSON object".to_owned(),
                ));
            };
            mapping.extend(
                self.variables
                    .into_iter()
                    .map(|Variable(name, rule)| (name, rule)),
            );
            mapping.extend(
                self.constants
                    .into_iter()
                    .map(|Constant(name, rule)| (name, rule)),
            );
        }
        if body.is_empty() {
            return Err(Failure::Usage(
                "nothing was given; campaignctl campaign create --help".to_owned(),
            ));
        }
        Ok(body.into())
    }
}

/// A template by its name, with or without language, or by its version's id.
#[derive(Debug, Clone)]
struct TemplateChoice(Value);

impl FromStr for TemplateChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse::<Uuid>() {
            return Ok(Self(json!({ "id": id })));
        }
        match text.split_once(':') {
            Some((name, language)) if !name.is_empty() && !language.is_empty() => {
                Ok(Self(json!({ "name": name, "language": language })))
            }
            None if !text.is_empty() => Ok(Self(json!({ "name": text }))),
            _ => Err("expected a name, NAME:LANGUAGE, or an id"),
        }
    }
}

/// Where a variable comes from.
#[derive(Debug, Clone)]
struct Variable(String, Value);

impl FromStr for Variable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected NAME=SOURCE[:FORMAT][?FALLBACK], as in nome=customer.name:first_name?cliente";
        let (name, rule) = text.split_once('=').ok_or(wrong)?;
        let (rule, fallback) = split_optional(rule, '?');
        let (source, format) = split_optional(rule, ':');
        if name.is_empty() || source.is_empty() {
            return Err(wrong);
        }
        let mut json = json!({ "source": source });
        for (field, value) in [("format", format), ("fallback", fallback)] {
            if let Some(value) = value {
                json[field] = value.into();
            }
        }
        Ok(Self(name.to_owned(), json))
    }
}

/// The same value for everybody.
#[derive(Debug, Clone)]
struct Constant(String, Value);

impl FromStr for Constant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self(name.to_owned(), json!({ "constant": value })))
            }
            _ => Err("expected NAME=VALUE"),
        }
    }
}

fn split_optional(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: CampaignArgs,
    }

    fn body(flags: &[&str]) -> Result<Value, Failure> {
        let line = ["campaignctl"].iter().chain(flags);
        Line::try_parse_from(line)
            .expect("a right command line")
            .args
            .body()
    }

    #[test]
    fn flags_make_the_body_that_the_api_takes() {
        let body = body(&[
            "--name=Natal",
            "--template=lembrete_fatura",
            "--phone-number-id=106540352242922",
            "--segment={\"states\":[\"SP\"]}",
            "--variable=nome=customer.name:first_name?cliente",
            "--variable=valor=customer.open_invoice.amount_cents",
            "--constant=1=a=b?c",
            "--priority=high",
        ]);
        insta::assert_json_snapshot!(body.expect("a body"));
    }

    #[test]
    fn flags_replace_fields_of_a_file_and_add_to_its_mapping() {
        let from =
            r#"--from={"name":"Old","priority":"low","mapping":{"1":{"constant":"x"},"2":{"constant":"y"}}}"#;
        let body = body(&[from, "--name=New", "--constant=2=z"]).expect("a body");
        let mapping = json!({ "1": { "constant": "x" }, "2": { "constant": "z" } });
        assert_eq!(
            body,
            json!({ "name": "New", "priority": "low", "mapping": mapping })
        );
    }

    #[test]
    fn templates_are_chosen_by_name_language_or_id() {
        let choice = |text: &str| text.parse::<TemplateChoice>().map(|choice| choice.0);
        assert_eq!(choice("oferta"), Ok(json!({ "name": "oferta" })));
        assert_eq!(
            choice("oferta:en_US"),
            Ok(json!({ "name": "oferta", "language": "en_US" }))
        );
        let id = Uuid::from_u128(9);
        assert_eq!(choice(&id.to_string()), Ok(json!({ "id": id })));
        assert!(choice(":pt_BR").is_err());
    }

    #[test]
    fn what_makes_no_body_is_wrong_usage() {
        for flags in [
            &[][..],
            &["--from=[]"],
            &["--segment={"],
            &["--from={\"mapping\":1}", "--constant=1=x"],
        ] {
            assert!(matches!(body(flags), Err(Failure::Usage(_))), "{flags:?}");
        }
    }
}
