//! Honest clients, which check the hub during an attack: publishers number their events, and
//! subscribers check that each number arrives once and in order.

mod chunks;
mod fleet;
mod publisher;
mod run_state;
mod seen;
mod subscriber;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::outcome::Outcome;

use fleet::Fleet;
use publisher::Publisher;
pub(crate) use publisher::{Published, token};
pub(crate) use run_state::Delivered;
use run_state::RunState;
pub(crate) use seen::PUBLISHERS;

/// All of them, at work.
pub(crate) struct Honest {
    state: Arc<RunState>,
    publishers: Vec<JoinHandle<Result<Published, String>>>,
    fleet: JoinHandle<Result<Delivered, String>>,
}

impl Honest {
    /// Connects the subscribers, and then starts one publisher for each token.
    pub(crate) fn start(hub: SocketAddr, subscribers: usize, tokens: &[String]) -> Outcome<Self> {
        let state = Arc::new(RunState {
            hub,
            published: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            acknowledged: Default::default(),
            connected: AtomicU64::new(0),
        });
        let mut fleet = Fleet::new(Arc::clone(&state), subscribers)?;
        let fleet = thread::spawn(move || fleet.run().map_err(|error| error.to_string()));
        wait_until(Duration::from_secs(30), "all subscribers are connected", || {
            state.connected.load(Ordering::Relaxed) >= subscribers as u64 || fleet.is_finished()
        })?;
        let publishers = tokens.iter().enumerate().map(|(number, token)| {
            let mut publisher = Publisher::new(Arc::clone(&state), number, token);
            thread::spawn(move || publisher.run())
        });
        Ok(Self { publishers: publishers.collect(), state, fleet })
    }

    /// Ends publishing, waits until subscribers have all of it or the time is over, and says what
    /// became of it.
    pub(crate) fn finish(self) -> Outcome<(Published, Delivered)> {
        self.state.published.store(true, Ordering::Relaxed);
        let mut all = Published::default();
        for publisher in self.publishers {
            all.add(publisher.join().map_err(|_| "a publisher panicked")??);
        }
        self.state.stopped.store(true, Ordering::Relaxed);
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
