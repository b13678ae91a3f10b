//! Tests of what reading costs, in tests of patterns and in files.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use carafe_protocol::{Topic, TopicMatcher, TopicPattern};
use futures_executor::block_on as wait;

use crate::disk::log::DiskLog;
use crate::disk::options::DiskOptions;
use crate::disk::read::pick::MatcherSet;
use crate::disk::storage::{Folder, Storage, StorageFile};
use crate::wanted::Wanted;
use crate::{
    Access, Append, Appended, BlockLimit, Erase, ExternalId, IdempotencyKey, LatestQuery, Outcome,
    Publication, Read, ReadError,
};

const BLOCK: BlockLimit = BlockLimit { entries: 256, bytes: 64 << 10 };
const TOPICS: usize = 3000;

/// A folder that counts what is done there, and can hold up the making of indexes.
struct Spy {
    folder: Folder,
    indexes: Mutex<()>,
    created: AtomicUsize,
    reads: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    /// The size of the largest write.
    largest_write: Arc<AtomicUsize>,
}

struct SpyFile {
    file: Arc<dyn StorageFile>,
    reads: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    largest_write: Arc<AtomicUsize>,
}

impl Spy {
    fn on(folder: &tempfile::TempDir) -> Arc<Self> {
        let (folder, _) = Folder::lock(folder.path()).unwrap();
        Arc::new(Self {
            folder,
            indexes: Mutex::default(),
            created: AtomicUsize::new(0),
            reads: Arc::default(),
            bytes: Arc::default(),
            largest_write: Arc::default(),
        })
    }

    /// How many bytes something reads.
    fn bytes_of(&self, read: impl FnOnce()) -> usize {
        let before = self.bytes.load(Ordering::Relaxed);
        read();
        self.bytes.load(Ordering::Relaxed) - before
    }

    fn file(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(SpyFile {
            file,
            reads: Arc::clone(&self.reads),
            bytes: Arc::clone(&self.bytes),
            largest_write: Arc::clone(&self.largest_write),
        })
    }
}

impl Storage for Spy {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.created.fetch_add(1, Ordering::Relaxed);
        if name.contains(".index") {
            drop(self.indexes.lock().unwrap());
        }
        Ok(self.file(self.folder.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(self.folder.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageFile for SpyFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        self.file.read_at(at, bytes)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.largest_write.fetch_max(bytes.len(), Ordering::Relaxed);
        self.file.write_at(at, bytes)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.file.allocate(size)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.truncate(size)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn options() -> DiskOptions {
    DiskOptions { segment_bytes: Some(256 << 10), ..DiskOptions::default() }
}

fn open(spy: &Arc<Spy>, options: DiskOptions) -> DiskLog {
    DiskLog::open_on(Arc::clone(spy) as Arc<dyn Storage>, options).unwrap()
}

/// Each topic has an event in each round.
fn fill(log: &DiskLog, rounds: usize) {
    for _ in 0..rounds {
        let batch = |from: usize| (from..from + 100).map(publication).collect();
        (0..TOPICS).step_by(100).for_each(|from| drop(wait(log.append(batch(from))).unwrap()));
    }
}

fn publication(number: usize) -> Publication {
    Publication::new(Topic::new(&format!("dev/{number}")).unwrap(), "some data")
}

fn complex(number: usize) -> TopicMatcher {
    TopicPattern::new(&format!("dev/({number}|\\d*0)")).unwrap().into()
}

/// How many entries and blocks a replay takes.
fn replay(log: &DiskLog, wanted: &[TopicMatcher]) -> (usize, usize) {
    let (mut entries, mut blocks, mut after) = (0, 0, log.span().start.offset);
    while after < log.span().tail.offset {
        let block = wait(log.read(after, wanted.to_vec(), BLOCK)).unwrap();
        assert!(block.up_to.offset > after);
        after = block.up_to.offset;
        entries += block.entries.len();
        blocks += 1;
    }
    (entries, blocks)
}

#[test]
fn a_replay_by_pattern_tests_each_topic_once_for_each_segment() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, options());
    fill(&log, 20);
    let segments = log.shared.view().sealed.len() + 1;
    assert!(segments > 5, "{segments}");
    for wanted in [vec![TopicPattern::new("dev/*").unwrap().into()], vec![complex(1), complex(2)]] {
        let before = log.shared.tests();
        let (entries, blocks) = replay(&log, &wanted);
        assert!(entries >= 20 * TOPICS / 10 && blocks > 20);
        let tests = log.shared.tests() - before;
        assert!(tests <= (segments * TOPICS * wanted.len()) as u64, "{tests} tests");
    }
}

#[test]
fn without_room_to_remember_a_replay_by_pattern_tests_each_entry_once_or_less() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, options());
    fill(&log, 5);
    let expected = replay(&log, &[complex(1)]);
    log.shared.selections.fill_up();
    let before = log.shared.tests();
    assert_eq!(replay(&log, &[complex(2)]).0, expected.0);
    let tests = log.shared.tests() - before;
    assert!(tests <= 2 * 5 * TOPICS as u64, "{tests} tests");
}

#[test]
fn finding_the_last_of_what_is_not_there_is_refused_beyond_a_number_of_tests() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, DiskOptions { pattern_tests: 50_000, ..options() });
    fill(&log, 20);
    let missing = |number| TopicPattern::new(&format!("none/({number})")).unwrap().into();
    let last = |patterns: usize| {
        wait(log.before_last(1, (0..patterns).map(missing).collect(), Access::all()))
    };
    assert_eq!(last(1), Ok(log.span().start));
    assert_eq!(last(100), Err(ReadError::TooMuchWork { limit: 50_000 }));
    let there = complex(1);
    assert!(
        wait(log.before_last(1, vec![there], Access::all())).is_ok(),
        "what is near the end is found"
    );
}

#[test]
fn a_topic_whose_newest_event_is_found_is_not_tested_in_older_segments() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, options());
    fill(&log, 20);
    assert!(log.shared.view().sealed.len() > 5);
    let wanted: TopicMatcher = TopicPattern::new("dev/*").unwrap().into();
    let latest = wait(log.latest(LatestQuery::of([wanted]))).unwrap();
    assert_eq!((latest.offsets.len(), log.shared.tests()), (TOPICS, TOPICS as u64));
}

#[test]
fn the_newest_events_are_found_without_reading_events() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, options());
    let data = "x".repeat(2000);
    for _ in 0..4 {
        let event = |number| publication(number).with_data(&data);
        wait(log.append((0..500).map(event).collect())).unwrap();
    }
    let before = spy.bytes.load(Ordering::Relaxed);
    // One who may see public events only: whether an event is private is in the index, too.
    let latest = wait(log.latest(LatestQuery::of([TopicMatcher::any()]))).unwrap();
    let found = spy.bytes.load(Ordering::Relaxed);
    assert_eq!(latest.offsets.len(), 500);
    assert!(found - before < 500 * 2000 / 4, "{} bytes", found - before);
    let mut rest = &latest.offsets[..];
    while !rest.is_empty() {
        rest = &rest[wait(log.read_at(rest.to_vec(), BLOCK)).unwrap().passed..];
    }
    let read = spy.bytes.load(Ordering::Relaxed) - found;
    assert!(read < 500 * 2000 * 3 / 2, "only the events of the result: {read} bytes");
}

/// Ends of so many topics, and an event of the topic `news` now and then.
fn end_topics(log: &DiskLog, topics: usize) {
    let end = |number: usize| Publication::end(publication(number).topic().clone(), Outcome::Done);
    for from in (0..topics).step_by(2000) {
        let news = Publication::new(news(), "some data");
        wait(log.append((from..from + 2000).map(end).chain([news]).collect())).unwrap();
    }
}

fn news() -> Topic {
    Topic::new("news").unwrap()
}

#[test]
fn finding_the_last_events_of_a_topic_costs_nothing_for_the_ends_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    end_topics(&open(&spy, options()), 24_000);
    // Closed, so that the indexes are files.
    let log = open(&spy, options());
    let segments = log.shared.view().sealed.len();
    assert!(segments > 4, "{segments}");
    let wanted = || vec![TopicMatcher::from(news())];
    // More than there are, so that each segment is searched.
    let search = || {
        assert_eq!(wait(log.before_last(100, wanted(), Access::all())), Ok(log.span().start));
    };
    // The first search reads each index once, to check it.
    search();
    let last = spy.bytes_of(search);
    let latest = spy.bytes_of(|| {
        let query = LatestQuery::of(wanted()).with_count(100);
        assert_eq!(wait(log.latest(query)).unwrap().offsets.len(), 12);
    });
    // One segment has more than 100 KiB of control entries.
    assert!(last.max(latest) < segments * (12 << 10), "{last} and {latest} bytes");
}

#[test]
fn the_last_events_are_found_while_the_writer_adds_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, options());
    end_topics(&log, 2000);
    let view = log.shared.view();
    // With this lock, the writer adds an end. A reader that takes it hangs here.
    let _adding = view.index.lock_control();
    let wanted = || vec![TopicMatcher::from(news())];
    let before = wait(log.before_last(1, wanted(), Access::all())).unwrap();
    assert_eq!(before.offset + 1, log.span().tail.offset);
    assert_eq!(wait(log.latest(LatestQuery::of(wanted()))).unwrap().offsets.len(), 1);
}

/// Four large events of each of 500 topics, and an erasure of one topic that waits. The indexes are
/// files. Returns the number of segments, too.
fn with_waiting_erasure(spy: &Arc<Spy>, erased: usize) -> (DiskLog, usize) {
    let log = open(spy, options());
    let data = "x".repeat(2000);
    let event = |number: usize| publication(number % 500).with_data(&data);
    for from in (0..4 * 500).step_by(50) {
        wait(log.append((from..from + 50).map(event).collect())).unwrap();
    }
    let erasure = Publication::erase(publication(erased).topic().clone(), Erase::Before);
    wait(log.append(vec![erasure])).unwrap();
    drop(log);
    let log = open(spy, options());
    assert_eq!(log.waiting_erasures().count, 1);
    let segments = log.shared.view().sealed.len();
    assert!(segments > 4, "{segments}");
    (log, segments)
}

#[test]
fn while_an_erasure_waits_searches_read_no_events() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let (log, segments) = with_waiting_erasure(&spy, 7);
    let latest = |wanted: TopicMatcher| {
        let query = LatestQuery::of([wanted]).with_count(4);
        wait(log.latest(query)).unwrap().offsets.len()
    };
    let last = |wanted: TopicMatcher, count| {
        wait(log.before_last(count, vec![wanted], Access::all())).unwrap().offset
    };
    let (erased, other) = (publication(7).topic().clone(), publication(8).topic().clone());
    let all = spy.bytes_of(|| assert_eq!(latest(TopicMatcher::any()), 499 * 4));
    // The rows and the topics of 2000 entries.
    assert!(all < 200 << 10, "{all} bytes");
    let of_other = spy.bytes_of(|| {
        assert_eq!((latest(other.clone().into()), last(other.clone().into(), 5)), (4, 0));
    });
    assert!(of_other < segments * (16 << 10), "{of_other} bytes");
    let of_erased = spy.bytes_of(|| {
        assert_eq!((latest(erased.clone().into()), last(erased.clone().into(), 1)), (0, 0));
    });
    assert!(of_erased < segments * (16 << 10), "{of_erased} bytes");
    let any = spy.bytes_of(|| assert!(last(TopicMatcher::any(), 1000) > 900));
    assert!(any < 200 << 10, "{any} bytes");
}

#[test]
fn the_newest_events_are_searched_within_a_number_of_tests() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, DiskOptions { pattern_tests: 50_000, ..options() });
    fill(&log, 20);
    let missing = |number| TopicPattern::new(&format!("none/({number})")).unwrap().into();
    let query = LatestQuery::of((0..100).map(missing).collect::<Vec<_>>());
    assert_eq!(wait(log.latest(query)), Err(ReadError::TooMuchWork { limit: 50_000 }));
}

#[test]
fn a_lost_index_is_made_again_once_for_all_readers() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, DiskOptions { readers: 8, ..options() });
    fill(&log, 10);
    while log.shared.view().sealed.iter().any(|sealed| !sealed.is_settled()) {
        thread::yield_now();
    }
    let lost: Vec<_> =
        spy.list().unwrap().into_iter().filter(|name| name.ends_with(".index")).collect();
    assert!(lost.len() > 2);
    lost.iter().for_each(|name| spy.remove(name).unwrap());
    let created = spy.created.load(Ordering::Relaxed);
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                assert_eq!(replay(&log, &[TopicMatcher::any()]).0, 10 * TOPICS);
            });
        }
    });
    assert_eq!(spy.created.load(Ordering::Relaxed) - created, lost.len());
}

#[test]
fn an_index_that_is_removed_while_the_hub_runs_does_not_stop_it_at_the_next_trim() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, DiskOptions { bytes: 1 << 20, ..options() });
    fill(&log, 4);
    for name in spy.list().unwrap().into_iter().filter(|name| name.ends_with(".index")) {
        spy.remove(&name).unwrap();
    }
    let before = log.span().start;
    fill(&log, 20);
    assert_ne!(log.span().start, before, "history was trimmed meanwhile");
    assert!(replay(&log, &[TopicMatcher::any()]).0 > 0);
}

#[test]
fn a_key_is_looked_up_while_all_readers_are_busy() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, DiskOptions { readers: 1, ..options() });
    let keyed = || publication(0).with_key(IdempotencyKey::new("known").unwrap());
    let first = wait(log.append(vec![keyed()])).unwrap()[0].position;
    fill(&log, 5);
    assert!(log.shared.view().sealed.len() > 1, "the key is on the disk");
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let busy = log.read_with(move |_| Ok(Some(gate.recv().is_ok())));
    let again = wait(log.append(vec![keyed()])).unwrap();
    assert_eq!(again, [Appended { position: first, repeated: true }]);
    open_gate.send(()).unwrap();
    assert_eq!(wait(busy), Ok(true));
}

#[test]
fn a_turn_of_testing_large_events_ends_before_all_of_a_segment_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, DiskOptions { segment_bytes: Some(64 << 20), ..options() });
    let large = |number: usize| {
        Publication::new(publication(number).topic().clone(), "x".repeat(256 << 10))
    };
    (0..128).for_each(|number| drop(wait(log.append(vec![large(number)])).unwrap()));
    drop(log);
    // The segment that was written is sealed by an event that has no room in it.
    let small = DiskOptions { segment_bytes: Some(4 << 10), ..options() };
    wait(open(&spy, small).append(vec![publication(0)])).unwrap();
    let log = open(&spy, small);
    assert_eq!(log.shared.view().sealed.len(), 1);
    log.shared.selections.fill_up();
    let missing = TopicPattern::new("none/(1)").unwrap().into();
    let asked = MatcherSet::new(Wanted::new(vec![missing]), &log.shared.selections);
    let before = spy.bytes.load(Ordering::Relaxed);
    let block = log.shared.read(0, &asked, BLOCK).unwrap().unwrap();
    let (read, passed) = (spy.bytes.load(Ordering::Relaxed) - before, block.up_to.offset);
    assert!(block.entries.is_empty() && passed > 0 && passed < 128, "{passed}");
    assert!(read < 24 << 20, "{read} bytes were read in one turn");
}

/// A file whose reads wait for a sign.
struct Gate(Mutex<()>);

#[test]
fn an_append_completes_while_all_readers_are_busy() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, DiskOptions { readers: 1, pattern_tests: u64::MAX, ..options() });
    fill(&log, 2);
    let gate = Arc::new(Gate(Mutex::new(())));
    let closed = gate.0.lock().unwrap();
    // A read that holds what reads hold, in the middle of its turn.
    let (reading, is_reading) = std::sync::mpsc::channel();
    let held = Arc::clone(&gate);
    let long = log.read_with(move |shared| {
        let view = shared.view();
        let list = view.index.of_topic(publication(TOPICS - 1).topic(), view.entries);
        reading.send(()).ok();
        drop(held.0.lock().unwrap());
        let last = list.len().checked_sub(1).map(|last| list.get(last));
        Ok(Some(last.map(|last| view.index.row(last).offset)))
    });
    is_reading.recv().unwrap();
    let before = log.span().tail.offset;
    fill(&log, 2);
    assert_eq!(log.span().tail.offset, before + 2 * TOPICS as u64);
    assert!(matches!(wait(log.find(log.span().tail)), Ok(crate::Find::Found)));
    drop(closed);
    assert_eq!(wait(long), Ok(Some(before)), "it sees what there was");
}

#[test]
fn the_writer_continues_in_the_next_segment_while_an_index_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, options());
    let indexes = || spy.list().unwrap().iter().filter(|name| name.ends_with(".index")).count();
    let held = spy.indexes.lock().unwrap();
    let sealed = || log.shared.view().sealed.len();
    let mut rounds = 0;
    while sealed() < 2 {
        fill(&log, 1);
        rounds += 1;
    }
    assert_eq!(indexes(), 0);
    assert_eq!(replay(&log, &[TopicMatcher::any()]).0, rounds * TOPICS, "all is read meanwhile");
    assert_eq!(replay(&log, &[publication(7).topic().clone().into()]).0, rounds);
    let tens = TopicPattern::new("dev/(\\d*0)").unwrap().into();
    assert_eq!(replay(&log, &[tens]).0, rounds * TOPICS / 10);
    drop(held);
    drop(log);
    assert_eq!(indexes(), 2, "an orderly stop waits for it");
}

/// A commit must not wait while a large write keeps the processor.
#[test]
fn an_index_is_written_in_small_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, DiskOptions { segment_bytes: Some(1 << 20), ..options() });
    fill(&log, 10);
    drop(log);
    let size = |name: &str| spy.open(name).unwrap().size().unwrap();
    let names = spy.list().unwrap();
    let indexes = names.iter().filter(|name| name.ends_with(".index")).map(|name| size(name));
    assert!(indexes.max() > Some(200 << 10));
    let largest = spy.largest_write.load(Ordering::Relaxed);
    assert!(largest < 66 << 10, "{largest}");
}

fn keyed(number: usize) -> Publication {
    let key = IdempotencyKey::new(&format!("key {number}")).unwrap();
    publication(number % 100).with_key(key)
}

#[test]
fn an_unknown_key_is_seldom_looked_for_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, options());
    for from in (0..20_000).step_by(100) {
        wait(log.append((from..from + 100).map(keyed).collect())).unwrap();
    }
    drop(log);
    let log = open(&spy, options());
    let segments = log.shared.view().sealed.len();
    assert!(segments >= 4, "{segments}");
    let reads = || spy.reads.load(Ordering::Relaxed);
    let looks = (20_000..20_200).filter(|number| {
        let before = reads();
        assert!(!wait(log.append(vec![keyed(*number)])).unwrap()[0].repeated);
        reads() > before
    });
    // A filter is wrong once in 2000 times.
    let looks = looks.count();
    assert!(looks < 8, "{looks} of 200 looked at the disk");
    assert!(wait(log.append(vec![keyed(5)])).unwrap()[0].repeated);
}

#[test]
fn a_key_has_one_hash_in_all_segments() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    for _ in 0..2 {
        let log = open(&spy, options());
        fill(&log, 10);
        let view = log.shared.view();
        let mut salts = view.sealed.iter().map(|sealed| sealed.segment.header.salt);
        assert!(view.sealed.len() >= 4, "{}", view.sealed.len());
        assert!(salts.all(|salt| salt == view.index.salt));
    }
}

#[test]
fn an_unknown_id_is_not_looked_for_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spy = Spy::on(&folder);
    let log = open(&spy, options());
    fill(&log, 20);
    let before = spy.reads.load(Ordering::Relaxed);
    let id = ExternalId::new("nobody's").unwrap();
    assert_eq!(wait(log.find_external_id(id, Access::all())), Ok(None));
    assert_eq!(spy.reads.load(Ordering::Relaxed), before, "no event has an ID");
}
