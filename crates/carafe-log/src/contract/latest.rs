//! The newest entries of each topic, and reading entries by their offsets.

use std::collections::BTreeSet;
use std::sync::Arc;

use carafe_protocol::{Offset, Topic, TopicMatcher};

use super::Factory;
use super::helpers::{
    NO_LIMIT, any, append, append_one, before_last, data, overflow, pattern, publication, read_all,
    supplied, topic, wait,
};
use crate::{
    Access, AppendAt, BlockLimit, Entry, Grant, Latest, LatestQuery, Log, Outcome, Publication,
    Read, ReadError,
};

/// The data of the entries that the query finds.
fn latest(log: &impl Log, query: LatestQuery) -> Vec<String> {
    let Latest { offsets, up_to } = wait(log.latest(query)).unwrap();
    assert_eq!(up_to, log.span().tail);
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    data(&read_at(log, &offsets, NO_LIMIT)).into_iter().map(Into::into).collect()
}

/// Reads block by block.
fn read_at(log: &impl Read, offsets: &[Offset], limit: BlockLimit) -> Vec<Arc<Entry>> {
    let (mut entries, mut rest) = (Vec::new(), offsets);
    while !rest.is_empty() {
        let picked = wait(log.read_at(rest.to_vec(), limit)).unwrap();
        assert!((1..=rest.len()).contains(&picked.passed), "a block passes one offset at least");
        rest = &rest[picked.passed..];
        entries.extend(picked.entries);
    }
    entries
}

fn of(topics: &[&str]) -> LatestQuery {
    LatestQuery::of(topics.iter().map(|text| topic(text).into()).collect::<Vec<TopicMatcher>>())
}

pub fn an_empty_log_has_no_newest_entry<F: Factory>() {
    let log = F::roomy();
    assert!(latest(&log, LatestQuery::of(any())).is_empty());
    assert!(latest(&log, of(&["a"])).is_empty());
}

pub fn each_topic_has_its_newest_entries_in_the_order_of_the_log<F: Factory>() {
    let log = F::roomy();
    let batch = ["a", "b", "a", "c/1", "b", "c/2", "a"].iter().zip(0..);
    append(&log, batch.map(|(to, number)| publication(to, &number.to_string())).collect());
    let check = |query: LatestQuery, expected: &[&str]| assert_eq!(latest(&log, query), expected);
    check(LatestQuery::of(any()), &["3", "4", "5", "6"]);
    check(of(&["a", "b"]), &["4", "6"]);
    check(LatestQuery::of([pattern("c/:n")]), &["3", "5"]);
    check(LatestQuery::of([topic("a").into(), pattern("c/2")]), &["5", "6"]);
    check(of(&["a", "b", "nobody"]).with_count(2), &["1", "2", "4", "6"]);
    check(of(&["a"]).with_count(9), &["0", "2", "6"]);
    check(of(&["a"]).with_count(0), &[]);
    check(LatestQuery::of(any()).with_count(0), &[]);
    check(LatestQuery::of([]), &[]);
}

pub fn only_entries_after_an_offset_count<F: Factory>() {
    let log = F::roomy();
    let stored =
        append(&log, ["a", "b", "c"].iter().map(|to| publication(to, to)).collect::<Vec<_>>());
    let after = |at: usize| LatestQuery::of(any()).with_after(stored[at].offset);
    assert_eq!(latest(&log, after(0)), ["b", "c"]);
    assert_eq!(latest(&log, after(2)), [""; 0]);
}

pub fn an_entry_may_be_the_newest_of_several_topics<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "old"));
    let both = publication("b", "both").with_alternates([topic("a"), topic("b")]);
    append_one(&log, both);
    assert_eq!(latest(&log, LatestQuery::of(any())), ["both"]);
    append_one(&log, publication("b", "new"));
    assert_eq!(latest(&log, LatestQuery::of(any())), ["both", "new"]);
    assert_eq!(latest(&log, of(&["b"]).with_count(2)), ["both", "new"]);
}

pub fn the_newest_entry_is_one_that_the_reader_may_see<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "public"));
    append(&log, (0..500).map(|_| publication("a", "secret").with_private(true)).collect());
    append_one(&log, publication("b", "other").with_private(true));
    let granted = |public| {
        let grant = Grant::to([TopicMatcher::from(topic("a"))]);
        LatestQuery::of(any()).with_access(Access::to(grant).with_public(public))
    };
    assert_eq!(latest(&log, LatestQuery::of(any())), ["public"]);
    assert_eq!(latest(&log, granted(false)), ["secret"]);
    assert_eq!(latest(&log, granted(true)), ["secret"]);
    assert_eq!(
        latest(&log, LatestQuery::of(any()).with_access(Access::all())),
        ["secret", "other"]
    );
}

pub fn ends_and_stops_are_no_newest_entries<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "value"));
    append_one(&log, Publication::stop(topic("a")));
    append_one(&log, Publication::end(topic("a"), Outcome::Done));
    append_one(&log, Publication::end(topic("b"), Outcome::Failed));
    assert_eq!(latest(&log, LatestQuery::of(any())), ["value"]);
    assert_eq!(latest(&log, of(&["a", "b"]).with_count(2)), ["value"]);
}

pub fn only_events_count_among_the_last<F: Factory>() {
    let log = F::roomy();
    let events = append(&log, (0..3).map(|_| publication("a", "event")).collect());
    let note = publication("carafe/notes", "").with_private(true).with_hub(true);
    let others = [
        Publication::stop(topic("a")),
        note.clone(),
        publication("b", "event"),
        Publication::end(topic("a"), Outcome::Done),
        note,
    ];
    let others: Vec<_> = others.into_iter().map(|other| append_one(&log, other)).collect();
    let a = [TopicMatcher::from(topic("a"))];
    assert_eq!(before_last(&log, 1, &a), events[1]);
    assert_eq!(before_last(&log, 3, &a), log.span().start);
    assert_eq!(before_last(&log, 1, &any()), others[1], "the one of b");
    assert_eq!(before_last(&log, 2, &any()), events[1]);
    assert_eq!(before_last(&log, 0, &a), others[4]);
    let everything = LatestQuery::of(any()).with_access(Access::all());
    assert_eq!(latest(&log, everything), ["event", "event"], "without the notes of the hub");
    // The same from the indexes of sealed segments.
    append(&log, (0..300).map(|_| publication("c", "")).collect());
    assert_eq!(before_last(&log, 1, &a), events[1]);
    assert_eq!(before_last(&log, 301, &any()), others[1]);
}

pub fn the_position_before_an_offset_is_that_of_an_entry_or_of_the_start<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    for number in 1..300 {
        let entry = supplied(&log, start.offset + 2 * number, publication("a", ""));
        wait(log.append_at(vec![entry])).unwrap();
    }
    let stored = read_all(&log, start.offset, &any());
    let before = |offset| wait(log.before(offset)).unwrap();
    assert_eq!((before(0), before(stored[0].offset())), (start, start));
    for pair in stored.windows(2) {
        assert_eq!(before(pair[1].offset()), pair[0].position);
        assert_eq!(before(pair[1].offset() - 1), pair[0].position);
    }
    assert_eq!(before(Offset::MAX), log.span().tail);
}

pub fn more_entries_than_the_limit_are_an_error<F: Factory>() {
    let log = F::roomy();
    append(&log, (0..10).map(|number| publication(&format!("a/{number}"), "")).collect());
    let query = LatestQuery::of(any());
    assert_eq!(latest(&log, query.clone().with_limit(10)).len(), 10);
    let refused = wait(log.latest(query.with_limit(9)));
    assert_eq!(refused, Err(ReadError::TooManyLatest { limit: 9 }));
}

pub fn entries_are_read_by_their_offsets<F: Factory>() {
    let log = F::roomy();
    let stored: Vec<_> =
        (0..600).map(|number| append_one(&log, publication("a", &number.to_string()))).collect();
    let offsets: Vec<_> = stored.iter().step_by(7).map(|position| position.offset).collect();
    let expected: Vec<_> = (0..600).step_by(7).map(|number| number.to_string()).collect();
    for limit in
        [NO_LIMIT, BlockLimit { entries: 5, ..NO_LIMIT }, BlockLimit { bytes: 1, ..NO_LIMIT }]
    {
        assert_eq!(data(&read_at(&log, &offsets, limit)), expected, "{limit:?}");
    }
    let picked = wait(log.read_at(offsets.clone(), BlockLimit { entries: 5, ..NO_LIMIT })).unwrap();
    assert!((1..=5).contains(&picked.entries.len()));
    let picked = wait(log.read_at(offsets, BlockLimit { bytes: 1, ..NO_LIMIT })).unwrap();
    assert_eq!((picked.entries.len(), picked.passed), (1, 1));
}

pub fn entries_that_are_gone_are_left_out<F: Factory>() {
    let log = F::tight();
    let first = append_one(&log, publication("a", "gone"));
    overflow(&log);
    let last = append_one(&log, publication("a", "kept"));
    assert!(log.span().start.offset >= first.offset);
    let offsets = [first.offset, last.offset, last.offset + 5];
    assert_eq!(data(&read_at(&log, &offsets, NO_LIMIT)), ["kept"]);
}

/// The log answers as a test of each entry does.
pub fn agrees_with(log: &impl Log, kept: &[Arc<Entry>], query: &LatestQuery) {
    let mut expected = BTreeSet::new();
    let topics: BTreeSet<_> = kept.iter().flat_map(|entry| entry.publication.topics()).collect();
    for topic in topics {
        let has_it = |entry: &&Arc<Entry>| {
            entry.publication.topics().any(|one: &Topic| one == topic)
                && query.access.shows(&entry.publication)
                && entry.offset() > query.after
        };
        if query.wanted.iter().any(|matcher| matcher.matches(topic)) {
            let newest = kept.iter().rev().filter(has_it).take(query.count);
            expected.extend(newest.map(|entry| entry.offset()));
        }
    }
    let found = wait(log.latest(query.clone())).unwrap();
    assert!(found.offsets.iter().eq(&expected), "{query:?}: {found:?}, {expected:?}");
    let read = read_at(log, &found.offsets, BlockLimit { entries: 3, bytes: 400 });
    assert!(read.iter().map(|entry| entry.offset()).eq(expected));
}
