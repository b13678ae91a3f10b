//! All subscribers, driven by one thread.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::run_state::{Delivered, RunState, SETTLES};
use super::seen::{PUBLISHERS, Seen};
use super::subscriber::Subscriber;
use crate::outcome::Outcome;

/// Subscribers that share an address.
const OF_ADDRESS: usize = 10;

/// One subscriber in so many follows all publishers by a pattern; the others follow one.
const BY_PATTERN: usize = 20;

/// How often a subscriber disconnects and reconnects.
const CHURN: Duration = Duration::from_millis(200);

/// How often subscribers are looked at that are away.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Fleet {
    state: Arc<RunState>,
    poll: Poll,
    subscribers: Vec<Subscriber>,
    next_to_leave: usize,
}

impl Fleet {
    pub(super) fn new(state: Arc<RunState>, subscribers: usize) -> Outcome<Self> {
        let subscribers = (0..subscribers).map(|number| {
            let group = number / OF_ADDRESS;
            let address = Ipv4Addr::new(127, 33, (group / 250) as u8, (group % 250) as u8 + 1);
            if number.is_multiple_of(BY_PATTERN) {
                let all = (0..PUBLISHERS).collect();
                return Subscriber::new(address, "/events?pattern=honest/*".into(), Seen::of(all));
            }
            let publisher = number % PUBLISHERS;
            Subscriber::new(
                address,
                format!("/events/honest/{publisher}"),
                Seen::of(vec![publisher]),
            )
        });
        Ok(Self { subscribers: subscribers.collect(), state, poll: Poll::new()?, next_to_leave: 0 })
    }

    /// Reads until all is delivered after publishing has stopped, or has had its time.
    pub(super) fn run(&mut self) -> Outcome<Delivered> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 64 << 10];
        let (mut looked, mut left, mut stopped) = (Instant::now() - LOOK, Instant::now(), None);
        loop {
            self.poll.poll(&mut events, Some(LOOK))?;
            for event in &events {
                self.subscribers[event.token().0].ready(&mut buffer);
            }
            if looked.elapsed() >= LOOK {
                self.look()?;
                looked = Instant::now();
            }
            if self.state.stopped.load(Ordering::Relaxed) {
                let stopped = *stopped.get_or_insert_with(Instant::now);
                if self.lacking() == 0 || stopped.elapsed() > SETTLES {
                    return Ok(self.delivered());
                }
            } else if left.elapsed() >= CHURN
                && self.state.connected.load(Ordering::Relaxed) >= self.subscribers.len() as u64
            {
                self.let_one_leave();
                left = Instant::now();
            }
        }
    }

    fn look(&mut self) -> Outcome {
        for (number, subscriber) in self.subscribers.iter_mut().enumerate() {
            subscriber.look(self.state.hub, self.poll.registry(), Token(number))?;
        }
        let open = self.subscribers.iter().filter(|subscriber| subscriber.is_open()).count();
        self.state.connected.fetch_max(open as u64, Ordering::Relaxed);
        Ok(())
    }

    fn let_one_leave(&mut self) {
        // A step that is prime to the number of subscribers, so that all have their turn, far from
        // one another.
        self.next_to_leave = (self.next_to_leave + 181) % self.subscribers.len();
        self.subscribers[self.next_to_leave].leave();
    }

    fn lacking(&self) -> u64 {
        let published =
            std::array::from_fn(|number| self.state.acknowledged[number].load(Ordering::Relaxed));
        self.subscribers.iter().map(|subscriber| subscriber.seen.lacks(&published)).sum()
    }

    /// Counts events that never arrived as lost.
    fn delivered(&self) -> Delivered {
        let mut all = Delivered::default();
        for subscriber in &self.subscribers {
            all.events += subscriber.seen.events;
            all.resumed += subscriber.resumed;
            all.faults.add(subscriber.seen.faults);
        }
        all.faults.lost += self.lacking();
        all
    }
}
