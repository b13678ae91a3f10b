//! The socket of a connection that hyper serves until a shard takes it.
//!
//! Runs on the connection's task. While a stream is offered in the [`Handoff`], every written byte
//! is recorded there; after a complete flush the socket leaves hyper, if the recorded bytes allow
//! it. From then on all reads and writes of hyper are pending, until its connection is dropped.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use carafe_fanout::Transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::policy::subscribers::ConnectionPermit;
use crate::server::answer_batch::AnswerBatch;
use crate::server::handoff::Handoff;

/// A socket that a shard can go on with, whose client has been sent all that was flushed.
pub(crate) trait GiveAway: AsyncRead + AsyncWrite + Unpin {
    /// Gives the connection away, and its permit.
    fn give_away(self) -> io::Result<(Transport, Option<ConnectionPermit>)>;
}

/// A connection's socket that a shard may take over. `stream` is `None` afterwards.
pub(crate) struct HandoffSocket<S: GiveAway> {
    stream: Option<S>,
    /// `None` if no shard takes streams of this connection.
    handoff: Option<Handoff>,
    answers: AnswerBatch,
}

impl<S: GiveAway> HandoffSocket<S> {
    pub(crate) fn new(stream: S, handoff: Option<Handoff>) -> Self {
        Self { stream: Some(stream), handoff, answers: AnswerBatch::default() }
    }

    /// Moves the socket to a shard if a stream is offered. Called after each complete flush: at
    /// that moment hyper holds no byte of the head and the opening in its own buffer.
    fn give_away(&mut self) -> io::Result<()> {
        let Some(handoff) = self.handoff.as_ref().filter(|handoff| handoff.is_offered()) else {
            return Ok(());
        };
        if let Some(mut stream) = handoff.take_offered()
            && let Some(socket) = self.stream.take()
        {
            let (transport, permit) = socket.give_away()?;
            permit.into_iter().for_each(|permit| stream.observer.has_connection(permit));
            handoff.add_to_shard(transport, stream);
        }
        Ok(())
    }

    /// Writes the head and the opening of an offered stream apart from earlier answers, and records
    /// them.
    fn poll_write_with<'a>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
        bytes: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        let offered = self.handoff.as_ref().filter(|handoff| handoff.is_offered());
        if offered.is_none()
            && let Some(held) = self.answers.hold(bytes.clone())
        {
            return Poll::Ready(Ok(held));
        }
        ready!(self.answers.poll_write(cx, Pin::new(stream)))?;
        let written = ready!(write(Pin::new(stream), cx))?;
        if let Some(handoff) = offered {
            let mut left = written;
            for part in bytes {
                let seen = left.min(part.len());
                handoff.record_written(&part[..seen]);
                left -= seen;
            }
        }
        Poll::Ready(Ok(written))
    }
}

/// Writes the answers that are held. hyper may drop its connection in the turn in which it has
/// written them, for instance because the next request is incomplete, and so may the server when
/// it closes an idle connection.
impl<S: GiveAway> Drop for HandoffSocket<S> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.as_mut().filter(|_| self.answers.are_held()) {
            let mut cx = Context::from_waker(Waker::noop());
            // As far as the kernel has room: there is no task any more that could wait for it.
            if self.answers.poll_write(&mut cx, Pin::new(stream)).is_ready() {
                let _ = Pin::new(stream).poll_flush(&mut cx);
            }
        }
    }
}

impl<S: GiveAway> AsyncRead for HandoffSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream: Some(stream), answers, .. } = &mut *self else { return Poll::Pending };
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        answers.received(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: GiveAway> AsyncWrite for HandoffSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = |stream: Pin<&mut S>, cx: &mut Context<'_>| stream.poll_write(cx, bytes);
        self.poll_write_with(cx, write, std::iter::once(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write =
            |stream: Pin<&mut S>, cx: &mut Context<'_>| stream.poll_write_vectored(cx, parts);
        self.poll_write_with(cx, write, parts.iter().map(|part| &**part))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream: Some(stream), answers, .. } = &mut *self else { return Poll::Pending };
        ready!(answers.poll_flush(cx, Pin::new(stream)))?;
        ready!(Pin::new(stream).poll_flush(cx))?;
        Poll::Ready(self.give_away())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream: Some(stream), answers, .. } = &mut *self else { return Poll::Pending };
        ready!(answers.poll_write(cx, Pin::new(stream)))?;
        Pin::new(stream).poll_shutdown(cx)
    }
}
