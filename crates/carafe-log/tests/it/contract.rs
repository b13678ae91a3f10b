//! What every log must hold to.

use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Waker};
use std::thread;

use carafe_log::{
    Access, Append, AppendAt, AppendAtError, BlockLimit, Entry, ExternalId, Find, Grant,
    Publication, Read, ReadError,
};
use carafe_protocol::{Generation, Position, TopicMatcher};

use crate::factory::{
    Factory, NO_LIMIT, append, append_one, data, keyed, named, overflow, pattern, positions,
    publication, read, read_all, supplied, topic, wait,
};

/// Makes a test of each demand, for the logs of one factory.
macro_rules! every_log {
    ($factory:ty) => {
        crate::contract::tests_of!($factory, contract: [
            an_empty_log_has_nothing_before_its_tail,
            what_is_appended_is_read_back_in_order,
            two_logs_are_two_generations,
            an_append_once_polled_happens,
            only_what_is_wanted_is_read,
            an_entry_that_several_matchers_match_is_read_once,
            a_block_says_how_far_it_looked,
            a_block_keeps_its_limits_and_has_at_least_one_entry,
            every_position_given_out_is_found,
            what_was_not_given_out_is_foreign,
            beyond_the_tail_of_a_single_writer_is_lost,
            beyond_the_tail_of_a_supplied_log_is_ahead,
            just_before_the_oldest_is_found_and_earlier_is_trimmed,
            reading_what_is_trimmed_is_an_error_that_names_the_start,
            the_last_entries_are_counted_by_what_is_wanted,
            private_entries_count_among_the_last_only_for_who_sees_them,
            a_repeated_key_stores_nothing_and_answers_as_the_first_did,
            a_key_is_repeated_within_a_batch_too,
            a_key_is_valid_within_its_topic,
            a_key_is_forgotten_when_its_entry_is_trimmed,
            an_id_that_is_no_key_is_stored_each_time,
            an_id_finds_its_earliest_entry_of_any_topic,
            an_id_finds_what_is_visible_alone,
            supplied_entries_keep_their_offsets,
            supplied_entries_must_lie_beyond_the_tail,
            a_position_between_sparse_offsets_is_foreign,
            followers_get_every_batch_once_in_order,
            who_follows_is_given_the_newest_entries_first,
            what_stores_nothing_is_not_handed_to_followers,
            concurrent_appenders_and_a_follower_agree,
            a_follower_that_comes_in_between_misses_nothing,
        ]);
        crate::contract::tests_of!($factory, model: [it_does_as_a_vec_would]);
        crate::contract::tests_of!($factory, patterns: [
            what_is_read_is_what_testing_each_entry_gives,
            a_replay_by_pattern_misses_nothing_while_events_are_appended,
            supplied_entries_with_sparse_offsets_are_found_by_pattern,
        ]);
    };
}

macro_rules! tests_of {
    ($factory:ty, $module:ident: [$($demand:ident,)*]) => {
        mod $module {
            $(
                #[test]
                fn $demand() {
                    crate::$module::$demand::<$factory>();
                }
            )*
        }
    };
    ($factory:ty, $module:ident: [$($demand:ident),*]) => {
        crate::contract::tests_of!($factory, $module: [$($demand,)*]);
    };
}

pub(crate) use {every_log, tests_of};

fn any() -> [TopicMatcher; 1] {
    [TopicMatcher::any()]
}

fn find(log: &impl Read, position: Position) -> Find {
    wait(log.find(position)).unwrap()
}

fn before_last(log: &impl Read, count: usize, wanted: &[TopicMatcher]) -> Position {
    wait(log.before_last(count, wanted.to_vec(), Access::all())).unwrap()
}

pub(crate) fn an_empty_log_has_nothing_before_its_tail<F: Factory>() {
    let log = F::roomy();
    let span = log.span();
    assert_eq!((span.oldest, span.tail), (None, span.start));
    assert_eq!(find(&log, span.start), Find::Found);
    let block = read(&log, span.start.offset, &any(), NO_LIMIT);
    assert!(block.entries.is_empty());
    assert_eq!(block.up_to, span.start);
    assert_eq!(before_last(&log, 3, &any()), span.start);
}

pub(crate) fn what_is_appended_is_read_back_in_order<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    let sent = [
        publication("a", "1"),
        publication("b", "2\n").with_alternates([topic("a")]).with_private(true).with_hub(true),
        keyed("a", "3"),
    ];
    let told = append(&log, sent.to_vec());
    let told = [told, vec![append_one(&log, publication("c", ""))]].concat();
    let entries = read_all(&log, start.offset, &any());

    assert_eq!(positions(&entries), told);
    assert!(entries.iter().zip(&sent).all(|(entry, sent)| entry.publication == *sent));
    assert!(told.is_sorted_by(|a, b| a.offset < b.offset) && told[0].offset > start.offset);
    assert!(told.iter().all(|position| position.generation == start.generation));
    let span = log.span();
    assert_eq!((span.start, span.oldest, span.tail), (start, Some(told[0]), told[3]));
}

pub(crate) fn two_logs_are_two_generations<F: Factory>() {
    let (one, other) = (F::roomy(), F::roomy());
    let position = append_one(&one, publication("a", ""));
    append_one(&other, publication("a", ""));
    assert_eq!(find(&other, position), Find::Foreign);
}

pub(crate) fn an_append_once_polled_happens<F: Factory>() {
    let log = F::roomy();
    let mut dropped = log.append(vec![publication("a", "first")]);
    let _ = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(dropped);
    append_one(&log, publication("a", "second"));
    assert_eq!(data(&read_all(&log, log.span().start.offset, &any())), ["first", "second"]);
}

pub(crate) fn only_what_is_wanted_is_read<F: Factory>() {
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

pub(crate) fn an_entry_that_several_matchers_match_is_read_once<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "once").with_alternates([topic("b"), topic("a")]));
    let wanted = [topic("a").into(), topic("b").into(), TopicMatcher::any()];
    assert_eq!(data(&read_all(&log, log.span().start.offset, &wanted)), ["once"]);
}

pub(crate) fn a_block_says_how_far_it_looked<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start.offset;
    let told = append(&log, ["a", "b", "a", "b", "b"].map(|to| publication(to, "")).to_vec());
    let block = read(&log, start, &[topic("a").into()], BlockLimit { entries: 1, ..NO_LIMIT });
    assert_eq!(positions(&block.entries), [told[0]]);
    assert!([told[0], told[1]].contains(&block.up_to), "the second a was not looked at");

    let block = read(&log, block.up_to.offset, &[topic("a").into()], NO_LIMIT);
    assert_eq!(positions(&block.entries), [told[2]]);
    assert!(told[2..].contains(&block.up_to));

    let nothing = read_all(&log, start, &[topic("c").into()]);
    assert!(nothing.is_empty(), "and yet the reader gets to the tail");
    let at_tail = read(&log, told[4].offset, &any(), NO_LIMIT);
    assert_eq!((at_tail.entries.len(), at_tail.up_to), (0, told[4]));
}

pub(crate) fn a_block_keeps_its_limits_and_has_at_least_one_entry<F: Factory>() {
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

pub(crate) fn every_position_given_out_is_found<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    let told = append(&log, (0..5).map(|_| publication("a", "")).collect());
    assert!(told.iter().all(|position| find(&log, *position) == Find::Found));
    assert_eq!(find(&log, start), Find::Found);
}

pub(crate) fn what_was_not_given_out_is_foreign<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    let told = append(&log, (0..3).map(|_| publication("a", "")).collect());
    for known in told.iter().copied().chain([start]) {
        assert_eq!(
            find(&log, Position { nonce: known.nonce ^ 1, ..known }),
            Find::Foreign,
            "the nonce"
        );
        let generation = Generation::new(0xdead_beef);
        assert_eq!(find(&log, Position { generation, ..known }), Find::Foreign, "the generation");
    }
}

pub(crate) fn beyond_the_tail_of_a_single_writer_is_lost<F: Factory>() {
    let log = F::roomy();
    check_beyond(&log, log.span().start, Find::Lost { common: log.span().start });
    let tail = append_one(&log, publication("a", ""));
    check_beyond(&log, tail, Find::Lost { common: tail });
}

pub(crate) fn beyond_the_tail_of_a_supplied_log_is_ahead<F: Factory>() {
    let log = F::supplied();
    check_beyond(&log, log.span().start, Find::Ahead);
    check_beyond(&log, append_one(&log, publication("a", "")), Find::Ahead);
}

#[track_caller]
fn check_beyond(log: &impl Read, tail: Position, expected: Find) {
    for offset in [tail.offset + 1, u64::MAX] {
        assert_eq!(find(log, Position { offset, ..tail }), expected);
        let elsewhere = Position { offset, generation: Generation::new(1), ..tail };
        assert_eq!(find(log, elsewhere), Find::Foreign, "another log's");
    }
}

pub(crate) fn just_before_the_oldest_is_found_and_earlier_is_trimmed<F: Factory>() {
    let log = F::tight();
    let first = log.span().start;
    overflow(&log);
    let start = overflow(&log);
    assert_eq!(find(&log, start), Find::Found, "all that came after it is kept");
    assert_eq!(find(&log, first), Find::Trimmed);
    let wrong = Position { nonce: start.nonce ^ 1, ..start };
    assert_eq!(find(&log, wrong), Find::Foreign);
    assert_eq!(find(&log, Position { offset: start.offset - 1, ..wrong }), Find::Trimmed);
    let kept = read_all(&log, start.offset, &any());
    assert_eq!(log.span().oldest, kept.first().map(|entry| entry.position));
}

pub(crate) fn reading_what_is_trimmed_is_an_error_that_names_the_start<F: Factory>() {
    let log = F::tight();
    let after = log.span().start.offset;
    let start = overflow(&log);
    let error = wait(log.read(after, any().to_vec(), NO_LIMIT)).unwrap_err();
    assert_eq!(error, ReadError::Trimmed { after, start });
    assert!(wait(log.read(start.offset, any().to_vec(), NO_LIMIT)).is_ok());
}

pub(crate) fn the_last_entries_are_counted_by_what_is_wanted<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    let batch = ["a", "b", "a", "b", "a", "b"].map(|to| publication(to, ""));
    let told = append(&log, batch.to_vec());
    let a = [topic("a").into()];
    for count in 0..=4 {
        let from = before_last(&log, count, &a);
        let expected = [told[0], told[2], told[4]];
        assert_eq!(find(&log, from), Find::Found);
        assert_eq!(
            positions(&read_all(&log, from.offset, &a)),
            expected[3_usize.saturating_sub(count)..],
            "the last {count}"
        );
    }
    assert_eq!(before_last(&log, 0, &a), told[5]);
    assert_eq!(before_last(&log, usize::MAX, &any()), start);
    assert_eq!(before_last(&log, 1, &[topic("nobody").into()]), start);
}

pub(crate) fn private_entries_count_among_the_last_only_for_who_sees_them<F: Factory>() {
    let log = F::roomy();
    let told: Vec<_> = (0..300)
        .map(|number| append_one(&log, publication("a", "").with_private(number % 3 == 2)))
        .collect();
    let last_of = |granted: &[TopicMatcher], public, count| {
        let access = Access::to(Grant::to(granted.to_vec())).with_public(public);
        wait(log.before_last(count, any().to_vec(), access)).unwrap()
    };
    let public_last = |count| last_of(&[], true, count);
    assert_eq!(before_last(&log, 3, &any()), told[296]);
    assert_eq!(public_last(2), told[296]);
    assert_eq!(public_last(4), told[293]);
    assert_eq!(public_last(200), log.span().start);
    assert_eq!(public_last(199), told[0]);
    let other = append_one(&log, publication("b", "").with_private(true));
    assert_eq!(
        last_of(&[topic("a").into()], false, 1),
        told[298],
        "of the topics that are granted"
    );
    assert_eq!(last_of(&[topic("b").into()], true, 2), told[297], "and public ones of all");
    assert_eq!(last_of(&[], false, 1), log.span().start);
    append_one(&log, publication("b", ""));
    assert_eq!(last_of(&[], true, 1), other);
}

pub(crate) fn a_repeated_key_stores_nothing_and_answers_as_the_first_did<F: Factory>() {
    let log = F::roomy();
    let first = wait(log.append(vec![keyed("a", "k")])).unwrap()[0];
    let between = append_one(&log, publication("a", ""));
    let batch = vec![publication("b", ""), keyed("a", "k"), publication("b", "")];
    let again = wait(log.append(batch)).unwrap();

    assert!(!first.repeated);
    assert_eq!((again[1].position, again[1].repeated), (first.position, true));
    let stored = [first.position, between, again[0].position, again[2].position];
    assert_eq!(positions(&read_all(&log, log.span().start.offset, &any())), stored);
}

pub(crate) fn a_key_is_repeated_within_a_batch_too<F: Factory>() {
    let log = F::roomy();
    let told = wait(log.append(vec![keyed("a", "k"), keyed("b", "k"), keyed("a", "k")])).unwrap();
    assert_eq!((told[2].position, told[2].repeated), (told[0].position, true));
    let stored = [told[0].position, told[1].position];
    assert_eq!(positions(&read_all(&log, log.span().start.offset, &any())), stored);
}

pub(crate) fn a_key_is_valid_within_its_topic<F: Factory>() {
    let log = F::roomy();
    let batch = vec![
        keyed("a", "k"),
        keyed("b", "k"),
        keyed("a", "other"),
        keyed("c", "k").with_alternates([topic("a")]),
        publication("a", "without"),
        publication("a", "without"),
    ];
    let told = wait(log.append(batch)).unwrap();
    assert!(told.iter().all(|appended| !appended.repeated));
}

pub(crate) fn a_key_is_forgotten_when_its_entry_is_trimmed<F: Factory>() {
    let log = F::tight();
    let first = append_one(&log, keyed("a", "k"));
    while overflow(&log).offset < first.offset {}
    let again = wait(log.append(vec![keyed("a", "k")])).unwrap()[0];
    assert!(!again.repeated && again.position.offset > first.offset);
    let third = wait(log.append(vec![keyed("a", "k")])).unwrap()[0];
    assert_eq!((third.position, third.repeated), (again.position, true));
}

fn find_external_id(log: &impl Read, id: &str) -> Option<Position> {
    wait(log.find_external_id(ExternalId::new(id).unwrap(), Access::all())).unwrap()
}

pub(crate) fn an_id_that_is_no_key_is_stored_each_time<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start.offset;
    let batch =
        vec![named("a", "k"), named("a", "k"), keyed("a", "k"), keyed("a", "k"), named("a", "k")];
    let told = wait(log.append(batch.clone())).unwrap();
    let repeated: Vec<_> = told.iter().map(|appended| appended.repeated).collect();
    assert_eq!(repeated, [false, false, false, true, false], "only a key is an idempotency key");
    assert_eq!(told[3].position, told[2].position);
    let read = read_all(&log, start, &any());
    let stored = [0, 1, 2, 4].map(|at| &batch[at]);
    assert!(read.iter().map(|entry| &entry.publication).eq(stored), "as what they were published");
    assert!(read[0].publication.key().is_none() && read[0].publication.external_id().is_some());
}

pub(crate) fn an_id_finds_what_is_visible_alone<F: Factory>() {
    let log = F::roomy();
    let find = |access: &Access| {
        wait(log.find_external_id(ExternalId::new("k").unwrap(), access.clone())).unwrap()
    };
    let granted = |public, topics: &[&str]| {
        Access::to(Grant::to(topics.iter().map(|&name| topic(name).into()))).with_public(public)
    };
    let first = append_one(&log, named("a", "k").with_private(true));
    let second = append_one(&log, named("b", "k").with_private(true));
    for number in 0..1000 {
        append_one(&log, keyed("a", &number.to_string()).with_private(true));
    }
    assert_eq!(find(&granted(true, &[])), None);
    let third = append_one(&log, named("c", "k"));
    assert_eq!(find(&Access::all()), Some(first));
    assert_eq!(find(&granted(false, &["b"])), Some(second));
    assert_eq!(find(&granted(true, &["b"])), Some(second));
    assert_eq!(find(&granted(true, &[])), Some(third));
    assert_eq!(find(&granted(true, &["x"])), Some(third));
    assert_eq!(find(&granted(false, &["x"])), None);
}

pub(crate) fn an_id_finds_its_earliest_entry_of_any_topic<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "no key"));
    let first = append_one(&log, keyed("a", "k"));
    for number in 0..100 {
        append_one(&log, keyed("b", &number.to_string()));
    }
    append_one(&log, keyed("b", "k"));
    assert_eq!(find_external_id(&log, "k"), Some(first));
    assert_eq!(find_external_id(&log, "unknown"), None);

    let log = F::tight();
    let first = append_one(&log, keyed("a", "k"));
    while overflow(&log).offset < first.offset {}
    let again = append_one(&log, keyed("b", "k"));
    assert_eq!(find_external_id(&log, "k"), Some(again));
}

pub(crate) fn supplied_entries_keep_their_offsets<F: Factory>() {
    let log = F::roomy();
    let entries: Vec<Entry> =
        [3, 4, 1000].map(|offset| supplied(&log, offset, keyed("a", &offset.to_string()))).into();
    wait(log.append_at(entries.clone())).unwrap();
    let read = read_all(&log, log.span().start.offset, &any());
    assert!(read.iter().map(|entry| &**entry).eq(&entries), "time and nonce too");
    assert!(entries.iter().all(|entry| find(&log, entry.position) == Find::Found));
    assert_eq!(log.span().tail, entries[2].position);
    assert_eq!(append_one(&log, keyed("a", "3")), entries[0].position, "their keys count");
    assert!(append_one(&log, publication("a", "")).offset > 1000);
}

pub(crate) fn supplied_entries_must_lie_beyond_the_tail<F: Factory>() {
    let log = F::roomy();
    let at = |offset| supplied(&log, offset, publication("a", ""));
    wait(log.append_at(vec![at(5)])).unwrap();
    let before = log.span();
    assert_eq!(
        wait(log.append_at(vec![at(5)])),
        Err(AppendAtError::OutOfOrder { offset: 5, tail: 5 })
    );
    assert_eq!(
        wait(log.append_at(vec![at(8), at(9), at(9)])),
        Err(AppendAtError::OutOfOrder { offset: 9, tail: 9 })
    );
    assert_eq!(
        wait(log.append_at(vec![at(8), at(7)])),
        Err(AppendAtError::OutOfOrder { offset: 7, tail: 8 })
    );
    assert_eq!(log.span(), before, "all or none");
    assert_eq!(wait(log.append_at(Vec::new())), Ok(()));
}

pub(crate) fn a_position_between_sparse_offsets_is_foreign<F: Factory>() {
    let log = F::roomy();
    wait(log.append_at([10, 20].map(|offset| supplied(&log, offset, publication("a", ""))).into()))
        .unwrap();
    let tail = log.span().tail;
    assert_eq!(find(&log, Position { offset: 15, ..tail }), Find::Foreign);
    assert_eq!(find(&log, Position { offset: 21, ..tail }), Find::Lost { common: tail });
    assert_eq!(
        data(&read(&log, 15, &any(), NO_LIMIT).entries).len(),
        1,
        "reading needs no entry there"
    );
}

/// What a follower was handed, batch by batch.
type Handed = Arc<Mutex<Vec<Vec<Position>>>>;

fn follow(log: &impl Read) -> (Position, Handed) {
    let handed = Handed::default();
    let taken = Arc::clone(&handed);
    let followed =
        log.follow(0, Box::new(move |batch| taken.lock().unwrap().push(positions(batch))));
    assert!(followed.recent.is_empty());
    (followed.after, handed)
}

pub(crate) fn followers_get_every_batch_once_in_order<F: Factory>() {
    let log = F::roomy();
    let zeroth = append_one(&log, publication("a", ""));
    let (tail, early) = follow(&log);
    assert_eq!(tail, zeroth);
    let first = append(&log, vec![publication("a", ""), publication("b", "")]);
    let (tail, late) = follow(&log);
    assert_eq!(tail, first[1]);
    let supplied = supplied(&log, 100, publication("a", ""));
    wait(log.append_at(vec![supplied.clone()])).unwrap();
    let last = append_one(&log, publication("a", ""));

    let (early, late) = (early.lock().unwrap(), late.lock().unwrap());
    assert_eq!(early.concat(), [&first[..], &[supplied.position, last]].concat());
    assert_eq!(late.concat(), [supplied.position, last]);
}

pub(crate) fn who_follows_is_given_the_newest_entries_first<F: Factory>() {
    for log in [F::roomy(), F::tight()] {
        for number in 0..500 {
            append_one(&log, publication("a", &number.to_string()));
        }
        let all = read_all(&log, log.span().start.offset, &any());
        let each = all[0].weight();
        for bytes in [0, 10 * each, usize::MAX] {
            let followed = log.follow(bytes, Box::new(|_| {}));
            let newest = all.len() - followed.recent.len();
            assert_eq!(followed.recent, all[newest..]);
            assert!(followed.recent.len() >= bytes.min(all.len() / 4 * each) / each / 4);
            let before = newest.checked_sub(1).map_or(log.span().start, |at| all[at].position);
            assert_eq!(followed.after, before);
        }
    }
}

pub(crate) fn what_stores_nothing_is_not_handed_to_followers<F: Factory>() {
    let log = F::roomy();
    append_one(&log, keyed("a", "k"));
    let (_, handed) = follow(&log);
    append(&log, vec![keyed("a", "k")]);
    append(&log, Vec::new());
    wait(log.append_at(Vec::new())).unwrap();
    assert!(handed.lock().unwrap().is_empty());
}

const APPENDERS: usize = 4;
const EACH: usize = 200;

/// Appends from several threads, while `meanwhile` runs on this one.
fn append_from_all_sides<F: Factory>(log: &F::Log, meanwhile: impl FnOnce()) {
    let start = Barrier::new(APPENDERS + 1);
    thread::scope(|scope| {
        for appender in 0..APPENDERS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for n in 0..EACH {
                    let one =
                        |text: &str| publication(&appender.to_string(), &format!("{n}{text}"));
                    append(log, vec![one(""), one("+")]);
                }
            });
        }
        start.wait();
        meanwhile();
    });
}

pub(crate) fn concurrent_appenders_and_a_follower_agree<F: Factory>() {
    let log = F::roomy();
    let (_, handed) = follow(&log);
    append_from_all_sides::<F>(&log, || {});
    let stored = read_all(&log, log.span().start.offset, &any());
    assert_eq!(stored.len(), APPENDERS * EACH * 2);
    assert_eq!(handed.lock().unwrap().concat(), positions(&stored));
    for appender in 0..APPENDERS {
        let own = read_all(&log, log.span().start.offset, &[topic(&appender.to_string()).into()]);
        let expected: Vec<_> = (0..EACH).flat_map(|n| [n.to_string(), format!("{n}+")]).collect();
        assert_eq!(data(&own), expected, "each appender's order");
    }
    assert!(stored.chunk_by(same_batch).all(|batch| batch.len() == 2), "a batch stands together");
}

fn same_batch(one: &Arc<Entry>, next: &Arc<Entry>) -> bool {
    let number = |publication: &Publication| {
        publication.event().data().map(|data| data.trim_end_matches('+').to_owned())
    };
    let (one, next) = (&one.publication, &next.publication);
    one.topic() == next.topic() && number(one) == number(next)
}

pub(crate) fn a_follower_that_comes_in_between_misses_nothing<F: Factory>() {
    let log = F::roomy();
    let mut followed = None;
    append_from_all_sides::<F>(&log, || followed = Some(follow(&log)));
    let (tail, handed) = followed.unwrap();
    let after = read_all(&log, tail.offset, &any());
    assert_eq!(handed.lock().unwrap().concat(), positions(&after));
}
