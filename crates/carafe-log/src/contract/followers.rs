//! Followers, which receive every batch as it is stored.

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use carafe_protocol::Position;

use super::Factory;
use super::helpers::{
    any, append, append_one, data, keyed, positions, publication, read_all, supplied, topic, wait,
};
use crate::{AppendAt, Entry, Publication, Read};

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

pub fn followers_get_every_batch_once_in_order<F: Factory>() {
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

pub fn a_follower_is_given_the_newest_entries_first<F: Factory>() {
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

pub fn a_batch_that_stores_nothing_is_not_handed_to_followers<F: Factory>() {
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

pub fn concurrent_appenders_and_a_follower_agree<F: Factory>() {
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

pub fn a_follower_that_comes_in_between_misses_nothing<F: Factory>() {
    let log = F::roomy();
    let mut followed = None;
    append_from_all_sides::<F>(&log, || followed = Some(follow(&log)));
    let (tail, handed) = followed.unwrap();
    let after = read_all(&log, tail.offset, &any());
    assert_eq!(handed.lock().unwrap().concat(), positions(&after));
}
