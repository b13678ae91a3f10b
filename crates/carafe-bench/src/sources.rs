//! The source addresses of connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, connect, ipproto, socket};

/// Connections per source address. An address has about 28,000 ports per server, and ports of
/// closed connections stay in TIME_WAIT for a minute. Servers may limit streams per address.
const CONNECTIONS: usize = 500;

/// The least number of addresses, for runs that reconnect.
const ADDRESSES: usize = 16;

/// Assigns source addresses to connections.
pub(crate) struct Sources {
    own: Option<[u8; 2]>,
    addresses: u8,
    next: u8,
}

impl Sources {
    /// On Linux all of 127.0.0.0/8 is local, so each process uses its own part of it. Elsewhere the
    /// system selects the source.
    pub(crate) fn toward(target: SocketAddr, connections: usize) -> Self {
        let local = cfg!(target_os = "linux") && target.is_ipv4() && target.ip().is_loopback();
        let [.., high, low] = std::process::id().to_be_bytes();
        let addresses = connections.div_ceil(CONNECTIONS).clamp(ADDRESSES, 254) as u8;
        Self { own: local.then_some([high, low]), addresses, next: 0 }
    }

    /// Starts a non-blocking connect.
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
        // Avoids 127.0.0.1 of the server, and the addresses near it that tests use.
        Some(Ipv4Addr::new(127, high | 0x80, low, self.next).into())
    }
}
