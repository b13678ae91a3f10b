//! The sizes of send buffers in the kernel.
//!
//! The usual send buffer is small, since very many clients may stall. Its size bounds the bytes in
//! flight to a client, and with the round trip time the rate: 36 KiB for each 50 ms is 0.7 MB/s. A
//! client that is behind and reads gets a larger buffer, from a budget for all, until it has caught
//! up for a while.

use std::os::fd::AsFd;

use rustix::net::sockopt;

use crate::catch_up::{CatchUp, Share};
use crate::options::ShardOptions;

/// The buffer of a client that is behind. Larger ones were not faster on loopback. The kernel may
/// allow less (`net.core.wmem_max`).
pub(crate) const LARGE: usize = 256 << 10;

/// How often a buffer must have been full and had room again before it grows. By then the client
/// has received more than its receive window holds: a client that never reads gets no larger
/// buffer.
const ROUNDS: u8 = 8;

/// The sizes of send buffers.
#[derive(Clone, Debug)]
pub struct SendBuffers {
    usual: usize,
    catch_up: CatchUp,
}

impl SendBuffers {
    /// The sizes that these options allow.
    #[must_use]
    pub fn new(options: &ShardOptions) -> Self {
        Self { usual: options.send_buffer, catch_up: options.catch_up.clone() }
    }

    /// Reports that the kernel had no room for all bytes written to this socket. Returns whether
    /// the buffer has grown, so that there is room now.
    pub fn filled(&self, buffer: &mut SendBuffer, socket: &impl AsFd) -> bool {
        buffer.rounds = buffer.rounds.saturating_add(1);
        // Tried again every few times: other clients may have returned their part.
        if buffer.share.is_some() || !buffer.rounds.is_multiple_of(ROUNDS) || self.usual >= LARGE {
            return false;
        }
        buffer.share = self.catch_up.take(LARGE - self.usual);
        // The budget first. If the kernel refuses, the part is held until `relax`, and the client
        // keeps its usual buffer.
        buffer.share.is_some() && set(socket, LARGE).is_ok()
    }

    /// Restores the usual size once the client has kept up for a while. Queued bytes stay queued.
    pub fn relax(&self, buffer: &mut SendBuffer, socket: &impl AsFd) {
        if buffer.share.is_some()
            && let Err(error) = set(socket, self.usual)
        {
            tracing::debug!(%error, "SO_SNDBUF");
        }
        // Dropping the share returns its part to the budget.
        *buffer = SendBuffer::default();
    }
}

/// The state of one socket's send buffer: how often it was full, and whether it is larger than
/// usual.
#[derive(Default)]
pub struct SendBuffer {
    rounds: u8,
    share: Option<Share>,
}

/// Sets the size of the send buffer (`SO_SNDBUF`). The kernel doubles the value for its own
/// overhead, so it gets half.
pub(crate) fn set(socket: &impl AsFd, bytes: usize) -> rustix::io::Result<()> {
    sockopt::set_socket_send_buffer_size(socket, bytes / 2)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const USUAL: usize = 48 << 10;

    fn socket() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set(&socket, USUAL).unwrap();
        socket
    }

    fn size(socket: &TcpStream) -> usize {
        sockopt::socket_send_buffer_size(socket).unwrap()
    }

    fn buffers(bytes: usize) -> SendBuffers {
        SendBuffers::new(&ShardOptions {
            send_buffer: USUAL,
            catch_up: CatchUp::new(bytes),
            ..ShardOptions::default()
        })
    }

    fn fill(
        buffers: &SendBuffers,
        buffer: &mut SendBuffer,
        socket: &TcpStream,
        times: u8,
    ) -> usize {
        (0..times).filter(|_| buffers.filled(buffer, socket)).count()
    }

    #[test]
    fn a_buffer_grows_once_when_it_was_full_and_had_room_again_often_enough() {
        let (buffers, mut buffer, socket) = (buffers(LARGE), SendBuffer::default(), socket());
        assert_eq!(fill(&buffers, &mut buffer, &socket, ROUNDS - 1), 0);
        assert_eq!(size(&socket), USUAL);
        assert_eq!(fill(&buffers, &mut buffer, &socket, 5 * ROUNDS), 1);
        assert!(size(&socket) > USUAL);
        buffers.relax(&mut buffer, &socket);
        assert_eq!(size(&socket), USUAL);
    }

    #[test]
    fn all_larger_buffers_together_have_so_many_bytes_and_give_them_back() {
        let buffers = buffers(2 * (LARGE - USUAL) + 1);
        let refused = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&refused);
        buffers.catch_up.on_refused(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let grown = |buffer: &mut SendBuffer| fill(&buffers, buffer, &socket(), ROUNDS) == 1;
        let [mut first, mut second, mut third] =
            [const { SendBuffer { rounds: 0, share: None } }; 3];
        assert!(grown(&mut first) && grown(&mut second) && !grown(&mut third));
        assert_eq!(refused.load(Ordering::Relaxed), 1);
        drop(first);
        assert!(grown(&mut third), "it is asked again");
        buffers.relax(&mut second, &socket());
        assert!(grown(&mut second));
    }

    #[test]
    fn buffers_that_are_large_already_take_nothing() {
        let buffers = SendBuffers { usual: LARGE, catch_up: CatchUp::new(0) };
        assert_eq!(fill(&buffers, &mut SendBuffer::default(), &socket(), 5 * ROUNDS), 0);
    }
}
