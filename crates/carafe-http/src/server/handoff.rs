//! Takes the socket of an event stream over from hyper, for a shard to serve.
//!
//! The body of the answer says what the stream opens with, leaves the rest in the connection's
//! [`Slot`], and waits. Once hyper has written and flushed the head and the opening, the
//! connection's [`Socket`] gives its socket away with the rest, and the connection is dropped, with
//! all that hyper holds for it. hyper has chosen the framing by then, so what was written is looked
//! at: if it is not the head of a body in chunks and the opening as a chunk, as it is not when a
//! layer has changed the answer, the body streams by itself.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use carafe_fanout::{NewStream, ShardPool};
use carafe_hub::Frames;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::observe::metrics::Why;
use crate::observe::open_stream::OpenStream;
use crate::server::watched_socket::WatchedSocket;

/// Bytes of the head and the opening of most streams, and a few more.
const WRITTEN: usize = 768;

/// Where a connection's socket and an answer's stream find each other.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Shared>);

struct Shared {
    shards: ShardPool<OpenStream>,
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
    /// A stream waits for its opening to be written after the head; so much was written.
    Armed { joining: NewStream<OpenStream>, opening: Bytes, written: Vec<u8>, body: Waker },
    /// The socket cannot be had: the body has to take its stream back.
    Refused(NewStream<OpenStream>),
    /// The socket is a shard's.
    Taken,
}

impl Slot {
    pub(crate) fn new(shards: ShardPool<OpenStream>) -> Self {
        let (armed, state) = (AtomicBool::new(false), Mutex::new(State::Free));
        Self(Arc::new(Shared { shards, connection: OnceLock::new(), armed, state }))
    }

    /// Tells whose task the connection is.
    pub(crate) fn is_driven_by(&self, connection: &Waker) {
        self.0.connection.get_or_init(|| connection.clone());
    }

    /// Whether a stream of these may be left here.
    pub(crate) fn fits(&self, frames: &Frames) -> bool {
        self.0.shards.serves(frames)
    }

    /// Whether the connection's socket is a shard's.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(*self.state(), State::Taken)
    }

    /// Leaves a stream here whose body says this now, and waits then.
    pub(crate) fn leave(
        &self,
        stream: &mut Option<NewStream<OpenStream>>,
        opening: &Bytes,
        body: &Waker,
    ) {
        let mut state = self.state();
        if !matches!(*state, State::Free) {
            // Another body waits here: a layer asked twice.
            return;
        }
        if let Some(joining) = stream.take() {
            let (opening, written) = (opening.clone(), Vec::with_capacity(WRITTEN));
            let body_waker = body.clone();
            *state = State::Armed { joining, opening, written, body: body_waker };
            self.0.armed.store(true, Ordering::Release);
            drop(state);
            self.look_again(body);
        }
    }

    /// Ready when the body has to serve its stream by itself, and then it is there again.
    pub(crate) fn poll(
        &self,
        cx: &Context<'_>,
        stream: &mut Option<NewStream<OpenStream>>,
    ) -> Poll<()> {
        if stream.is_some() {
            return Poll::Ready(());
        }
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Free) {
            State::Free => Poll::Ready(()),
            State::Armed { joining, opening, written, .. } => {
                *state = State::Armed { joining, opening, written, body: cx.waker().clone() };
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

    /// Has the connection flush again if another task has left a stream here: the head may be out
    /// already.
    fn look_again(&self, body: &Waker) {
        if let Some(connection) =
            self.0.connection.get().filter(|connection| !connection.will_wake(body))
        {
            connection.wake_by_ref();
        }
    }

    /// Takes back the stream of a body that is dropped, unless a shard has it: the next answer's
    /// stream must not be this one.
    pub(crate) fn take_back(&self) -> Option<NewStream<OpenStream>> {
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

    /// This was written, too.
    fn see(&self, more: &[u8]) {
        if let State::Armed { written, .. } = &mut *self.state() {
            written.extend_from_slice(more);
        }
    }

    /// All that was to be written is. The stream that goes with the socket, if what was written
    /// allows it.
    fn flushed(&self) -> Option<NewStream<OpenStream>> {
        let mut state = self.state();
        self.0.armed.store(false, Ordering::Release);
        match std::mem::replace(&mut *state, State::Free) {
            State::Armed { joining, opening, written, body }
                if begins_stream(&written, &opening) =>
            {
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

/// Header fields of an answer that are looked at. Whoever sends more streams by itself.
const FIELDS: usize = 64;

/// Whether these bytes are the head of a good answer whose body comes in chunks as it is, and then
/// just the opening.
fn begins_stream(written: &[u8], opening: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(end)) = head.parse(written) else { return false };
    let has = |name: &str| head.headers.iter().any(|field| field.name.eq_ignore_ascii_case(name));
    let is_chunked = |field: &httparse::Header<'_>| {
        field.name.eq_ignore_ascii_case("transfer-encoding")
            && field.value.eq_ignore_ascii_case(b"chunked")
    };
    (head.version, head.code) == (Some(1), Some(200))
        && head.headers.iter().any(is_chunked)
        && !has("content-encoding")
        && !has("content-length")
        && is_one_chunk(&written[end..], opening)
}

fn is_one_chunk(body: &[u8], chunk: &[u8]) -> bool {
    let size = format!("{:X}\r\n", chunk.len());
    let rest = body.strip_prefix(size.as_bytes()).and_then(|body| body.strip_suffix(b"\r\n"));
    rest == Some(chunk)
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
        if let Some(mut joining) = self.slot.flushed()
            && let Some(mut stream) = self.stream.take()
        {
            let (socket, permit) = stream.give_away()?;
            permit.into_iter().for_each(|permit| joining.observer.has_connection(permit));
            self.slot.0.shards.add(socket, joining);
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
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
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
    fn check(written: &str, is: bool) {
        assert_eq!(begins_stream(written.as_bytes(), b"opening one"), is, "{written:?}");
    }

    #[test]
    fn only_an_untouched_stream_that_has_said_just_its_opening_lets_the_socket_go() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
        const CHUNK: &str = "B\r\nopening one\r\n";
        check(&format!("{HEAD}date: now\r\n\r\n{CHUNK}"), true);
        check(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding:Chunked\r\n\r\n{CHUNK}"), true);
        check("", false);
        check(HEAD, false);
        check(&format!("{HEAD}\r\n"), false);
        check(&format!("{HEAD}\r\n{}", &CHUNK[..CHUNK.len() - 1]), false);
        check(&format!("{HEAD}\r\n{CHUNK}3\r\nabc\r\n"), false);
        check(&format!("{HEAD}\r\nB\r\nopening two\r\n"), false);
        check(&format!("{HEAD}\r\n4\r\nopen\r\n7\r\ning one\r\n"), false);
        check(&format!("HTTP/1.1 206 Partial\r\ntransfer-encoding: chunked\r\n\r\n{CHUNK}"), false);
        check(&format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{CHUNK}"), false);
        check(
            &format!("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n{CHUNK}"),
            false,
        );
        check(&format!("{HEAD}content-encoding: br\r\n\r\n{CHUNK}"), false);
        check("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nopening one", false);
        check(&format!("HTTP/1.1 100 Continue\r\n\r\n{HEAD}\r\n{CHUNK}"), false);
    }
}
