//! What shards allow.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::CatchUp;

/// How shards serve their sockets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShardOptions {
    /// How many threads there are.
    pub threads: NonZeroUsize,
    /// How long a client may take nothing of what it is sent before its stream is cut. What it has
    /// not acknowledged for so long counts, too.
    pub write_time: Duration,
    /// Bytes that the kernel may hold for a client, unless the client is behind.
    pub send_buffer: usize,
    /// Bytes that it may hold beyond that for all clients that are behind.
    pub catch_up: CatchUp,
}

impl Default for ShardOptions {
    /// Half the cores, 30 s, 36 KiB, and 64 MiB for those behind.
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            threads: NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN),
            write_time: Duration::from_secs(30),
            send_buffer: 36 << 10,
            catch_up: CatchUp::default(),
        }
    }
}
