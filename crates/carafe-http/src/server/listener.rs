//! Accepts connections without registering their sockets with the runtime.

use std::io;
use std::net::{SocketAddr, TcpStream};

use carafe_fanout::{ShardOptions, ShardPool};
use mio::net::TcpListener as Accepting;
use rustix::net::sockopt::set_tcp_nodelay;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tracing::warn;

use crate::observe::stream_record::StreamRecord;

pub(crate) struct Listener(AsyncFd<Accepting>);

impl Listener {
    /// A listener whose sockets inherit the bounds of these options.
    pub(crate) fn new(listener: TcpListener, bounds: &ShardOptions) -> io::Result<Self> {
        // Every event is sent at once. Without the option only the latency suffers. Accepted
        // sockets inherit it from the listener.
        if let Err(error) = set_tcp_nodelay(&listener, true) {
            warn!(%error, "TCP_NODELAY");
        }
        ShardPool::<StreamRecord>::prepare(&listener, bounds);
        let listener = Accepting::from_std(listener.into_std()?);
        #[expect(unsafe_code, reason = "the kernel's poller is given a descriptor")]
        // SAFETY: the listener owns its descriptor, which does not change, and is closed only
        // after it is deregistered.
        let registered = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?;
        Ok(Self(registered))
    }

    /// The socket of the next client, which does not block, and its address.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.0.async_io(Interest::READABLE, Accepting::accept).await?;
        Ok((socket.into(), peer))
    }
}
