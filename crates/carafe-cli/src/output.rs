//! Standard output, which has data only; messages go to standard error.

use std::io::{self, Stdout, Write};

use serde::Serialize;

/// Writes and flushes lines. A closed pipe ends the program without a message: see
/// [`Failure`](crate::failure::Failure).
pub(crate) struct Output {
    stdout: Stdout,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { stdout: io::stdout() }
    }

    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        let mut stdout = self.stdout.lock();
        writeln!(stdout, "{text}")?;
        // Each line at once: a reader behind a pipe sees events as they arrive.
        stdout.flush()
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }
}
