//! Environment variables that are set and empty.

use std::env;
use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{Arg, Command};

use crate::failure::Failure;

/// Options that name files with secrets. A variable that is empty by mistake must not lead to a hub
/// without keys, or to requests without a token.
const SECRETS: &[&str] =
    &["secret-file", "keys", "private-key", "token-file", "cluster-credentials-file"];

/// An empty variable counts as unset. Empty variables of secrets are errors, unless there is an
/// option in their place.
pub(super) fn without_empty(
    bare: &Command,
    subcommand: &str,
    args: &[OsString],
) -> Result<Command, Failure> {
    let command = bare.clone();
    let Some(sub) = bare.find_subcommand(subcommand) else { return Ok(command) };
    let mut empty = sub.get_arguments().filter(|arg| is_empty(arg));
    if let Some(secret) = empty.find(|arg| is_secret(arg) && !is_given(arg, args)) {
        let variable = secret.get_env().unwrap_or_default().display();
        return Err(Failure::usage(format!(
            "the variable {variable} is empty: unset it, or set it to the name of a file"
        )));
    }
    Ok(command.mut_subcommand(subcommand, |sub| {
        sub.mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
    }))
}

fn is_empty(arg: &Arg) -> bool {
    arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty())
}

fn is_secret(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|name| SECRETS.contains(&name))
}

/// Whether the option is on the command line.
pub(super) fn is_given(arg: &Arg, args: &[OsString]) -> bool {
    args.iter().filter_map(|given| given.to_str()).any(|given| {
        let long = given.strip_prefix("--").map(|long| long.split('=').next().unwrap_or(long));
        let short = given.strip_prefix('-').filter(|_| long.is_none());
        (long.is_some() && long == arg.get_long())
            || short
                .is_some_and(|short| arg.get_short().is_some_and(|name| short.starts_with(name)))
    })
}
