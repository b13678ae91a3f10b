//! The connection of one node to an engine, which a test can disturb.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use carafe_cluster::{ATTEMPT, Engine, EngineError, MemoryEngine, Message, State, Stored, Tail};
use carafe_log::BoxFuture;
use tokio::sync::watch;
use tokio::time::sleep;

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Good,
    /// Every request fails at once.
    Cut,
    /// Nothing arrives, in either direction, and nothing fails.
    Silent,
}

/// The connection of one node.
#[derive(Clone)]
pub(crate) struct Cable {
    engine: MemoryEngine,
    line: Arc<watch::Sender<Line>>,
    /// A message that tails leave out.
    left_out: Arc<AtomicU64>,
}

impl Cable {
    pub(crate) fn to(engine: &MemoryEngine) -> Self {
        let (engine, line) = (engine.clone(), Arc::new(watch::Sender::new(Line::Good)));
        Self { engine, line, left_out: Arc::default() }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Lets tails leave out a message, as one of a server that does not have it.
    pub(crate) fn leave_out(&self, sequence: u64) {
        self.left_out.store(sequence, Ordering::Relaxed);
    }

    async fn pass(&self) -> Result<(), EngineError> {
        let line = *self.line.borrow();
        match line {
            Line::Good => Ok(()),
            Line::Cut => Err(cut()),
            Line::Silent => {
                sleep(ATTEMPT).await;
                Err(cut())
            }
        }
    }
}

fn cut() -> EngineError {
    EngineError::Unavailable("the cable is cut".into())
}

impl Engine for Cable {
    fn state(&self) -> BoxFuture<'_, Result<State, EngineError>> {
        Box::pin(async {
            self.pass().await?;
            self.engine.state().await
        })
    }

    fn append(&self, message: Message) -> BoxFuture<'_, Result<u64, EngineError>> {
        Box::pin(async {
            self.pass().await?;
            self.engine.append(message).await
        })
    }

    fn get(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>> {
        Box::pin(async move {
            self.pass().await?;
            self.engine.get(sequence).await
        })
    }

    fn first_from(&self, from: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>> {
        Box::pin(async move {
            self.pass().await?;
            self.engine.first_from(from).await
        })
    }

    fn tail(&self, from: u64) -> BoxFuture<'_, Result<Box<dyn Tail>, EngineError>> {
        Box::pin(async move {
            self.pass().await?;
            let tail = self.engine.tail(from).await?;
            let (line, left_out) = (self.line.subscribe(), Arc::clone(&self.left_out));
            Ok(Box::new(CableTail { tail, line, left_out }) as Box<dyn Tail>)
        })
    }
}

struct CableTail {
    tail: Box<dyn Tail>,
    line: watch::Receiver<Line>,
    left_out: Arc<AtomicU64>,
}

impl Tail for CableTail {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Stored>, EngineError>> {
        Box::pin(async {
            loop {
                let line = *self.line.borrow_and_update();
                match line {
                    Line::Cut => return Err(cut()),
                    // The sender is part of the cable, which the node has.
                    Line::Silent => drop(self.line.changed().await),
                    Line::Good => tokio::select! {
                        biased;
                        _ = self.line.changed() => {}
                        messages = self.tail.next() => {
                            let left_out = self.left_out.load(Ordering::Relaxed);
                            let is_there = |message: &Stored| message.sequence != left_out;
                            let messages = messages?.into_iter().filter(is_there);
                            return Ok(messages.collect());
                        }
                    },
                }
            }
        })
    }
}
