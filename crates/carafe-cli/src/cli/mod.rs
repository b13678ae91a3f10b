//! The command line: subcommands and their options, which are also environment variables and keys
//! of a TOML file.

mod client_options;
mod hub_options;
mod listen_address;
mod serve_options;
mod template;
mod values;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use client_options::{PublishOptions, SubscribeOptions, TokenOptions};
pub(crate) use hub_options::{HubOptions, LogFormat, MercureOptions};
pub(crate) use listen_address::ListenAddress;
pub(crate) use serve_options::{
    Anonymous, CredentialOptions, KeyOptions, ProxyHeaderName, ServeOptions,
};
pub(crate) use template::{Field, Template};
pub(crate) use values::{LogPlace, positive_duration};

use crate::config;
use crate::failure::Failure;

/// Pushes events from servers to browsers with Server-Sent Events, and resumes without loss.
#[derive(Parser, Debug)]
#[command(name = "carafe", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a hub for development: local programs and pages may do everything; the console is at /
    Dev(Box<HubOptions>),
    /// Run a hub
    Serve(Box<ServeOptions>),
    /// Publish an event, or each line of standard input as an event
    Publish(PublishOptions),
    /// Print the data of each event on a line of its own, as events arrive
    Subscribe(SubscribeOptions),
    /// Create and print a token that grants publishing or subscribing
    Token(TokenOptions),
    /// Load-test a server: open many streams, publish, and check that each receives every event
    Bench(carafe_bench::Options),
    /// Inspect or repair a log on disk while no hub has it open
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Subcommand, Debug)]
pub(crate) enum LogCommand {
    /// Read the whole log and report corruption
    Verify(LogFolder),
    /// Report lost events and remove damaged parts; clients that need those events receive a gap
    Repair(RepairOptions),
    /// Start a new generation in a log restored from a backup; clients that have received later
    /// events receive a gap
    Restore(LogFolder),
    /// Print the number of segments, entries and bytes, and the range of positions
    Stat(LogFolder),
}

#[derive(Args, Debug)]
pub(crate) struct LogFolder {
    /// The folder of the log
    pub(crate) path: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct RepairOptions {
    #[command(flatten)]
    pub(crate) folder: LogFolder,
    /// Repair without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// Report what a repair would remove, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
}

impl Cli {
    /// Reads options from the command line, else from the environment, else from the TOML file.
    pub(crate) fn from_process() -> Result<Self, Failure> {
        let args: Vec<OsString> = env::args_os().collect();
        let command = config::with_file(Self::command(), &args)?;
        let parsed =
            command.try_get_matches_from(args).and_then(|matches| Self::from_arg_matches(&matches));
        parsed.map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Failure::usage(one_sentence(&error)),
        })
    }
}

/// The first paragraph of clap's message; the rest is usage, which `--help` shows in full.
fn one_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph: Vec<_> =
        text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let sentence = paragraph.join(" ");
    format!("{}; see carafe --help", sentence.trim_start_matches("error: "))
}
