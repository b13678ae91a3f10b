//! Idempotency keys and external IDs.

use carafe_protocol::Position;

use super::Factory;
use super::helpers::{
    any, append_one, keyed, named, overflow, positions, publication, read_all, topic, wait,
};
use crate::{Access, Append, ExternalId, Grant, Read};

pub fn a_repeated_key_stores_nothing_and_answers_as_the_first_did<F: Factory>() {
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

pub fn a_key_is_repeated_within_a_batch_too<F: Factory>() {
    let log = F::roomy();
    let appended =
        wait(log.append(vec![keyed("a", "k"), keyed("b", "k"), keyed("a", "k")])).unwrap();
    assert_eq!((appended[2].position, appended[2].repeated), (appended[0].position, true));
    let stored = [appended[0].position, appended[1].position];
    assert_eq!(positions(&read_all(&log, log.span().start.offset, &any())), stored);
}

pub fn a_key_is_valid_within_its_topic<F: Factory>() {
    let log = F::roomy();
    let batch = vec![
        keyed("a", "k"),
        keyed("b", "k"),
        keyed("a", "other"),
        keyed("c", "k").with_alternates([topic("a")]),
        publication("a", "without"),
        publication("a", "without"),
    ];
    let appended = wait(log.append(batch)).unwrap();
    assert!(appended.iter().all(|appended| !appended.repeated));
}

pub fn a_key_is_forgotten_when_its_entry_is_trimmed<F: Factory>() {
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

pub fn an_external_id_that_is_no_key_is_stored_each_time<F: Factory>() {
    let log = F::roomy();
    let start = log.span().start.offset;
    let batch =
        vec![named("a", "k"), named("a", "k"), keyed("a", "k"), keyed("a", "k"), named("a", "k")];
    let appended = wait(log.append(batch.clone())).unwrap();
    let repeated: Vec<_> = appended.iter().map(|appended| appended.repeated).collect();
    assert_eq!(repeated, [false, false, false, true, false], "only a key is an idempotency key");
    assert_eq!(appended[3].position, appended[2].position);
    let read = read_all(&log, start, &any());
    let stored = [0, 1, 2, 4].map(|at| &batch[at]);
    assert!(read.iter().map(|entry| &entry.publication).eq(stored), "as what they were published");
    assert!(read[0].publication.key().is_none() && read[0].publication.external_id().is_some());
}

pub fn an_external_id_finds_only_entries_that_the_reader_may_see<F: Factory>() {
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

pub fn an_external_id_finds_its_earliest_entry_of_any_topic<F: Factory>() {
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
