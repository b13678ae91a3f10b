//! The socket of a connection, which is registered with the runtime's poller only when there is
//! something to wait for.
//!
//! Most clients have sent their whole request by the time they are accepted, and a shard takes the
//! socket of an event stream as soon as the head is written. Registering the socket in between
//! would cost two more system calls.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::replace;
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::policy::subscribers::ConnectionPermit;

/// Bytes that are read before the protocol is chosen. Most requests are shorter; the kernel
/// keeps the rest.
const FIRST: usize = 2048;

pub(crate) struct LazySocket {
    stream: Stream,
    /// The bytes that were read first, until hyper reads them.
    first: Vec<u8>,
    /// Counts the connection as long as the socket is open.
    permit: Option<ConnectionPermit>,
}

enum Stream {
    /// Not registered. The first read is answered with `Pending` and a wake, and only the
    /// second one registers the socket: by then it may have been given away.
    Fresh {
        stream: StdStream,
        read_in_vain: bool,
    },
    Registered(TcpStream),
    /// Given away, or the registration failed.
    Gone,
}

impl LazySocket {
    /// A socket that was accepted, and does not block.
    pub(crate) fn new(stream: StdStream, permit: Option<ConnectionPermit>) -> Self {
        Self { stream: Stream::Fresh { stream, read_in_vain: false }, first: Vec::new(), permit }
    }

    /// Moves the permit to the next owner of the socket.
    pub(crate) fn take_permit(&mut self) -> Option<ConnectionPermit> {
        self.permit.take()
    }

    /// Waits for the first bytes of the client, which stay to be read. A client that leaves
    /// before is an error.
    pub(crate) async fn first(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.take_first() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.registered()?.readable().await?;
                }
                taken => break taken?,
            }
        }
        Ok(&self.first)
    }

    fn take_first(&mut self) -> io::Result<()> {
        let mut bytes = [0; FIRST];
        let read = match &mut self.stream {
            Stream::Fresh { stream, .. } => uninterrupted(|| stream.read(&mut bytes)),
            Stream::Registered(stream) => stream.try_read(&mut bytes),
            Stream::Gone => Err(gone()),
        }?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.first = bytes[..read].to_vec();
        Ok(())
    }

    /// Gives the socket away. Bytes that were received and not read are lost.
    pub(crate) fn give_away(&mut self) -> io::Result<StdStream> {
        match replace(&mut self.stream, Stream::Gone) {
            Stream::Fresh { stream, .. } => Ok(stream),
            Stream::Registered(stream) => stream.into_std(),
            Stream::Gone => Err(gone()),
        }
    }

    /// Makes closing the socket discard what the kernel buffers for the client.
    pub(crate) fn set_zero_linger(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Fresh { stream, .. } => Ok(set_socket_linger(stream, Some(Duration::ZERO))?),
            Stream::Registered(stream) => stream.set_zero_linger(),
            Stream::Gone => Ok(()),
        }
    }

    /// The descriptor, unless the socket was given away.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.stream {
            Stream::Fresh { stream, .. } => Some(stream.as_fd()),
            Stream::Registered(stream) => Some(stream.as_fd()),
            Stream::Gone => None,
        }
    }

    fn registered(&mut self) -> io::Result<&mut TcpStream> {
        if matches!(self.stream, Stream::Fresh { .. }) {
            self.stream = Stream::Registered(TcpStream::from_std(self.give_away()?)?);
        }
        match &mut self.stream {
            Stream::Registered(stream) => Ok(stream),
            _ => Err(gone()),
        }
    }

    fn poll_registered<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.registered()
            .map_or_else(|error| Poll::Ready(Err(error)), |stream| poll(Pin::new(stream)))
    }

    /// Writes to a socket that is not registered; `None` if it has no room, and has to be.
    fn write_fresh(
        &mut self,
        mut write: impl FnMut(&mut StdStream) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let Stream::Fresh { stream, .. } = &mut self.stream else { return None };
        let written = uninterrupted(|| write(stream));
        let is_full = written.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        (!is_full).then_some(written)
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            called => return called,
        }
    }
}

fn gone() -> io::Error {
    ErrorKind::NotConnected.into()
}

impl AsyncRead for LazySocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let taken = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first[..taken]);
            self.first.drain(..taken);
            if self.first.is_empty() {
                self.first = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        if let Stream::Fresh { read_in_vain, .. } = &mut self.stream
            && !replace(read_in_vain, true)
        {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_registered(|stream| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for LazySocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.write_fresh(|stream| stream.write(bytes)) {
            Some(written) => Poll::Ready(written),
            None => self.poll_registered(|stream| stream.poll_write(cx, bytes)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.write_fresh(|stream| stream.write_vectored(parts)) {
            Some(written) => Poll::Ready(written),
            None => self.poll_registered(|stream| stream.poll_write_vectored(cx, parts)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The kernel has all written bytes: there is nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Fresh { stream, .. } => Poll::Ready(stream.shutdown(Shutdown::Write)),
            Stream::Registered(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Gone => Poll::Ready(Err(gone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::yield_now;

    use super::*;

    async fn pair() -> (LazySocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (LazySocket::new(accepted.into_std().unwrap(), None), client)
    }

    fn is_registered(socket: &LazySocket) -> bool {
        matches!(socket.stream, Stream::Registered(_))
    }

    #[tokio::test]
    async fn a_request_that_is_there_at_once_is_answered_and_given_away_without_the_runtime() {
        let (mut socket, mut client) = pair().await;
        client.write_all(b"asked").await.unwrap();
        assert_eq!(socket.first().await.unwrap(), b"asked");
        let mut asked = [0; 5];
        socket.read_exact(&mut asked).await.unwrap();
        socket.write_all(b"answered").await.unwrap();
        assert!(!is_registered(&socket));
        socket.give_away().unwrap().write_all(b", and more").unwrap();
        drop(socket);
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert_eq!((&asked, response.as_str()), (b"asked", "answered, and more"));
    }

    #[tokio::test]
    async fn late_and_long_input_is_read_to_the_end_in_order() {
        let (mut socket, mut client) = pair().await;
        let said: Vec<u8> = (0..5 * FIRST).map(|at| at as u8).collect();
        let expected = said.clone();
        let speaking = tokio::spawn(async move {
            yield_now().await;
            client.write_all(&said).await.unwrap();
            yield_now().await;
            client.write_all(b"end").await.unwrap();
        });
        assert_eq!(socket.first().await.unwrap()[..4], expected[..4]);
        let mut read = Vec::new();
        socket.read_to_end(&mut read).await.unwrap();
        assert!(read == [&expected[..], b"end"].concat());
        speaking.await.unwrap();
    }

    #[tokio::test]
    async fn what_the_kernel_has_no_room_for_is_waited_for() {
        let (mut socket, mut client) = pair().await;
        let said: Vec<u8> = (0..16 << 20).map(|at: u32| (at / 3) as u8).collect();
        let expected = said.clone();
        let writing = tokio::spawn(async move {
            socket.write_all(&said).await.unwrap();
            is_registered(&socket)
        });
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert!(read == expected);
        assert!(writing.await.unwrap(), "all of it fitted");
    }

    #[tokio::test]
    async fn a_client_that_closes_without_an_alert_is_an_error_and_so_is_a_closed_socket() {
        let (mut socket, client) = pair().await;
        drop(client);
        assert_eq!(socket.first().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        drop(socket.give_away().unwrap());
        assert_eq!(socket.first().await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(socket.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(socket.write(&[0]).await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(socket.shutdown().await.unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(socket.give_away().unwrap_err().kind(), ErrorKind::NotConnected);
    }
}
