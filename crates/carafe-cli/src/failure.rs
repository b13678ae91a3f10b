//! Errors that end the program, with their exit codes.

use std::fmt::{self, Display};
use std::process::ExitCode;

/// What to do when a hub cannot be reached.
pub(crate) const START_A_HUB: &str =
    "is a hub running? start one with `carafe dev`, or give the address of yours with --url";

/// A message for standard error, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// Invalid options, environment variables or configuration: exit code 2.
    pub(crate) fn usage(sentence: impl Display) -> Self {
        Self { sentence: sentence.to_string(), code: 2 }
    }

    /// A failure at run time: exit code 1.
    pub(crate) fn failed(sentence: impl Display) -> Self {
        Self { sentence: sentence.to_string(), code: 1 }
    }

    /// The reader of standard output has closed it: exit code 0 without a message.
    pub(crate) fn closed_pipe() -> Self {
        Self { sentence: String::new(), code: 0 }
    }

    pub(crate) fn report(self) -> ExitCode {
        if !self.sentence.is_empty() {
            eprintln!("carafe: {}", self.sentence);
        }
        ExitCode::from(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<carafe_bench::Error> for Failure {
    fn from(error: carafe_bench::Error) -> Self {
        match error {
            carafe_bench::Error::Usage(reason) => Self::usage(reason),
            carafe_bench::Error::ClosedPipe => Self::closed_pipe(),
            failed => Self::failed(failed),
        }
    }
}

impl From<std::io::Error> for Failure {
    /// An error of standard input or output.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::closed_pipe()
        } else {
            Self::failed(error)
        }
    }
}
