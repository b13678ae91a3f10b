//! The allocations of a broadcast. A binary of its own, since the counting allocator is global.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

use std::task::Waker;

use allocation_counter::measure;
use carafe_hub::{Dispatcher, Format, Hub, Sink, Subscribe, SubscriberId, Written};
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::Topic;
use futures_util::FutureExt;

/// Clients that take everything, and the number of writes.
#[derive(Default)]
struct Writes(usize);

impl Sink for Writes {
    fn write(&mut self, _: SubscriberId, bytes: &[u8], _events: u32) -> Written {
        self.0 += 1;
        Written::Bytes(bytes.len())
    }

    fn ended(&mut self, subscriber: SubscriberId, failed: bool) {
        panic!("{subscriber} ended, {failed}");
    }
}

fn topic() -> Topic {
    Topic::new("a").unwrap()
}

/// Subscribers that have everything.
fn in_group(hub: &Hub, count: usize) -> Dispatcher {
    let mut dispatcher = hub.dispatcher(Waker::noop().clone());
    for _ in 0..count {
        let subscription = hub.subscribe(Subscribe::to(topic())).now_or_never().unwrap().unwrap();
        dispatcher.add(subscription.into_frames(Format::Plain));
    }
    while dispatcher.serve_next(&mut Writes::default()) {}
    dispatcher
}

/// The allocations of the first turn of a broadcast, and of the others.
fn allocations_of_a_broadcast(subscribers: usize) -> (u64, u64) {
    let hub = Hub::new(MemoryLog::default());
    let mut dispatcher = in_group(&hub, subscribers);
    let mut counted = (0, 0);
    // Buffers that are kept exist after the first broadcast.
    for n in 0..3 {
        hub.publish(Publication::new(topic(), n.to_string())).now_or_never().unwrap().unwrap();
        let mut writes = Writes::default();
        let first = measure(|| {
            dispatcher.collect_wakes();
            assert!(dispatcher.serve_next(&mut writes));
        });
        let others = measure(|| while dispatcher.serve_next(&mut writes) {});
        assert_eq!(writes.0, subscribers);
        counted = (first.count_total, others.count_total);
    }
    counted
}

#[test]
fn a_broadcast_to_members_of_a_group_allocates_nothing_for_a_delivery() {
    // Encoding the frame for all takes some, depending on the length of its random numbers.
    const FRAME: std::ops::RangeInclusive<u64> = 1..=16;
    for subscribers in [10, 10_000] {
        let (first, others) = allocations_of_a_broadcast(subscribers);
        assert!(
            FRAME.contains(&first) && others == 0,
            "{subscribers} subscribers: {first} and {others}"
        );
    }
}
