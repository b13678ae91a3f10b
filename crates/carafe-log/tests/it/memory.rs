//! The log in memory: the contract, and what is its own.

use std::sync::Arc;
use std::task::{Context, Waker};

use carafe_log::contract::Factory;
use carafe_log::contract::helpers::{
    append, append_one, positions, publication, read_all, topic, wait,
};
use carafe_log::{
    Access, Append, AppendError, Erase, Find, MemoryLimits, MemoryLog, Publication, Read,
};
use carafe_protocol::{Generation, TopicMatcher};

struct Memory;

impl Factory for Memory {
    type Log = MemoryLog;

    fn roomy() -> MemoryLog {
        MemoryLog::default()
    }

    fn supplied() -> MemoryLog {
        MemoryLog::with_generation(MemoryLimits::default(), Generation::new(7))
    }

    fn tight() -> MemoryLog {
        keeping(8)
    }
}

carafe_log::contract::tests!(Memory);

fn keeping(entries: usize) -> MemoryLog {
    MemoryLog::new(MemoryLimits::default().with_entries(entries))
}

/// What a publication takes as an entry.
fn weight_of(publication: Publication) -> usize {
    let log = MemoryLog::default();
    append_one(&log, publication);
    read_all(&log, 0, &[TopicMatcher::any()])[0].weight()
}

#[test]
fn the_newest_entries_are_kept_by_count() {
    let log = keeping(3);
    let all = append(&log, (0..5).map(|n| publication("a", &n.to_string())).collect());
    assert_eq!(log.span().start, all[1]);
    assert_eq!(positions(&read_all(&log, all[1].offset, &[TopicMatcher::any()])), all[2..]);
}

#[test]
fn the_newest_entries_are_kept_by_bytes() {
    let each = weight_of(publication("a", "123"));
    let log = MemoryLog::new(MemoryLimits::default().with_bytes(3 * each));
    let all: Vec<_> = (0..5).map(|_| append_one(&log, publication("a", "123"))).collect();
    assert_eq!(log.span().start, all[1]);
    let large = append_one(&log, publication("a", &"x".repeat(each + 3)));
    assert_eq!(log.span().start, all[3], "two small ones make room for one that is twice as large");
    assert_eq!(positions(&read_all(&log, all[3].offset, &[TopicMatcher::any()])), [all[4], large]);
}

#[test]
fn a_batch_is_taken_only_if_it_can_be_kept_whole() {
    let each = weight_of(publication("a", "123"));
    let log = MemoryLog::new(MemoryLimits::default().with_bytes(2 * each));
    let before = log.span();
    let three = vec![publication("a", "123"); 3];
    let error = wait(log.append(three)).unwrap_err();
    assert_eq!(error, AppendError::TooLarge { bytes: 3 * each, limit: 2 * each });
    assert_eq!(log.span(), before);

    let two = append(&log, vec![publication("a", "123"); 2]);
    assert_eq!(positions(&read_all(&log, 0, &[TopicMatcher::any()])), two);
    let slightly = vec![publication("a", &"x".repeat(each + 4))];
    assert!(
        wait(log.append(slightly)).is_err(),
        "what is taken but cannot be kept would be a gap at once"
    );
    assert_eq!(log.span().oldest, Some(two[0]));
}

/// The test hangs if that never happens.
#[test]
fn erased_content_leaves_the_memory_although_the_publisher_does_not_wait() {
    let log = MemoryLog::default();
    append(&log, (0..5000).map(|number| publication("a", &number.to_string())).collect());
    let entries = read_all(&log, 0, &[TopicMatcher::any()]);
    let held: Vec<_> = entries.iter().map(Arc::downgrade).collect();
    drop(entries);
    assert!(held.iter().all(|entry| entry.strong_count() > 0));
    let mut erasure = log.append(vec![Publication::erase(topic("a"), Erase::Before)]);
    // As when the client of a request leaves.
    let _ = erasure.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(erasure);
    while held.iter().any(|entry| entry.strong_count() > 0) {
        std::thread::yield_now();
    }
}

#[test]
fn a_known_generation_is_that_of_its_positions() {
    let log = MemoryLog::with_generation(MemoryLimits::default(), Generation::new(7));
    assert_eq!(append_one(&log, publication("a", "")).generation, Generation::new(7));
    assert_eq!(log.span().start.generation, Generation::new(7));
}

fn of_hub(number: usize) -> Publication {
    publication("joined", &number.to_string()).with_hub(true)
}

#[test]
fn the_hubs_own_events_push_no_published_one_out() {
    let log = keeping(3);
    let mut stored_at = vec![append_one(&log, publication("orders", "0"))];
    for number in 0..2000 {
        stored_at.push(append_one(&log, of_hub(number)));
    }
    stored_at.push(append_one(&log, publication("orders", "1")));
    let all = read_all(&log, log.span().start.offset, &[TopicMatcher::any()]);
    let (orders, own): (Vec<_>, Vec<_>) =
        all.iter().partition(|entry| !entry.publication.is_of_hub());
    assert_eq!((orders.len(), own.len()), (2, 1000), "and of its own, the newest are kept");
    assert!(all.is_sorted_by_key(|entry| entry.offset()) && own[999].position == stored_at[2000]);
    // A stream may stand where an event was that is gone: nothing that was published after it is
    // missing.
    for position in stored_at {
        assert_eq!(wait(log.find(position)).unwrap(), Find::Found, "{position}");
    }
    append(&log, vec![publication("orders", "more"); 2]);
    let all = read_all(&log, log.span().start.offset, &[TopicMatcher::any()]);
    assert_eq!(all.len(), 3 + 1000, "the oldest order has gone");
    append_one(&log, publication("orders", "more"));
    let all = read_all(&log, log.span().start.offset, &[TopicMatcher::any()]);
    assert_eq!(all.len(), 3, "and what came before the one that is the oldest now");
}

#[test]
fn the_last_of_both_kinds_are_counted_in_their_order() {
    let log = keeping(100);
    let stored_at: Vec<_> = (0..6)
        .map(|number| append_one(&log, publication("a", "").with_hub(number % 2 == 0)))
        .collect();
    for count in 1..6 {
        let before =
            wait(log.before_last(count, vec![TopicMatcher::any()], Access::all())).unwrap();
        assert_eq!(before, stored_at[5 - count]);
        assert_eq!(
            positions(&read_all(&log, before.offset, &[TopicMatcher::any()])),
            stored_at[6 - count..]
        );
    }
}
