//! Hands the socket of an event stream over from hyper to a shard.
//!
//! A stream over HTTP/1.1 starts like any response: hyper writes its head and the first chunk, the
//! opening. The response body ([`HubBody`](crate::api::hub_body)) offers the rest of the stream in
//! the connection's [`Handoff`] and then stays pending. Once hyper has flushed, the connection's
//! [`HandoffSocket`](crate::server::handoff_socket) passes its socket and the stream to a shard,
//! and the connection is dropped together with all that hyper holds for it.
//!
//! **The decision when a socket is taken over is made here, in two steps.** [`Handoff::choose`]
//! decides when the stream opens, from the connection and the request. [`Handoff::take_offered`]
//! can only revoke that: it compares the bytes that hyper wrote with the expected ones
//! ([`stream_head`](crate::server::stream_head)), because a layer of the app may have changed the
//! response. A stream whose handoff is revoked is served by its body.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use carafe_fanout::{NewStream, ShardPool, Transport};
use carafe_hub::Frames;
use http::Version;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use tracing::info;

use crate::observe::metrics::FallbackReason;
use crate::observe::stream_record::StreamRecord;
use crate::server::stream_head::is_untouched_stream;

/// Capacity of the buffer for the written bytes: the head and the opening of most streams.
const WRITTEN: usize = 768;

/// The place where a connection's socket and the stream of its response meet. Clones are handles to
/// the same place; there is one per connection.
#[derive(Clone)]
pub(crate) struct Handoff(Arc<Connection>);

struct Connection {
    shards: ShardPool<StreamRecord>,
    /// Wakes the task of the connection. A layer of the app may poll the body on another task.
    task: OnceLock<Waker>,
    /// Whether `state` is `Offered`: read on each write without taking the lock. `Release` when it
    /// is set and `Acquire` when it is read, so that the writer that sees `true` finds the offer.
    offered: AtomicBool,
    // Lock order: no other lock is taken, and no waker called, while this one is held.
    state: Mutex<State>,
}

/// Request extension: the connection's handoff, or why its streams have to stay with hyper.
#[derive(Clone)]
pub(crate) struct ConnectionHandoff(pub(crate) Result<Handoff, FallbackReason>);

/// `Free` -> `Offered` by the body; then `Taken` or `Declined` by the socket. A body that serves
/// its stream, or is dropped, brings it back to `Free`.
enum State {
    /// No stream is offered.
    Free,
    /// A stream is offered; `written` has what hyper wrote since.
    Offered { stream: NewStream<StreamRecord>, opening: Bytes, written: Vec<u8>, body: Waker },
    /// The written bytes are not those of the stream: the body takes its stream back.
    Declined(NewStream<StreamRecord>),
    /// A shard has the socket and the stream.
    Taken,
}

impl Handoff {
    pub(crate) fn new(shards: ShardPool<StreamRecord>) -> Self {
        let (offered, state) = (AtomicBool::new(false), Mutex::new(State::Free));
        Self(Arc::new(Connection { shards, task: OnceLock::new(), offered, state }))
    }

    /// Decides whether a shard may serve the stream that answers this request.
    ///
    /// A shard writes HTTP/1.1 chunks and treats any data from the client as the end of the stream.
    /// So the request must be HTTP/1.1 without a body, on a connection of [`serve`](crate::serve)
    /// that is cleartext or TLS 1.3, and the stream one of the shards' own hub.
    pub(crate) fn choose(parts: &Parts, frames: &Frames) -> Result<Self, FallbackReason> {
        let handoff = match parts.version {
            Version::HTTP_2 => Err(FallbackReason::Http2),
            Version::HTTP_11 if has_body(parts) => Err(FallbackReason::Body),
            Version::HTTP_11 => match parts.extensions.get::<ConnectionHandoff>() {
                Some(connection) => connection.0.clone(),
                None => {
                    log_without_shards();
                    Err(FallbackReason::Elsewhere)
                }
            },
            _ => Err(FallbackReason::Http10),
        }?;
        if handoff.0.shards.serves(frames) { Ok(handoff) } else { Err(FallbackReason::Elsewhere) }
    }

    /// Names the task of the connection.
    pub(crate) fn is_driven_by(&self, task: &Waker) {
        self.0.task.get_or_init(|| task.clone());
    }

    /// Whether a shard has the connection's socket.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(*self.state(), State::Taken)
    }

    /// Offers the stream of a body that returns `opening` as its first chunk now.
    pub(crate) fn offer(
        &self,
        stream: &mut Option<NewStream<StreamRecord>>,
        opening: &Bytes,
        body: &Waker,
    ) {
        let mut state = self.state();
        if !matches!(*state, State::Free) {
            // Another body of this connection is offered already: a layer called the app twice.
            return;
        }
        if let Some(stream) = stream.take() {
            let (opening, written) = (opening.clone(), Vec::with_capacity(WRITTEN));
            *state = State::Offered { stream, opening, written, body: body.clone() };
            self.0.offered.store(true, Ordering::Release);
            drop(state);
            self.wake_connection(body);
        }
    }

    /// Ready when the body has to serve its stream itself; `stream` has it again then.
    pub(crate) fn poll(
        &self,
        cx: &Context<'_>,
        stream: &mut Option<NewStream<StreamRecord>>,
    ) -> Poll<()> {
        if stream.is_some() {
            return Poll::Ready(());
        }
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Free) {
            State::Free => Poll::Ready(()),
            State::Offered { stream, opening, written, .. } => {
                *state = State::Offered { stream, opening, written, body: cx.waker().clone() };
                Poll::Pending
            }
            State::Declined(declined) => {
                *stream = Some(declined);
                Poll::Ready(())
            }
            // The body has no stream and ends. A task that polls it may end, too.
            State::Taken => {
                *state = State::Taken;
                Poll::Ready(())
            }
        }
    }

    /// Makes the connection flush again if another task has offered the stream: hyper may have
    /// flushed the head before.
    fn wake_connection(&self, body: &Waker) {
        if let Some(task) = self.0.task.get().filter(|task| !task.will_wake(body)) {
            task.wake_by_ref();
        }
    }

    /// Returns the stream of a body that is dropped, unless a shard has it. Without this, the
    /// stream of the next response on the connection could be mistaken for it.
    pub(crate) fn take_back(&self) -> Option<NewStream<StreamRecord>> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Free) {
            State::Offered { stream, .. } | State::Declined(stream) => {
                self.0.offered.store(false, Ordering::Release);
                Some(stream)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    pub(crate) fn is_offered(&self) -> bool {
        self.0.offered.load(Ordering::Acquire)
    }

    /// Records bytes that were written to the socket.
    pub(crate) fn record_written(&self, more: &[u8]) {
        if let State::Offered { written, .. } = &mut *self.state() {
            written.extend_from_slice(more);
        }
    }

    /// Takes the offered stream after a flush, if what was written allows it; else its body gets it
    /// back.
    pub(crate) fn take_offered(&self) -> Option<NewStream<StreamRecord>> {
        let mut state = self.state();
        self.0.offered.store(false, Ordering::Release);
        let (taken, body) = match std::mem::replace(&mut *state, State::Free) {
            State::Offered { stream, opening, written, body }
                if is_untouched_stream(&written, &opening) =>
            {
                *state = State::Taken;
                (Some(stream), body)
            }
            State::Offered { stream, body, .. } => {
                *state = State::Declined(stream);
                (None, body)
            }
            other => {
                *state = other;
                return None;
            }
        };
        drop(state);
        body.wake();
        taken
    }

    /// Passes the connection to a shard.
    pub(crate) fn add_to_shard(&self, transport: Transport, stream: NewStream<StreamRecord>) {
        self.0.shards.add(transport, stream);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says once that another server runs the app, such as `axum::serve`.
fn log_without_shards() {
    static LOGGED: Once = Once::new();
    LOGGED.call_once(|| {
        info!(
            "streams are served without shards, write timeouts and limits per address; \
             carafe's `serve` has them"
        );
    });
}

/// Whether the request has a body. A shard would take its bytes for another request.
fn has_body(parts: &Parts) -> bool {
    let length = parts.headers.get(CONTENT_LENGTH);
    length.is_some_and(|length| length != "0") || parts.headers.contains_key(TRANSFER_ENCODING)
}
