//! Nodes whose clocks are wrong trim and decide alike.

use std::sync::Arc;
use std::time::Duration;

use carafe_log::contract::helpers::{keyed, publication, settle};
use carafe_log::contract::ordered::store;
use carafe_log::{Appended, DiskLog, OrderedCommit, Read};

use crate::sim::SimDisk;
use crate::supplied::{commit_at, options, sequence};
use crate::time::{HOUR, Machine, Wall};

const MINUTE: u64 = 60;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node that keeps events for a day, on a machine with a wall clock of its own.
struct Node {
    machine: Machine,
    log: DiskLog,
}

impl Node {
    fn new(wall: Wall) -> Self {
        let machine = Machine::new();
        machine.set(wall);
        let storage = Arc::new(SimDisk::default());
        let log = DiskLog::open_with(storage, options().with_age(DAY), machine.clock()).unwrap();
        Self { machine, log }
    }

    fn pass(&self, minutes: u64) {
        self.machine.pass(Duration::from_secs(minutes * MINUTE));
    }

    fn store(&self, commits: Vec<OrderedCommit>) {
        store(&self.log, commits);
        settle(&self.log);
    }
}

/// One event each ten minutes.
fn event(number: u64) -> OrderedCommit {
    let batch = vec![publication("a", "twenty bytes of data")];
    commit_at(number, number * 10 * MINUTE, vec![batch])
}

/// An event with a key, which is always the same, at this time in seconds.
fn with_key(number: u64, seconds: u64) -> OrderedCommit {
    commit_at(number, seconds, vec![vec![keyed("a", "k")]])
}

#[test]
fn nodes_with_wrong_clocks_trim_alike() {
    let nodes =
        [Wall::Right, Wall::Ahead(HOUR), Wall::Behind(HOUR), Wall::Ahead(2 * DAY)].map(Node::new);
    let starts = |nodes: &[Node]| -> Vec<_> {
        nodes.iter().map(|node| node.log.span().start).collect::<Vec<_>>()
    };
    for number in 1..600 {
        for node in &nodes {
            node.pass(10);
            node.store(vec![event(number)]);
        }
        let starts = starts(&nodes);
        assert!(starts.iter().all(|start| *start == starts[0]), "{number}: {starts:?}");
        let oldest = sequence(nodes[0].log.span().start);
        assert!(number.saturating_sub(oldest) >= 144.min(number), "a day is kept");
    }
    assert_ne!(starts(&nodes)[0].offset, 0, "more than a day is not");
}

#[test]
fn a_node_that_fills_at_once_trims_as_one_that_followed() {
    let (followed, filled) = (Node::new(Wall::Right), Node::new(Wall::Behind(HOUR)));
    for number in 1..400 {
        followed.pass(10);
        followed.store(vec![event(number)]);
    }
    (1..400).for_each(|number| filled.store(vec![event(number)]));
    assert_eq!(filled.log.span().start.offset, 0, "times that jump are doubted for a while");
    for number in 400..420 {
        for node in [&followed, &filled] {
            node.pass(10);
            node.store(vec![event(number)]);
        }
    }
    assert_eq!(filled.log.span().start, followed.log.span().start);
    assert_ne!(filled.log.span().start.offset, 0);
}

/// A node that is cut off for long has to decide over what it has missed.
#[test]
fn what_decides_over_late_commits_is_not_trimmed_by_the_time_that_passes_meanwhile() {
    let node = Node::new(Wall::Right);
    node.store(vec![with_key(1, 0)]);
    (2..100).for_each(|number| node.store(vec![event(number)]));
    node.pass(3 * 24 * 60);
    settle(&node.log);
    let late = DAY.as_secs() - 1;
    let answers = store(&node.log, vec![with_key(100, late)]);
    assert!(answers[0][0].as_ref().unwrap()[0].repeated);
}

#[test]
fn history_ages_while_nothing_is_supplied_if_the_log_is_told_the_time() {
    let node = Node::new(Wall::Right);
    (1..100).for_each(|number| node.store(vec![event(number)]));
    node.pass(3 * 24 * 60);
    settle(&node.log);
    assert_eq!(node.log.span().start.offset, 0);
    node.log.clock().supply(node.log.clock().now());
    // An append is answered before the log is trimmed, and the next one after that.
    settle(&node.log);
    settle(&node.log);
    assert_ne!(node.log.span().start.offset, 0);
}

#[test]
fn a_key_is_known_by_the_times_of_commits_whatever_a_clock_says() {
    for wall in [Wall::Right, Wall::Ahead(10 * DAY), Wall::Behind(10 * DAY)] {
        let node = Node::new(wall);
        let day = DAY.as_secs();
        let commits = vec![with_key(1, 0), with_key(2, day - 1), with_key(3, day)];
        let mut repeated = Vec::new();
        for one in commits {
            // A day of this machine is none of the commits.
            node.pass(24 * 60);
            let answers = store(&node.log, vec![one]);
            repeated.extend(answers[0][0].iter().flatten().map(|one: &Appended| one.repeated));
        }
        assert_eq!(repeated, [false, true, false], "{wall:?}");
    }
}
