//! The TOML file, whose values become the defaults of the command line options.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::Command;
use toml::{Table, Value};

use crate::failure::Failure;

/// Sets the values of the file as defaults, so that options and environment variables override
/// them.
pub(crate) fn with_file(command: Command, args: &[OsString]) -> Result<Command, Failure> {
    // Only to find `--config`. Errors are reported by the parse that follows, with the values of
    // the file.
    let first_look = command.clone().ignore_errors(true).try_get_matches_from(args);
    let Ok(matches) = first_look else { return Ok(command) };
    let Some((name, matches)) = matches.subcommand() else { return Ok(command) };
    match matches.try_get_one::<std::path::PathBuf>("config") {
        Ok(Some(path)) => with_defaults(command, name, path),
        _ => Ok(command),
    }
}

fn with_defaults(command: Command, subcommand: &str, path: &Path) -> Result<Command, Failure> {
    let file = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {file}: {error}")))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        Failure::usage(format!("{file}: {}", one_line(&error)))
    })?;
    table.into_iter().try_fold(command, |command, (key, value)| {
        let id = known(&command, subcommand, &key).ok_or_else(|| {
            Failure::usage(format!(
                "{file}: unknown option `{key}`: see carafe {subcommand} --help"
            ))
        })?;
        let switch = is_switch(&command, subcommand, &id);
        let value =
            as_text(&value).or_else(|| value.as_bool().filter(|_| switch).map(|on| on.to_string()));
        let value = value.ok_or_else(|| {
            Failure::usage(format!(
                "{file}: `{key}` must be a string, a number or an array of strings"
            ))
        })?;
        Ok(command
            .mut_subcommand(subcommand, |sub| sub.mut_arg(id, |arg| arg.default_value(value))))
    })
}

/// The option with this long name. `config` is excluded: a file cannot name another file.
fn known(command: &Command, subcommand: &str, key: &str) -> Option<String> {
    let mut args = command.find_subcommand(subcommand)?.get_arguments();
    let arg =
        args.find(|arg| arg.get_long() == Some(key) && key != "config" && arg.get_env().is_some())?;
    Some(arg.get_id().to_string())
}

/// Whether it may stand without a value.
fn is_switch(command: &Command, subcommand: &str, id: &str) -> bool {
    let mut args = command.find_subcommand(subcommand).into_iter().flat_map(Command::get_arguments);
    let arg = args.find(|arg| arg.get_id() == id);
    arg.and_then(clap::Arg::get_num_args).is_some_and(|values| values.min_values() == 0)
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Array(values) => {
            values.iter().map(as_text).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().lines().collect::<Vec<_>>().join(" ")
}
