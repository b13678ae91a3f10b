//! An engine that is not followed before the hub follows its log.
//!
//! A small log may trim an entry soon after it was read from the engine. Whoever must not miss one,
//! such as the table of revocations, has to follow the log before it is filled.

use std::sync::Arc;
use std::time::Duration;

use carafe_cluster::{Engine, EngineError, Message, State, Stored, Tail};
use carafe_log::BoxFuture;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a node waits at a closed gate, before it asks again.
const WAIT: Duration = Duration::from_secs(1);

/// Opens the gate.
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }
}

/// An engine behind a gate.
pub(super) struct Gated {
    engine: Arc<dyn Engine>,
    is_open: watch::Receiver<bool>,
}

impl Gated {
    pub(super) fn new(engine: Arc<dyn Engine>) -> (Self, Gate) {
        let (sender, is_open) = watch::channel(false);
        (Self { engine, is_open }, Gate(sender))
    }
}

impl Engine for Gated {
    fn state(&self) -> BoxFuture<'_, Result<State, EngineError>> {
        self.engine.state()
    }

    fn renew(&self) {
        self.engine.renew();
    }

    fn append(&self, message: Message) -> BoxFuture<'_, Result<u64, EngineError>> {
        self.engine.append(message)
    }

    fn get(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>> {
        self.engine.get(sequence)
    }

    fn first_from(&self, from: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>> {
        self.engine.first_from(from)
    }

    fn tail(&self, from: u64) -> BoxFuture<'_, Result<Box<dyn Tail>, EngineError>> {
        Box::pin(async move {
            let mut is_open = self.is_open.clone();
            let opened = timeout(WAIT, is_open.wait_for(|is_open| *is_open)).await;
            let is_open = opened.is_ok_and(|seen| seen.is_ok());
            if !is_open {
                return Err(EngineError::Unavailable("the hub is starting".into()));
            }
            self.engine.tail(from).await
        })
    }
}
