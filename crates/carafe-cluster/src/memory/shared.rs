//! What an engine in memory stores, and the faults that are in force.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::stream::{Outcome, Stream};
use crate::{EngineError, Message};

pub(super) struct Shared {
    state: Mutex<Controlled>,
    /// Wakes tails and requests that wait, after each change.
    pub(super) changed: watch::Sender<()>,
}

pub(super) struct Controlled {
    pub(super) stream: Stream,
    pub(super) away: bool,
    pub(super) frozen: bool,
    pub(super) muted: bool,
    pub(super) append_delay: Duration,
    pub(super) tail_delay: Duration,
    pub(super) outcomes: VecDeque<Outcome>,
    /// Of how many of the next messages a server that is about to freeze has a copy.
    pub(super) next_copies: usize,
    copies: Vec<Message>,
    /// What was received and not carried out.
    received: Vec<(Message, oneshot::Sender<Result<u64, EngineError>>)>,
    /// Tails of an earlier number are over.
    pub(super) tail_epoch: u64,
    pub(super) counts: Counts,
}

/// How often an engine was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of [`Engine::state`](crate::Engine::state).
    pub states: u64,
    /// Calls of [`Engine::append`](crate::Engine::append).
    pub appends: u64,
    /// Calls of [`Engine::get`](crate::Engine::get).
    pub gets: u64,
    /// Calls of [`Engine::tail`](crate::Engine::tail).
    pub tails: u64,
}

impl Shared {
    pub(super) fn new(name: &str) -> Self {
        let state = Controlled {
            stream: Stream::new(name),
            away: false,
            frozen: false,
            muted: false,
            append_delay: Duration::ZERO,
            tail_delay: Duration::ZERO,
            outcomes: VecDeque::new(),
            next_copies: 0,
            copies: Vec::new(),
            received: Vec::new(),
            tail_epoch: 0,
            counts: Counts::default(),
        };
        Self { state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Controlled> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Controlled)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }
}

impl Controlled {
    /// `None` while the engine answers nothing.
    pub(super) fn answer<T>(
        &self,
        answer: impl Fn(&Self) -> Result<T, EngineError>,
    ) -> Option<Result<T, EngineError>> {
        match self {
            Self { away: true, .. } => Some(Err(refused_connection())),
            Self { frozen: true, .. } => None,
            Self { stream: Stream { exists: false, .. }, .. } => Some(Err(EngineError::Missing)),
            _ => Some(answer(self)),
        }
    }

    pub(super) fn receive(
        &mut self,
        message: Message,
        sender: oneshot::Sender<Result<u64, EngineError>>,
    ) {
        if self.away {
            // Whoever waits for the answer may be gone.
            let _ = sender.send(Err(refused_connection()));
            return;
        }
        if self.next_copies > 0 {
            self.next_copies -= 1;
            self.copies.push(message.clone());
        }
        match self.outcomes.pop_front().unwrap_or(Outcome::Stored) {
            Outcome::LostRequest => drop(sender),
            Outcome::LostAnswer => self.received.push((message, oneshot::channel().0)),
            Outcome::Stored => self.received.push((message, sender)),
        }
        if !self.frozen {
            self.carry_out();
        }
    }

    pub(super) fn carry_out(&mut self) {
        for (message, sender) in std::mem::take(&mut self.received) {
            let visible = Instant::now() + self.tail_delay;
            let _ = sender.send(self.stream.append(&message, visible));
        }
    }

    pub(super) fn forward_copies(&mut self) {
        let visible = Instant::now() + self.tail_delay;
        for message in std::mem::take(&mut self.copies) {
            // Nobody waits for the answer.
            let _ = self.stream.append(&message, visible);
        }
    }

    /// The epoch of a new tail.
    pub(super) fn begin_tail(&self, from: u64) -> Result<u64, EngineError> {
        let last = self.stream.state().last;
        if from > last + 1 {
            return Err(EngineError::Unavailable(format!("it ends at {last}, before {from}")));
        }
        Ok(self.tail_epoch)
    }
}

pub(super) fn no_answer() -> EngineError {
    EngineError::Unavailable("it does not answer".into())
}

fn refused_connection() -> EngineError {
    EngineError::Unavailable("it refuses connections".into())
}
