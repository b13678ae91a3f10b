//! Opens listening sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::failure::Failure;

/// The queue of connections to accept, up to the limit of the system. After a restart all clients
/// reconnect at once, and a full queue resets connections.
const BACKLOG: u32 = 65_535;

/// A listener, or a failure that names the option.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::usage(format!(
            "{address} is in use: stop the program that listens there, or choose another with \
             --listen"
        )),
        _ => Failure::usage(format!("cannot listen on {address}: {error}")),
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Allows a restart while connections of the previous process are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
