//! What the log says of a position: found, trimmed, foreign, lost or ahead.

use carafe_protocol::{Generation, Position};

use super::Factory;
use super::helpers::{
    NO_LIMIT, any, append, append_one, data, find, overflow, publication, read, read_all, supplied,
    wait,
};
use crate::{AppendAt, Find, Read};

pub fn two_logs_are_two_generations<F: Factory>() {
    let (one, other) = (F::roomy(), F::roomy());
    let position = append_one(&one, publication("a", ""));
    append_one(&other, publication("a", ""));
    assert_eq!(find(&other, position), Find::Foreign);
}

pub fn every_position_given_out_is_found<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    let positions_given = append(&log, (0..5).map(|_| publication("a", "")).collect());
    assert!(positions_given.iter().all(|position| find(&log, *position) == Find::Found));
    assert_eq!(find(&log, start), Find::Found);
}

pub fn a_position_that_was_not_given_out_is_foreign<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start;
    let positions_given = append(&log, (0..3).map(|_| publication("a", "")).collect());
    for known in positions_given.iter().copied().chain([start]) {
        assert_eq!(
            find(&log, Position { nonce: known.nonce ^ 1, ..known }),
            Find::Foreign,
            "the nonce"
        );
        let generation = Generation::new(0xdead_beef);
        assert_eq!(find(&log, Position { generation, ..known }), Find::Foreign, "the generation");
    }
}

pub fn beyond_the_tail_of_a_single_writer_is_lost<F: Factory>() {
    let log = F::roomy();
    check_beyond(&log, log.span().start, Find::Lost { common: log.span().start });
    let tail = append_one(&log, publication("a", ""));
    check_beyond(&log, tail, Find::Lost { common: tail });
}

pub fn beyond_the_tail_of_a_supplied_log_is_ahead<F: Factory>() {
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

pub fn just_before_the_oldest_is_found_and_earlier_is_trimmed<F: Factory>() {
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

pub fn a_position_between_sparse_offsets_is_foreign<F: Factory>() {
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
