//! What the program, the feeder and the body of its request share.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;

use crate::control::Stop;
use crate::feed::backlog::Backlog;
use crate::feed::event::FeedEvent;
use crate::feed::fed::{Fed, FeedError};
use crate::publisher_error::PublisherError;

/// What the program waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// That each event is sent at once.
    Sending,
    /// That all events are stored.
    Flush,
    /// The same, and no event follows.
    Finish,
}

/// The state of a feed. No lock is held while anything is awaited.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// For the program: room, progress, failure.
    changed: Notify,
    /// For the feeder: something to send, or to check.
    work: Notify,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) backlog: Backlog,
    pub(crate) wanted: Wanted,
    /// The number of the present request: the body of an earlier one takes no more events.
    pub(crate) request: u64,
    /// That request has not ended.
    pub(crate) is_open: bool,
    /// The body of the present request ends behind what was sent, so that its response tells what
    /// is stored.
    pub(crate) ends_request: bool,
    pub(crate) position: Option<String>,
    pub(crate) stop: Option<Stop>,
    pub(crate) failure: Option<PublisherError>,
    /// The body of the present request waits for events.
    pub(crate) body: Option<Waker>,
}

impl Shared {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            backlog: Backlog::new(limit),
            wanted: Wanted::Sending,
            request: 0,
            is_open: false,
            ends_request: false,
            position: None,
            stop: None,
            failure: None,
            body: None,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), work: Notify::new() }
    }

    /// Nothing panics while it holds the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes all who wait for that.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        if let Some(body) = state.body.take() {
            body.wake();
        }
        drop(state);
        self.changed.notify_waiters();
        self.work.notify_one();
        result
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.change(|state| state.backlog.set_limit(limit));
    }

    pub(crate) fn push(&self, event: FeedEvent) {
        let mut state = self.lock();
        state.backlog.push(event);
        let body = state.body.take();
        // An open request takes the event by itself.
        let needs_feeder = !state.is_open || !state.backlog.has_room();
        drop(state);
        body.into_iter().for_each(Waker::wake);
        if needs_feeder {
            self.work.notify_one();
        }
    }

    pub(crate) fn want(&self, wanted: Wanted) {
        self.change(|state| state.wanted = wanted);
    }

    /// Something may have to be done.
    pub(crate) async fn work(&self) {
        self.work.notified().await;
    }

    /// For the body: the feeder may have to ask what is stored.
    pub(crate) fn wake_feeder(&self) {
        self.work.notify_one();
    }

    /// Waits until another event may be sent.
    pub(crate) async fn room(&self) -> Result<(), FeedError> {
        self.until(|state| match state.error() {
            Some(error) => Some(Err(error)),
            None => state.backlog.has_room().then_some(Ok(())),
        })
        .await
    }

    /// Waits until all events are stored, and the last request has ended.
    pub(crate) async fn flushed(&self) -> Result<Fed, PublisherError> {
        self.until(|state| match &state.failure {
            Some(failure) => Some(Err(failure.clone())),
            None if state.backlog.is_empty() && !state.is_open && state.wanted != Wanted::Flush => {
                let (events, position) = (state.backlog.stored(), state.position.clone());
                Some(Ok(Fed { events, position }))
            }
            None => None,
        })
        .await
    }

    /// Waits until no more events are taken.
    pub(crate) async fn failed(&self) -> FeedError {
        self.until(State::error).await
    }

    async fn until<T>(&self, mut found: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            // Before the check: a change in between is not missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let found = found(&self.lock());
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

impl State {
    /// The number of a request that begins now.
    pub(crate) fn begin_request(&mut self) -> u64 {
        self.backlog.begin_request();
        self.ends_request = false;
        self.is_open = true;
        self.request += 1;
        self.request
    }

    fn error(&self) -> Option<FeedError> {
        let failure = self.failure.clone().map(FeedError::Publisher);
        failure.or_else(|| self.stop.clone().map(FeedError::Stopped))
    }
}
