//! The command line: subcommands and their options, which are also environment variables and keys
//! of a TOML file.

mod client_options;
mod cluster_options;
mod environment;
mod groups;
mod help;
mod hub_options;
mod listen_address;
mod parse;
mod sentence;
mod serve_options;
mod settings;
mod template;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use client_options::{PublishOptions, RevokeOptions, SubscribeOptions, TokenOptions};
pub(crate) use cluster_options::{
    ClusterCommand, ClusterOptions, EngineAccess, EngineOptions, EngineUrl,
};
pub(crate) use groups::GROUPS;
pub(crate) use hub_options::{HubOptions, LogFormat, MercureOptions};
pub(crate) use listen_address::ListenAddress;
pub(crate) use serve_options::{
    Anonymous, CredentialOptions, KeyOptions, ProxyHeaderName, ServeOptions,
};
pub(crate) use settings::{Kind, Setting, Settings, may_be_in_file};
pub(crate) use template::{Field, Template};
pub(crate) use values::{LogPlace, positive_duration};

use crate::healthcheck::HealthcheckOptions;

/// Pushes events from servers to browsers with Server-Sent Events, and resumes without loss.
#[derive(Parser, Debug)]
#[command(name = "carafe", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The settings of the command, if it has any.
    #[arg(skip)]
    pub(crate) settings: Settings,
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
    /// End the streams of a token or a subject, and refuse its tokens until they have expired
    Revoke(RevokeOptions),
    /// Load-test a server: open many streams, publish, and check that each receives every event
    Bench(carafe_bench::Options),
    /// Check whether a hub on this machine is alive; exits with 0 or 1
    Healthcheck(HealthcheckOptions),
    /// Inspect or repair a log on disk while no hub has it open
    #[command(subcommand)]
    Log(LogCommand),
    /// Check or create the stream that the nodes of a cluster share
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Print the settings that carafe serve would use as a TOML file with comments
    Config(Box<ServeOptions>),
    /// Print the completions of a shell
    Completions(CompletionOptions),
    /// Print a manual page, or write all of them
    Man(ManOptions),
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

#[derive(Args, Debug)]
pub(crate) struct CompletionOptions {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManOptions {
    /// The command whose page to print, such as serve or log verify [default: carafe itself]
    #[arg(conflicts_with = "folder")]
    pub(crate) command: Vec<String>,
    /// Write the pages of all commands to this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}
