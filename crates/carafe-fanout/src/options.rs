//! What shards allow.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

/// How shards serve their sockets.
#[derive(Clone, Debug)]
pub struct FanoutOptions {
    /// How many threads there are.
    pub shards: NonZeroUsize,
    /// After how long without output a stream says that it is alive; by then, a quarter of the time before at the earliest.
    pub heartbeat: Duration,
    /// How long a client may take nothing of what it is sent before its stream is cut. What it has not acknowledged for so long
    /// counts, too.
    pub write_time: Duration,
    /// Bytes that the kernel may hold for a client. It is told half of it, since it doubles what it is told for its own overhead.
    pub send_buffer: usize,
}

impl Default for FanoutOptions {
    /// Half the cores, 15 s, 30 s and 48 KiB.
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            shards: NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN),
            heartbeat: Duration::from_secs(15),
            write_time: Duration::from_secs(30),
            send_buffer: 48 << 10,
        }
    }
}
