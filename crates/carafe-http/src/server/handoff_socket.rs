//! The socket of a connection that hyper serves until a shard takes it.
//!
//! Runs on the connection's task. While a stream is offered in the [`Handoff`], every written byte
//! is recorded there; after a complete flush the socket leaves hyper, if the recorded bytes allow
//! it. From then on all reads and writes of hyper are pending, until its connection is dropped.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use carafe_fanout::Transport;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::policy::subscribers::ConnectionPermit;
use crate::server::answer_batch::AnswerBatch;
use crate::server::handoff::Handoff;
use crate::server::pipeline::{Pipeline, Written};

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
    pipeline: Pipeline,
}

impl<S: GiveAway> HandoffSocket<S> {
    pub(crate) fn new(stream: S, handoff: Option<Handoff>, pipeline: Pipeline) -> Self {
        Self { stream: Some(stream), handoff, answers: AnswerBatch::default(), pipeline }
    }

    /// Takes the deferred answers that are ready. Returns the pipeline if others are not.
    fn take_deferred(&mut self) -> io::Result<Option<&Pipeline>> {
        if !self.pipeline.is_used() {
            return Ok(None);
        }
        self.answers.add(self.pipeline.take_ready());
        if self.pipeline.has_failed() {
            return Err(broken());
        }
        Ok(Some(&self.pipeline).filter(|pipeline| pipeline.is_used()))
    }

    /// Whether hyper may write these bytes: not before the answers to earlier requests. Returns
    /// their length if they are a placeholder, which is not written.
    fn poll_turn<'a>(
        &mut self,
        bytes: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Poll<io::Result<Option<usize>>> {
        let Some(pipeline) = self.take_deferred()? else { return Poll::Ready(Ok(None)) };
        match pipeline.judge(bytes.clone()) {
            Written::Early => Poll::Pending,
            Written::Unexpected => Poll::Ready(Err(broken())),
            Written::Placeholder => Poll::Ready(Ok(Some(bytes.map(<[u8]>::len).sum()))),
        }
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
        if let Some(dropped) = ready!(self.poll_turn(bytes.clone()))? {
            return Poll::Ready(Ok(dropped));
        }
        let offered = self.handoff.as_ref().filter(|handoff| handoff.is_offered());
        if offered.is_none()
            && let Some(held) = self.answers.hold(bytes.clone(), self.pipeline.others_follow())
        {
            return Poll::Ready(Ok(held));
        }
        let Some(stream) = &mut self.stream else { return Poll::Pending };
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

/// How many heads of requests the bytes have. An estimate: a body may look like a head.
fn heads(bytes: &[u8]) -> usize {
    memmem::find_iter(bytes, b"\r\n\r\n").count()
}

fn broken() -> io::Error {
    io::Error::other("an answer cannot be completed")
}

/// Writes the answers that are held. hyper may drop its connection in the turn in which it has
/// written them, for instance because the next request is incomplete, and so may the server when
/// it closes an idle connection.
impl<S: GiveAway> Drop for HandoffSocket<S> {
    fn drop(&mut self) {
        // An error says only that what follows cannot be written.
        let _ = self.take_deferred();
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
        let Self { stream: Some(stream), pipeline, .. } = &mut *self else { return Poll::Pending };
        let before = buffer.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buffer))?;
        pipeline.received(heads(&buffer.filled()[before..]));
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
        self.take_deferred()?;
        let others_follow = self.pipeline.others_follow();
        let Self { stream: Some(stream), answers, .. } = &mut *self else { return Poll::Pending };
        ready!(answers.poll_flush(cx, Pin::new(stream), others_follow))?;
        ready!(Pin::new(stream).poll_flush(cx))?;
        Poll::Ready(self.give_away())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.take_deferred()?.is_some() {
            // The deferred answers wake the task.
            return Poll::Pending;
        }
        let Self { stream: Some(stream), answers, .. } = &mut *self else { return Poll::Pending };
        ready!(answers.poll_write(cx, Pin::new(stream)))?;
        Pin::new(stream).poll_shutdown(cx)
    }
}
