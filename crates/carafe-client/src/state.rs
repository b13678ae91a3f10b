//! The states of an event source, and who is told of them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_core::Stream;
use reqwest::header::HeaderMap;

use crate::error::{Error, Lost};

/// The most changes that wait for a program that does not look at them: the oldest are dropped.
const MOST_UNREAD: usize = 64;

/// What an event source does. It is the same for all servers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// It connects, or has not been polled yet.
    Connecting,
    /// It reads a stream.
    Open(ResponseHead),
    /// It connects again at this time.
    Waiting {
        /// When that is.
        until: Instant,
        /// Why the connection before is over.
        reason: Lost,
    },
    /// It has ended.
    Ended(EndReason),
}

/// The head of the response that is a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResponseHead {
    /// Where it came from: the URL of the source, or where that redirects to.
    pub url: String,
    /// Its status, which is always 200.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
}

/// Why an event source has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The server has ended the stream for good, by 204.
    Done,
    /// Another attempt would not help.
    Failed(Error),
}

/// The changes of the state of an event source, beginning with its present state.
///
/// The source runs on the task that polls it, so its state changes only while that task asks for
/// events. At most 64 unread changes are kept, the newest. The stream ends with the source.
///
/// ```
/// use carafe_client::{EventSource, State};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let events = EventSource::new("http://127.0.0.1:3000/events/orders");
/// let mut states = events.states();
/// let shown = tokio::spawn(async move {
///     while let Some(state) = states.next().await {
///         match state {
///             State::Open(head) => println!("open: {}", head.url),
///             State::Waiting { reason, .. } => println!("waiting: {reason}"),
///             state => println!("{state:?}"),
///         }
///     }
/// });
/// # drop(events);
/// # shown.await.unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct States(Arc<Mutex<Unread>>);

#[derive(Debug, Default)]
struct Unread {
    states: VecDeque<State>,
    waker: Option<Waker>,
    source_is_gone: bool,
}

impl States {
    /// The next change; `None` when the source is gone.
    pub async fn next(&mut self) -> Option<State> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for States {
    type Item = State;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<State>> {
        let mut unread = lock(&self.0);
        match unread.states.pop_front() {
            None if !unread.source_is_gone => {
                unread.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            state => Poll::Ready(state),
        }
    }
}

/// The state of a source, and those that are told of its changes.
pub(crate) struct Announced {
    state: State,
    // Shared reference: a source can be asked for `States` while it is borrowed.
    listeners: Mutex<Vec<Weak<Mutex<Unread>>>>,
}

impl Announced {
    pub(crate) fn new() -> Self {
        Self { state: State::Connecting, listeners: Mutex::default() }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn states(&self) -> States {
        let unread = Unread { states: [self.state.clone()].into(), ..Unread::default() };
        let unread = Arc::new(Mutex::new(unread));
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&unread));
        States(unread)
    }

    pub(crate) fn set(&mut self, state: State) {
        self.state = state;
        let state = &self.state;
        self.each(|unread| {
            if unread.states.len() == MOST_UNREAD {
                unread.states.pop_front();
            }
            unread.states.push_back(state.clone());
        });
    }

    /// Changes what listeners have not read, and wakes them. Forgets those that are gone.
    fn each(&self, change: impl Fn(&mut Unread)) {
        lock(&self.listeners).retain(|listener| {
            let Some(listener) = listener.upgrade() else { return false };
            let mut unread = lock(&listener);
            change(&mut unread);
            if let Some(waker) = unread.waker.take() {
                waker.wake();
            }
            true
        });
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.each(|unread| unread.source_is_gone = true);
    }
}

/// Nothing panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unread_states_are_bounded_and_the_newest_stay() {
        let mut announced = Announced::new();
        let mut states = announced.states();
        for _ in 0..MOST_UNREAD {
            announced.set(State::Connecting);
        }
        announced.set(State::Ended(EndReason::Done));
        drop(announced);
        let mut unread = Vec::new();
        while let Some(state) = states.next().await {
            unread.push(state);
        }
        assert_eq!(unread.len(), MOST_UNREAD);
        assert!(matches!(unread.last(), Some(State::Ended(EndReason::Done))), "{unread:?}");
    }

    #[test]
    fn listeners_that_are_gone_are_forgotten() {
        let mut announced = Announced::new();
        drop(announced.states());
        announced.set(State::Connecting);
        assert!(lock(&announced.listeners).is_empty());
    }
}
