//! What jumps of the system's clock do to times and to history, with clocks that are set by hand.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_log::contract::helpers::{append_one, check_random, publication, read_all};
use carafe_log::{Clock, DiskLog, Entry, MemoryLimits, MemoryLog, Read, TimeSource};
use carafe_protocol::{Offset, TopicMatcher};
use proptest::prelude::*;

use crate::disk::{segments, small_segments};
use crate::sim::SimDisk;

const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// More than what the log's time may be off while the wall clock is right.
const SLACK: Duration = Duration::from_secs(5 * 60);

/// A machine's clocks.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Mutex<Clocks>>);

struct Clocks {
    /// What the time really is, since some moment.
    elapsed: Duration,
    booted: Duration,
    wall: Wall,
}

/// How far the wall clock is off.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wall {
    Right,
    Ahead(Duration),
    Behind(Duration),
}

impl TimeSource for Machine {
    fn wall(&self) -> SystemTime {
        let clocks = self.0.lock().unwrap();
        let right = UNIX_EPOCH + 50 * YEAR + clocks.elapsed;
        match clocks.wall {
            Wall::Right => right,
            Wall::Ahead(by) => right + by,
            Wall::Behind(by) => right - by,
        }
    }

    fn steady(&self) -> Duration {
        let clocks = self.0.lock().unwrap();
        clocks.elapsed - clocks.booted
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        let clocks = Clocks { elapsed: Duration::ZERO, booted: Duration::ZERO, wall: Wall::Right };
        Self(Arc::new(Mutex::new(clocks)))
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock::on(Arc::new(self.clone()))
    }

    pub(crate) fn set(&self, wall: Wall) {
        self.0.lock().unwrap().wall = wall;
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.0.lock().unwrap().elapsed += time;
    }

    fn reboot(&self) {
        let mut clocks = self.0.lock().unwrap();
        clocks.booted = clocks.elapsed;
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().elapsed
    }

    fn right_time(&self) -> SystemTime {
        UNIX_EPOCH + 50 * YEAR + self.elapsed()
    }
}

/// A log that keeps events for a day, on a machine.
struct Rig {
    machine: Machine,
    disk: SimDisk,
    log: Option<DiskLog>,
    /// When each event was really published, from the first on.
    published: Vec<Duration>,
}

impl Rig {
    fn new() -> Self {
        let mut rig = Self {
            machine: Machine::new(),
            disk: SimDisk::default(),
            log: None,
            published: Vec::new(),
        };
        rig.start();
        rig
    }

    fn start(&mut self) {
        let options = small_segments().with_age(DAY);
        let storage = Arc::new(self.disk.clone());
        self.log = Some(DiskLog::open_with(storage, options, self.machine.clock()).unwrap());
    }

    /// Stops the log, on a machine that is off for a while and starts with the wall clock set so.
    fn restart(&mut self, down: Duration, wall: Wall) {
        self.log = None;
        self.machine.pass(down);
        self.machine.reboot();
        self.machine.set(wall);
        self.start();
    }

    fn log(&self) -> &DiskLog {
        self.log.as_ref().unwrap()
    }

    fn publish(&mut self, count: usize) {
        for _ in 0..count {
            self.published.push(self.machine.elapsed());
            append_one(self.log(), publication("a", "twenty bytes of data"));
        }
    }

    /// Publishes twice: the second event is stored after the log has trimmed what it may after the
    /// first.
    fn trim(&mut self) -> Offset {
        self.publish(2);
        self.log().span().start.offset
    }

    /// Lets time pass, with a look at the clock now and then.
    fn pass(&mut self, time: Duration, step: Duration) {
        let end = self.machine.elapsed() + time;
        while self.machine.elapsed() < end {
            self.machine.pass(step);
            self.trim();
        }
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        read_all(self.log(), self.log().span().start.offset, &[TopicMatcher::any()])
    }

    fn last_time(&self) -> SystemTime {
        self.entries().last().unwrap().time
    }

    fn off(&self) -> Duration {
        let (shown, right) = (self.last_time(), self.machine.right_time());
        shown.duration_since(right).or_else(|_| right.duration_since(shown)).unwrap()
    }

    /// How long ago the newest event that is gone was published.
    fn youngest_gone(&self) -> Option<Duration> {
        let gone = usize::try_from(self.log().span().start.offset).unwrap();
        Some(self.machine.elapsed() - self.published[gone.checked_sub(1)?])
    }

    /// Files that hold entries.
    fn segments(&self) -> usize {
        segments(&self.disk).len()
    }
}

#[test]
fn a_wall_clock_that_is_wrong_for_a_moment_neither_trims_history_nor_stops_its_ageing() {
    for wrong in [Wall::Ahead(YEAR), Wall::Behind(YEAR), Wall::Ahead(2 * DAY)] {
        let mut rig = Rig::new();
        rig.publish(100);
        rig.machine.set(wrong);
        rig.pass(5 * MINUTE, MINUTE);
        assert!(rig.off() < SLACK, "{wrong:?}: events are not stamped with the wrong time");
        rig.machine.set(Wall::Right);
        rig.pass(HOUR, MINUTE);
        assert_eq!(rig.log().span().start.offset, 0, "{wrong:?}");
        rig.pass(DAY, 10 * MINUTE);
        assert!(rig.log().span().start.offset > 100, "{wrong:?}");
        assert!(rig.youngest_gone().unwrap() > DAY);
    }
}

#[test]
fn times_do_not_go_back_with_the_wall_clock() {
    let mut rig = Rig::new();
    rig.publish(10);
    rig.machine.set(Wall::Behind(HOUR));
    rig.pass(10 * MINUTE, MINUTE);
    rig.machine.set(Wall::Behind(30 * Duration::from_secs(1)));
    rig.pass(10 * MINUTE, MINUTE);
    let times: Vec<_> = rig.entries().iter().map(|entry| entry.time).collect();
    assert!(times.is_sorted());
    let machine = Machine::new();
    let log = MemoryLog::new(MemoryLimits::default()).with_clock(machine.clock());
    let time = || {
        append_one(&log, publication("a", "x"));
        read_all(&log, 0, &[TopicMatcher::any()]).last().unwrap().time
    };
    let before = time();
    machine.set(Wall::Ahead(YEAR));
    assert_eq!(time(), before);
    machine.set(Wall::Behind(YEAR));
    assert_eq!(time(), before);
}

#[test]
fn a_wall_clock_that_is_a_year_ahead_only_when_the_log_is_opened_costs_nothing() {
    let mut rig = Rig::new();
    rig.publish(100);
    rig.restart(MINUTE, Wall::Ahead(YEAR));
    rig.pass(Duration::from_secs(40), Duration::from_secs(10));
    rig.machine.set(Wall::Right);
    rig.pass(HOUR, MINUTE);
    assert_eq!(rig.log().span().start.offset, 0);
    assert!(rig.off() < SLACK);
    rig.restart(MINUTE, Wall::Right);
    rig.pass(DAY, 10 * MINUTE);
    assert!(rig.log().span().start.offset > 100, "events from the future age too");
}

#[test]
fn a_hub_that_was_off_for_a_year_trims_one_segment_a_minute() {
    let mut rig = Rig::new();
    rig.publish(200);
    let before = rig.segments();
    assert!(before > 8);
    rig.restart(YEAR, Wall::Right);
    assert_eq!(rig.trim(), 0, "nothing at once");
    let mut start = 0;
    for _ in 0..before + 1 {
        rig.machine.pass(Duration::from_secs(59));
        assert_eq!(rig.trim(), start);
        rig.machine.pass(Duration::from_secs(2));
        let next = rig.trim();
        let gone =
            rig.published[..usize::try_from(next).unwrap()].len() - usize::try_from(start).unwrap();
        assert!(gone <= 30, "{gone} events are more than a segment has");
        start = next;
    }
    assert!(start >= 200 - 30 && rig.youngest_gone().unwrap() > DAY, "{start}");
}

#[test]
fn the_year_that_was_not_there_is_not_trimmed_any_further_when_the_clock_is_put_right() {
    let mut rig = Rig::new();
    rig.publish(200);
    rig.restart(MINUTE, Wall::Ahead(YEAR));
    rig.pass(3 * MINUTE, MINUTE);
    let lost = rig.log().span().start.offset;
    assert!((1..=90).contains(&lost), "{lost}: at most a segment a minute");
    rig.machine.set(Wall::Right);
    rig.pass(2 * HOUR, MINUTE);
    assert_eq!(rig.log().span().start.offset, lost);
}

#[test]
fn a_log_whose_events_are_all_from_the_future_ages() {
    let mut rig = Rig::new();
    rig.log = None;
    rig.disk = SimDisk::default();
    rig.machine.set(Wall::Ahead(YEAR));
    rig.start();
    rig.publish(100);
    rig.restart(MINUTE, Wall::Right);
    rig.pass(2 * HOUR, MINUTE);
    assert!(rig.off() < SLACK);
    rig.restart(MINUTE, Wall::Right);
    assert_eq!(rig.trim(), 0);
    assert!(rig.off() < SLACK, "an event that is not from the future is the newest");
    rig.pass(DAY, 10 * MINUTE);
    assert!(rig.log().span().start.offset >= 100 - 30);
}

#[test]
fn a_wall_clock_behind_the_newest_event_when_the_log_is_opened_is_not_taken() {
    let mut rig = Rig::new();
    rig.publish(100);
    rig.restart(MINUTE, Wall::Behind(49 * YEAR));
    rig.pass(10 * MINUTE, MINUTE);
    assert!(rig.off() < SLACK);
    rig.machine.set(Wall::Right);
    rig.pass(DAY / 2, 10 * MINUTE);
    assert_eq!(rig.log().span().start.offset, 0);
    rig.pass(DAY, 10 * MINUTE);
    assert!(rig.log().span().start.offset > 100);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(usize),
    Pass(Duration),
    /// The wall clock is wrong for this number of minutes.
    Jump(Wall, u32),
    /// The wall clock is wrong for this number of minutes after it.
    Restart(Wall, u32),
}

fn step() -> impl Strategy<Value = Step> {
    let wall = || {
        prop_oneof![
            Just(Wall::Right),
            (1..400_u32).prop_map(|days| Wall::Ahead(days * DAY)),
            (1..400_u32).prop_map(|days| Wall::Behind(days * DAY)),
            (1..600_u32).prop_map(|minutes| Wall::Ahead(minutes * MINUTE)),
        ]
    };
    prop_oneof![
        3 => (1..40_usize).prop_map(Step::Publish),
        4 => (1..20_u32).prop_map(|hours| Step::Pass(hours * HOUR)),
        2 => (wall(), 1..50_u32).prop_map(|(wall, minutes)| Step::Jump(wall, minutes)),
        2 => (wall(), 0..50_u32).prop_map(|(wall, minutes)| Step::Restart(wall, minutes)),
    ]
}

impl Rig {
    /// What may be gone: while the clock is right, nothing that is younger than what is kept.
    fn check_trim(&mut self) {
        let before = self.gone_up_to();
        self.trim();
        if self.gone_up_to() > before {
            let age = self.youngest_gone().unwrap();
            assert!(age > DAY - SLACK, "an event that is {age:?} old is gone");
        }
    }

    fn gone_up_to(&self) -> Offset {
        self.log().span().start.offset
    }

    fn be_wrong(&mut self, wall: Wall, minutes: u32) {
        self.machine.set(wall);
        for _ in 0..minutes {
            let (before, published) = (self.gone_up_to(), self.published.len());
            self.machine.pass(MINUTE);
            self.trim();
            // Each segment of the test has fewer than 30 events.
            let old = self.published[..published]
                .partition_point(|at| *at + DAY < self.machine.elapsed());
            let (gone, old) = (self.gone_up_to(), u64::try_from(old).unwrap());
            assert!(
                gone <= before.max(old) + 30,
                "{before} to {gone} are gone at once, and {old} are old"
            );
        }
        self.machine.set(Wall::Right);
        self.trim();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(count) => self.publish(count),
            Step::Pass(time) => {
                let end = self.machine.elapsed() + time;
                while self.machine.elapsed() < end {
                    self.machine.pass(10 * MINUTE);
                    self.check_trim();
                }
            }
            Step::Jump(wall, minutes) => self.be_wrong(wall, minutes),
            Step::Restart(wall, minutes) => {
                self.restart(MINUTE, wall);
                self.be_wrong(wall, minutes);
            }
        }
    }
}

/// Whatever the wall clock does for less than an hour at a time: while it is right, nothing young
/// is removed; at most a segment a minute is while it is wrong; in the end, all that is old is
/// gone.
#[test]
fn history_ages_by_true_time_even_if_the_wall_clock_jumps() {
    let steps = prop::collection::vec(step(), 1..12);
    check_random(0xCAFE, 64, &steps, |steps| {
        let mut rig = Rig::new();
        // A clock that is behind at the very first start cannot be distinguished from one that
        // jumps ahead
        rig.publish(1);
        steps.into_iter().for_each(|step| rig.take(step));
        let old = rig.published.len();
        // Each restart may leave a segment of its own, which is trimmed in a minute of its own.
        rig.take(Step::Pass(DAY + 2 * HOUR));
        let segments = rig.segments();
        for _ in 0..segments {
            rig.machine.pass(MINUTE);
            rig.check_trim();
        }
        let kept = rig.gone_up_to();
        assert!(kept + 30 >= old as u64, "{kept} of {old} are gone");
    });
}
