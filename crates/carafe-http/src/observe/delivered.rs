//! Counts what is delivered, on the path of each delivery.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;

use crate::observe::hub_metrics::write;

/// More than the threads that deliver on most machines. Threads beyond share a stripe.
const STRIPES: usize = 16;

/// Events and bytes that were handed to connections. Each thread adds to a stripe of its own, so
/// that shards do not wait for each other's cache lines.
#[derive(Debug, Default)]
pub(crate) struct Delivered([Stripe; STRIPES]);

/// Two cache lines, which processors fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    events: AtomicU64,
    bytes: AtomicU64,
}

impl Delivered {
    pub(crate) fn add(&self, events: u32, bytes: usize) {
        let stripe = &self.0[own_stripe()];
        // Relaxed: statistics, which nothing is ordered by.
        stripe.events.fetch_add(u64::from(events), Ordering::Relaxed);
        stripe.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn sums(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(events, bytes), stripe| {
            let (more, larger) =
                (stripe.events.load(Ordering::Relaxed), stripe.bytes.load(Ordering::Relaxed));
            (events + more, bytes + larger)
        })
    }
}

/// The stripe of this thread.
fn own_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        own.get()
    })
}

/// The sums as metrics.
pub(crate) fn encode(delivered: &Delivered, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (events, bytes) = delivered.sums();
    let help = "Events handed to the connections of subscribers";
    write(encoder, "carafe_events_delivered", help, &ConstCounter::new(events))?;
    let help = "Bytes handed to the connections of streams, without response heads and TLS";
    write(encoder, "carafe_delivered_bytes", help, &ConstCounter::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_sums_are_those_of_all_threads() {
        let delivered = Delivered::default();
        thread::scope(|scope| {
            (0..2 * STRIPES).for_each(|_| drop(scope.spawn(|| delivered.add(2, 30))));
        });
        delivered.add(1, 1);
        assert_eq!(delivered.sums(), (4 * STRIPES as u64 + 1, 60 * STRIPES as u64 + 1));
    }
}
