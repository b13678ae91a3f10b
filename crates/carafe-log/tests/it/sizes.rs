//! How much of the disk the log takes, and how much history it keeps within that.

use carafe_log::contract::helpers::{append, append_one, check_random, keyed, publication, wait};
use carafe_log::{Append, AppendError, DiskLog, DiskOptions, Log, Publication, Read};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::open;
use crate::sim::SimDisk;

const MIB: u64 = 1 << 20;

fn keeping(bytes: u64) -> DiskOptions {
    DiskOptions::default().with_bytes(bytes).with_readers(1)
}

/// A log that is published to, and what it should keep of that.
struct Rig {
    disk: SimDisk,
    log: DiskLog,
    limit: u64,
    /// The bytes of each event's data, from the first on.
    published: Vec<u64>,
}

impl Rig {
    fn new(options: DiskOptions) -> Self {
        let disk = SimDisk::default();
        let log = open(&disk, options).unwrap();
        Self { disk, log, limit: options.bytes, published: Vec::new() }
    }

    fn publish(&mut self, batch: Vec<Publication>) {
        let bytes =
            |publication: &Publication| publication.event().data().map_or(0, str::len) as u64;
        self.published.extend(batch.iter().map(bytes));
        append(&self.log, batch);
    }

    fn taken(&self) -> u64 {
        self.disk.content().values().map(|file| file.len() as u64).sum()
    }

    /// Bytes of the events that are kept.
    fn kept(&self) -> u64 {
        let gone = usize::try_from(self.log.span().start.offset).unwrap();
        self.published[gone..].iter().sum()
    }

    /// More was published than the log keeps.
    fn is_full(&self) -> bool {
        self.published.iter().sum::<u64>() > self.limit
    }

    /// The limit is never exceeded, and used once there is enough to keep; `part` is what the
    /// events' data make of it.
    fn check(&self, part: f64) {
        let (taken, kept, limit) = (self.taken(), self.kept(), self.limit);
        let least_taken = if self.is_full() { limit * 85 / 100 } else { 0 };
        assert!((least_taken..=limit).contains(&taken), "{taken} of {limit} bytes are taken");
        let least = 0.85 * part;
        assert!(
            !self.is_full() || kept as f64 >= least * limit as f64,
            "{kept} of {limit} bytes are kept, less than {least}"
        );
    }
}

fn text(length: usize) -> String {
    "x".repeat(length)
}

#[test]
fn a_limit_of_bytes_is_used_and_never_exceeded() {
    // A record takes 80 bytes beside its data, and 16 in the index.
    for (size, limit, part) in [(100, MIB / 2, 0.4), (1000, MIB, 0.9), (4000, 2 * MIB, 0.97)] {
        let mut rig = Rig::new(keeping(limit));
        let events = usize::try_from(limit).unwrap() * 2 / size;
        for number in 0..events {
            rig.publish(vec![publication(&format!("topic/{}", number % 10), &text(size))]);
            if number % 7 == 0 {
                rig.check(part);
            }
        }
        assert!(rig.is_full());
        rig.check(part);
    }
}

#[test]
fn events_of_all_sizes_in_batches_keep_within_the_limit() {
    let limit = MIB;
    check_random(0xCAFE, 8, &any::<u64>(), |seed| {
        let (mut random, mut rig) = (StdRng::seed_from_u64(seed), Rig::new(keeping(limit)));
        while rig.published.iter().sum::<u64>() < 3 * limit {
            let count = random.random_range(1..10);
            let batch = (0..count).map(|_| publication("a", &text(random.random_range(200..3000))));
            rig.publish(batch.collect());
            rig.check(0.9);
        }
    });
}

#[test]
fn a_topic_of_its_own_and_a_key_for_each_event_do_not_exceed_the_limit() {
    let mut rig = Rig::new(keeping(MIB / 2));
    for number in 0..4000 {
        rig.publish(vec![keyed(&format!("a/topic/of/its/own/{number}"), &format!("key-{number}"))]);
        assert!(rig.taken() <= rig.limit);
    }
    assert!(rig.taken() >= rig.limit * 85 / 100);
    assert!(rig.log.span().start.offset > 0);
}

#[test]
fn a_batch_that_is_larger_than_the_history_is_refused() {
    let rig = Rig::new(keeping(MIB / 4));
    let error = wait(rig.log.append(vec![publication("a", &text(1 << 20))])).unwrap_err();
    assert!(
        matches!(error, AppendError::TooLarge { limit, .. } if limit as u64 == MIB / 4),
        "{error:?}"
    );
    assert_eq!(rig.log.span().tail.offset, 0);
}

#[test]
fn a_batch_that_is_larger_than_a_segment_makes_room_for_itself() {
    let mut rig = Rig::new(keeping(MIB));
    for _ in 0..2000 {
        rig.publish(vec![publication("a", &text(1000))]);
    }
    rig.publish(vec![publication("a", &text(300_000)), publication("a", "with it")]);
    assert!(rig.taken() <= rig.limit);
    assert!(rig.kept() > rig.limit * 6 / 10);
}

#[test]
fn a_limit_of_entries_keeps_so_many_and_little_more() {
    let options = keeping(1 << 30).with_entries(4000);
    let disk = SimDisk::default();
    let log = open(&disk, options.with_segment_bytes(1 << 20)).unwrap();
    for number in 0..20_u64 {
        append(&log, vec![publication("a", "x"); 500]);
        assert!(kept(&log) >= (500 * (number + 1)).min(4000));
    }
    for _ in 0..600 {
        append_one(&log, publication("a", "x"));
        assert!((4000..=4000 + 500 + 500 + 1).contains(&kept(&log)), "{}", kept(&log));
    }
}

#[test]
fn events_that_the_hub_publishes_itself_do_not_push_others_out_of_a_limit_of_entries() {
    let options = keeping(1 << 30).with_entries(1000).with_segment_bytes(4096);
    let disk = SimDisk::default();
    let log = open(&disk, options).unwrap();
    append_one(&log, publication("a", "an order"));
    let of_hub = || vec![publication("b", "a subscriber came").with_hub(true); 100];
    (0..50).for_each(|_| drop(append(&log, of_hub())));
    assert_eq!(log.span().start.offset, 0);
    drop(log);
    let log = open(&disk, options).unwrap();
    (0..50).for_each(|_| drop(append(&log, of_hub())));
    assert_eq!(log.span().start.offset, 0, "nor after opening again");
    (0..20).for_each(|_| drop(append(&log, vec![publication("a", "x"); 100])));
    assert!(log.span().start.offset > 0, "what others publish does");
}

fn kept(log: &impl Log) -> u64 {
    let span = log.span();
    span.tail.offset - span.start.offset
}

#[test]
fn a_log_from_a_time_of_larger_segments_gives_their_room_back() {
    let disk = SimDisk::default();
    let log = open(&disk, keeping(64 * MIB)).unwrap();
    for _ in 0..50 {
        append_one(&log, publication("a", &text(1000)));
    }
    drop(log);
    let options = keeping(MIB);
    let mut rig =
        Rig { log: open(&disk, options).unwrap(), disk, limit: MIB, published: vec![1000; 50] };
    assert_eq!(rig.log.span().start.offset, 0, "what is there fits");
    while !rig.is_full() {
        rig.publish(vec![publication("a", &text(1000))]);
        assert!(rig.taken() <= rig.limit);
    }
    rig.check(0.9);
}
