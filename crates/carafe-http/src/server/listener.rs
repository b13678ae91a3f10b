//! Accepts connections without registering their sockets with the runtime.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, ready};

use carafe_fanout::{ShardOptions, ShardPool};
use mio::net::{TcpListener as TcpAccepting, UnixListener as UnixAccepting};
use rustix::net::sockopt::{set_socket_send_buffer_size, set_tcp_nodelay};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, UnixListener};
use tracing::warn;

use crate::observe::stream_record::StreamRecord;
use crate::policy::address::UNIX_PEER;

/// The sockets on which a server accepts connections: at least one, of TCP or Unix.
///
/// ```
/// use carafe_http::Listeners;
/// use tokio::net::{TcpListener, UnixListener};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("carafe-listeners-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("hub.sock");
/// let tcp: Listeners = TcpListener::bind("127.0.0.1:0").await?.into();
/// let unix: Listeners = UnixListener::bind(&path)?.into();
/// let both: Listeners = [tcp, unix].into_iter().collect();
/// # drop(both);
/// # std::fs::remove_dir_all(&folder) }
/// ```
#[derive(Debug)]
pub struct Listeners(Vec<Bound>);

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listeners {
    /// The same sockets once more: who is connected is accepted by one of both.
    ///
    /// # Errors
    ///
    /// Fails if the process has no file descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clones = self.0.iter().map(|bound| {
            Ok(match bound {
                Bound::Tcp(listener) => {
                    let socket = listener.as_fd().try_clone_to_owned()?;
                    Bound::Tcp(TcpListener::from_std(socket.into())?)
                }
                Bound::Unix(listener) => {
                    let socket = listener.as_fd().try_clone_to_owned()?;
                    Bound::Unix(UnixListener::from_std(socket.into())?)
                }
            })
        });
        clones.collect::<io::Result<_>>().map(Self)
    }
}

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self(vec![Bound::Tcp(listener)])
    }
}

impl From<UnixListener> for Listeners {
    fn from(listener: UnixListener) -> Self {
        Self(vec![Bound::Unix(listener)])
    }
}

impl FromIterator<Listeners> for Listeners {
    /// All sockets together.
    fn from_iter<I: IntoIterator<Item = Self>>(listeners: I) -> Self {
        Self(listeners.into_iter().flat_map(|listeners| listeners.0).collect())
    }
}

/// The listening sockets of a server, in the order in which they are asked next.
pub(crate) struct Listener(Vec<Accepting>);

enum Accepting {
    Tcp(AsyncFd<TcpAccepting>),
    /// Accepted Unix sockets do not inherit the send buffer.
    Unix(AsyncFd<UnixAccepting>, usize),
}

impl Listener {
    /// Listeners whose sockets have the bounds of these options.
    pub(crate) fn new(listeners: Listeners, bounds: &ShardOptions) -> io::Result<Self> {
        let all = listeners.0.into_iter().map(|bound| Accepting::new(bound, bounds));
        all.collect::<io::Result<_>>().map(Self)
    }

    /// The socket of the next client, which does not block, and its address.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        for _ in 0..self.0.len() {
            // The next call begins with another socket: a busy one does not starve the others.
            self.0.rotate_left(1);
            let accepted = self.0.last().map(|accepting| accepting.poll_accept(cx));
            if let Some(Poll::Ready(accepted)) = accepted {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

impl Accepting {
    fn new(bound: Bound, bounds: &ShardOptions) -> io::Result<Self> {
        match bound {
            Bound::Tcp(listener) => {
                prepare(&listener, bounds);
                let listener = TcpAccepting::from_std(listener.into_std()?);
                Ok(Self::Tcp(register(listener)?))
            }
            Bound::Unix(listener) => {
                let listener = UnixAccepting::from_std(listener.into_std()?);
                Ok(Self::Unix(register(listener)?, bounds.send_buffer))
            }
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = ready!(poll_with(listener, cx, TcpAccepting::accept))?;
                Poll::Ready(Ok((socket.into(), peer)))
            }
            Self::Unix(listener, send_buffer) => {
                let (socket, _) = ready!(poll_with(listener, cx, UnixAccepting::accept))?;
                Poll::Ready(Ok((stream(socket.into(), *send_buffer), UNIX_PEER)))
            }
        }
    }
}

/// Sets what accepted TCP sockets inherit from their listener.
fn prepare(listener: &TcpListener, bounds: &ShardOptions) {
    // Every event is sent at once. Without the option only the latency suffers.
    if let Err(error) = set_tcp_nodelay(listener, true) {
        warn!(%error, "TCP_NODELAY");
    }
    ShardPool::<StreamRecord>::prepare(listener, bounds);
}

/// A Unix socket as a `TcpStream`, so that all paths, shards too, serve it like one of TCP. They
/// read, write, shut down and close it, and set its send buffer and linger time: calls that every
/// stream socket has.
fn stream(socket: UnixStream, send_buffer: usize) -> TcpStream {
    // The kernel doubles the size. If it rejects it, only a bound is wider.
    if let Err(error) = set_socket_send_buffer_size(&socket, send_buffer / 2) {
        warn!(%error, "SO_SNDBUF");
    }
    TcpStream::from(OwnedFd::from(socket))
}

fn register<L: AsRawFd>(listener: L) -> io::Result<AsyncFd<L>> {
    #[expect(unsafe_code, reason = "the kernel's poller is given a descriptor")]
    // SAFETY: the listener owns its descriptor, which does not change, and is closed only after it
    // is deregistered.
    let registered = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?;
    Ok(registered)
}

fn poll_with<L: AsRawFd, T>(
    listener: &AsyncFd<L>,
    cx: &mut Context<'_>,
    mut accept: impl FnMut(&L) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        let mut readable = ready!(listener.poll_read_ready(cx))?;
        if let Ok(accepted) = readable.try_io(|listener| accept(listener.get_ref())) {
            return Poll::Ready(accepted);
        }
    }
}
