//! The system calls of a shard on its sockets: options, writing, reading and closing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use mio::net::TcpStream;
use rustix::net::sockopt;
use socket2::SockRef;

use crate::end_reason::EndReason;
use crate::options::ShardOptions;
use crate::send_buffer;

/// The idle time after which the kernel probes whether the peer is alive (TCP keepalive).
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The largest segment; larger ones are not faster on loopback.
const LARGEST_SEGMENT: u32 = 16 << 10;

/// The segment that every network takes (RFC 9293, 3.7.1).
const SMALLEST_SEGMENT: u32 = 536;

/// Bounds what the kernel buffers for the clients of a listener, and for how long. Accepted sockets
/// inherit the options of their listener, so no system call per socket is needed. An option that
/// the kernel rejects keeps its default: only a bound is wider then.
pub(crate) fn prepare(listener: &impl AsFd, options: &ShardOptions) {
    let set = send_buffer::set(listener, options.send_buffer)
        .and_then(|()| sockopt::set_socket_keepalive(listener, true))
        .and_then(|()| sockopt::set_tcp_keepidle(listener, KEEP_ALIVE))
        .and_then(|()| set_user_timeout(listener, options.write_timeout));
    if let Err(error) = set {
        tracing::warn!(%error, "cannot bound what the kernel buffers for clients");
    }
    if let Err(error) = SockRef::from(listener).set_tcp_mss(segment(options.send_buffer)) {
        tracing::warn!(%error, "TCP_MAXSEG");
    }
}

/// The segment size (`TCP_MAXSEG`) at which three segments fit into the send buffer.
///
/// A receiver acknowledges two segments at once, but a single one only after 40 ms. On loopback a
/// segment has up to 65,483 bytes: it would fill the usual buffer, and the next would wait for 40
/// ms. Segments on networks are smaller than this limit, and are not affected.
fn segment(send_buffer: usize) -> u32 {
    let third = u32::try_from(send_buffer / 3).unwrap_or(LARGEST_SEGMENT);
    third.clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT)
}

/// Ends the connection if sent bytes are not acknowledged within this time.
#[cfg(target_os = "linux")]
fn set_user_timeout(socket: &impl AsFd, time: Duration) -> rustix::io::Result<()> {
    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, millis)
}

#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_: &impl AsFd, _: Duration) -> rustix::io::Result<()> {
    Ok(())
}

/// Writes what the kernel has room for. An error is the end reason of the stream.
pub(crate) fn write(mut socket: &TcpStream, bytes: &[u8]) -> Result<usize, EndReason> {
    loop {
        match socket.write(bytes) {
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(EndReason::by(&error)),
        }
    }
}

/// Reads from a client of whom nothing is expected. Whatever comes ends the stream: the client has
/// left, has shut down its side, or sends another request.
pub(crate) fn read(mut socket: &TcpStream) -> Option<EndReason> {
    loop {
        // How much there is does not matter.
        match socket.read(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Some(EndReason::by(&error)),
            Ok(_) => return Some(EndReason::Left),
        }
    }
}

/// The end reason of a stream whose socket reports an error or a hangup.
pub(crate) fn why_closed(socket: &TcpStream) -> EndReason {
    match socket.take_error() {
        Ok(Some(error)) => EndReason::by(&error),
        Ok(None) | Err(_) => EndReason::Left,
    }
}

/// Shuts down the sending side. An error means that the client has left already.
pub(crate) fn end(socket: &TcpStream) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)
}

/// Discards what the client still sends; `true` once it has closed.
pub(crate) fn is_closed(mut socket: &TcpStream) -> bool {
    let mut buffer = [0; 1024];
    // One read per event: a client that never stops sending is closed at its deadline.
    match socket.read(&mut buffer) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Closes the connection with a reset: the kernel frees its send buffer at once, instead of trying
/// to deliver it.
pub(crate) fn abort(socket: TcpStream) {
    // With a linger time of zero, close sends a reset and drops what is queued (socket(7)).
    if let Err(error) = sockopt::set_socket_linger(&socket, Some(Duration::ZERO)) {
        tracing::debug!(%error, "SO_LINGER");
    }
    drop(socket);
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn three_segments_fit_into_the_send_buffer() {
        for (send_buffer, bytes) in
            [(0, 536), (12 << 10, 4 << 10), (48 << 10, 16 << 10), (1 << 40, 16 << 10)]
        {
            assert_eq!(segment(send_buffer), bytes, "{send_buffer}");
        }
    }
}
