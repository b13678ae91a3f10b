//! Disconnects clients that make no write progress within the write timeout.
//!
//! hyper polls a body only while there is room for more bytes. So a body cannot detect the stall
//! itself: the detector wraps the future that drives it. That is a connection, or one HTTP/2
//! stream, which can stall alone. The current detector is a task-local of that future.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use carafe_fanout::EndReason;
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::task_local;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::server::idle::InFlight;

task_local! {
    /// The detector of the connection or HTTP/2 stream that is being polled.
    static CURRENT: StallDetector;
}

/// Detects that the client of a connection, or of one HTTP/2 stream, makes no progress. Clones
/// are handles to the same detector.
#[derive(Clone)]
pub(crate) struct StallDetector(Arc<Detector>);

struct Detector {
    allowed: Duration,
    /// The detector of the connection, for an HTTP/2 stream.
    connection: Option<StallDetector>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Since when the socket has had no room.
    socket: Option<Instant>,
    /// Since when hyper has not polled the body for more.
    body: Option<Instant>,
    stalled: bool,
}

impl StallDetector {
    /// A detector for a connection with this write timeout.
    pub(crate) fn new(allowed: Duration) -> Self {
        Self(Arc::new(Detector { allowed, connection: None, state: Mutex::default() }))
    }

    /// The detector of whatever is being polled, if there is one.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    fn over_stream(&self) -> Self {
        let allowed = self.0.allowed;
        Self(Arc::new(Detector {
            allowed,
            connection: Some(self.clone()),
            state: Mutex::default(),
        }))
    }

    /// Whether the client has stalled, here or on the whole connection.
    pub(crate) fn has_stalled(&self) -> bool {
        self.state().stalled || self.0.connection.as_ref().is_some_and(Self::has_stalled)
    }

    /// Drives the connection or stream to its end; `None` if the client stalls before, and the
    /// driver is dropped.
    pub(crate) async fn over<F: Future>(self, driver: F) -> Option<F::Output> {
        let mut driver = pin!(CURRENT.scope(self.clone(), driver));
        let mut timer = None;
        poll_fn(|cx| match driver.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_stalled(cx, &mut timer).map(|()| None),
        })
        .await
    }

    fn poll_stalled(&self, cx: &mut Context<'_>, timer: &mut Option<Pin<Box<Sleep>>>) -> Poll<()> {
        loop {
            let Some(until) = self.until() else {
                *timer = None;
                return Poll::Pending;
            };
            let sleep = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if sleep.deadline() < until {
                sleep.as_mut().reset(until);
            }
            ready!(sleep.as_mut().poll(cx));
            // The client may have made progress while the timer ran.
            if self.until().is_some_and(|until| until <= Instant::now()) {
                self.state().stalled = true;
                return Poll::Ready(());
            }
        }
    }

    /// The deadline of the earliest wait; `None` while nothing waits.
    fn until(&self) -> Option<Instant> {
        let state = self.state();
        state.socket.into_iter().chain(state.body).min()?.checked_add(self.0.allowed)
    }

    /// Sets whether the socket is full; returns whether it was full before.
    pub(crate) fn socket_is_full(&self, is_full: bool) -> bool {
        let mut state = self.state();
        let was_full = state.socket.is_some();
        state.socket = is_full.then(|| state.socket.unwrap_or_else(Instant::now));
        was_full
    }

    /// The kernel has its own timer for bytes that it has taken (`TCP_USER_TIMEOUT`). It ends
    /// the connection with an error.
    pub(crate) fn has_failed(&self, error: &io::Error) {
        if EndReason::by(error) == EndReason::Stalled {
            self.state().stalled = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spawns HTTP/2 streams, each with a detector of its own.
#[derive(Clone, Copy)]
pub(crate) struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        match StallDetector::current() {
            Some(connection) => drop(tokio::spawn(connection.over_stream().over(stream))),
            None => drop(tokio::spawn(stream)),
        }
    }
}

/// A body that reports to the current detector when hyper polls it.
pub(crate) struct WatchedBody {
    body: Body,
    stall: Option<StallDetector>,
    _request: Option<InFlight>,
}

impl WatchedBody {
    /// The body of the response to this request.
    pub(crate) fn new(body: Body, request: Option<InFlight>) -> Self {
        Self { body, stall: StallDetector::current(), _request: request }
    }

    /// Sets since when a chunk waits to be taken; `None` if none does.
    fn waits(&self, since: Option<Instant>) {
        self.stall.iter().for_each(|stall| stall.state().body = since);
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.waits(None);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.waits(frame.is_some().then(Instant::now));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.waits(None);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const ALLOWED: Duration = Duration::from_secs(10);

    fn wait(since: Option<Instant>) {
        StallDetector::current().unwrap().state().body = since;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_write_progress_stays_open() {
        let stall = StallDetector::new(ALLOWED);
        let driver = async {
            for _ in 0..5 {
                wait(Some(Instant::now()));
                sleep(ALLOWED - Duration::from_millis(1)).await;
                wait(None);
                sleep(3 * ALLOWED).await;
            }
        };
        assert_eq!((stall.clone().over(driver).await, stall.has_stalled()), (Some(()), false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_connection_ends_after_the_write_timeout_with_its_streams() {
        let (stall, start) = (StallDetector::new(ALLOWED), Instant::now());
        let (stream, other) = (stall.over_stream(), StallDetector::new(ALLOWED));
        let driver = async {
            wait(Some(Instant::now()));
            pending::<()>().await;
        };
        assert_eq!(stall.clone().over(driver).await, None);
        assert_eq!(start.elapsed().as_secs(), ALLOWED.as_secs());
        assert_eq!([&stall, &stream, &other].map(StallDetector::has_stalled), [true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_cut_leaves_its_connection() {
        let stall = StallDetector::new(ALLOWED);
        let stream = stall.over_stream();
        let driver = async {
            wait(Some(Instant::now()));
            pending::<()>().await;
        };
        assert_eq!(stream.clone().over(driver).await, None);
        assert_eq!([&stream, &stall].map(StallDetector::has_stalled), [true, false]);
    }
}
