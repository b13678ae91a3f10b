//! Starts the program again in the same process: same arguments, environment and process ID.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use carafe_cluster::Divergence;

use crate::failure::Failure;

/// What Linux appends to the path of a program whose file was replaced while it runs.
const REPLACED: &str = " (deleted)";

/// Tells the next start that this one has made sure of what the engine has lost. An operator has no
/// use for it.
const CONFIRMED: &str = "CARAFE_LOSS_CONFIRMED";

/// Whether this process has made sure that the engine has lost something, before it started the
/// program again.
pub(crate) fn is_confirmed() -> bool {
    env::var_os(CONFIRMED).is_some()
}

/// Replaces the program by a new start of it. Returns only if that fails. Sockets and files are
/// closed by that, and all threads end.
pub(crate) fn again(why: Divergence) -> Failure {
    let error = match program() {
        Ok(program) => start_of(program, why).exec(),
        Err(error) => error,
    };
    Failure::failed(format!("cannot start again: {error}"))
}

fn start_of(program: PathBuf, why: Divergence) -> Command {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut command = Command::new(program);
    command.arg0(name).args(arguments);
    // Only what may pass was waited for. What an earlier start has made sure of is over.
    match why.may_pass() {
        true => command.env(CONFIRMED, "1"),
        false => command.env_remove(CONFIRMED),
    };
    command
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

#[cfg(test)]
mod tests {
    use carafe_protocol::Generation;

    use super::*;

    #[test]
    fn a_start_is_told_of_a_loss_only_if_it_follows_one() {
        let told = |why| {
            let command = start_of("carafe".into(), why);
            let told = command.get_envs().find(|(name, _)| *name == CONFIRMED);
            told.expect("it is set or removed").1.map(ToOwned::to_owned)
        };
        let other = Generation::new(1);
        assert_eq!(told(Divergence::LostTail { applied: 7, last: 5 }), Some("1".into()));
        assert_eq!(told(Divergence::OtherMessage { sequence: 7 }), Some("1".into()));
        assert_eq!(told(Divergence::Overtaken { applied: 7, first: 9 }), None);
        assert_eq!(told(Divergence::OtherStream { expected: other, found: other }), None);
    }
}
