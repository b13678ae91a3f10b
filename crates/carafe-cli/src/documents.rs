//! `carafe completions` and `carafe man`: files for shells and for `man`.

use std::fs;
use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;

use crate::cli::{Cli, CompletionOptions, ManOptions};
use crate::failure::Failure;

/// Prints the completions of a shell.
pub(crate) fn completions(options: &CompletionOptions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::documented(), "carafe", &mut script);
    print(&script)
}

/// Prints a manual page, or writes all to a folder.
pub(crate) fn man(options: &ManOptions) -> Result<(), Failure> {
    let mut command = Cli::documented().disable_help_subcommand(true);
    command.build();
    if let Some(folder) = &options.folder {
        let written =
            fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
        return written.map_err(|error| {
            Failure::failed(format!("cannot write to {}: {error}", folder.display()))
        });
    }
    let page = page(&command, &options.command)?;
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    print(&text)
}

/// The command with this name, such as `log verify`, named as its page is.
fn page(command: &Command, names: &[String]) -> Result<Command, Failure> {
    let mut page = command;
    for name in names {
        page = page.find_subcommand(name).ok_or_else(|| {
            Failure::usage(format!("there is no command {}; see carafe --help", names.join(" ")))
        })?;
    }
    Ok(page.clone().name([&["carafe".to_owned()], names].concat().join("-")))
}

fn print(text: &[u8]) -> Result<(), Failure> {
    Ok(io::stdout().write_all(text)?)
}
