//! Clients that mean well, and know exactly what they are owed: publishers that number their
//! events, and subscribers that check every number.

mod chunks;
mod fleet;
mod publisher;
mod seen;
mod subscriber;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Outcome;

use fleet::Fleet;
use publisher::Publisher;
pub(crate) use publisher::{Published, token};
pub(crate) use seen::Faults;

pub(crate) const PUBLISHERS: usize = 20;

/// How long subscribers may take to get what is under way when publishers have stopped.
const SETTLES: Duration = Duration::from_secs(60);

/// What all of them share.
struct Shared {
    hub: SocketAddr,
    /// Publishers stop, then subscribers.
    published: AtomicBool,
    stopped: AtomicBool,
    /// The number of each publisher's newest event that was acknowledged.
    acknowledged: [AtomicU64; PUBLISHERS],
    connected: AtomicU64,
}

/// All of them, at work.
pub(crate) struct Honest {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<Result<Published, String>>>,
    fleet: JoinHandle<Result<Delivered, String>>,
}

/// What subscribers got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) events: u64,
    /// Streams that ended, by the hub or by themselves, and were resumed.
    pub(crate) resumed: u64,
    pub(crate) faults: Faults,
}

impl Honest {
    /// Connects so many subscribers, and then begins to publish. The tokens are the publishers'.
    pub(crate) fn start(hub: SocketAddr, subscribers: usize, tokens: &[String]) -> Outcome<Self> {
        let shared = Arc::new(Shared {
            hub,
            published: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            acknowledged: Default::default(),
            connected: AtomicU64::new(0),
        });
        let mut fleet = Fleet::new(Arc::clone(&shared), subscribers)?;
        let fleet = thread::spawn(move || fleet.run().map_err(|error| error.to_string()));
        wait_until(Duration::from_secs(30), "all subscribers are connected", || {
            shared.connected.load(Ordering::Relaxed) >= subscribers as u64 || fleet.is_finished()
        })?;
        let publishers = tokens.iter().enumerate().map(|(number, token)| {
            let mut publisher = Publisher::new(Arc::clone(&shared), number, token);
            thread::spawn(move || publisher.run())
        });
        Ok(Self { publishers: publishers.collect(), shared, fleet })
    }

    /// Ends publishing, waits until subscribers have all of it or the time is over, and says what
    /// became of it.
    pub(crate) fn finish(self) -> Outcome<(Published, Delivered)> {
        self.shared.published.store(true, Ordering::Relaxed);
        let mut all = Published::default();
        for publisher in self.publishers {
            all.add(publisher.join().map_err(|_| "a publisher panicked")??);
        }
        self.shared.stopped.store(true, Ordering::Relaxed);
        let delivered = self.fleet.join().map_err(|_| "the subscribers panicked")??;
        Ok((all, delivered))
    }
}

fn wait_until(patience: Duration, what: &str, is_so: impl Fn() -> bool) -> Outcome {
    let deadline = Instant::now() + patience;
    while !is_so() {
        if Instant::now() > deadline {
            return Err(format!("it takes more than {patience:?} until {what}").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
