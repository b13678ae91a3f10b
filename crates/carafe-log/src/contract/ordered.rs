//! Commits that several nodes share: each node decides over them alike.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_protocol::{Offset, Position};

use super::Factory;
use super::helpers::{
    any, data, find, keyed, pattern, positions, publication, read_all, topic, wait,
};
use crate::{
    Access, AppendAt, AppendAtError, AppendError, Appended, Commit, Erase, Find, OrderedAnswers,
    OrderedCommit, Outcome, Publication, Read,
};

/// How long logs remember keys by default.
const WINDOW: Duration = crate::KEY_WINDOW;

/// A commit with this sequence, at this time.
pub fn commit(sequence: u64, time: Duration, batches: Vec<Vec<Publication>>) -> OrderedCommit {
    let first = sequence << Commit::OFFSET_BITS;
    let commit = Commit { seed: sequence as u32 ^ 0xC0FFEE, batches };
    OrderedCommit { commit, first, time: at(time) }
}

/// A time, on a clock that has nothing to do with that of the machine.
pub fn at(time: Duration) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000_000) + time
}

pub fn store(log: &impl AppendAt, commits: Vec<OrderedCommit>) -> OrderedAnswers {
    wait(log.append_ordered(commits)).unwrap()
}

/// Stores a commit at the time of its sequence in seconds.
fn store_one(
    log: &impl AppendAt,
    sequence: u64,
    batches: Vec<Vec<Publication>>,
) -> Vec<Result<Vec<Appended>, AppendError>> {
    let time = Duration::from_secs(sequence);
    store(log, vec![commit(sequence, time, batches)]).remove(0)
}

fn all(log: &impl Read) -> Vec<Position> {
    positions(&read_all(log, log.span().start.offset, &any()))
}

fn fresh(answer: &Result<Vec<Appended>, AppendError>) -> Vec<Position> {
    let appended = answer.as_ref().unwrap();
    assert!(appended.iter().all(|appended| !appended.repeated));
    appended.iter().map(|appended| appended.position).collect()
}

pub fn a_commit_has_the_offsets_nonces_and_time_that_it_was_given<F: Factory>() {
    let log = F::supplied();
    let generation = log.span().start.generation;
    let batches = vec![
        vec![publication("a", "0"), publication("b", "1")],
        vec![],
        vec![publication("a", "2")],
    ];
    let ordered = commit(3, Duration::from_micros(5_999), batches);
    let answers = store(&log, vec![ordered.clone()]);
    let expected: Vec<_> = (0..3)
        .map(|index| {
            let (offset, nonce) = (ordered.first + index as Offset, ordered.commit.nonce(index));
            Position { generation, offset, nonce }
        })
        .collect();
    assert_eq!(fresh(&answers[0][0]), expected[..2]);
    assert_eq!(fresh(&answers[0][1]), []);
    assert_eq!(fresh(&answers[0][2]), expected[2..]);
    let entries = read_all(&log, log.span().start.offset, &any());
    assert_eq!((positions(&entries), data(&entries)), (expected.clone(), vec!["0", "1", "2"]));
    assert!(entries.iter().all(|entry| entry.time == at(Duration::from_millis(5))));
    assert!(expected.iter().all(|position| find(&log, *position) == Find::Found));
    assert_eq!(log.span().tail, expected[2]);
}

pub fn what_is_not_stored_leaves_a_hole<F: Factory>() {
    let log = F::supplied();
    let first = fresh(&store_one(&log, 1, vec![vec![keyed("a", "k")]])[0])[0];
    let batches = vec![
        vec![keyed("a", "k"), publication("a", "")],
        vec![keyed("a", "k")],
        vec![publication("b", "")],
    ];
    let answers = store_one(&log, 2, batches);
    let repeated = Appended { position: first, repeated: true };
    assert_eq!(answers[0].as_ref().unwrap()[0], repeated);
    assert_eq!(answers[1], Ok(vec![repeated]));
    let offsets: Vec<_> = all(&log).iter().map(|position| position.offset).collect();
    let second = 2 << Commit::OFFSET_BITS;
    assert_eq!(offsets, [first.offset, second + 1, second + 3]);
}

pub fn each_batch_of_a_commit_is_decided_in_its_order<F: Factory>() {
    let log = F::supplied();
    let end = || Publication::end(topic("a"), Outcome::Done);
    let reopening = publication("a", "again").with_reopening(true);
    let batches = vec![
        vec![publication("a", "last"), end()],
        vec![publication("a", "late")],
        vec![end()],
        vec![reopening],
        vec![publication("a", "new")],
    ];
    let answers = store_one(&log, 1, batches);
    let ended = fresh(&answers[0])[1];
    let refused =
        AppendError::Ended { topic: topic("a"), outcome: Outcome::Done, position: Some(ended) };
    assert_eq!(answers[1], Err(refused));
    assert_eq!(answers[2], Ok(vec![Appended { position: ended, repeated: true }]));
    let entries = read_all(&log, log.span().start.offset, &any());
    assert_eq!(data(&entries), ["last", "", "again", "new"]);
    assert_eq!(log.topic_state(&topic("a")).end, None);
}

pub fn a_refused_batch_leaves_nothing_and_the_next_one_is_stored<F: Factory>() {
    let log = F::supplied();
    let ending = vec![
        keyed("b", "k"),
        Publication::end(topic("a"), Outcome::Failed),
        publication("a", "late"),
    ];
    let answers = store_one(&log, 1, vec![ending, vec![keyed("b", "k"), publication("a", "")]]);
    let refused =
        AppendError::Ended { topic: topic("a"), outcome: Outcome::Failed, position: None };
    assert_eq!(answers[0], Err(refused));
    assert_eq!(all(&log), fresh(&answers[1]));
    let after_three = (1 << Commit::OFFSET_BITS) + 3;
    assert_eq!(all(&log)[0].offset, after_three, "what is refused has its offsets");
}

pub fn commits_must_lie_beyond_the_tail_and_each_other<F: Factory>() {
    let log = F::supplied();
    let two = || vec![vec![publication("a", ""), publication("a", "")]];
    let at = |first, batches| OrderedCommit { first, ..commit(0, Duration::ZERO, batches) };
    store(&log, vec![at(5, two())]);
    let before = log.span();
    let refused = |offset, tail| Err(AppendAtError::OutOfOrder { offset, tail });
    assert_eq!(wait(log.append_ordered(vec![at(6, two())])), refused(6, 6));
    assert_eq!(wait(log.append_ordered(vec![at(8, two()), at(9, two())])), refused(9, 9));
    for batches in [two(), Vec::new()] {
        let refused = wait(log.append_ordered(vec![at(u64::MAX, batches)]));
        let is_end = |error: &AppendAtError| {
            matches!(error, AppendAtError::OutOfOrder { offset: u64::MAX, .. })
        };
        assert!(refused.is_err_and(|error| is_end(&error)), "there is no offset behind it");
    }
    assert!(log.span().tail.offset <= 9 && log.span().start == before.start);
    assert_eq!(wait(log.append_ordered(Vec::new())), Ok(Vec::new()));
    store(&log, vec![at(10, two()), at(12, vec![]), at(13, two())]);
    assert_eq!(log.span().tail.offset, 14);
}

pub fn the_key_window_is_one_of_the_times_of_commits<F: Factory>() {
    let moment = Duration::from_millis(1);
    let times = [Duration::ZERO, WINDOW - moment, WINDOW, WINDOW + moment, 3 * WINDOW];
    let commits = || {
        let commits = (1..).zip(times).map(|(sequence, time)| {
            commit(sequence, time, vec![vec![keyed("a", "k")], vec![keyed("a", "k")]])
        });
        commits.collect::<Vec<_>>()
    };
    let at_once = F::supplied();
    let answers = store(&at_once, commits());
    let one_by_one = F::supplied();
    let each: Vec<_> =
        commits().into_iter().map(|commit| store(&one_by_one, vec![commit]).remove(0)).collect();
    assert_eq!(answers, each, "however commits are divided into calls");
    let stored: Vec<_> = all(&at_once).iter().map(|position| position.offset).collect();
    assert_eq!(stored, [1, 3, 5].map(|sequence| sequence << Commit::OFFSET_BITS));
    assert_eq!(stored, all(&one_by_one).iter().map(|known| known.offset).collect::<Vec<_>>());
}

pub fn ends_and_stops_hold_for_the_key_window<F: Factory>() {
    let (log, trimmed) = (F::supplied(), F::supplied());
    let ending = vec![vec![
        publication("a", "last"),
        Publication::end(topic("a"), Outcome::Done),
        Publication::stop(topic("b")),
    ]];
    let ended = store(&log, vec![commit(1, Duration::ZERO, ending)])[0][0].clone().unwrap();
    let late = |data| vec![publication("c", data).with_alternates([topic("a")])];
    let just_before = WINDOW - Duration::from_millis(1);
    let batches = vec![late("too early"), vec![Publication::stop(topic("b"))]];
    let answers = store(&log, vec![commit(2, just_before, batches)]).remove(0);
    let position = Some(ended[1].position);
    let refused = AppendError::Ended { topic: topic("a"), outcome: Outcome::Done, position };
    assert_eq!(answers[0], Err(refused));
    assert_eq!(answers[1], Ok(vec![Appended { repeated: true, ..ended[2] }]));
    let new_life = || {
        let end = Publication::end(topic("a"), Outcome::Done);
        let batches = vec![
            vec![Publication::stop(topic("b"))],
            late("new life"),
            vec![publication("a", "goes on")],
            vec![end.clone()],
            vec![end],
        ];
        vec![commit(3, WINDOW, batches)]
    };
    let answers = store(&log, new_life());
    assert_eq!(store(&trimmed, new_life()), answers, "also by a node that has no older entry");
    assert!(!answers[0][0].as_ref().unwrap()[0].repeated);
    let again = fresh(&answers[0][3])[0];
    assert_eq!(answers[0][4], Ok(vec![Appended { position: again, repeated: true }]));
    let after = ended[2].position.offset;
    assert_eq!(read_all(&log, after, &any()), read_all(&trimmed, after, &any()));
    for log in [&log, &trimmed] {
        assert_eq!(log.topic_state(&topic("a")).end.map(|end| end.position), Some(again));
        assert_eq!(log.ended_topics(), 2);
    }
}

pub fn an_event_after_an_old_end_begins_a_new_life_and_keeps_a_stop<F: Factory>() {
    let log = F::supplied();
    let end = |of| Publication::end(topic(of), Outcome::Failed);
    store(&log, vec![commit(1, Duration::ZERO, vec![vec![end("a"), end("c")]])]);
    let stop = vec![Publication::stop(topic("b"))];
    let event = vec![publication("b", "").with_alternates([topic("a")])];
    let answers = store(&log, vec![commit(2, WINDOW, vec![stop, event])]).remove(0);
    let stop = fresh(&answers[0])[0];
    assert_eq!(log.topic_state(&topic("a")).end, None);
    assert_eq!(log.topic_state(&topic("b")).stop, Some(stop));
    assert!(log.topic_state(&topic("c")).end.is_some(), "readers know an old end all the same");
    assert_eq!(log.ended_topics(), 2);
}

pub fn a_commit_that_has_stored_nothing_can_come_again<F: Factory>() {
    let log = F::supplied();
    store_one(&log, 1, vec![vec![keyed("a", "k")], vec![Publication::stop(topic("b"))]]);
    let before = log.span();
    let nothing_new = || vec![vec![Publication::stop(topic("b")), keyed("a", "k")]];
    let answer = store_one(&log, 2, nothing_new());
    assert_eq!(store_one(&log, 2, nothing_new()), answer);
    assert_eq!(log.span(), before);
    let first = [before.tail.offset, 1 << Commit::OFFSET_BITS];
    assert_eq!(answer[0].as_ref().map(|all| [0, 1].map(|at| all[at].position.offset)), Ok(first));
}

pub fn an_erasure_frees_a_key_for_later_batches_and_commits<F: Factory>() {
    let log = F::supplied();
    let erasure = || vec![Publication::erase(topic("a"), Erase::Before)];
    let first = fresh(&store_one(&log, 1, vec![vec![keyed("a", "k")]])[0])[0];
    let batches = vec![erasure(), vec![keyed("a", "k")], vec![keyed("a", "k")], erasure()];
    let answers = store_one(&log, 2, batches);
    let second = fresh(&answers[1])[0];
    assert_eq!(answers[2], Ok(vec![Appended { position: second, repeated: true }]));
    assert_eq!(fresh(&store_one(&log, 3, vec![vec![keyed("a", "k")]])[0]).len(), 1);
    let erased = read_all(&log, log.span().start.offset, &any());
    let is_erased = |position: Position| {
        let entry = erased.iter().find(|entry| entry.position == position).unwrap();
        !entry.publication.is_event() && entry.data().is_empty()
    };
    assert!(is_erased(first) && is_erased(second));
}

pub fn the_newest_event_that_is_not_erased_has_a_key<F: Factory>() {
    let publish = || vec![vec![keyed("a", "k")]];
    let again = commit(2, WINDOW, publish());
    let (offset, nonce) = (again.first, again.commit.nonce(0));
    let erasure = || Publication::erase(topic("a"), Erase::Event { offset, nonce });
    let just_before = WINDOW - Duration::from_millis(1);
    let together = vec![vec![erasure()], vec![keyed("a", "k"), keyed("a", "k")]];
    // The erasure in a commit before, and in the one that it decides over.
    for (erasing, later) in [(vec![vec![erasure()]], publish()), (Vec::new(), together)] {
        let commits = vec![
            commit(1, Duration::ZERO, publish()),
            again.clone(),
            commit(3, WINDOW, erasing),
            commit(4, just_before, later.clone()),
            commit(5, WINDOW, publish()),
        ];
        let (log, at_once) = (F::supplied(), F::supplied());
        let answers: Vec<_> =
            commits.iter().map(|one| store(&log, vec![one.clone()]).remove(0)).collect();
        assert_eq!(store(&at_once, commits), answers);
        let first = fresh(&answers[0][0])[0];
        let known = answers[3].last().unwrap().as_ref().unwrap();
        let repeated = Appended { position: first, repeated: true };
        assert!(known.iter().all(|one| *one == repeated), "the time went back into its window");
        assert_eq!(fresh(&answers[4][0]).len(), 1, "its window has passed");
    }
}

pub fn a_follower_gets_each_commit_at_once<F: Factory>() {
    let log = F::supplied();
    let received = Arc::new(Mutex::new(Vec::new()));
    let receiver = Arc::clone(&received);
    log.follow(
        0,
        Box::new(move |entries| {
            let offsets = entries.iter().map(|entry| entry.offset());
            receiver.lock().unwrap().push(offsets.collect::<Vec<_>>());
        }),
    );
    for sequence in 1..=20 {
        let batches = (0..3).map(|_| vec![publication("a", ""), publication("b", "")]).collect();
        store_one(&log, sequence, batches);
    }
    let sequence = |offset: &Offset| offset >> Commit::OFFSET_BITS;
    let received = received.lock().unwrap();
    for sequence_of in 1..=20 {
        let parts =
            received.iter().filter(|part| part.iter().any(|at| sequence(at) == sequence_of));
        assert_eq!(parts.count(), 1, "{sequence_of}");
    }
    assert_eq!(received.iter().map(Vec::len).sum::<usize>(), 120);
}

pub fn commits_may_be_far_apart<F: Factory>() {
    let log = F::supplied();
    let (mut stored, mut sequence) = (Vec::new(), 1);
    // Up to 2^40, with many commits on both sides of each jump.
    for jump in [1, 1 << 16, 1 << 20, 1 << 39] {
        sequence += jump;
        for _ in 0..60 {
            let batch = vec![keyed("a/1", &sequence.to_string()), publication("b", "twenty bytes")];
            let ordered = commit(sequence, Duration::ZERO, vec![batch]);
            stored.extend(fresh(&store(&log, vec![ordered])[0][0]));
            sequence += 1;
        }
    }
    assert_eq!(all(&log), stored);
    assert!(stored.iter().all(|position| find(&log, *position) == Find::Found));
    let of_a: Vec<_> = stored.iter().copied().step_by(2).collect();
    let start = log.span().start.offset;
    assert_eq!(positions(&read_all(&log, start, &[topic("a/1").into()])), of_a);
    assert_eq!(positions(&read_all(&log, of_a[100].offset, &[pattern("a/*")])), of_a[101..]);
    let before = wait(log.before_last(50, vec![topic("a/1").into()], Access::all())).unwrap();
    assert_eq!(positions(&read_all(&log, before.offset, &[topic("a/1").into()])), of_a[190..]);
    let known = (of_a[30].offset >> Commit::OFFSET_BITS).to_string();
    let ordered = commit(sequence, Duration::ZERO, vec![vec![keyed("a/1", &known)]]);
    assert_eq!(
        store(&log, vec![ordered])[0][0],
        Ok(vec![Appended { position: of_a[30], repeated: true }])
    );
}

pub fn the_clock_of_a_supplied_log_follows_its_commits<F: Factory>() {
    let log = F::supplied();
    store_one(&log, 1, vec![vec![publication("a", "")]]);
    let (hour, now) = (Duration::from_secs(3600), log.clock().now());
    // Not a timed test: an hour is longer than it may take.
    assert!(now >= at(Duration::ZERO) && now < at(hour), "{now:?}");
    store(&log, vec![commit(2, 10 * hour, vec![vec![publication("a", "")]])]);
    let now = log.clock().now();
    assert!(now >= at(10 * hour) && now < at(11 * hour), "{now:?}");
}

pub fn the_place_between_two_commits_is_found_in_a_supplied_log<F: Factory>() {
    let log = F::supplied();
    (1..=3).for_each(|sequence| drop(store_one(&log, sequence, vec![vec![publication("a", "")]])));
    let before = |sequence: u64| Position {
        offset: (sequence << Commit::OFFSET_BITS) - 1,
        nonce: 0,
        ..log.span().start
    };
    assert_eq!([1, 2, 3].map(|sequence| find(&log, before(sequence))), [Find::Found; 3]);
    assert_eq!(find(&log, before(4)), Find::Ahead);
    assert_eq!(find(&log, Position { nonce: 1, ..before(2) }), Find::Foreign);
    assert_eq!(find(&log, Position { offset: before(2).offset - 1, ..before(2) }), Find::Foreign);
}
