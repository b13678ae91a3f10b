//! Ends HTTP/2 connections whose clients send more control frames than they need.
//!
//! hyper has no hook for that, so the frames are counted between the socket and hyper. Nor can
//! hyper end a connection with ENHANCE_YOUR_CALM: this module writes the GOAWAY itself, between two
//! frames of hyper's.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tracing::debug;

use crate::answer::limit::Limit;
use crate::observe::metrics::Metrics;
use crate::server::http2_frames::{Budget, FrameScanner, PREFACE};

/// GOAWAY with 8 bytes of payload: any stream may have been processed, and the error is
/// ENHANCE_YOUR_CALM (RFC 9113, 6.8 and 7).
const CALM_DOWN: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0xb];

/// How long the client may take to close after that, and how many of its bytes are read
/// meanwhile. Closing a socket with unread bytes resets the connection, and the client may never
/// see the GOAWAY.
const PATIENCE: Duration = Duration::from_secs(1);
const UNREAD: u64 = 1 << 20;

/// The socket of a connection. Frames are counted if the client speaks HTTP/2.
pub(crate) struct FrameGuard<S> {
    /// `None` once the connection was ended here.
    socket: Option<S>,
    /// `None` if the client speaks HTTP/1.
    http2: Option<Box<Http2>>,
}

struct Http2 {
    /// Bytes of the preface that were received.
    preface: usize,
    received: FrameScanner,
    sent: FrameScanner,
    budget: Budget,
    is_over: bool,
    metrics: Metrics,
}

impl<S> FrameGuard<S> {
    /// Guards a socket whose client may speak HTTP/2, or certainly does not.
    pub(crate) fn new(socket: S, may_be_http2: bool, metrics: &Metrics) -> Self {
        let http2 = may_be_http2.then(|| Box::new(Http2::new(metrics.clone())));
        Self { socket: Some(socket), http2 }
    }
}

impl Http2 {
    fn new(metrics: Metrics) -> Self {
        let (received, sent, budget) =
            (FrameScanner::default(), FrameScanner::default(), Budget::new());
        Self { preface: 0, received, sent, budget, is_over: false, metrics }
    }

    /// Counts received bytes; `false` if they are not HTTP/2.
    fn receive(&mut self, bytes: &[u8]) -> bool {
        let (preface, frames) = bytes.split_at(bytes.len().min(PREFACE.len() - self.preface));
        if !PREFACE[self.preface..].starts_with(preface) {
            return false;
        }
        self.preface += preface.len();
        let Self { received, budget, is_over, .. } = self;
        received.pass(frames, |head| *is_over |= !budget.received(head));
        true
    }

    fn send(&mut self, bytes: &[u8]) {
        let Self { sent, budget, .. } = self;
        sent.pass(bytes, |head| budget.sent(head));
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> FrameGuard<S> {
    /// Whether the client has exceeded its budget.
    fn is_over(&self) -> bool {
        self.http2.as_ref().is_some_and(|http2| http2.is_over)
    }

    /// Ends the connection, unless a frame is partly written. hyper gets an error from its next
    /// call.
    fn end(&mut self) {
        if let Some(http2) = &self.http2
            && http2.sent.is_between()
            && let Some(socket) = self.socket.take()
        {
            http2.metrics.limited(Limit::Http2Frames);
            tokio::spawn(calm_down(socket));
        }
    }

    fn socket(&mut self) -> io::Result<Pin<&mut S>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| ErrorKind::ConnectionAborted.into())
    }

    fn wrote<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>, written: usize) {
        let Some(http2) = &mut self.http2 else { return };
        let mut left = written;
        for part in parts {
            let sent = left.min(part.len());
            http2.send(&part[..sent]);
            left -= sent;
        }
        if http2.is_over {
            self.end();
        }
    }
}

/// Sends GOAWAY and closes the connection.
async fn calm_down(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    let ends = async {
        socket.write_all(CALM_DOWN).await?;
        socket.shutdown().await?;
        tokio::io::copy(&mut (&mut socket).take(UNREAD), &mut tokio::io::sink()).await
    };
    match timeout(PATIENCE, ends).await {
        Ok(Err(error)) => debug!(%error, "a client that sends too many frames is gone"),
        Ok(Ok(_)) | Err(_) => debug!("ended a connection of a client that sends too many frames"),
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> AsyncRead for FrameGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_over() {
            let before = buffer.filled().len();
            ready!(self.socket()?.poll_read(cx, buffer))?;
            let Some(http2) = &mut self.http2 else { return Poll::Ready(Ok(())) };
            if !http2.receive(&buffer.filled()[before..]) {
                self.http2 = None;
            }
            if !self.is_over() {
                return Poll::Ready(Ok(()));
            }
            buffer.set_filled(before);
        }
        self.end();
        // A frame is partly written: its rest has to come first, and writing it polls this
        // again.
        if self.socket.is_none() {
            Poll::Ready(Err(ErrorKind::ConnectionAborted.into()))
        } else {
            Poll::Pending
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> AsyncWrite for FrameGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.socket()?.poll_write(cx, bytes))?;
        self.wrote(std::iter::once(bytes), written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.socket()?.poll_write_vectored(cx, parts))?;
        self.wrote(parts.iter().map(|part| &**part), written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}
