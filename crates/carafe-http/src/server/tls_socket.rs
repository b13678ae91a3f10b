//! The encrypted socket of a connection that hyper serves, until a shard takes it.
//!
//! Data is collected until hyper flushes, so everything that hyper writes in one go shares records
//! and a system call. While nothing is under way, there are no buffers.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use carafe_fanout::{RecordLayer, Transport};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::policy::subscribers::ConnectionPermit;
use crate::server::handoff_socket::GiveAway;
use crate::server::tls_connection::{Peer, TlsConnection};
use crate::server::watched_socket::WatchedSocket;

/// The data of the longest record (RFC 8446, 5.1).
const RECORD: usize = 16 << 10;

/// Bytes that are read at once. The kernel keeps the rest.
const READ: usize = 4096;

pub(crate) struct TlsSocket<S = WatchedSocket> {
    socket: S,
    tls: TlsConnection,
    /// Received data, and how much of it was read.
    data: Vec<u8>,
    read: usize,
    /// Written data that is not encrypted yet: at most one record.
    written: Vec<u8>,
    /// Records, and how many of their bytes the socket has taken.
    records: Vec<u8>,
    sent: usize,
    /// The client sends nothing more.
    is_at_end: bool,
    /// The client has been told that nothing more comes.
    is_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsSocket<S> {
    /// Completes the handshake.
    pub(crate) async fn accept(socket: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = TlsConnection::new(config).map_err(invalid)?;
        let (data, written, records) = (Vec::new(), Vec::new(), Vec::new());
        let mut socket = Self {
            socket,
            tls,
            data,
            read: 0,
            written,
            records,
            sent: 0,
            is_at_end: false,
            is_closed: false,
        };
        std::future::poll_fn(|cx| socket.poll_handshake(cx)).await?;
        Ok(socket)
    }

    /// The state of the connection.
    pub(crate) fn connection(&self) -> &TlsConnection {
        &self.tls
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx))?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx))?;
            if self.is_at_end {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Receives something from the client, and processes it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; READ];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            self.is_at_end = true;
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        let received = self.tls.receive(buffer.filled(), &mut self.data);
        self.tls.take_answers(&mut self.records);
        self.is_at_end = received == Ok(Peer::Closed);
        received.map(drop).map_err(|error| {
            // The alert; a client that does not take it now has to do without it.
            let _ = self.poll_send_records(cx);
            invalid(error)
        })?;
        Poll::Ready(Ok(()))
    }

    /// Sends everything that was written.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_records(cx))?;
        self.tls.take_answers(&mut self.records);
        if !self.written.is_empty() {
            let encrypted = self.tls.encrypt(&self.written, &mut self.records);
            encrypted.map_err(|_| io::Error::other("the TLS connection cannot encrypt more"))?;
            self.written = Vec::new();
        }
        self.poll_send_records(cx)
    }

    fn poll_send_records(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.records.len() {
            let rest = &self.records[self.sent..];
            match ready!(Pin::new(&mut self.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        (self.records, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.data.is_empty() && !self.is_at_end {
            // What a received record requires as an answer is sent while hyper only reads, too.
            if self.sent < self.records.len()
                && let Poll::Ready(sent) = self.poll_send_records(cx)
            {
                sent?;
            }
            ready!(self.poll_receive(cx))?;
        }
        let data = &self.data[self.read..];
        let taken = data.len().min(buffer.remaining());
        buffer.put_slice(&data[..taken]);
        self.read += taken;
        if self.read == self.data.len() {
            (self.data, self.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.written.len() == RECORD {
            ready!(self.poll_send(cx))?;
        }
        let taken = bytes.len().min(RECORD - self.written.len());
        self.written.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        if !self.is_closed {
            self.is_closed = true;
            let Self { tls, records, .. } = &mut *self;
            tls.close(records);
        }
        ready!(self.poll_send_records(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl GiveAway for TlsSocket {
    /// Called after a flush: the client has all records. What it has sent and nobody has read is
    /// lost, as on a cleartext connection.
    fn give_away(mut self) -> io::Result<(Transport, Option<ConnectionPermit>)> {
        let (socket, permit) = self.socket.give_away_socket()?;
        Ok((Transport::encrypted(socket, self.tls), permit))
    }
}
