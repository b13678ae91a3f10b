//! The task that sends the commits of a node to the engine.

use std::future::Future;
use std::mem;
use std::sync::Arc;

use carafe_log::AppendError;
use tokio::select;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::outbox::Outgoing;
use crate::engine::{ATTEMPT, Engine, EngineError};
use crate::message::{LATE, Message};
use crate::replicate::Backoff;
use crate::shared::{Shared, StopOnPanic, bounded};

/// The most turns of the runtime that a commit waits for more. A turn polls some tasks and looks
/// which sockets are ready.
const TURNS: usize = 64;

/// Sends one commit at a time, and the next one when the outcome of the last one is known or given
/// up.
pub(crate) struct Publisher {
    engine: Arc<dyn Engine>,
    shared: Arc<Shared>,
    /// Whether the last commit was refused, which is logged once.
    was_refused: bool,
}

/// What has become of a commit.
enum Outcome {
    /// The engine has acknowledged it with this sequence.
    Stored(u64),
    /// The tail has delivered it before it was acknowledged.
    Delivered,
    Refused(String),
    /// Nobody knows, and it was tried for long enough.
    Unknown(EngineError),
}

impl Publisher {
    pub(crate) fn new(engine: Arc<dyn Engine>, shared: Arc<Shared>) -> Self {
        Self { engine, shared, was_refused: false }
    }

    /// Runs until the node stops.
    pub(crate) async fn run(mut self) {
        let _guard = StopOnPanic(Arc::clone(&self.shared));
        // While the tail is away, no publisher could be answered: nothing is sent then.
        while self.shared.is_open().await {
            self.gather().await;
            let sent = self.shared.engine_time();
            let outgoing = self.shared.outbox().next(Instant::now(), sent);
            match outgoing {
                Some(outgoing) => self.send(outgoing).await,
                None => self.shared.published.notified().await,
            }
        }
    }

    /// Lets the runtime take turns as long as they bring more to publish, so that it shares the
    /// commit: also what those are about to publish who were answered just now.
    async fn gather(&self) {
        let mut waiting = 0;
        for _ in 0..TURNS {
            yield_now().await;
            let outbox = self.shared.outbox();
            let brings_more = outbox.waiting() > waiting || outbox.has_untaken_replies();
            waiting = outbox.waiting();
            drop(outbox);
            if !brings_more {
                return;
            }
        }
    }

    async fn send(&mut self, Outgoing { message, mut delivered }: Outgoing) {
        let id = message.id;
        match self.outcome(message, &mut delivered).await {
            Outcome::Delivered => self.was_refused = false,
            Outcome::Stored(sequence) => {
                self.was_refused = false;
                self.shared.outbox().land(id);
                self.shared.acknowledged(sequence);
            }
            Outcome::Refused(why) => {
                if !mem::replace(&mut self.was_refused, true) {
                    tracing::error!(why, "the engine refuses what is published");
                }
                self.shared.count(|counters| counters.refused += 1);
                self.shared.outbox().give_up(id, &AppendError::Refused(why));
            }
            Outcome::Unknown(error) => {
                tracing::warn!(%error, "it stays unknown whether events are stored");
                self.shared.count(|counters| counters.given_up += 1);
                self.shared.outbox().give_up(id, &AppendError::Unavailable);
            }
        }
        self.shared.notify_if_idle();
    }

    /// Sends a commit until its outcome is known, always with the same ID, so that the engine
    /// stores it once.
    async fn outcome(&self, message: Message, delivered: &mut oneshot::Receiver<()>) -> Outcome {
        let give_up_at = Instant::now() + self.shared.options.give_up_after.min(LATE / 2);
        let (mut backoff, mut is_unknown) = (Backoff::default(), false);
        loop {
            // A task: when the tail delivers the commit first, the answer is on its way, and the
            // engine takes notice of it for the next commit.
            let (engine, sent) = (Arc::clone(&self.engine), message.clone());
            let attempt = tokio::spawn(async move { bounded(engine.append(sent)).await });
            let Some(answer) = unless_delivered(delivered, attempt).await else {
                return Outcome::Delivered;
            };
            let interrupted = |_| Err(EngineError::Unavailable("the attempt has panicked".into()));
            let error = match answer.unwrap_or_else(interrupted) {
                Ok(sequence) => return Outcome::Stored(sequence),
                // After an attempt without an answer, this says nothing about that attempt: some
                // refusals come before the engine looks for the ID.
                Err(error @ EngineError::Refused(_)) if is_unknown => {
                    return Outcome::Unknown(error);
                }
                Err(EngineError::Refused(why)) => return Outcome::Refused(why),
                Err(error) => error,
            };
            is_unknown = true;
            let wait = backoff.next();
            if Instant::now() + wait + ATTEMPT > give_up_at {
                return Outcome::Unknown(error);
            }
            self.shared.count(|counters| counters.resent += 1);
            if unless_delivered(delivered, sleep(wait)).await.is_none() {
                return Outcome::Delivered;
            }
        }
    }
}

/// The output of a future, unless the commit is delivered first.
async fn unless_delivered<T>(
    delivered: &mut oneshot::Receiver<()>,
    future: impl Future<Output = T>,
) -> Option<T> {
    select! {
        biased;
        // Nothing is ever sent; the sender is dropped.
        _ = delivered => None,
        output = future => Some(output),
    }
}
