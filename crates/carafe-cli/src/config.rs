//! The TOML file, whose values become the defaults of the command line options.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::{Table, Value};

use crate::cli::may_be_in_file;
use crate::failure::Failure;

/// The least similarity of a misspelt key, as clap has it for options.
const SIMILAR: f64 = 0.7;

/// The file of `--config`.
pub(crate) fn named(command: &Command, subcommand: &str, args: &[OsString]) -> Option<PathBuf> {
    // Only to find the option. Errors are reported by the parse that follows, with the values of
    // the file.
    let matches = command.clone().ignore_errors(true).try_get_matches_from(args).ok()?;
    let matches = matches.subcommand_matches(subcommand)?;
    matches.try_get_one::<PathBuf>("config").ok()?.cloned()
}

/// Sets the values of the file as defaults, so that options and environment variables override
/// them. `bare` is the command line without the environment.
pub(crate) fn with_file(
    command: Command,
    bare: &Command,
    subcommand: &str,
    path: &Path,
) -> Result<Command, Failure> {
    let file = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {file}: {error}")))?;
    let table: Table = text
        .parse()
        .map_err(|error| Failure::usage(format!("{file}{}", place_and_reason(&text, &error))))?;
    let options: Vec<_> = bare
        .find_subcommand(subcommand)
        .into_iter()
        .flat_map(Command::get_arguments)
        .filter(|arg| may_be_in_file(arg))
        .collect();
    // An empty array sets nothing.
    let table = table
        .into_iter()
        .filter(|(_, value)| value.as_array().is_none_or(|array| !array.is_empty()));
    table.into_iter().try_fold(command, |command, (key, value)| {
        let (id, value) = option(&options, &key, &value)
            .map_err(|reason| Failure::usage(format!("{file}: {reason}")))?;
        Ok(command
            .mut_subcommand(subcommand, |sub| sub.mut_arg(id, |arg| arg.default_value(value))))
    })
}

/// The ID of the option with this key, and its value as on the command line.
fn option(options: &[&Arg], key: &str, value: &Value) -> Result<(String, String), String> {
    let Some(arg) = options.iter().find(|arg| arg.get_long() == Some(key)) else {
        return Err(unknown(options, key));
    };
    let is_switch = arg.get_num_args().is_some_and(|values| values.min_values() == 0);
    let text =
        as_text(value).or_else(|| value.as_bool().filter(|_| is_switch).map(|on| on.to_string()));
    let text =
        text.ok_or_else(|| format!("`{key}` must be a string, a number or an array of strings"))?;
    Ok((arg.get_id().to_string(), text))
}

fn unknown(options: &[&Arg], key: &str) -> String {
    let similar = options
        .iter()
        .filter_map(|arg| arg.get_long())
        .map(|known| (strsim::jaro(known, key), known))
        .filter(|(similarity, _)| *similarity > SIMILAR)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match similar {
        Some((_, known)) => format!("unknown option `{key}`: did you mean `{known}`?"),
        None => format!("unknown option `{key}`: `carafe config` prints all"),
    }
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

/// Such as `, line 3: invalid string`.
pub(crate) fn place_and_reason(text: &str, error: &toml::de::Error) -> String {
    let reason = error.message().lines().collect::<Vec<_>>().join(" ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!(", line {}: {reason}", before.split('\n').count()),
        None => format!(": {reason}"),
    }
}
