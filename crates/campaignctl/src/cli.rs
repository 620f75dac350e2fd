//! The flags that every command has, and the commands by resource.

use crate::commands::page::PageArgs;
use crate::commands::{account, campaign, dead_letters, key, number, price, queues, suppress, template};
use crate::demo::DemoArgs;
use crate::output::ColorChoice;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

campaign_runtime::secret!(
    /// API key: what one may do depends on its role
    pub(crate) ApiKey: "API_KEY", "api-key"
);

/// Exit codes, at the end of the help.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the campaign or the demo ended unbalanced, or a check failed
  2    wrong usage: the command line, a setting or a file it names
  3    refused by the API; the problem says which field, what was wrong and what would be right
  4    the API (or, for the demo, the mock) cannot be reached or understood
  5    something on this machine, such as a file that cannot be written
  130  interrupted; a campaign that was started goes on";

/// Campaigns from the command line
#[derive(Debug, Parser)]
#[command(name = "campaignctl", version, after_help = EXIT_CODES,
    disable_help_subcommand = true)]
pub struct Cli {
    /// Settings of every command.
    #[command(flatten)]
    pub(crate) settings: Settings,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Settings of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Where the API is
    #[arg(
        long,
        env = "API_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        global = true
    )]
    pub(crate) api_url: String,

    /// Who asks.
    #[command(flatten)]
    pub(crate) api_key: campaign_runtime::SecretSetting<ApiKey>,

    /// Whom TLS trusts.
    #[command(flatten)]
    pub(crate) trusted_roots: campaign_runtime::TrustedRoots,

    /// Print the API's JSON exactly as it comes, for programs; problems too
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// When to use colours
    #[arg(long, value_enum, default_value_t, global = true, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a campaign to the mock from schedule to report, and check every recipient
    Demo(DemoArgs),
    /// Create, schedule, watch and control campaigns
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Message templates
    #[command(subcommand)]
    Template(template::TemplateCommand),
    /// What messages cost
    #[command(subcommand)]
    Price(price::PriceCommand),
    /// Business phone numbers and their throughput
    #[command(subcommand)]
    Number(number::NumberCommand),
    /// WhatsApp Business Accounts
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// What lies in the queues, and how old it is
    Queues(queues::QueuesArgs),
    /// Entries that no service could handle
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// What WhatsApp reported of messages that are not known here, newest first
    Strays(PageArgs),
    /// People who must not be messaged
    #[command(subcommand)]
    Suppress(suppress::SuppressCommand),
    /// Print the completion script of a shell
    Completion {
        /// Which shell
        shell: Shell,
    },
}

/// The completion script of a shell.
pub(crate) fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "campaignctl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_lists_the_exit_codes() {
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("3    refused by the API"), "{help}");
    }

    #[test]
    fn settings_are_taken_before_and_after_the_command() {
        for line in [
            [
                "campaignctl",
                "--json",
                "campaign",
                "list",
                "--api-url",
                "http://there",
            ],
            [
                "campaignctl",
                "campaign",
                "--api-url",
                "http://there",
                "list",
                "--json",
            ],
        ] {
            let cli = Cli::try_parse_from(line).expect("a right command line");
            assert!(cli.settings.json && cli.settings.api_url == "http://there");
        }
    }

    #[test]
    fn every_shell_gets_a_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(completion(shell).contains("dead-letters"), "{shell}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_anything_is_sent() {
        for line in [
            "campaignctl",
            "campaignctl campaign show not-an-id",
            "campaignctl campaign list --limit 0",
            "campaignctl campaign create --variable nome",
            "campaignctl number set 106540352242922",
            "campaignctl key create --name ops --role god",
            "campaignctl demo --recipients 0",
        ] {
            let refused = Cli::try_parse_from(line.split(' '));
            assert_eq!(refused.err().map(|error| error.exit_code()), Some(2), "{line}");
        }
    }
}
