//! Takes the socket of an event stream over from hyper, for a shard to serve.
//!
//! The body of the answer leaves what is to be streamed in the connection's [`Slot`], and waits. Once hyper has written and
//! flushed the head, the connection's [`Socket`] gives its socket away with that, and the connection is dropped, with all that
//! hyper holds for it. hyper has chosen the framing by then, so the head is looked at: if it is not that of a body in chunks, as
//! it is when a layer has changed the answer, the body streams by itself.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use carafe_fanout::{Fanout, Joining};
use carafe_hub::Frames;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::metrics::Why;
use crate::stream::OpenStream;
use crate::write_time::WatchedSocket;

/// Where a connection's socket and an answer's stream find each other.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Shared>);

struct Shared {
    fanout: Fanout<OpenStream>,
    /// The task of the connection. A layer may have the body polled by another one.
    connection: OnceLock<Waker>,
    /// Whether a stream waits, for a look without the lock.
    armed: AtomicBool,
    state: Mutex<State>,
}

/// How the streams of a connection leave, among the extensions of each request.
#[derive(Clone)]
pub(crate) struct Takeover(pub(crate) Result<Slot, Why>);

enum State {
    /// No stream asks for the socket.
    Free,
    /// A stream waits for its head to be written, of which there is this much.
    Armed { joining: Joining<OpenStream>, head: Vec<u8>, body: Waker },
    /// The socket cannot be had: the body has to take its stream back.
    Refused(Joining<OpenStream>),
    /// The socket is a shard's.
    Taken,
}

impl Slot {
    pub(crate) fn new(fanout: Fanout<OpenStream>) -> Self {
        let (armed, state) = (AtomicBool::new(false), Mutex::new(State::Free));
        Self(Arc::new(Shared { fanout, connection: OnceLock::new(), armed, state }))
    }

    /// Tells whose task the connection is.
    pub(crate) fn is_driven_by(&self, connection: &Waker) {
        self.0.connection.get_or_init(|| connection.clone());
    }

    /// Whether a stream of these may be left here.
    pub(crate) fn fits(&self, frames: &Frames) -> bool {
        self.0.fanout.serves(frames)
    }

    /// Whether the connection's socket is a shard's.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(*self.state(), State::Taken)
    }

    /// Leaves the stream here. Ready when the body has to serve it by itself, and then it is there again.
    pub(crate) fn poll(&self, cx: &Context<'_>, stream: &mut Option<Joining<OpenStream>>) -> Poll<()> {
        let mut state = self.state();
        if stream.is_some() && !matches!(*state, State::Free) {
            // Another body waits here: a layer asked twice.
            return Poll::Ready(());
        }
        match std::mem::replace(&mut *state, State::Free) {
            State::Free => {
                let Some(joining) = stream.take() else { return Poll::Ready(()) };
                *state = State::Armed { joining, head: Vec::new(), body: cx.waker().clone() };
                self.0.armed.store(true, Ordering::Release);
                drop(state);
                self.look_again(cx.waker());
                Poll::Pending
            }
            State::Armed { joining, head, .. } => {
                *state = State::Armed { joining, head, body: cx.waker().clone() };
                Poll::Pending
            }
            State::Refused(joining) => {
                *stream = Some(joining);
                Poll::Ready(())
            }
            // Nothing comes from the body, then, and whoever waits for it may end.
            State::Taken => {
                *state = State::Taken;
                Poll::Ready(())
            }
        }
    }

    /// Has the connection flush again if another task has left a stream here: the head may be out already.
    fn look_again(&self, body: &Waker) {
        if let Some(connection) = self.0.connection.get().filter(|connection| !connection.will_wake(body)) {
            connection.wake_by_ref();
        }
    }

    /// Takes back the stream of a body that is dropped, unless a shard has it: the next answer's stream must not be this one.
    pub(crate) fn take_back(&self) -> Option<Joining<OpenStream>> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Free) {
            State::Armed { joining, .. } | State::Refused(joining) => {
                self.0.armed.store(false, Ordering::Release);
                Some(joining)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    fn is_armed(&self) -> bool {
        self.0.armed.load(Ordering::Acquire)
    }

    /// What was written since a stream waits.
    fn see(&self, written: &[u8]) {
        if let State::Armed { head, .. } = &mut *self.state() {
            head.extend_from_slice(written);
        }
    }

    /// All that was to be written is. The stream that goes with the socket, if the head allows it.
    fn flushed(&self) -> Option<Joining<OpenStream>> {
        let mut state = self.state();
        self.0.armed.store(false, Ordering::Release);
        match std::mem::replace(&mut *state, State::Free) {
            State::Armed { joining, head, body } if is_chunked_stream(&head) => {
                *state = State::Taken;
                drop(state);
                body.wake();
                Some(joining)
            }
            State::Armed { joining, body, .. } => {
                *state = State::Refused(joining);
                drop(state);
                body.wake();
                None
            }
            other => {
                *state = other;
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether these bytes are the head of a good answer whose body comes in chunks as it is, and nothing more.
fn is_chunked_stream(head: &[u8]) -> bool {
    let Some(head) = std::str::from_utf8(head).ok().and_then(|head| head.strip_suffix("\r\n\r\n")) else {
        return false;
    };
    let mut lines = head.split("\r\n");
    if !lines.next().is_some_and(|status| status.starts_with("HTTP/1.1 200 ")) {
        return false;
    }
    let fields: Option<Vec<_>> = lines.map(|line| line.split_once(':')).collect();
    let Some(fields) = fields else { return false };
    let has = |name: &str| fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
    let is_chunked = |(field, value): &(&str, &str)| {
        field.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked")
    };
    fields.iter().any(is_chunked) && !has("content-encoding") && !has("content-length")
}

/// The socket of a connection, which may be given away.
pub(crate) struct Socket {
    stream: Option<WatchedSocket>,
    slot: Slot,
}

impl Socket {
    pub(crate) fn new(stream: WatchedSocket, slot: Slot) -> Self {
        Self { stream: Some(stream), slot }
    }

    /// Gives the socket away if a stream waits for it.
    fn give_away(&mut self) -> io::Result<()> {
        if !self.slot.is_armed() {
            return Ok(());
        }
        if let Some(joining) = self.slot.flushed()
            && let Some(stream) = self.stream.take()
        {
            self.slot.0.fanout.join(stream.into_std()?, joining);
        }
        Ok(())
    }

    fn poll_write_with<'a>(
        &mut self,
        write: impl FnOnce(Pin<&mut WatchedSocket>) -> Poll<io::Result<usize>>,
        bytes: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        let written = ready!(write(Pin::new(stream)))?;
        if self.slot.is_armed() {
            let mut left = written;
            for part in bytes {
                let seen = left.min(part.len());
                self.slot.see(&part[..seen]);
                left -= seen;
            }
        }
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_read(cx, buffer),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(|stream| stream.poll_write(cx, bytes), std::iter::once(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = parts.iter().map(|part| &**part);
        self.poll_write_with(|stream| stream.poll_write_vectored(cx, parts), bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        ready!(Pin::new(stream).poll_flush(cx))?;
        Poll::Ready(self.give_away())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, is: bool) {
        assert_eq!(is_chunked_stream(head.as_bytes()), is, "{head:?}");
    }

    #[test]
    fn only_the_whole_head_of_an_untouched_stream_lets_the_socket_go() {
        check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ndate: now\r\n\r\n", true);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding:Chunked\r\n\r\n", true);
        check("", false);
        check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n", false);
        check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", false);
        check("HTTP/1.1 206 Partial\r\ntransfer-encoding: chunked\r\n\r\n", false);
        check("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", false);
        check("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", false);
        check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: br\r\n\r\n", false);
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", false);
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", false);
    }
}
