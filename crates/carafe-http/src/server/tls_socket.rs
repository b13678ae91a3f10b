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
use crate::server::flush_delay::FlushDelay;
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
    /// For HTTP/2, whose streams share the socket.
    delay: Option<FlushDelay>,
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
            delay: None,
        };
        std::future::poll_fn(|cx| socket.poll_handshake(cx)).await?;
        Ok(socket)
    }

    /// Lets flushes wait for the tasks that are ready to write.
    pub(crate) fn share_writes(&mut self) {
        self.delay = Some(FlushDelay::default());
    }

    /// The state of the connection.
    pub(crate) fn connection(&self) -> &TlsConnection {
        &self.tls
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // A client may send before it reads what it was sent, so this is not waited for.
            let _ = self.poll_send(cx)?;
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
        let written = self.written.len();
        if self.delay.as_mut().is_some_and(|delay| delay.waits(written)) {
            // The runtime first runs the tasks that are ready.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
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
    /// Called after a flush: the client has all records. Bytes of the client that were not read are
    /// lost, as on a cleartext connection.
    fn give_away(mut self) -> io::Result<(Transport, Option<ConnectionPermit>)> {
        debug_assert!(self.written.is_empty() && self.records.is_empty(), "it was flushed");
        let (socket, permit) = self.socket.give_away_socket()?;
        Ok((Transport::encrypted(socket, self.tls), permit))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::ClientConnection;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::server::tls_keys;
    use crate::server::tls_tests::{SUITES, client, server_config};

    /// Sends what TLS has to send.
    async fn send(client: &mut ClientConnection, stream: &mut DuplexStream) {
        let mut records = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut records).unwrap();
        }
        // The server may have closed.
        let _ = stream.write_all(&records).await;
    }

    /// A client that sends a request and reads to the end.
    async fn ask(mut client: ClientConnection, mut stream: DuplexStream) -> Vec<u8> {
        client.writer().write_all(b"ask").unwrap();
        let mut answer = Vec::new();
        loop {
            send(&mut client, &mut stream).await;
            let mut bytes = [0; 600];
            let read = stream.read(&mut bytes).await.unwrap();
            client.read_tls(&mut &bytes[..read]).unwrap();
            let state = client.process_new_packets().unwrap();
            let from = answer.len();
            answer.resize(from + state.plaintext_bytes_to_read(), 0);
            client.reader().read_exact(&mut answer[from..]).unwrap();
            if state.peer_has_closed() {
                return answer;
            }
            assert!(read > 0, "the end was not said");
        }
    }

    fn buffers(socket: &TlsSocket<DuplexStream>) -> usize {
        socket.data.capacity() + socket.written.capacity() + socket.records.capacity()
    }

    #[tokio::test]
    async fn a_socket_may_take_and_give_a_byte_at_a_time_and_holds_no_buffers_when_idle() {
        let config = server_config(tls_keys::provider());
        let answer: Vec<u8> = (0..50_000_u32).map(|at| (at / 3) as u8).collect();
        for (suite, bytes) in SUITES.into_iter().flat_map(|suite| [(suite, 1), (suite, 100_000)]) {
            let (theirs, ours) = duplex(bytes);
            let asking = tokio::spawn(ask(client(suite), theirs));
            let mut socket = TlsSocket::accept(ours, Arc::clone(&config)).await.unwrap();
            let mut asked = [0; 3];
            socket.read_exact(&mut asked).await.unwrap();
            socket.flush().await.unwrap();
            assert_eq!((&asked, buffers(&socket)), (b"ask", 0), "{suite:?}");
            socket.write_all(&answer).await.unwrap();
            socket.flush().await.unwrap();
            assert_eq!(buffers(&socket), 0, "{suite:?}");
            socket.shutdown().await.unwrap();
            assert!(asking.await.unwrap() == answer, "{suite:?} {bytes}");
        }
    }

    /// A client that has asked, and the socket that is to answer it.
    async fn asked() -> (JoinHandle<Vec<u8>>, TlsSocket<DuplexStream>) {
        let (theirs, ours) = duplex(100_000);
        let asking = tokio::spawn(ask(client(SUITES[0]), theirs));
        let config = server_config(tls_keys::provider());
        let mut socket = TlsSocket::accept(ours, config).await.unwrap();
        socket.read_exact(&mut [0; 3]).await.unwrap();
        (asking, socket)
    }

    #[tokio::test]
    async fn what_is_written_before_a_flush_shares_a_record() {
        let (asking, mut socket) = asked().await;
        for part in [&b"one, "[..], b"two, ", b"three"] {
            socket.write_all(part).await.unwrap();
        }
        assert_eq!((socket.written.len(), socket.records.len()), (15, 0));
        socket.shutdown().await.unwrap();
        assert_eq!(asking.await.unwrap(), b"one, two, three");
    }

    #[tokio::test]
    async fn a_shared_flush_sends_what_ready_tasks_write_meanwhile_in_one_record() {
        let (asking, mut socket) = asked().await;
        socket.share_writes();
        socket.write_all(b"one, ").await.unwrap();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut socket).poll_flush(&mut cx).is_pending());
        socket.write_all(b"two").await.unwrap();
        assert_eq!((socket.written.len(), socket.records.len()), (8, 0));
        socket.flush().await.unwrap();
        assert_eq!(buffers(&socket), 0);
        socket.shutdown().await.unwrap();
        assert_eq!(asking.await.unwrap(), b"one, two");
    }

    #[tokio::test]
    async fn a_client_that_speaks_no_tls_is_sent_an_alert() {
        let (mut theirs, ours) = duplex(1000);
        let accepting = TlsSocket::accept(ours, server_config(tls_keys::provider()));
        theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let error = accepting.await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let mut alert = Vec::new();
        theirs.read_to_end(&mut alert).await.unwrap();
        assert_eq!(alert[0], 21, "{alert:?}");
    }

    #[tokio::test]
    async fn a_client_that_leaves_within_the_handshake_is_an_error() {
        let (mut theirs, ours) = duplex(1000);
        theirs.write_all(&[22, 3, 1]).await.unwrap();
        drop(theirs);
        let accepted = TlsSocket::accept(ours, server_config(tls_keys::provider())).await;
        assert_eq!(accepted.err().unwrap().kind(), ErrorKind::UnexpectedEof);
    }
}
