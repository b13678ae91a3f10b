//! What a pass costs. A binary of its own, since the allocator that counts is everybody's in it.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

use std::task::Waker;

use allocation_counter::measure;
use carafe_hub::{Dispatcher, Format, Hub, Sink, Subscribe, SubscriberId, Written};
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::Topic;
use futures_util::FutureExt;

/// Clients that take all, and how many writes there were.
#[derive(Default)]
struct Writes(usize);

impl Sink for Writes {
    fn write(&mut self, _seat: SubscriberId, bytes: &[u8]) -> Written {
        self.0 += 1;
        Written::Bytes(bytes.len())
    }

    fn ended(&mut self, seat: SubscriberId, failed: bool) {
        panic!("{seat} ended, {failed}");
    }
}

fn topic() -> Topic {
    Topic::new("a").unwrap()
}

/// So many who have all that came.
fn settled(hub: &Hub, count: usize) -> Dispatcher {
    let mut dispatcher = hub.dispatcher(Waker::noop().clone());
    for _ in 0..count {
        let subscription = hub.subscribe(Subscribe::to(topic())).now_or_never().unwrap().unwrap();
        dispatcher.add(subscription.into_frames(Format::Plain));
    }
    while dispatcher.serve_next(&mut Writes::default()) {}
    dispatcher
}

/// How many allocations the first turn of a pass makes, and how many the others.
fn allocations_of_a_pass(seats: usize) -> (u64, u64) {
    let hub = Hub::new(MemoryLog::default());
    let mut dispatcher = settled(&hub, seats);
    let mut counted = (0, 0);
    // What is kept is there after the first.
    for n in 0..3 {
        hub.publish(Publication::new(topic(), n.to_string())).now_or_never().unwrap().unwrap();
        let mut writes = Writes::default();
        let first = measure(|| {
            dispatcher.collect_wakes();
            assert!(dispatcher.serve_next(&mut writes));
        });
        let others = measure(|| while dispatcher.serve_next(&mut writes) {});
        assert_eq!(writes.0, seats);
        counted = (first.count_total, others.count_total);
    }
    counted
}

#[test]
fn a_pass_over_settled_seats_allocates_nothing_for_a_delivery() {
    // Encoding the frame for all takes some, depending on how long its random numbers are.
    const FRAME: std::ops::RangeInclusive<u64> = 1..=16;
    for seats in [10, 10_000] {
        let (first, others) = allocations_of_a_pass(seats);
        assert!(FRAME.contains(&first) && others == 0, "{seats} seats: {first} and {others}");
    }
}
