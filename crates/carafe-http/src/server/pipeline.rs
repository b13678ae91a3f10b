//! Lets the events of requests that a client has sent together be stored together (pipelining, RFC
//! 9112, 9.3.2).
//!
//! hyper handles the requests of an HTTP/1.1 connection one after the other. While an event waits
//! for the disk, the requests behind it would wait, too, and each event would need a sync of its
//! own. So the answer to a request that others follow may leave hyper: hyper writes a
//! [placeholder](placeholder) and begins with the next request. The socket drops the placeholder,
//! and writes the answer in its place when it is there.
//!
//! Only the answer to a request that has taken effect, up to its confirmation, may be deferred.
//! So requests take effect in their order. The answer to the last request stays with hyper: as
//! long as hyper has a request, it does not wait for the head of another. All of this happens on
//! the connection's task.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::header::EXPECT;
use http::{Request, Version};

use crate::server::deferred_answer::{Answer, BoxedAnswer, Broken, DeferredAnswer};
use crate::server::placeholder;

/// The most answers of one connection that are deferred at once.
const DEFERRED: usize = 32;

/// The requests of one HTTP/1.1 connection. Clones are handles to the same connection.
#[derive(Clone)]
pub(crate) struct Pipeline(Arc<Shared>);

/// `Relaxed` suffices for the numbers and flags: one task uses them, but for `is_ordered`, which
/// only allows what would be correct later, too.
#[derive(Default)]
struct Shared {
    /// Requests among the bytes that were read last, with which hyper has not begun. An estimate: a
    /// body may look like a request.
    ahead: AtomicUsize,
    /// Whether answers may be deferred on this connection.
    may_defer: bool,
    /// Whether the request that hyper handles has taken effect up to its confirmation.
    is_ordered: AtomicBool,
    /// Whether there are deferred answers in `state`.
    is_used: AtomicBool,
    // No other lock is taken, and no answer polled or dropped, while this one is held.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order of the requests.
    deferred: VecDeque<DeferredAnswer>,
    /// hyper is about to write the placeholder of the last one.
    expects_placeholder: bool,
    /// hyper has an answer that waits for the deferred ones. It may write a placeholder together
    /// with that answer, so no further answer is deferred.
    is_blocked: bool,
    /// Answers to be written.
    ready: Vec<u8>,
    has_failed: bool,
}

/// Request extension: allows the answer to this request to be deferred.
#[derive(Clone)]
pub(crate) struct Deferral(Arc<Shared>);

/// What a socket has to do with bytes that hyper writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// They are an answer, and have to wait for those before it.
    Early,
    /// They are a placeholder, which is not written.
    Placeholder,
    /// They should be a placeholder: what the client would get is unknown.
    Unexpected,
}

impl Pipeline {
    pub(crate) fn new(may_defer: bool) -> Self {
        Self(Arc::new(Shared { may_defer, ..Shared::default() }))
    }

    /// hyper has read so many requests. It had begun with all that it had read before.
    pub(crate) fn received(&self, requests: usize) {
        self.0.ahead.store(requests, Relaxed);
    }

    /// Whether hyper is about to begin with another request.
    pub(crate) fn others_follow(&self) -> bool {
        self.0.ahead.load(Relaxed) > 0
    }

    /// hyper begins with this request. Returns whether its answer may be deferred.
    pub(crate) fn begin<B>(&self, request: &Request<B>) -> Option<Deferral> {
        let ahead = self.0.ahead.load(Relaxed).saturating_sub(1);
        self.0.ahead.store(ahead, Relaxed);
        if ahead == 0 || !self.0.may_defer {
            return None;
        }
        self.0.is_ordered.store(false, Relaxed);
        // hyper writes `100 Continue` in one piece with what follows it.
        let is_plain =
            request.version() == Version::HTTP_11 && !request.headers().contains_key(EXPECT);
        let may_defer = is_plain && {
            let state = self.0.state();
            state.deferred.len() < DEFERRED && !state.is_blocked
        };
        may_defer.then(|| Deferral(Arc::clone(&self.0)))
    }

    /// Whether answers are deferred.
    pub(crate) fn is_used(&self) -> bool {
        self.0.is_used.load(Relaxed)
    }

    /// Polls the deferred answers, in order. The task calls it before it polls hyper.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) {
        if !self.is_used() {
            return;
        }
        let mut deferred = std::mem::take(&mut self.0.state().deferred);
        let (mut ready, mut has_failed) = (Vec::new(), false);
        while let Some(answer) = deferred.front_mut() {
            match answer.poll_into(cx, &mut ready) {
                Poll::Ready(Ok(())) => drop(deferred.pop_front()),
                Poll::Ready(Err(Broken)) => {
                    has_failed = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        let mut state = self.0.state();
        state.deferred = deferred;
        state.ready.append(&mut ready);
        state.has_failed |= has_failed;
    }

    /// Takes the answers that are to be written next. If none is deferred any more, the connection
    /// is as if none had been.
    pub(crate) fn take_ready(&self) -> Vec<u8> {
        let mut state = self.0.state();
        let ready = std::mem::take(&mut state.ready);
        let is_used = !state.deferred.is_empty();
        state.is_blocked &= is_used;
        self.0.is_used.store(is_used, Relaxed);
        ready
    }

    /// Whether the connection cannot go on.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.state().has_failed
    }

    /// Judges what hyper writes while answers are deferred.
    pub(crate) fn judge<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> Written {
        let mut state = self.0.state();
        if !std::mem::take(&mut state.expects_placeholder) {
            state.is_blocked = true;
            return Written::Early;
        }
        match (placeholder::date(parts), state.deferred.back_mut()) {
            (Some(date), Some(answer)) => {
                answer.set_date(date);
                Written::Placeholder
            }
            _ => Written::Unexpected,
        }
    }
}

impl Deferral {
    /// Runs a future whose effects are in order with those of later requests once it was polled.
    pub(crate) async fn run<T>(deferral: Option<Self>, future: impl Future<Output = T>) -> T {
        let (mut deferral, mut future) = (deferral, pin!(future));
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            // Once: later polls belong to the time when hyper handles another request.
            if let Some(deferral) = deferral.take().filter(|_| polled.is_pending()) {
                deferral.0.is_ordered.store(true, Relaxed);
            }
            polled
        })
        .await
    }
}

/// The answer to a request that may be deferred; hyper polls it.
pub(crate) struct Deferrable {
    /// `None` once it is deferred.
    answer: Option<BoxedAnswer>,
    deferral: Deferral,
}

impl Deferrable {
    pub(crate) fn new(answer: BoxedAnswer, deferral: Deferral) -> Self {
        Self { answer: Some(answer), deferral }
    }
}

impl Future for Deferrable {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        let polled = answer.as_mut().poll(cx);
        if polled.is_ready() || !self.deferral.0.is_ordered.swap(false, Relaxed) {
            return polled;
        }
        if let Some(answer) = self.answer.take() {
            self.deferral.0.defer(answer);
        }
        Poll::Ready(Ok(placeholder::response()))
    }
}

impl Shared {
    fn defer(&self, answer: BoxedAnswer) {
        let mut state = self.state();
        state.deferred.push_back(DeferredAnswer::new(answer));
        state.expects_placeholder = true;
        self.is_used.store(true, Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
