//! Readers and publishers at once, while segments are sealed and trimmed under them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use carafe_log::contract::helpers::{pattern, publication, topic, wait};
use carafe_log::{Access, Append, BlockLimit, DiskLog, Find, IdempotencyKey, Read, ReadError};
use carafe_protocol::{Offset, Position, TopicMatcher};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::small_segments;

const TOPICS: u64 = 7;
const EVENTS: u64 = 6000;

/// `CARAFE_TEST_SEED` sets another.
fn seed() -> u64 {
    std::env::var("CARAFE_TEST_SEED").map_or(0xCAFE, |seed| seed.parse().unwrap())
}

/// The event of an offset says which it is, and every tenth has a key.
fn event(offset: Offset) -> carafe_log::Publication {
    let event = publication(&format!("t/{}", offset % TOPICS), &offset.to_string());
    if offset.is_multiple_of(10) { event.with_key(key(offset)) } else { event }
}

fn key(offset: Offset) -> IdempotencyKey {
    IdempotencyKey::new(&format!("key-{offset}")).unwrap()
}

struct Rig {
    log: DiskLog,
    /// The answers to publishers, from the first offset on.
    stored_at: Mutex<Vec<Position>>,
    done: AtomicBool,
}

impl Rig {
    fn publish(&self, random: &mut StdRng) {
        while (self.stored_at.lock().unwrap().len() as u64) < EVENTS {
            let next = self.stored_at.lock().unwrap().len() as u64 + 1;
            let batch = (next..next + random.random_range(1..30)).map(event).collect();
            let appended = wait(self.log.append(batch)).unwrap();
            let mut stored_at = self.stored_at.lock().unwrap();
            assert!(appended.iter().all(|appended| !appended.repeated));
            stored_at.extend(appended.iter().map(|appended| appended.position));
            drop(stored_at);
            self.publish_again(random);
        }
        self.done.store(true, Ordering::Release);
    }

    /// A key that is kept is known, and where its entry is; others are stored again under another
    /// topic's name.
    fn publish_again(&self, random: &mut StdRng) {
        let stored_at = self.stored_at.lock().unwrap().clone();
        let recent = stored_at.len().saturating_sub(200)..stored_at.len();
        let number = random.random_range(recent) as u64 / 10 * 10;
        if number < 10 || number < self.log.span().start.offset + 1 {
            return;
        }
        let again = wait(self.log.append(vec![event(number)])).unwrap()[0];
        assert!(again.repeated, "the key of {number} is not known");
        assert_eq!(again.position, stored_at[number as usize - 1]);
    }

    fn read(&self, random: &mut StdRng) {
        let residue = random.random_range(0..TOPICS);
        let (wanted, divides): (Vec<TopicMatcher>, bool) = match random.random_range(0..3) {
            0 => (vec![topic(&format!("t/{residue}")).into()], true),
            1 => (vec![pattern(&format!("t/({residue}|x)"))], true),
            _ => (vec![TopicMatcher::any()], false),
        };
        let is_wanted = |offset: &Offset| !divides || offset % TOPICS == residue;
        let span = self.log.span();
        let after = random.random_range(span.start.offset..=span.tail.offset);
        let limit = BlockLimit { entries: random.random_range(1..200), bytes: 1 << 20 };
        match wait(self.log.read(after, wanted.clone(), limit)) {
            Ok(block) => {
                let offsets: Vec<_> = block.entries.iter().map(|entry| entry.offset()).collect();
                let expected: Vec<_> = (after + 1..=block.up_to.offset).filter(is_wanted).collect();
                assert_eq!(offsets, expected, "of {wanted:?} after {after}");
                assert!(
                    block.entries.iter().all(|entry| entry.publication == event(entry.offset()))
                );
                assert!(block.up_to.offset > after || after == span.tail.offset);
            }
            Err(ReadError::Trimmed { start, .. }) => assert!(after < start.offset),
            Err(error) => panic!("{error}"),
        }
        let count = random.random_range(1..20);
        let before = wait(self.log.before_last(count, wanted, Access::all())).unwrap();
        let later = (before.offset + 1..=self.log.span().tail.offset).filter(is_wanted).count();
        let trimmed = before.offset <= self.log.span().start.offset;
        assert!(later >= count || trimmed, "{later} of {count} after {before}");
    }

    fn find(&self, random: &mut StdRng) {
        let stored_at = self.stored_at.lock().unwrap().clone();
        let Some(last) = stored_at.len().checked_sub(1) else { return };
        let known = stored_at[random.random_range(0..=last)];
        let start = self.log.span().start.offset;
        let find = wait(self.log.find(known)).unwrap();
        let trimmed = find == Find::Trimmed && known.offset < self.log.span().start.offset;
        assert!(trimmed || (find == Find::Found && known.offset >= start), "{known}: {find:?}");
        if known.offset.is_multiple_of(10) {
            let found = wait(
                self.log.find_external_id(key(known.offset).external_id().clone(), Access::all()),
            )
            .unwrap();
            let gone = found.is_none() && known.offset <= self.log.span().start.offset;
            assert!(found == Some(known) || gone, "{known}: {found:?}");
        }
    }
}

#[test]
fn readers_get_exactly_what_is_kept_while_segments_are_sealed_and_trimmed() {
    let seed = seed();
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let options = small_segments().with_segment_bytes(4096).with_bytes(96 << 10).with_readers(3);
    let log = DiskLog::open(folder.path().join("log"), options).unwrap();
    let rig = Rig { log, stored_at: Mutex::default(), done: AtomicBool::new(false) };
    thread::scope(|scope| {
        scope.spawn(|| rig.publish(&mut StdRng::seed_from_u64(seed)));
        for number in 1..4 {
            let rig = &rig;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed + number);
                while !rig.done.load(Ordering::Acquire) {
                    rig.read(&mut random);
                    rig.find(&mut random);
                }
            });
        }
    });
    assert!(rig.log.span().start.offset > EVENTS / 2, "history was trimmed meanwhile");
}
