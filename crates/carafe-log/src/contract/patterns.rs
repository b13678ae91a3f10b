//! Reading by topics and patterns, against testing each entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::{Access, AppendAt, BlockLimit, Entry, Grant, LatestQuery, Log, Publication, Read};
use carafe_protocol::{Position, TopicMatcher};
use proptest::prelude::*;

use super::helpers::{
    NO_LIMIT, append, check_random, data, pattern, publication, read, settle, supplied, topic, wait,
};
use super::{Factory, latest};

const SEED: u64 = 0x7E57;

/// Simple and complex patterns, and topics by name.
const MATCHERS: [&str; 10] =
    ["*", "a/:n", "a/*", "b/:n/x", "a/([0-4])", "b/(\\d+)/:any", "{a/}?7", ":one", "c", "a/3"];

fn matcher(at: usize) -> TopicMatcher {
    let text = MATCHERS[at];
    if text.contains(['*', ':', '(', '{']) { pattern(text) } else { topic(text).into() }
}

fn matchers() -> impl Strategy<Value = Vec<TopicMatcher>> {
    prop::collection::vec((0..MATCHERS.len()).prop_map(matcher), 0..4)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..9_u8).prop_map(|n| format!("a/{n}")),
        (0..9_u8).prop_map(|n| format!("b/{n}/x")),
        (0..9_u8).prop_map(|n| n.to_string()),
        Just("c".to_owned()),
    ]
}

fn event() -> impl Strategy<Value = Publication> {
    let names = (name(), prop::collection::vec(name(), 0..3));
    (names, any::<bool>(), 0..80_usize).prop_map(|((first, others), private, size)| {
        let others = others.iter().map(|name| topic(name));
        publication(&first, &"x".repeat(size)).with_alternates(others).with_private(private)
    })
}

#[derive(Debug, Clone)]
struct Question {
    wanted: Vec<TopicMatcher>,
    public: bool,
    granted: Vec<TopicMatcher>,
    count: usize,
    limit: BlockLimit,
}

fn question() -> impl Strategy<Value = Question> {
    let limit = (1..6_usize, prop_oneof![200..2000_usize, Just(usize::MAX)]);
    (matchers(), any::<bool>(), matchers(), 1..20_usize, limit).prop_map(
        |(wanted, public, granted, count, (entries, bytes))| Question {
            wanted,
            public,
            granted,
            count,
            limit: BlockLimit { entries, bytes },
        },
    )
}

pub fn reading_agrees_with_a_test_of_each_entry<F: Factory>() {
    let batches = prop::collection::vec(prop::collection::vec(event(), 1..5), 1..40);
    check_random(
        SEED,
        128,
        &(batches, prop::collection::vec(question(), 1..6), any::<bool>()),
        |(batches, questions, tight)| {
            let log = if tight { F::tight() } else { F::roomy() };
            for (number, batch) in batches.into_iter().enumerate() {
                append(&log, batch);
                settle(&log);
                // Asked while history grows, and again when it has.
                answers_as_a_test_of_each(&log, &questions[number % questions.len()]);
            }
            questions.iter().for_each(|question| answers_as_a_test_of_each(&log, question));
        },
    );
}

fn answers_as_a_test_of_each(log: &impl Log, question: &Question) {
    let start = log.span().start;
    let kept = read_by(log, start, &[TopicMatcher::any()], NO_LIMIT);
    let wanted: Vec<_> =
        kept.iter().filter(|entry| entry.publication.matches(&question.wanted)).collect();
    assert!(
        read_by(log, start, &question.wanted, question.limit).iter().eq(wanted.iter().copied())
    );

    let access = Access::to(Grant::to(question.granted.clone())).with_public(question.public);
    let last =
        wait(log.before_last(question.count, question.wanted.clone(), access.clone())).unwrap();
    let shown: Vec<_> =
        wanted.into_iter().filter(|entry| access.shows(&entry.publication)).collect();
    let expected = match shown.len().checked_sub(question.count) {
        None => start,
        Some(at) => {
            let first = kept.iter().position(|entry| Arc::ptr_eq(entry, shown[at])).unwrap();
            first.checked_sub(1).map_or(start, |before| kept[before].position)
        }
    };
    assert_eq!(last, expected);

    let after = kept.first().map_or(0, |first| first.offset() + question.count as u64 / 3);
    let query = LatestQuery::of(question.wanted.clone()).with_access(access);
    latest::agrees_with(log, &kept, &query);
    latest::agrees_with(log, &kept, &query.clone().with_count(question.count));
    latest::agrees_with(log, &kept, &query.with_after(after));
}

fn read_by(
    log: &impl Read,
    start: Position,
    wanted: &[TopicMatcher],
    limit: BlockLimit,
) -> Vec<Arc<Entry>> {
    let (mut entries, mut after) = (Vec::new(), start.offset);
    while after < log.span().tail.offset {
        let block = read(log, after, wanted, limit);
        assert!(block.up_to.offset > after, "a block looks at least one entry further");
        after = block.up_to.offset;
        entries.extend(block.entries);
    }
    entries
}

pub fn a_replay_by_pattern_misses_nothing_while_events_are_appended<F: Factory>() {
    const EVENTS: usize = 5000;
    let (log, done) = (F::roomy(), AtomicBool::new(false));
    let wanted = [pattern("a/:n"), topic("b/7").into()];
    let limit = BlockLimit { entries: 100, ..NO_LIMIT };
    let read = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..EVENTS {
                let name = format!("{}/{}", ["a", "b"][number % 2], number % 97);
                append(&log, vec![publication(&name, &number.to_string())]);
            }
            done.store(true, Ordering::Release);
        });
        let (mut entries, mut after) = (Vec::new(), 0);
        loop {
            let all_are_there = done.load(Ordering::Acquire);
            let block = read(&log, after, &wanted, limit);
            after = block.up_to.offset;
            entries.extend(block.entries);
            if all_are_there && after == log.span().tail.offset {
                return entries;
            }
        }
    });
    let expected = (0..EVENTS).filter(|number| number % 2 == 0 || number % 97 == 7);
    assert!(data(&read).into_iter().eq(expected.map(|number| number.to_string())));
}

pub fn supplied_entries_with_sparse_offsets_are_found_by_pattern<F: Factory>() {
    let log = F::roomy();
    let offset = |number: u64| number * 7 + 3;
    for number in 0..300 {
        let name = format!("a/{}", number % 10);
        let entry = supplied(&log, offset(number), publication(&name, &"x".repeat(40)));
        wait(log.append_at(vec![entry])).unwrap();
    }
    for after in 0..offset(299) {
        let block = read(&log, after, &[pattern("a/(3)")], BlockLimit { entries: 1, ..NO_LIMIT });
        let next =
            (0..300).filter(|number| number % 10 == 3).map(offset).find(|offset| *offset > after);
        match block.entries.first() {
            Some(entry) => assert_eq!(Some(entry.offset()), next),
            None => assert!(next.is_none_or(|next| next > block.up_to.offset)),
        }
    }
}
