//! What a socket is told when a shard takes it, and how it is written to and closed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use mio::net::TcpStream;
use rustix::net::sockopt;
use socket2::SockRef;

use crate::{EndReason, ShardOptions, send_buffer};

/// After how long without a word from the client the kernel asks whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Larger ones are not faster on loopback.
const LARGEST_SEGMENT: u32 = 16 << 10;

/// What every network takes (RFC 9293, 3.7.1).
const SMALLEST_SEGMENT: u32 = 536;

/// Bounds what the kernel holds for the clients of a listener, and for how long. Accepted sockets
/// have the options of their listener, so that it costs nothing for each. What the kernel does not
/// take is left as it is: only a bound is wider then.
pub(crate) fn prepare(listener: &impl AsFd, options: &ShardOptions) {
    let set = send_buffer::set(listener, options.send_buffer)
        .and_then(|()| sockopt::set_socket_keepalive(listener, true))
        .and_then(|()| sockopt::set_tcp_keepidle(listener, KEEP_ALIVE))
        .and_then(|()| set_user_timeout(listener, options.write_time));
    if let Err(error) = set {
        tracing::warn!(%error, "the kernel's buffers for clients cannot be bounded");
    }
    if let Err(error) = SockRef::from(listener).set_tcp_mss(segment(options.send_buffer)) {
        tracing::warn!(%error, "TCP_MAXSEG");
    }
}

/// The largest segment, where the send buffer is so large. A receiver acknowledges two segments at
/// once, but one only after 40 ms. On loopback a segment has up to 65,483 bytes: it fills the usual
/// buffer, and the next has to wait for those 40 ms. Networks have smaller segments than this, and
/// are not affected.
fn segment(send_buffer: usize) -> u32 {
    let third = u32::try_from(send_buffer / 3).unwrap_or(LARGEST_SEGMENT);
    third.clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT)
}

/// What is sent and not acknowledged within this time ends the connection.
#[cfg(target_os = "linux")]
fn set_user_timeout(socket: &impl AsFd, time: Duration) -> rustix::io::Result<()> {
    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, millis)
}

#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_: &impl AsFd, _: Duration) -> rustix::io::Result<()> {
    Ok(())
}

/// Writes what the kernel has room for. An error tells how the stream ended.
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

/// Reads from a client that only takes. If it has left, closed its side or asks for more, the
/// stream has ended.
pub(crate) fn hear(mut socket: &TcpStream) -> Option<EndReason> {
    loop {
        match socket.read(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Some(EndReason::by(&error)),
            Ok(_) => return Some(EndReason::Left),
        }
    }
}

/// How a stream ended whose socket reports that the connection is over.
pub(crate) fn why_closed(socket: &TcpStream) -> EndReason {
    match socket.take_error() {
        Ok(Some(error)) => EndReason::by(&error),
        Ok(None) | Err(_) => EndReason::Left,
    }
}

/// Says that nothing more comes. If the client is gone already, there is nobody to tell.
pub(crate) fn end(socket: &TcpStream) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)
}

/// Takes what the client still says; whether it has closed.
pub(crate) fn is_closed(mut socket: &TcpStream) -> bool {
    let mut buffer = [0; 1024];
    // A client that goes on sending is not waited for: it is cut in time.
    match socket.read(&mut buffer) {
        Ok(read) => read == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Frees at once what the kernel holds for a client that does not take it.
pub(crate) fn abort(socket: TcpStream) {
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
