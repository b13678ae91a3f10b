//! How shards serve their sockets.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::catch_up::CatchUp;

/// How shards serve their sockets. Start with the default and set what shall differ:
///
/// ```
/// let mut options = carafe_fanout::ShardOptions::default();
/// options.write_timeout = std::time::Duration::from_secs(20);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShardOptions {
    /// The number of shards, each with a thread.
    pub threads: NonZeroUsize,
    /// The write timeout: a client that makes no write progress for so long is disconnected. Bytes
    /// that it has not acknowledged count as no progress.
    pub write_timeout: Duration,
    /// The bytes that the kernel may buffer for a client that keeps up.
    pub send_buffer: usize,
    /// The bytes that the kernel may buffer beyond that, for all clients that are behind.
    pub catch_up: CatchUp,
}

impl Default for ShardOptions {
    /// Half the cores, 30 s, 36 KiB, and 64 MiB for clients that are behind.
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            threads: NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN),
            write_timeout: Duration::from_secs(30),
            send_buffer: 36 << 10,
            catch_up: CatchUp::default(),
        }
    }
}
