//! The socket of a connection that hyper serves, with stall detection and a send buffer that
//! grows while its client is behind.

use std::io::{self, IoSlice};
use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use carafe_fanout::{SendBuffer, SendBuffers, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tracing::debug;

use crate::policy::subscribers::ConnectionPermit;
use crate::server::handoff_socket::GiveAway;
use crate::server::lazy_socket::LazySocket;
use crate::server::stall::StallDetector;

/// A client whose send buffer was not full for this long has caught up.
const CAUGHT_UP: Duration = Duration::from_secs(5);

/// A socket that reports to the stall detector of its connection whether the kernel has room.
pub(crate) struct WatchedSocket {
    socket: LazySocket,
    stall: StallDetector,
    buffers: SendBuffers,
    buffer: SendBuffer,
    /// When the send buffer was full last.
    full: Option<Instant>,
}

impl WatchedSocket {
    pub(crate) fn new(socket: LazySocket, stall: StallDetector, buffers: SendBuffers) -> Self {
        Self { socket, stall, buffers, buffer: SendBuffer::default(), full: None }
    }

    /// Gives the socket away with its usual send buffer, together with the permit of the
    /// connection.
    pub(crate) fn give_away_socket(&mut self) -> io::Result<(StdStream, Option<ConnectionPermit>)> {
        self.relax();
        Ok((self.socket.give_away()?, self.socket.take_permit()))
    }

    /// The kernel has no room for written bytes.
    fn filled(&mut self) {
        self.full = Some(Instant::now());
        if let Some(socket) = self.socket.descriptor() {
            // If the buffer grows, the kernel reports the socket as writable: no retry is needed
            // here.
            self.buffers.filled(&mut self.buffer, &socket);
        }
    }

    fn relax(&mut self) {
        if self.full.take().is_some()
            && let Some(socket) = self.socket.descriptor()
        {
            self.buffers.relax(&mut self.buffer, &socket);
        }
    }

    fn with<T>(
        &mut self,
        ask: impl FnOnce(Pin<&mut LazySocket>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let asked = ask(Pin::new(&mut self.socket));
        if let Poll::Ready(Err(error)) = &asked {
            self.stall.has_failed(error);
        }
        asked
    }

    fn write(
        &mut self,
        write: impl FnOnce(Pin<&mut LazySocket>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = self.with(write);
        let was_full = self.stall.socket_is_full(written.is_pending());
        if written.is_pending() && !was_full {
            self.filled();
        } else if written.is_ready() && self.full.is_some_and(|full| full.elapsed() >= CAUGHT_UP) {
            self.relax();
        }
        written
    }
}

impl GiveAway for WatchedSocket {
    fn give_away(mut self) -> io::Result<(Transport, Option<ConnectionPermit>)> {
        let (socket, permit) = self.give_away_socket()?;
        Ok((socket.into(), permit))
    }
}

impl Drop for WatchedSocket {
    /// Resets the connection of a stalled client, which frees the kernel's send buffer at once.
    fn drop(&mut self) {
        if self.stall.has_stalled()
            && let Err(error) = self.socket.set_zero_linger()
        {
            debug!(%error, "SO_LINGER");
        }
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_read(cx, buffer))
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(|socket| socket.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|socket| socket.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|socket| socket.poll_shutdown(cx))
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use carafe_fanout::{ShardOptions, ShardPool};
    use rustix::net::sockopt::socket_send_buffer_size;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{advance, pause};

    use super::*;
    use crate::observe::stream_record::StreamRecord;

    /// A watched socket, and the socket of its client.
    async fn pair() -> (WatchedSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ShardPool::<StreamRecord>::prepare(&listener, &options());
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (socket, buffers) =
            (LazySocket::new(accepted.into_std().unwrap(), None), SendBuffers::new(&options()));
        (WatchedSocket::new(socket, StallDetector::new(Duration::from_secs(10)), buffers), client)
    }

    fn options() -> ShardOptions {
        ShardOptions::default()
    }

    #[tokio::test]
    async fn a_client_that_is_behind_has_a_larger_buffer_until_it_has_caught_up_for_a_while() {
        let (mut socket, mut client) = pair().await;
        let size = |socket: &WatchedSocket| {
            socket_send_buffer_size(socket.socket.descriptor().unwrap()).unwrap()
        };
        assert_eq!(size(&socket), options().send_buffer);
        let written = vec![0; 16 << 20];
        let mut read = vec![0; written.len()];
        let (wrote, _) = tokio::join!(socket.write_all(&written), client.read_exact(&mut read));
        wrote.unwrap();
        assert!(size(&socket) > options().send_buffer);
        pause();
        socket.write_all(b"live").await.unwrap();
        assert!(size(&socket) > options().send_buffer, "it has only just caught up");
        advance(CAUGHT_UP).await;
        socket.write_all(b"live").await.unwrap();
        assert_eq!(size(&socket), options().send_buffer);
    }
}
