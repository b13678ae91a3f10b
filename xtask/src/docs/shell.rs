//! A shell that runs commands one after the other, so that each sees the variables of those before.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

pub(super) struct Shell {
    child: Child,
    input: ChildStdin,
    /// What the shell itself prints: a number for each command.
    answers: Receiver<String>,
    outputs: Vec<PathBuf>,
    folder: PathBuf,
    patience: Duration,
}

/// A command in the background: its process group, and what it prints.
pub(super) struct Background {
    pub(super) command: String,
    group: u32,
    output: PathBuf,
}

impl Background {
    pub(super) fn printed(&self) -> String {
        read(&self.output)
    }
}

impl Shell {
    /// The output of commands goes to files in this folder.
    pub(super) fn start(
        mut command: Command,
        folder: &Path,
        patience: Duration,
    ) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("bash: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("bash has no pipes".into());
        };
        let (sender, answers) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
        });
        let folder = folder.join(".outputs");
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let mut shell = Self { child, input, answers, outputs: Vec::new(), folder, patience };
        // A command in the background has a process group of its own. Bash itself prints nothing.
        shell.write("set -m; set -o pipefail; exec 2>/dev/null")?;
        Ok(shell)
    }

    /// Runs a command to its end. Its output is the error if it fails.
    pub(super) fn run(&mut self, command: &str) -> Result<(), String> {
        let output = self.new_output();
        self.write(&format!("{{ {}\n}} >{} 2>&1 </dev/null; echo $?", command, output.display()))?;
        match self.answer()?.as_str() {
            "0" => Ok(()),
            status => Err(format!("ended with status {status}:\n{}", read(&output))),
        }
    }

    /// Starts a command in the background.
    pub(super) fn start_in_background(&mut self, command: &str) -> Result<Background, String> {
        let output = self.new_output();
        self.write(&format!("{{ {}\n}} >{} 2>&1 </dev/null & echo $!", command, output.display()))?;
        let group = self.answer()?.parse().map_err(|error| format!("no process: {error}"))?;
        Ok(Background { command: command.into(), group, output })
    }

    pub(super) fn is_running(&mut self, background: &Background) -> Result<bool, String> {
        self.write(&format!("kill -0 {}; echo $?", background.group))?;
        Ok(self.answer()? == "0")
    }

    /// Stops the command and all its processes, and waits for their end.
    pub(super) fn stop(&mut self, background: &Background) -> Result<(), String> {
        let group = background.group;
        self.write(&format!(
            "kill -- -{group}; while kill -0 -- -{group}; do sleep 0.05; done; echo $?"
        ))?;
        self.answer().map(drop)
    }

    /// All that the commands have printed.
    pub(super) fn printed(&self) -> String {
        self.outputs.iter().map(|output| read(output)).collect()
    }

    fn new_output(&mut self) -> PathBuf {
        let output = self.folder.join(self.outputs.len().to_string());
        self.outputs.push(output.clone());
        output
    }

    fn write(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.input, "{line}").map_err(|error| format!("bash: {error}"))
    }

    fn answer(&mut self) -> Result<String, String> {
        let timeout = |_| format!("did not end within {:?}:\n{}", self.patience, self.printed());
        self.answers.recv_timeout(self.patience).map_err(timeout)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = writeln!(self.input, "for job in $(jobs -p); do kill -KILL -- -$job; done; exit");
        let _ = self.child.wait();
    }
}

fn read(output: &Path) -> String {
    String::from_utf8_lossy(&fs::read(output).unwrap_or_default()).into_owned()
}
