//! A command of a task: printed, timed, and repeatable by hand.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// A command with a name for messages.
pub(crate) struct Step {
    name: &'static str,
    command: Command,
}

impl Step {
    /// `words` is the command line, separated by spaces, without quoting.
    pub(crate) fn new(name: &'static str, words: &str) -> Self {
        let mut words = words.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdin(Stdio::null());
        Self { name, command }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn run(self) -> Result<(), String> {
        self.run_reading(None)
    }

    /// Prints the output of the command, and passes each line of its standard output to `read`.
    pub(crate) fn run_and_read(self, mut read: impl FnMut(&str)) -> Result<(), String> {
        self.run_reading(Some(&mut read))
    }

    fn run_reading(mut self, read: Option<&mut dyn FnMut(&str)>) -> Result<(), String> {
        println!("{}: {}", self.name, self.as_typed());
        let start = Instant::now();
        let ended = self
            .output_to(read)
            .map_err(|error| format!("{}: {}: {error}", self.name, self.as_typed()))?;
        let seconds = start.elapsed().as_secs_f32();
        if !ended.success() {
            return Err(format!(
                "{} failed ({ended}) after {seconds:.1} s; to repeat it: {}",
                self.name,
                self.as_typed()
            ));
        }
        println!("{}: ok in {seconds:.1} s", self.name);
        Ok(())
    }

    fn output_to(&mut self, read: Option<&mut dyn FnMut(&str)>) -> io::Result<ExitStatus> {
        let Some(read) = read else {
            return self.command.status();
        };
        let mut child = self.command.stdout(Stdio::piped()).spawn()?;
        show_lines(&mut child, read)?;
        child.wait()
    }

    fn as_typed(&self) -> String {
        let env = self
            .command
            .get_envs()
            .filter_map(|(key, value)| Some(format!("{}={}", key.display(), quoted(value?))));
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        env.chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
    }
}

fn show_lines(child: &mut Child, read: &mut dyn FnMut(&str)) -> io::Result<()> {
    let Some(output) = child.stdout.take() else {
        return Ok(());
    };
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        read(&line);
    }
    Ok(())
}

pub(crate) fn runs(program: &str, arg: &str) -> bool {
    output(program, &[arg]).is_some()
}

/// The same for a program that has libraries of its own in a folder.
pub(crate) fn runs_with(libraries: &str, program: &str, arg: &str) -> bool {
    let mut command = Command::new(program);
    let output = command.arg(arg).env("LD_LIBRARY_PATH", libraries).output();
    output.is_ok_and(|output| output.status.success())
}

/// The standard output of a program; `None` if it cannot be run or fails.
pub(crate) fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn quoted(word: &OsStr) -> String {
    let word = word.display().to_string();
    if word.contains([' ', ';']) {
        return format!("'{word}'");
    }
    word
}
