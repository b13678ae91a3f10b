//! A client that checks the health of the hub.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::wire;

/// The address of the client.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 34, 0, 1);

/// How often it is looked, on a connection of its own each time.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long one look waits, which is more than it may take: the figure tells by how much it was
/// missed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Default)]
pub(super) struct Health {
    pub(super) looks: u64,
    /// Looks without an answer, or with another than 200.
    pub(super) failed: u64,
    pub(super) longest: Duration,
}

/// Checks until the run ends.
pub(super) struct Watching {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Health>,
}

impl Health {
    pub(super) fn watch(hub: SocketAddr) -> Watching {
        let stopped = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            let mut health = Self::default();
            while !is_over.load(Ordering::Relaxed) {
                health.look(hub);
                thread::sleep(INTERVAL);
            }
            health
        });
        Watching { stopped, thread }
    }

    fn look(&mut self, hub: SocketAddr) {
        let start = Instant::now();
        self.looks += 1;
        if !wire::is_well(FROM, hub, "/healthz", PATIENCE) {
            self.failed += 1;
        }
        self.longest = self.longest.max(start.elapsed());
    }
}

impl Watching {
    pub(super) fn finish(self) -> Outcome<Health> {
        self.stopped.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the health check panicked")?)
    }
}
