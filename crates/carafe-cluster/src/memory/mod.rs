//! An engine in memory, for tests of what uses an engine. A test controls its faults.

mod shared;
mod stream;
mod tail;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carafe_log::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

pub use self::shared::Counts;
use self::shared::{Controlled, Shared, no_answer};
pub use self::stream::{Outcome, Snapshot};
use self::tail::MemoryTail;
use crate::{
    ATTEMPT, Created, Engine, EngineError, Finding, Message, Requirements, Setup, State, Stored,
    Tail,
};

/// An engine in memory. It keeps its promises until a test tells it not to. Clones are handles to
/// the same engine.
///
/// Its clock is that of tokio: with paused time, tests are deterministic.
///
/// ```
/// use std::time::SystemTime;
///
/// use carafe_cluster::{Engine, MemoryEngine, Message};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let engine = MemoryEngine::new("CARAFE");
/// let message = Message::new(1, SystemTime::now(), "commit");
/// assert_eq!(engine.append(message.clone()).await?, 1);
/// assert_eq!(engine.append(message).await?, 1, "it is stored once");
/// assert_eq!(engine.state().await?.last, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

impl MemoryEngine {
    /// An empty engine, created at a fixed time, with payloads of at most 1 MiB, that recognizes
    /// what is sent again for 2 minutes.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { shared: Arc::new(Shared::new(name)) }
    }

    /// Sets the maximum size of a payload.
    #[must_use]
    pub fn with_payload(self, bytes: usize) -> Self {
        self.shared.change(|state| state.stream.payload = bytes);
        self
    }

    /// Sets for how long a message that is sent again is recognized.
    #[must_use]
    pub fn with_window(self, window: Duration) -> Self {
        self.shared.change(|state| state.stream.window = window);
        self
    }

    /// While the engine is away, it refuses connections: requests fail at once, and tails end.
    pub fn away(&self, away: bool) {
        self.shared.change(|state| {
            state.away = away;
            state.tail_epoch += u64::from(away);
        });
    }

    /// A frozen engine accepts everything and answers nothing, like a process that was stopped.
    /// Requests time out, tails are silent. What it has received meanwhile it stores later.
    pub fn frozen(&self, frozen: bool) {
        self.shared.change(|state| {
            state.frozen = frozen;
            if !frozen {
                state.carry_out();
            }
        });
    }

    /// Muted tails are silent, although the engine works: they deliver neither messages nor
    /// heartbeats, and do not end.
    pub fn muted(&self, muted: bool) {
        self.shared.change(|state| state.muted = muted);
    }

    /// Ends all tails with an error.
    pub fn break_tails(&self) {
        self.shared.change(|state| state.tail_epoch += 1);
    }

    /// What becomes of the next appends, in order. Those after them are stored and answered.
    pub fn next_appends(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.shared.change(|state| state.outcomes.extend(outcomes));
    }

    /// One of its servers freezes, and has a copy of each of the next messages, whatever becomes of
    /// them.
    pub fn copy_next_appends(&self, count: usize) {
        self.shared.change(|state| state.next_copies = count);
    }

    /// The frozen server goes on, and forwards its copies. They are stored unless the engine
    /// recognizes them.
    pub fn forward_copies(&self) {
        self.shared.change(Controlled::forward_copies);
    }

    /// How long each append takes, and each message on its way to a tail.
    pub fn slow(&self, append: Duration, tail: Duration) {
        self.shared.change(|state| (state.append_delay, state.tail_delay) = (append, tail));
    }

    /// How much earlier than the true time messages are stored from now on: another server leads,
    /// and its clock is behind.
    pub fn clock_behind(&self, by: Duration) {
        self.shared.change(|state| state.stream.clock_behind(by));
    }

    /// How much later than the true time messages are stored from now on.
    pub fn clock_ahead(&self, by: Duration) {
        self.shared.change(|state| state.stream.clock_ahead(by));
    }

    /// Loses the newest messages, as if they had never been synced. Their sequences are given out
    /// again. Tails end.
    pub fn lose_tail(&self, messages: u64) {
        self.shared.change(|state| {
            state.stream.lose_tail(messages);
            state.tail_epoch += 1;
        });
    }

    /// Deletes everything, and begins anew with another identity.
    pub fn recreate(&self) {
        self.shared.change(|state| {
            state.stream.recreate();
            state.tail_epoch += 1;
        });
    }

    /// Deletes everything. All requests fail until [`recreate`](Self::recreate).
    pub fn delete(&self) {
        self.shared.change(|state| {
            state.stream.delete();
            state.tail_epoch += 1;
        });
    }

    /// Removes all messages before sequence `first`, as retention does.
    pub fn trim(&self, first: u64) {
        self.shared.change(|state| state.stream.trim(first));
    }

    /// Removes one message, and leaves a hole.
    pub fn remove(&self, sequence: u64) {
        self.shared.change(|state| state.stream.remove(sequence));
    }

    /// Stores a message of another program, and returns its sequence.
    pub fn insert_foreign(&self, payload: impl Into<Bytes>) -> u64 {
        let (payload, mut sequence) = (payload.into(), 0);
        self.shared.change(|state| {
            let visible = Instant::now() + state.tail_delay;
            sequence = state.stream.store(None, payload, visible);
        });
        sequence
    }

    /// A copy of what is stored.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.lock().stream.snapshot()
    }

    /// Goes back to what was stored, with the identity of that time. Tails end.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.shared.change(|state| {
            state.stream.restore(snapshot);
            state.tail_epoch += 1;
        });
    }

    /// How often it was asked.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Answers a request as soon as the engine answers any.
    async fn ask<T>(
        &self,
        answer: impl Fn(&Controlled) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        let mut changed = self.shared.changed.subscribe();
        let answered = async {
            loop {
                changed.mark_unchanged();
                if let Some(answer) = self.shared.lock().answer(&answer) {
                    return answer;
                }
                // The sender is part of `self`.
                let _ = changed.changed().await;
            }
        };
        timeout(ATTEMPT, answered).await.unwrap_or_else(|_| Err(no_answer()))
    }

    async fn store(&self, message: Message) -> Result<u64, EngineError> {
        let delay = {
            let mut state = self.shared.lock();
            state.counts.appends += 1;
            state.append_delay
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let (sender, answer) = oneshot::channel();
        self.shared.change(|state| state.receive(message, sender));
        answer.await.unwrap_or_else(|_| Err(no_answer()))
    }
}

impl Engine for MemoryEngine {
    fn state(&self) -> BoxFuture<'_, Result<State, EngineError>> {
        self.shared.lock().counts.states += 1;
        Box::pin(self.ask(|state| Ok(state.stream.state())))
    }

    fn append(&self, message: Message) -> BoxFuture<'_, Result<u64, EngineError>> {
        Box::pin(async move {
            let stored = timeout(ATTEMPT, self.store(message)).await;
            stored.unwrap_or_else(|_| Err(no_answer()))
        })
    }

    fn get(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>> {
        self.shared.lock().counts.gets += 1;
        Box::pin(self.ask(move |state| Ok(state.stream.get(sequence))))
    }

    fn first_from(&self, from: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>> {
        self.shared.lock().counts.gets += 1;
        Box::pin(self.ask(move |state| Ok(state.stream.first_from(from))))
    }

    fn tail(&self, from: u64) -> BoxFuture<'_, Result<Box<dyn Tail>, EngineError>> {
        self.shared.lock().counts.tails += 1;
        Box::pin(async move {
            let epoch = self.ask(move |state| state.begin_tail(from)).await?;
            Ok(Box::new(MemoryTail::new(Arc::clone(&self.shared), from, epoch)) as Box<dyn Tail>)
        })
    }
}

impl Setup for MemoryEngine {
    fn create(&self, _: Requirements) -> BoxFuture<'_, Result<Created, EngineError>> {
        let created =
            if self.shared.lock().stream.exists { Created::Existed } else { Created::New };
        if created == Created::New {
            self.recreate();
        }
        Box::pin(ready(Ok(created)))
    }

    fn check(
        &self,
        requirements: Requirements,
    ) -> BoxFuture<'_, Result<Vec<Finding>, EngineError>> {
        Box::pin(async move {
            let payload = self.state().await?.payload;
            let text = format!("a message may have {payload} bytes");
            let fits = payload >= requirements.event_bytes;
            let finding = if fits { Finding::right } else { Finding::refusal };
            Ok(vec![finding("payload", text)])
        })
    }
}

#[cfg(test)]
mod tests;
