//! One sentence for what is wrong with a command line, a variable or a file.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};

use super::environment::is_given;

/// Where values come from.
pub(super) struct Sources<'a> {
    pub(super) command: &'a Command,
    pub(super) subcommand: &'a str,
    pub(super) args: &'a [OsString],
    pub(super) file: Option<&'a Path>,
}

/// The first paragraph of clap's message, where a bad value comes from if that is no option, and
/// what may be meant. The rest of the message is usage, which `--help` shows in full.
pub(super) fn sentence(error: &clap::Error, sources: &Sources<'_>) -> String {
    let text = error.to_string();
    let paragraph: Vec<_> =
        text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let mut sentence = paragraph.join(" ").trim_start_matches("error: ").to_owned();
    if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && let Some(place) = sources.place_of(option)
    {
        sentence = sentence.replace(&format!("for '{option}'"), &place);
    }
    match suggestion(error) {
        Some(suggestion) => format!("{sentence}; did you mean {suggestion}?"),
        None => format!("{sentence}; see {} --help", sources.name()),
    }
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(one) => Some(format!("`{one}`")),
        ContextValue::Strings(some) => {
            let quoted: Vec<_> = some.iter().map(|one| format!("`{one}`")).collect();
            (!quoted.is_empty()).then(|| quoted.join(" or "))
        }
        _ => None,
    })
}

impl Sources<'_> {
    fn name(&self) -> String {
        format!("carafe {}", self.subcommand).trim_end().into()
    }

    /// The variable or the file that has the value of an option such as `--listen <ADDR>`; `None`
    /// if the command line has it.
    fn place_of(&self, option: &str) -> Option<String> {
        let long = option.strip_prefix("--")?.split([' ', '=', '[']).next()?;
        let sub = self.command.find_subcommand(self.subcommand)?;
        let arg = sub.get_arguments().find(|arg| arg.get_long() == Some(long))?;
        if is_given(arg, self.args) {
            return None;
        }
        match (variable(arg), self.file) {
            (Some(variable), _) => Some(format!("in the variable {variable}")),
            (None, Some(file)) => Some(format!("for `{long}` in {}", file.display())),
            (None, None) => None,
        }
    }
}

/// The variable of an option, if it is set.
fn variable(arg: &Arg) -> Option<String> {
    let name = arg.get_env()?;
    env::var_os(name).is_some_and(|value| !value.is_empty()).then(|| name.display().to_string())
}
