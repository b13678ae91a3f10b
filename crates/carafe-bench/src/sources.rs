//! The addresses that connections come from.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, connect, ipproto, socket};

/// An address has some 28,000 ports for one server, where those of closed connections rest for a
/// minute. And a server may let one address have only so many streams.
const CONNECTIONS: usize = 500;

/// The fewest addresses, for connections that come and go.
const ADDRESSES: usize = 16;

/// Gives each connection a source.
pub(crate) struct Sources {
    own: Option<[u8; 2]>,
    addresses: u8,
    next: u8,
}

impl Sources {
    /// On Linux all of 127.0.0.0/8 is this machine's: a process then has some of it for itself.
    pub(crate) fn toward(target: SocketAddr, connections: usize) -> Self {
        let local = cfg!(target_os = "linux") && target.is_ipv4() && target.ip().is_loopback();
        let [.., high, low] = std::process::id().to_be_bytes();
        let addresses = connections.div_ceil(CONNECTIONS).clamp(ADDRESSES, 254) as u8;
        Self { own: local.then_some([high, low]), addresses, next: 0 }
    }

    /// Begins to connect, without waiting until it is done.
    pub(crate) fn connect(&mut self, target: SocketAddr) -> io::Result<TcpStream> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
        let socket = TcpStream::from(socket);
        socket.set_nonblocking(true)?;
        if let Some(source) = self.next() {
            bind(&socket, &SocketAddr::new(source, 0))?;
        }
        match connect(&socket, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    }

    fn next(&mut self) -> Option<IpAddr> {
        let [high, low] = self.own?;
        self.next = self.next % self.addresses + 1;
        // The servers under test have 127.0.0.1, and tests use its neighbours.
        Some(Ipv4Addr::new(127, high | 0x80, low, self.next).into())
    }
}
