//! Topics that end, are reopened and are stopped.

use std::sync::{Arc, Barrier};
use std::thread;

use carafe_protocol::Position;

use super::Factory;
use super::helpers::{
    NO_LIMIT, any, append, append_one, data, keyed, overflow, positions, publication, read,
    read_all, supplied, topic, wait,
};
use crate::{
    Append, AppendAt, AppendError, Appended, Kind, Outcome, Publication, Read, TopicEnd, TopicState,
};

fn end(of: &str, outcome: Outcome) -> Publication {
    Publication::end(topic(of), outcome)
}

fn stop(of: &str) -> Publication {
    Publication::stop(topic(of))
}

fn reopening(to: &str) -> Publication {
    publication(to, "again").with_reopening(true)
}

fn ended(of: &str, outcome: Outcome, position: Option<Position>) -> AppendError {
    AppendError::Ended { topic: topic(of), outcome, position }
}

fn end_of(log: &impl Read, of: &str) -> Option<TopicEnd> {
    log.topic_state(&topic(of)).end
}

pub fn an_ended_topic_refuses_events_and_names_its_end<F: Factory>() {
    let log = F::roomy();
    append_one(&log, publication("a", "first"));
    let at = append_one(&log, end("a", Outcome::Failed).with_data("out of beans"));
    let state = end_of(&log, "a").unwrap();
    assert_eq!((state.outcome, state.position, state.private), (Outcome::Failed, at, false));
    let refused = Err(ended("a", Outcome::Failed, Some(at)));
    assert_eq!(wait(log.append(vec![publication("a", "late")])), refused);
    assert_eq!(wait(log.append(vec![stop("a")])), refused);
    assert_eq!(wait(log.append(vec![publication("b", ""), publication("a", "late")])), refused);
    let of_both = publication("b", "late").with_alternates([topic("a")]);
    assert_eq!(wait(log.append(vec![of_both])), refused);
    append_one(&log, publication("b", "other"));
    let all = read_all(&log, log.span().start.offset, &any());
    assert_eq!(data(&all), ["first", "out of beans", "other"]);
    assert_eq!(all[1].publication.kind(), Kind::End(Outcome::Failed));
    assert_eq!((all[1].position, all[1].time), (at, state.time));
}

pub fn a_topic_ends_once_and_has_one_outcome<F: Factory>() {
    let log = F::roomy();
    let at = append_one(&log, end("a", Outcome::Done));
    let again = wait(log.append(vec![end("a", Outcome::Done)])).unwrap();
    assert_eq!(again, [Appended { position: at, repeated: true }]);
    let other = wait(log.append(vec![end("a", Outcome::Cancelled)]));
    assert_eq!(other, Err(ended("a", Outcome::Done, Some(at))));
    assert_eq!(positions(&read_all(&log, log.span().start.offset, &any())), [at]);
}

pub fn a_batch_is_decided_in_its_order<F: Factory>() {
    let log = F::roomy();
    let last = vec![publication("a", "last"), end("a", Outcome::Done), end("a", Outcome::Done)];
    let appended = wait(log.append(last)).unwrap();
    assert!(!appended[0].repeated && !appended[1].repeated);
    assert_eq!(appended[2], Appended { repeated: true, ..appended[1] });
    let refused = wait(log.append(vec![end("b", Outcome::Done), publication("b", "late")]));
    assert_eq!(refused, Err(ended("b", Outcome::Done, None)), "the end is not stored either");
    assert_eq!(end_of(&log, "b"), None);
    let lives = vec![reopening("a"), end("a", Outcome::Failed), reopening("a")];
    let lives = append(&log, lives);
    assert_eq!(end_of(&log, "a"), None);
    append_one(&log, publication("a", "goes on"));
    let later = positions(&read_all(&log, appended[1].position.offset, &any()));
    assert_eq!(later[..3], lives);
}

pub fn a_known_key_is_answered_after_the_end_too<F: Factory>() {
    let log = F::roomy();
    let first = append_one(&log, keyed("a", "k"));
    let at = append_one(&log, end("a", Outcome::Done));
    let again = wait(log.append(vec![keyed("a", "k"), end("a", Outcome::Done)])).unwrap();
    let expected = [first, at].map(|position| Appended { position, repeated: true });
    assert_eq!(again, expected, "a producer sends again what it did not know to be stored");
    let other = wait(log.append(vec![keyed("a", "k"), keyed("a", "new")]));
    assert_eq!(other, Err(ended("a", Outcome::Done, Some(at))));
}

pub fn a_reopened_topic_has_a_new_life<F: Factory>() {
    let log = F::roomy();
    append(&log, vec![end("a", Outcome::Done), end("b", Outcome::Done)]);
    let of_both = reopening("a").with_alternates([topic("b")]);
    append_one(&log, of_both);
    assert_eq!((end_of(&log, "a"), end_of(&log, "b")), (None, None));
    append(&log, vec![publication("a", "new"), publication("b", "new")]);
    let at = append_one(&log, end("a", Outcome::Failed));
    assert_eq!(
        end_of(&log, "a").map(|end| (end.outcome, end.position)),
        Some((Outcome::Failed, at))
    );
    append_one(&log, reopening("never ended"));
}

pub fn a_stop_is_known_until_the_topic_ends_or_is_reopened<F: Factory>() {
    let log = F::roomy();
    let stop_of = |of| log.topic_state(&topic(of)).stop;
    let first = append_one(&log, stop("a").with_data("enough"));
    assert_eq!(stop_of("a"), Some(first));
    let again = wait(log.append(vec![stop("a")])).unwrap();
    assert_eq!(again, [Appended { position: first, repeated: true }]);
    append_one(&log, publication("a", "a producer may not have seen it yet"));
    assert_eq!(stop_of("a"), Some(first));
    append_one(&log, end("a", Outcome::Cancelled));
    assert_eq!(stop_of("a"), None);
    append_one(&log, reopening("a"));
    assert_eq!(log.topic_state(&topic("a")), TopicState::default());
    append_one(&log, stop("a"));
    append_one(&log, reopening("a"));
    assert_eq!(log.topic_state(&topic("a")), TopicState::default());
}

pub fn supplied_entries_end_and_reopen_topics_and_are_never_refused<F: Factory>() {
    let log = F::supplied();
    let at = |offset, publication| supplied(&log, offset, publication);
    let first =
        vec![at(3, end("a", Outcome::Done).with_private(true)), at(5, publication("a", ""))];
    wait(log.append_at(first.clone())).unwrap();
    let state = end_of(&log, "a").unwrap();
    assert_eq!((state.position, state.private), (first[0].position, true));
    wait(log.append_at(vec![at(6, end("a", Outcome::Failed)), at(7, stop("b"))])).unwrap();
    assert_eq!(end_of(&log, "a").unwrap().outcome, Outcome::Failed);
    assert_eq!(log.topic_state(&topic("b")).stop.unwrap().offset, 7);
    wait(log.append_at(vec![at(9, reopening("a"))])).unwrap();
    assert_eq!(end_of(&log, "a"), None);
}

pub fn an_end_is_forgotten_when_its_entry_is_trimmed<F: Factory>() {
    let log = F::tight();
    append_one(&log, publication("a", "first"));
    append_one(&log, stop("b"));
    let at = append_one(&log, end("a", Outcome::Done));
    while end_of(&log, "a").is_some() {
        assert!(log.span().start.offset < at.offset, "it is known no longer than it is kept");
        overflow(&log);
    }
    assert!(log.span().start.offset >= at.offset, "it is known as long as it is kept");
    assert_eq!(log.topic_state(&topic("b")), TopicState::default());
    append_one(&log, publication("a", "unknown"));
}

pub fn of_two_that_end_a_topic_at_once_one_decides<F: Factory>() {
    let log = Arc::new(F::roomy());
    for round in 0..50 {
        let name = format!("a{round}");
        let both = Barrier::new(2);
        let answers = thread::scope(|scope| {
            let run = |outcome| {
                let (log, both, name) = (&log, &both, &name);
                scope.spawn(move || {
                    both.wait();
                    wait(log.append(vec![publication(name, "last"), end(name, outcome)]))
                })
            };
            let threads = [run(Outcome::Done), run(Outcome::Failed)];
            threads.map(|thread| thread.join().unwrap())
        });
        let state = end_of(&*log, &name).unwrap();
        let won = answers.iter().flatten().map(|appended| appended[1].position);
        assert!(won.eq([state.position]), "{answers:?}");
        let lost = answers.into_iter().find_map(Result::err);
        assert_eq!(lost, Some(ended(&name, state.outcome, Some(state.position))));
    }
    let all = read_all(&*log, log.span().start.offset, &any());
    assert_eq!(all.len(), 100, "nothing of a refused batch is stored");
}

pub fn whoever_reads_an_end_can_ask_for_it<F: Factory>() {
    let log = Arc::new(F::roomy());
    thread::scope(|scope| {
        let appending = scope.spawn(|| {
            for number in 0..200 {
                append_one(&*log, end(&number.to_string(), Outcome::Done));
            }
        });
        let mut after = log.span().start.offset;
        while after < 200 {
            let is_over = appending.is_finished();
            let block = read(&*log, after, &any(), NO_LIMIT);
            for entry in block.entries {
                let state = log.topic_state(entry.topic());
                assert_eq!(state.end.map(|end| end.position), Some(entry.position));
            }
            assert!(!is_over || block.up_to.offset > after, "all were read");
            after = block.up_to.offset;
        }
    });
}
