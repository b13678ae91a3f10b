//! What a command of a page is, for who runs it.

/// Checks the words of a `cargo xtask` command.
pub(crate) type CheckTask = fn(&[&str]) -> Result<(), String>;

/// How a command is run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A hub, which serves the commands after it.
    Hub,
    /// Runs until it is stopped: a subscriber, or a publisher of a growing file.
    Client,
    /// Ends by itself.
    Finite,
}

impl Kind {
    pub(super) fn of(command: &str) -> Self {
        let command = without_comment(command);
        let words: Vec<&str> = command.split_whitespace().collect();
        let has = |option: &str| words.contains(&option);
        match words[..] {
            ["carafe", "serve" | "dev", ..] if !has("--check") && !has("--help") => Self::Hub,
            ["cargo", "run", ..] => Self::Hub,
            ["carafe", "subscribe", ..] if !has("--count") && !has("-n") => Self::Client,
            ["curl", "-N", ..] | ["tail", "-f", ..] => Self::Client,
            _ => Self::Finite,
        }
    }
}

/// The same command for the program that is there.
pub(super) fn with_built_program(command: &str) -> String {
    command.replace("cargo run --release -- ", "carafe ")
}

/// Commands that change the machine need a note that skips them.
pub(super) fn refuse_what_changes_the_machine(command: &str) -> Result<(), String> {
    const PROGRAMS: [&str; 6] = ["sudo", "docker", "kubectl", "systemctl", "apt-get", "dpkg"];
    let program = command.split_whitespace().find(|word| PROGRAMS.contains(word));
    program.map_or(Ok(()), |program| Err(format!("uses {program}: give it a note, `skip: REASON`")))
}

/// Why a command of Cargo is not run on the way. The arguments of a task must be right
/// nevertheless.
pub(super) fn reason_against_cargo(
    command: &str,
    check_task: CheckTask,
) -> Result<Option<&'static str>, String> {
    let words: Vec<&str> = without_comment(command).split_whitespace().collect();
    // Variables may be set for the command.
    let words: Vec<&str> = words.into_iter().skip_while(|word| word.contains('=')).collect();
    match words[..] {
        ["cargo", "xtask", ..] => {
            check_task(&words[1..])?;
            Ok(Some("a task of its own; its arguments are valid"))
        }
        ["cargo", "test", ..] => Ok(Some("cargo xtask test runs it")),
        _ => Ok(None),
    }
}

pub(super) fn without_comment(command: &str) -> &str {
    command.split(" #").next().unwrap_or(command).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_and_clients_run_until_they_are_stopped() {
        for (command, kind) in [
            ("carafe serve --anonymous subscribe", Kind::Hub),
            ("carafe serve --config a --check   # checks", Kind::Finite),
            ("carafe dev  # not --check", Kind::Hub),
            ("curl -N http://127.0.0.1:3000/events", Kind::Client),
            ("curl -d x http://127.0.0.1:3000/events/a", Kind::Finite),
            ("carafe subscribe a -n 1", Kind::Finite),
            ("tail -f app.log | carafe publish log", Kind::Client),
        ] {
            assert_eq!(Kind::of(command), kind, "{command}");
        }
    }

    #[test]
    fn a_command_that_changes_the_machine_is_refused() {
        assert!(refuse_what_changes_the_machine("true | sudo install a b").is_err());
        assert!(refuse_what_changes_the_machine("carafe dev").is_ok());
    }

    #[test]
    fn the_arguments_of_a_task_are_checked() {
        let check: CheckTask = |words| match words {
            ["xtask", "crash", "--cycles", "3"] => Ok(()),
            _ => Err("wrong".into()),
        };
        let reason = |command| reason_against_cargo(command, check);
        assert!(reason("cargo xtask crash --cycles 3  # three").unwrap().is_some());
        assert!(reason("A=1 cargo test -p carafe-log").unwrap().is_some());
        assert!(reason("cargo xtask crash --circles 3").is_err());
        assert_eq!(reason("curl a"), Ok(None));
    }
}
