//! How the program says that it cannot go on.

use std::fmt::{self, Display};
use std::process::ExitCode;

/// One sentence for the person at the terminal, and the exit code for the script.
#[derive(Debug)]
pub(crate) struct Failure {
    sentence: String,
    code: u8,
}

impl Failure {
    /// The command line, the environment or the file asks for what cannot be: exit 2.
    pub(crate) fn usage(sentence: impl Display) -> Self {
        Self { sentence: sentence.to_string(), code: 2 }
    }

    /// What was asked for did not work out: exit 1.
    pub(crate) fn failed(sentence: impl Display) -> Self {
        Self { sentence: sentence.to_string(), code: 1 }
    }

    /// The reader of the output has had enough: nothing to say.
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
