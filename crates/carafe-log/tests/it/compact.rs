//! Of compacted topics, only the newest event is sure to be kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carafe_log::contract::helpers::{
    append_one, before_last, find, keyed, pattern, positions, publication, settle, topic,
    try_read_all, wait,
};
use carafe_log::contract::latest::agrees_with;
use carafe_log::{
    Access, Append, DiskLog, Entry, Erase, ExternalId, Find, Grant, IdempotencyKey, Kind,
    LatestQuery, Publication, Read, Removed,
};
use carafe_protocol::{Position, Topic, TopicMatcher};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{all, open, small_segments, verify};
use crate::sim::SimDisk;

fn compacting(disk: &SimDisk) -> DiskLog {
    let log = open(disk, small_segments()).unwrap();
    log.compact(vec![pattern("state/*")]);
    log
}

fn has(files: &BTreeMap<String, Vec<u8>>, text: &str) -> bool {
    files.values().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// Waits until a text has left the disk. The test hangs if it never does.
fn until_gone(disk: &SimDisk, log: &DiskLog, text: &str) {
    while has(&disk.content(), text) {
        settle(log);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Publishes values of three topics, and returns the positions of the newest ones.
fn update(log: &DiskLog, rounds: usize) -> Vec<Position> {
    let mut newest = Vec::new();
    for round in 0..rounds {
        newest = (0..3)
            .map(|of| {
                let value = format!("value-{of}-{round}-{}", "x".repeat(100));
                append_one(log, publication(&format!("state/{of}"), &value))
            })
            .collect();
    }
    newest
}

fn with_content(log: &DiskLog) -> Vec<Arc<Entry>> {
    let mut entries = all(log);
    entries.retain(|entry| entry.publication.is_event());
    entries
}

#[test]
fn superseded_events_are_dropped_and_all_positions_stay_valid() {
    let disk = SimDisk::default();
    let log = compacting(&disk);
    let other = append_one(&log, publication("other", "not compacted"));
    let newest = update(&log, 60);
    let before = positions(&all(&log));
    until_gone(&disk, &log, "value-0-0-");
    assert_eq!(positions(&all(&log)), before);
    assert!(before.iter().all(|position| find(&log, *position) == Find::Found));
    let kept = with_content(&log);
    assert!(positions(&kept).contains(&other) && kept.len() < before.len());
    assert!(newest.iter().all(|position| positions(&kept).contains(position)));
    let dropped = all(&log).into_iter().find(|entry| !entry.publication.is_event()).unwrap();
    assert_eq!(dropped.publication.kind(), Kind::Removed(Removed::Compacted));
    let query = LatestQuery::of(vec![pattern("state/*")]).with_access(Access::all());
    let offsets: Vec<_> = newest.iter().map(|position| position.offset).collect();
    assert_eq!(wait(log.latest(query)).unwrap().offsets, offsets);
    let first_of_all = [TopicMatcher::any()];
    assert_eq!(before_last(&log, kept.len(), &first_of_all), log.span().start);
    drop(log);
    assert_eq!(verify(&disk), []);
}

#[test]
fn an_event_that_a_reader_still_needs_stays() {
    let disk = SimDisk::default();
    let log = compacting(&disk);
    append_one(&log, publication("state/0", "the newest public one"));
    let of_two = publication("state/0", "of two").with_alternates([topic("state/quiet")]);
    append_one(&log, of_two.with_private(true));
    let of_other = publication("state/0", "of a topic that is not compacted");
    append_one(&log, of_other.with_alternates([topic("other")]).with_private(true));
    let key = keyed("state/0", "key").key().cloned().unwrap();
    let with_key = publication("state/0", "with a key").with_key(key).with_private(true);
    let known = append_one(&log, with_key.clone());
    for round in 0..100 {
        let value = format!("value-{round}-{}", "x".repeat(100));
        append_one(&log, publication("state/0", &value).with_private(true));
    }
    until_gone(&disk, &log, "value-0-");
    let kept = with_content(&log);
    for text in ["the newest public one", "of two", "of a topic that is not", "with a key"] {
        assert!(kept.iter().any(|entry| entry.data().starts_with(text)), "{text}");
    }
    let again = wait(log.append(vec![with_key])).unwrap();
    assert_eq!((again[0].position, again[0].repeated), (known, true));
}

#[test]
fn a_private_event_of_two_topics_stays_for_those_who_may_see_one_of_them() {
    let disk = SimDisk::default();
    let log = compacting(&disk);
    let private = |to: &str| publication(to, "a value").with_private(true);
    let of_both = append_one(&log, private("state/0").with_alternates([topic("state/1")]));
    append_one(&log, private("state/0"));
    append_one(&log, private("state/1"));
    // Superseded by the others of their topics.
    update(&log, 60);
    until_gone(&disk, &log, "value-0-0-");
    let first = with_content(&log).into_iter().next().unwrap();
    assert_eq!((first.position, first.data()), (of_both, "a value"));
}

#[test]
fn an_erased_event_is_not_taken_for_a_superseded_one() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    update(&log, 60);
    // It waits: compaction comes first.
    let erasure = append_one(&log, Publication::erase(topic("state/0"), Erase::Before));
    log.compact(vec![pattern("state/*")]);
    until_gone(&disk, &log, "value-0-0-");
    assert_eq!(log.waiting_erasures().count, 1);
    let mut erased = all(&log);
    erased.retain(|entry| entry.topic() == &topic("state/0") && entry.position != erasure);
    assert_eq!(erased.len(), 60);
    let is_erased = |entry: &Arc<Entry>| entry.publication.kind() == Kind::Removed(Removed::Erased);
    assert!(erased.iter().all(is_erased), "its readers are told of it");
}

#[test]
fn a_compacted_event_is_found_by_its_id_until_it_is_erased() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments().with_erase_within(Duration::ZERO)).unwrap();
    log.compact(vec![pattern("state/*")]);
    let id = ExternalId::new("urn:first").unwrap();
    let first = publication("state/0", "the first value").with_external_id(id.clone());
    let first = append_one(&log, first);
    update(&log, 60);
    until_gone(&disk, &log, "the first value");
    let search = || wait(log.find_external_id(id.clone(), Access::all()));
    assert_eq!(search(), Ok(Some(first)));
    append_one(&log, Publication::erase(topic("state/0"), Erase::Before));
    assert_eq!(search(), Ok(None));
    until_gone(&disk, &log, "urn:first");
    assert_eq!(all(&log)[0].publication.kind(), Kind::Removed(Removed::Compacted));
}

/// An event of compacted topics, or of another one, that has something of everything.
fn any_event(random: &mut StdRng) -> Publication {
    let of = |random: &mut StdRng| topic(&format!("state/{}", random.random_range(0..4)));
    let mut event = Publication::new(of(random), "x".repeat(random.random_range(0..200)));
    match random.random_range(0..10) {
        0..3 => event = event.with_alternates([of(random)]),
        3 => event = event.with_alternates([topic("other")]),
        4 => {
            let key = random.random::<u32>().to_string();
            event = event.with_key(IdempotencyKey::new(&key).unwrap());
        }
        _ => {}
    }
    // The topic state/3 has no public event.
    let is_private = event.topics().any(|topic| topic.as_str() == "state/3") || random.random();
    event.with_private(is_private)
}

/// Whether newer events have superseded an event for everybody who may see it.
fn is_superseded(entry: &Entry, events: &[Arc<Entry>]) -> bool {
    let publication = &entry.publication;
    let newest = |of: &Topic, public: bool| {
        let is_of = |other: &&Arc<Entry>| {
            other.publication.topics().any(|topic| topic == of)
                && !(public && other.publication.is_private())
        };
        events.iter().rev().find(is_of).map(|entry| entry.offset())
    };
    let is_newest =
        |of: &Topic| [newest(of, false), newest(of, true)].contains(&Some(entry.offset()));
    publication.key().is_none()
        && publication.topics().all(|of| of.as_str().starts_with("state/") && !is_newest(of))
}

/// What may be gone is gone, or as it was, and each reader gets the newest events that it may see.
fn keeps_what_it_should(log: &DiskLog, before: &[Arc<Entry>]) {
    let mut events = before.to_vec();
    events.retain(|entry| entry.publication.counts());
    let now = all(log);
    assert_eq!(positions(&now), positions(before));
    for (entry, was) in now.iter().zip(before) {
        let is_compacted = entry.publication.kind() == Kind::Removed(Removed::Compacted);
        assert!(entry == was || (is_compacted && is_superseded(was, &events)), "{was:?}");
    }
    let granted = Access::to(Grant::to([TopicMatcher::from(topic("state/1"))])).with_public(true);
    for access in [Access::public(), Access::all(), granted] {
        for of in 0..4 {
            let wanted: TopicMatcher = topic(&format!("state/{of}")).into();
            agrees_with(log, &events, &LatestQuery::of([wanted]).with_access(access.clone()));
        }
        let query = LatestQuery::of([pattern("state/*")]).with_access(access);
        agrees_with(log, &events, &query);
    }
}

#[test]
fn what_is_dropped_at_random_was_superseded_for_each_reader() {
    println!("seed {SEED:#x}");
    let mut random = StdRng::seed_from_u64(SEED);
    for _ in 0..4 {
        let disk = SimDisk::default();
        let log = open(&disk, small_segments()).unwrap();
        for number in 0..200 {
            append_one(&log, any_event(&mut random));
            if number == 100 {
                append_one(&log, Publication::erase(topic("state/2"), Erase::Before));
            }
        }
        // Newer ones of one topic each, which not everybody sees.
        for number in 0..60 {
            let newer = publication(&format!("state/{}", number % 4), &"y".repeat(100));
            append_one(&log, newer.with_private(true));
        }
        // Segments are compacted in their order, so these come last. Some segments have no others.
        for number in 0..8 {
            let marker = format!("marker-{number}-{}", "x".repeat(600));
            append_one(&log, publication("state/last", &marker));
        }
        for _ in 0..20 {
            append_one(&log, publication("other", &"z".repeat(100)));
        }
        let before = all(&log);
        log.compact(vec![pattern("state/*")]);
        while has(&disk.content(), "marker-4-") {
            settle(&log);
            keeps_what_it_should(&log, &before);
        }
        keeps_what_it_should(&log, &before);
        drop(log);
        keeps_what_it_should(&open(&disk, small_segments()).unwrap(), &before);
    }
}

/// Crash images that are looked at.
const CRASHES: usize = 500;
const SEED: u64 = 0xC0;

#[test]
fn after_any_crash_during_a_compaction_the_newest_events_are_there() {
    println!("seed {SEED:#x}");
    let (disk, mut random) = (SimDisk::default(), StdRng::seed_from_u64(SEED));
    let log = compacting(&disk);
    let mut stored = Vec::<(usize, String, Position)>::new();
    for round in 0..30 {
        for of in 0..3 {
            let to = format!("state/{of}");
            let value = format!("value-{of}-{round}-{}", "x".repeat(100));
            let position = append_one(&log, Publication::new(topic(&to), value));
            stored.push((disk.done(), to, position));
        }
    }
    until_gone(&disk, &log, "value-0-0-");
    for _ in 0..CRASHES {
        let done = random.random_range(0..=disk.done());
        let image = SimDisk::with(disk.crash(done, &mut random));
        let log = open(&image, small_segments()).unwrap();
        let kept = try_read_all(&log, 0, &[TopicMatcher::any()]).unwrap();
        let acknowledged: Vec<_> = stored.iter().filter(|(at, ..)| *at <= done).collect();
        let positions = positions(&kept);
        assert!(acknowledged.iter().all(|(_, _, position)| positions.contains(position)));
        for of in 0..3 {
            let of = format!("state/{of}");
            let is_of = |entry: &&Arc<Entry>| entry.topic().as_str() == of;
            let newest = kept.iter().rev().find(is_of);
            assert!(newest.is_none_or(|newest| newest.publication.is_event()), "{done}");
        }
        drop(log);
        assert_eq!(verify(&image), []);
    }
}
