//! From the arguments of the process, its environment and the TOML file to options.

use std::env;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use super::sentence::{Sources, sentence};
use super::settings::Settings;
use super::{Cli, environment, help};
use crate::config;
use crate::failure::Failure;

impl Cli {
    /// Reads options from the command line, else from the environment, else from the TOML file.
    pub(crate) fn from_process() -> Result<Self, Failure> {
        let args: Vec<OsString> = env::args_os().collect();
        let bare = Self::command();
        let subcommand = subcommand(&bare, &args);
        let command = environment::without_empty(&bare, subcommand, &args)?;
        let file = config::named(&command, subcommand, &args);
        let command = match &file {
            Some(file) => config::with_file(command, &bare, subcommand, file)?,
            None => command,
        };
        let parsed = help::arrange(command, &args).try_get_matches_from(&args);
        let parsed = parsed.and_then(|matches| {
            let settings = Settings::of(&bare, &matches);
            Ok(Self { settings, ..Self::from_arg_matches(&matches)? })
        });
        parsed.map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => {
                let file = file.as_deref();
                let sources = Sources { command: &bare, subcommand, args: &args, file };
                Failure::usage(sentence(&error, &sources))
            }
        })
    }

    /// The command line for completions and manual pages.
    pub(crate) fn documented() -> clap::Command {
        help::arrange(Self::command(), &[])
    }
}

/// The name of the subcommand; empty if there is none.
fn subcommand<'a>(command: &clap::Command, args: &'a [OsString]) -> &'a str {
    let name = args.get(1).and_then(|name| name.to_str()).unwrap_or_default();
    if command.find_subcommand(name).is_some() { name } else { "" }
}
