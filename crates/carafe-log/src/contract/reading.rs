//! Appending, and reading back what was appended.

use std::task::{Context, Waker};

use carafe_protocol::TopicMatcher;

use super::Factory;
use super::helpers::{
    NO_LIMIT, any, append, append_one, before_last, data, find, keyed, overflow, pattern,
    positions, publication, read, read_all, topic, wait,
};
use crate::{Access, Append, BlockLimit, Find, Grant, Read, ReadError};

pub fn an_empty_log_has_nothing_before_its_tail<F: Factory>() {
    let log = F::roomy();
    let span = log.span();
    assert_eq!((span.oldest, span.tail), (None, span.start));
    assert_eq!(find(&log, span.start), Find::Found);
    let block = read(&log, span.start.offset, &any(), NO_LIMIT);
    assert!(block.entries.is_empty());
    assert_eq!(block.up_to, span.start);
    assert_eq!(before_last(&log, 3, &any()), span.start);
}

pub fn appended_entries_are_read_back_in_order<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    let sent = [
        publication("a", "1"),
        publication("b", "2\n").with_alternates([topic("a")]).with_private(true).with_hub(true),
        keyed("a", "3"),
    ];
    let stored_at = append(&log, sent.to_vec());
    let stored_at = [stored_at, vec![append_one(&log, publication("c", ""))]].concat();
    let entries = read_all(&log, start.offset, &any());

    assert_eq!(positions(&entries), stored_at);
    assert!(entries.iter().zip(&sent).all(|(entry, sent)| entry.publication == *sent));
    assert!(
        stored_at.is_sorted_by(|a, b| a.offset < b.offset) && stored_at[0].offset > start.offset
    );
    assert!(stored_at.iter().all(|position| position.generation == start.generation));
    let span = log.span();
    assert_eq!((span.start, span.oldest, span.tail), (start, Some(stored_at[0]), stored_at[3]));
}

pub fn an_append_once_polled_happens<F: Factory>() {
    let log = F::roomy();
    let mut dropped = log.append(vec![publication("a", "first")]);
    let _ = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(dropped);
    append_one(&log, publication("a", "second"));
    assert_eq!(data(&read_all(&log, log.span().start.offset, &any())), ["first", "second"]);
}

pub fn a_log_that_was_closed_has_what_was_appended_before<F: Factory>() {
    let log = F::roomy();
    let mut dropped = log.append(vec![publication("a", "first")]);
    let _ = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(dropped);
    for _ in 0..2 {
        wait(log.close());
        assert_eq!(data(&read_all(&log, log.span().start.offset, &any())), ["first"]);
    }
}

pub fn batches_are_stored_in_the_order_in_which_they_were_first_polled<F: Factory>() {
    let log = F::roomy();
    let batches: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let mut appends: Vec<_> =
        batches.iter().map(|data| log.append(vec![publication("a", data)])).collect();
    // In another order than that in which they were made.
    for append in appends.iter_mut().rev() {
        let _ = append.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    drop(appends);
    append_one(&log, publication("a", "last"));
    let stored = read_all(&log, log.span().start.offset, &any());
    let expected: Vec<_> = batches.iter().rev().map(String::as_str).chain(["last"]).collect();
    assert_eq!(data(&stored), expected);
}

pub fn only_wanted_entries_are_read<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start.offset;
    append(&log, vec![publication("a/1", "1"), publication("b", "2"), publication("a/2", "3")]);
    append_one(&log, publication("c", "4").with_alternates([topic("b"), topic("a/1")]));
    let check = |wanted: &[TopicMatcher], expected: &[&str]| {
        assert_eq!(data(&read_all(&log, start, wanted)), expected);
    };
    check(&[topic("a/1").into()], &["1", "4"]);
    check(&[pattern("a/:n")], &["1", "3", "4"]);
    check(&[topic("b").into(), topic("c").into()], &["2", "4"]);
    check(&[topic("nobody").into()], &[]);
    check(&[], &[]);
}

pub fn an_entry_that_several_matchers_match_is_read_once<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "once").with_alternates([topic("b"), topic("a")]));
    let wanted = [topic("a").into(), topic("b").into(), TopicMatcher::any()];
    assert_eq!(data(&read_all(&log, log.span().start.offset, &wanted)), ["once"]);
}

pub fn a_block_says_how_far_it_looked<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start.offset;
    let stored_at = append(&log, ["a", "b", "a", "b", "b"].map(|to| publication(to, "")).to_vec());
    let block = read(&log, start, &[topic("a").into()], BlockLimit { entries: 1, ..NO_LIMIT });
    assert_eq!(positions(&block.entries), [stored_at[0]]);
    assert!([stored_at[0], stored_at[1]].contains(&block.up_to), "the second a was not looked at");

    let block = read(&log, block.up_to.offset, &[topic("a").into()], NO_LIMIT);
    assert_eq!(positions(&block.entries), [stored_at[2]]);
    assert!(stored_at[2..].contains(&block.up_to));

    let nothing = read_all(&log, start, &[topic("c").into()]);
    assert!(nothing.is_empty(), "and yet the reader gets to the tail");
    let at_tail = read(&log, stored_at[4].offset, &any(), NO_LIMIT);
    assert_eq!((at_tail.entries.len(), at_tail.up_to), (0, stored_at[4]));
}

pub fn a_block_keeps_its_limits_and_has_at_least_one_entry<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start.offset;
    append(&log, (0..10).map(|_| publication("a", &"x".repeat(100))).collect());
    let weight =
        read(&log, start, &any(), BlockLimit { entries: 1, ..NO_LIMIT }).entries[0].weight();
    let check = |entries, bytes, most| {
        let block = read(&log, start, &any(), BlockLimit { entries, bytes });
        assert!(
            (1..=most).contains(&block.entries.len()),
            "{entries}, {bytes}: {}",
            block.entries.len()
        );
        assert_eq!(block.up_to, block.entries[block.entries.len() - 1].position);
    };
    check(3, usize::MAX, 3);
    check(usize::MAX, 4 * weight, 4);
    check(usize::MAX, 5 * weight - 1, 4);
    check(usize::MAX, 1, 1);
    check(0, 0, 1);
}

pub fn reading_trimmed_history_is_an_error_that_names_the_start<F: Factory>() {
    let log = F::tight();
    let after = log.span().start.offset;
    let start = overflow(&log);
    let error = wait(log.read(after, any().to_vec(), NO_LIMIT)).unwrap_err();
    assert_eq!(error, ReadError::Trimmed { after, start });
    assert!(wait(log.read(start.offset, any().to_vec(), NO_LIMIT)).is_ok());
}

pub fn the_last_entries_are_counted_by_what_is_wanted<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    let batch = ["a", "b", "a", "b", "a", "b"].map(|to| publication(to, ""));
    let stored_at = append(&log, batch.to_vec());
    let a = [topic("a").into()];
    for count in 0..=4 {
        let from = before_last(&log, count, &a);
        let expected = [stored_at[0], stored_at[2], stored_at[4]];
        assert_eq!(find(&log, from), Find::Found);
        assert_eq!(
            positions(&read_all(&log, from.offset, &a)),
            expected[3_usize.saturating_sub(count)..],
            "the last {count}"
        );
    }
    assert_eq!(before_last(&log, 0, &a), stored_at[5]);
    assert_eq!(before_last(&log, usize::MAX, &any()), start);
    assert_eq!(before_last(&log, 1, &[topic("nobody").into()]), start);
}

pub fn private_entries_count_among_the_last_only_for_readers_that_may_see_them<F: Factory>() {
    let log = F::roomy();
    let stored_at: Vec<_> = (0..300)
        .map(|number| append_one(&log, publication("a", "").with_private(number % 3 == 2)))
        .collect();
    let last_of = |granted: &[TopicMatcher], public, count| {
        let access = Access::to(Grant::to(granted.to_vec())).with_public(public);
        wait(log.before_last(count, any().to_vec(), access)).unwrap()
    };
    let public_last = |count| last_of(&[], true, count);
    assert_eq!(before_last(&log, 3, &any()), stored_at[296]);
    assert_eq!(public_last(2), stored_at[296]);
    assert_eq!(public_last(4), stored_at[293]);
    assert_eq!(public_last(200), log.span().start);
    assert_eq!(public_last(199), stored_at[0]);
    let other = append_one(&log, publication("b", "").with_private(true));
    assert_eq!(
        last_of(&[topic("a").into()], false, 1),
        stored_at[298],
        "of the topics that are granted"
    );
    assert_eq!(last_of(&[topic("b").into()], true, 2), stored_at[297], "and public ones of all");
    assert_eq!(last_of(&[], false, 1), log.span().start);
    append_one(&log, publication("b", ""));
    assert_eq!(last_of(&[], true, 1), other);
}
