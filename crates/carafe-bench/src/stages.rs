//! A run in stages, driven by a program that measures the server in between.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use mio::{Registry, Token, Waker};

/// Lines of standard input, each of which starts the next stage.
pub(crate) struct Stages {
    lines: Receiver<String>,
}

/// What the driver has sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    None,
    Go,
    /// The driver has closed standard input.
    End,
}

impl Stages {
    /// Starts a thread that reads standard input, which cannot always be polled, and wakes the
    /// loop.
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
            // On failure, the loop notices the closed channel when it wakes up next.
            let _ = waker.wake();
        });
        Ok(Self { lines })
    }

    pub(crate) fn signal(&self) -> Signal {
        match self.lines.try_recv() {
            Ok(_) => Signal::Go,
            Err(TryRecvError::Empty) => Signal::None,
            Err(TryRecvError::Disconnected) => Signal::End,
        }
    }
}
