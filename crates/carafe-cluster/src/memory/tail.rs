//! A tail of an engine in memory.

use std::sync::Arc;

use carafe_log::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::shared::Shared;
use crate::{EngineError, HEARTBEAT, Stored, Tail};

/// The maximum number of messages at once.
const MESSAGES: usize = 64;

pub(super) struct MemoryTail {
    shared: Arc<Shared>,
    changed: watch::Receiver<()>,
    next: u64,
    epoch: u64,
}

enum Look {
    Messages(Vec<Stored>),
    /// Nothing is here before that time, unless something changes.
    Until(Instant),
    /// The engine says nothing before something changes.
    Silent,
}

impl MemoryTail {
    pub(super) fn new(shared: Arc<Shared>, from: u64, epoch: u64) -> Self {
        let changed = shared.changed.subscribe();
        Self { shared, changed, next: from, epoch }
    }

    fn look(&mut self, heartbeat: Instant) -> Result<Look, EngineError> {
        self.changed.mark_unchanged();
        let state = self.shared.lock();
        if state.tail_epoch != self.epoch {
            return Err(EngineError::Unavailable("the connection was lost".into()));
        }
        if state.frozen || state.muted {
            return Ok(Look::Silent);
        }
        let (messages, next) = state.stream.reached(self.next, MESSAGES);
        if let Some(last) = messages.last() {
            self.next = last.sequence + 1;
            return Ok(Look::Messages(messages));
        }
        Ok(Look::Until(next.map_or(heartbeat, |next| next.min(heartbeat))))
    }

    async fn next_messages(&mut self) -> Result<Vec<Stored>, EngineError> {
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            // The sender of changes is part of `self`.
            match self.look(heartbeat)? {
                Look::Messages(messages) => return Ok(messages),
                Look::Silent => drop(self.changed.changed().await),
                Look::Until(_) if Instant::now() >= heartbeat => return Ok(Vec::new()),
                Look::Until(time) => drop(timeout_at(time, self.changed.changed()).await),
            }
        }
    }
}

impl Tail for MemoryTail {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Stored>, EngineError>> {
        Box::pin(self.next_messages())
    }
}
