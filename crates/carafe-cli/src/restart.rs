//! Starts the program again in the same process: same arguments, environment and process ID.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;

/// What Linux appends to the path of a program whose file was replaced while it runs.
const REPLACED: &str = " (deleted)";

/// Tells a start that it is one of these. An operator has no use for it.
const AGAIN: &str = "CARAFE_STARTED_AGAIN";

/// Whether this process has run the program before.
pub(crate) fn is_again() -> bool {
    env::var_os(AGAIN).is_some()
}

/// Replaces the program by a new start of it. Returns only if that fails. Sockets and files are
/// closed by that, and all threads end.
pub(crate) fn again() -> Failure {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = match program() {
        Ok(program) => Command::new(program).arg0(name).args(arguments).env(AGAIN, "1").exec(),
        Err(error) => error,
    };
    Failure::failed(format!("cannot start again: {error}"))
}

/// The file of the program, or the one that has replaced it.
fn program() -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    let text = path.clone().into_os_string();
    let replaced = text.to_str().and_then(|text| text.strip_suffix(REPLACED));
    Ok(match replaced {
        Some(replaced) if !path.exists() => OsString::from(replaced).into(),
        _ => path,
    })
}
