//! The clients that users read streams with.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::Command;

use serde::Deserialize;

use crate::process::{Process, repository};

/// A program that reads a stream with a client of its language, and prints each event as JSON.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// The npm package `eventsource`.
    Node,
    /// Python's `httpx-sse`.
    Python,
    /// Chromium's own `EventSource`.
    Browser,
}

/// An event as the client prints it.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Shown {
    #[serde(rename = "type")]
    pub event_type: String,
    pub id: String,
    pub data: String,
}

impl Client {
    fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Browser => "browser",
        }
    }

    /// Whether the client is installed for this run. If not, prints that `test` is skipped.
    pub fn is_here(self, test: &str) -> bool {
        is_here(self.name(), test)
    }

    /// Starts reading `count` events of a stream.
    pub fn read(self, address: SocketAddr, path: &str, count: usize) -> Process {
        let base = format!("http://{address}");
        let url = format!("{base}{path}");
        let count = count.to_string();
        let (mut program, arguments) = match self {
            Self::Node => (node("tests/clients/eventsource.mjs"), vec![&*url, &*count]),
            Self::Python => (python("tests/clients/httpx_sse_client.py"), vec![&*url, &*count]),
            Self::Browser => (node("tests/browser/eventsource.mjs"), vec![&*base, path, &*count]),
        };
        Process::start(program.args(arguments))
    }
}

/// Whether a client of this name is installed for this run. If not, prints that `test` is skipped.
pub fn is_here(client: &str, test: &str) -> bool {
    let without = std::env::var("CARAFE_TEST_WITHOUT").unwrap_or_default();
    let is_here = without.split(',').all(|name| name != client);
    if !is_here {
        skip(test, &format!("this run is without {client}"));
    }
    is_here
}

/// Whether the clients of this language, `go` or `java`, are compiled. If not, prints that `test`
/// is skipped.
pub fn are_compiled(language: &str, test: &str) -> bool {
    if !is_here(language, test) {
        return false;
    }
    let are_here = repository("target").join(format!("clients-{language}/sources")).exists();
    if !are_here {
        skip(test, &format!("the {language} clients are missing; cargo xtask test brings them"));
    }
    are_here
}

/// Prints that a test is skipped.
pub fn skip(test: &str, reason: &str) {
    // Not `println!`: the harness hides its output when a test passes.
    let mut stdout = io::stdout();
    writeln!(stdout, "skipped: {test} because {reason}").unwrap();
}

/// The next event that the client prints.
#[track_caller]
pub fn next_shown(process: &Process) -> Shown {
    let line = process.next_line(|line| !line.contains("\"state\""));
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A program of `tests/clients/go`.
pub fn go(name: &str) -> Command {
    Command::new(repository("target/clients-go/bin").join(name))
}

/// A program of `tests/clients/java`.
pub fn java(class: &str) -> Command {
    let folder = repository("target/clients-java");
    let mut command = Command::new("java");
    // A small heap, and no time for optimization: the program reads some events.
    command.args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]);
    command.arg(format!("{0}/classes:{0}/lib/*", folder.display())).arg(class);
    command
}

pub fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(repository(script));
    command
}

pub fn python(script: &str) -> Command {
    let mut command = Command::new(repository("target/clients-venv/bin/python"));
    // Without files that it compiles beside the scripts.
    command.arg("-B").arg(repository(script));
    command
}
