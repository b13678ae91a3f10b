//! A run in stages, for a program that measures the server meanwhile.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use mio::{Registry, Token, Waker};

/// The lines of standard input, each of which lets the run go on.
pub(crate) struct Stages {
    lines: Receiver<String>,
}

/// Whether the run goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    None,
    Go,
    /// Who drives the run is gone.
    End,
}

impl Stages {
    /// Reads on a thread of its own, which wakes the loop: standard input cannot always be polled.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let waker = Arc::new(Waker::new(registry, token)?);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() || waker.wake().is_err() {
                    return;
                }
            }
            drop(sender);
            // The loop looks again soon in any case.
            let _ = waker.wake();
        });
        Ok(Self { lines })
    }

    pub(crate) fn word(&self) -> Word {
        match self.lines.try_recv() {
            Ok(_) => Word::Go,
            Err(TryRecvError::Empty) => Word::None,
            Err(TryRecvError::Disconnected) => Word::End,
        }
    }
}
