//! How much the kernel may hold for a client that is behind.
//!
//! The usual send buffer is small, since very many clients may stall. It bounds what is in flight
//! to a client, and so its rate where acknowledgements take time: 36 KiB for each 50 ms is 0.7
//! MB/s. A client that is behind and reads gets a larger buffer, until it has caught up for a
//! while.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::net::sockopt;

use crate::ShardOptions;

/// What a client that is behind may have. Larger ones were not faster on loopback; the kernel may
/// allow less (`net.core.wmem_max`).
const LARGE: usize = 256 << 10;

/// So often a full buffer must have had room again before it grows. That takes more bytes than the
/// receive window that a client has without reading: a client that never reads must not get a
/// larger buffer.
const ROUNDS: u8 = 8;

/// The bytes that larger send buffers may take in all, for streams that are behind. All clones
/// share them.
#[derive(Clone)]
pub struct CatchUp(Arc<Pool>);

struct Pool {
    left: AtomicUsize,
    on_refused: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl CatchUp {
    /// So many bytes in all. Further streams keep their usual buffer, and catch up more slowly.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Pool { left: AtomicUsize::new(bytes), on_refused: OnceLock::new() }))
    }

    /// Calls this each time a stream gets no larger buffer. Only the first call of this counts.
    pub fn on_refused(&self, call: impl Fn() + Send + Sync + 'static) {
        self.0.on_refused.get_or_init(|| Box::new(call));
    }

    fn take(&self, bytes: usize) -> Option<Share> {
        let less = |left: usize| left.checked_sub(bytes);
        if self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Some(Share { pool: Arc::clone(&self.0), bytes });
        }
        self.0.on_refused.get().into_iter().for_each(|call| call());
        None
    }
}

impl Default for CatchUp {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl fmt::Debug for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatchUp({} bytes left)", self.0.left.load(Ordering::Relaxed))
    }
}

/// What one larger buffer has of the bytes.
struct Share {
    pool: Arc<Pool>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

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

    /// The kernel had no room for all that was written to this socket. Returns whether the buffer
    /// has grown, so that it has room now.
    pub fn filled(&self, buffer: &mut SendBuffer, socket: &impl AsFd) -> bool {
        buffer.rounds = buffer.rounds.saturating_add(1);
        // Asked again now and then: others may have given theirs back.
        if buffer.share.is_some() || !buffer.rounds.is_multiple_of(ROUNDS) || self.usual >= LARGE {
            return false;
        }
        buffer.share = self.catch_up.take(LARGE - self.usual);
        buffer.share.is_some() && set(socket, LARGE).is_ok()
    }

    /// The client has taken all that it was sent for a while. What is still queued stays queued.
    pub fn relax(&self, buffer: &mut SendBuffer, socket: &impl AsFd) {
        if buffer.share.is_some()
            && let Err(error) = set(socket, self.usual)
        {
            tracing::debug!(%error, "SO_SNDBUF");
        }
        *buffer = SendBuffer::default();
    }
}

/// The send buffer of one socket: how often it was full lately, and whether it is larger than
/// usual.
#[derive(Default)]
pub struct SendBuffer {
    rounds: u8,
    share: Option<Share>,
}

/// Sets the bytes that the kernel may hold. It is told half of them, since it doubles what it is
/// told for its own overhead.
pub(crate) fn set(socket: &impl AsFd, bytes: usize) -> rustix::io::Result<()> {
    sockopt::set_socket_send_buffer_size(socket, bytes / 2)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::{TcpListener, TcpStream};

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
