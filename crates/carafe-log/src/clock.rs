//! The clock of a log: wall time that ignores jumps of the system clock, or the time of what is
//! supplied. Any thread may read it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock_reading::{Reading, TOLERANCE, TRUST, duration, nanos};
use crate::supplied_time::SuppliedTime;

/// To follow the wall clock, the log's time runs faster or slower by at most one part in `RATE`.
const RATE: i64 = 10;

/// The minimum time between two reports of a jump.
const REPORT: Duration = Duration::from_secs(60);

/// The source of time of a [`Clock`]. Tests can use their own.
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, SystemTime, UNIX_EPOCH};
///
/// use carafe_log::{Clock, TimeSource};
///
/// struct Stopped;
///
/// impl TimeSource for Stopped {
///     fn wall(&self) -> SystemTime {
///         UNIX_EPOCH
///     }
///
///     fn steady(&self) -> Duration {
///         Duration::ZERO
///     }
/// }
///
/// assert_eq!(Clock::on(Arc::new(Stopped)).now(), UNIX_EPOCH);
/// ```
pub trait TimeSource: Send + Sync + 'static {
    /// The wall clock. It may jump at any time.
    fn wall(&self) -> SystemTime;

    /// The time since a fixed moment of this process. It never jumps. If the system can measure it,
    /// the time in which the machine is suspended counts.
    fn steady(&self) -> Duration;
}

/// The clock of a log. It determines the time of entries. Clones are handles to the same clock.
///
/// The clock runs at the rate of a monotonic clock and follows the wall clock slowly, by a tenth of
/// the time that passes. If the wall clock jumps by more than a minute, the log's time ignores it
/// until it returns, or until the jump has lasted for an hour. When a log is opened, its time
/// starts with the wall clock, or with the time of its newest entry while the wall clock is behind
/// that.
///
/// The clock of a log that is supplied ([`AppendAt`](crate::AppendAt)) ignores the wall clock. Its
/// time is that of the newest entry or commit, and what has passed since.
///
/// ```
/// use carafe_log::Clock;
///
/// let clock = Clock::system();
/// assert!(clock.now() <= clock.clone().now());
/// ```
#[derive(Clone)]
pub struct Clock {
    source: Arc<dyn TimeSource>,
    // A leaf in the lock order: nothing is locked or called while it is held, except the source.
    state: Arc<Mutex<Time>>,
}

/// What the time follows.
#[derive(Debug)]
enum Time {
    Wall(State),
    Supplied(SuppliedTime),
}

impl Clock {
    /// A clock on the clocks of the system.
    #[must_use]
    pub fn system() -> Self {
        Self::on(Arc::new(System::default()))
    }

    /// A clock on another source of time.
    #[must_use]
    pub fn on(source: Arc<dyn TimeSource>) -> Self {
        let (wall, steady) = now_of(&*source);
        let state = Time::Wall(State::starting_at(wall, steady));
        Self { source, state: Arc::new(Mutex::new(state)) }
    }

    /// A clock on the same source that follows the times of what is supplied.
    pub(crate) fn supplied(&self) -> Self {
        let source = Arc::clone(&self.source);
        let (wall, steady) = now_of(&*source);
        let state = Time::Supplied(SuppliedTime::starting_at(wall, steady));
        Self { source, state: Arc::new(Mutex::new(state)) }
    }

    /// Takes the time of something that is supplied, or the present time of who supplies it. A
    /// clock that follows the wall clock ignores it.
    ///
    /// While nothing is supplied, a log does not know how much time has passed since it was opened
    /// last. Whoever supplies it can say so.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use carafe_log::{MemoryLimits, MemoryLog, Read};
    /// use carafe_protocol::Generation;
    ///
    /// let log = MemoryLog::with_generation(MemoryLimits::default(), Generation::new(7));
    /// let later = log.clock().now() + Duration::from_secs(3600);
    /// log.clock().supply(later);
    /// assert!(log.clock().now() >= later);
    /// ```
    pub fn supply(&self, time: SystemTime) {
        if let Time::Supplied(state) = &mut *self.state() {
            state.supply(since_1970(time), nanos(self.source.steady()));
        }
    }

    /// The time that was supplied last. `None` if the clock follows the wall clock.
    pub(crate) fn last_supplied(&self) -> Option<SystemTime> {
        match &*self.state() {
            Time::Wall(_) => None,
            Time::Supplied(state) => Some(UNIX_EPOCH + duration(state.last())),
        }
    }

    /// The log's time, in the whole milliseconds that events carry.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.reading().time()
    }

    pub(crate) fn reading(&self) -> Reading {
        let mut time = self.state();
        let (wall, steady) = now_of(&*self.source);
        let state = match &mut *time {
            Time::Wall(state) => state,
            Time::Supplied(state) => return state.reading(steady),
        };
        let event = state.advance(wall, steady);
        let reading = state.reading();
        drop(time);
        // After the lock: logging may block.
        event.into_iter().for_each(Event::report);
        reading
    }

    /// Resumes after the time of the newest entry of a log that is opened.
    pub(crate) fn resume(&self, newest: SystemTime) {
        let mut time = self.state();
        // Read under the lock: otherwise two threads could apply their readings in the wrong order.
        let (wall, steady) = now_of(&*self.source);
        let newest = since_1970(newest);
        let state = match &mut *time {
            Time::Wall(state) => state,
            Time::Supplied(state) => return *state = SuppliedTime::resuming(newest, steady),
        };
        *state = State::resuming(newest, wall, steady);
        let behind = state.unset.map(|newest| newest - wall);
        drop(time);
        if let Some(behind) = behind {
            tracing::warn!(
                by = ?duration(behind),
                "the system clock is behind the newest event: the log's time resumes from \
                 that event"
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, Time> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("state", &*self.state()).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug)]
struct Tick {
    steady: i64,
    time: i64,
}

#[derive(Debug)]
struct State {
    last: Tick,
    /// The time of the newest entry at opening, until the wall clock reaches it.
    unset: Option<i64>,
    /// The time of the newest entry at opening. An earlier wall time is wrong.
    floor: i64,
    opened: i64,
    doubt: i64,
    jump: Option<Jump>,
    reported: Option<i64>,
}

/// A wall clock that differs from the log's time.
#[derive(Clone, Copy, Debug)]
struct Jump {
    since: i64,
    /// The wall clock minus the monotonic clock.
    offset: i64,
}

/// An event that the log reports to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Jumped(i64),
    Believed(i64),
}

impl State {
    fn starting_at(wall: i64, steady: i64) -> Self {
        let last = Tick { steady, time: wall };
        Self {
            last,
            unset: None,
            floor: wall,
            opened: steady,
            doubt: 0,
            jump: None,
            reported: None,
        }
    }

    fn resuming(newest: i64, wall: i64, steady: i64) -> Self {
        let is_behind = wall < newest - nanos(TOLERANCE);
        let time = wall.max(newest);
        Self {
            last: Tick { steady, time },
            unset: is_behind.then_some(newest),
            floor: newest,
            opened: steady,
            doubt: time - newest,
            jump: None,
            reported: None,
        }
    }

    fn reading(&self) -> Reading {
        let agrees = self.jump.is_none() && self.unset.is_none();
        let Self { last: Tick { steady, time }, doubt, .. } = *self;
        Reading { steady, time, doubt, agrees }
    }

    fn advance(&mut self, wall: i64, steady: i64) -> Option<Event> {
        // A source that goes back counts as standing still: the log's time never decreases.
        let elapsed = steady.saturating_sub(self.last.steady).max(0);
        let steady = self.last.steady.saturating_add(elapsed);
        let time = self.last.time.saturating_add(elapsed);
        let error = wall.saturating_sub(time);
        self.last = Tick { steady, time };
        if error.saturating_abs() <= nanos(TOLERANCE) {
            (self.jump, self.unset) = (None, None);
            // At most a tenth of the elapsed time, so the time still grows when it is corrected
            // downwards.
            self.last.time = time + error.clamp(-elapsed / RATE, elapsed / RATE);
            return None;
        }
        if self.corrects_the_first(wall, error) {
            return Some(self.believe(wall, error));
        }
        self.suspect(wall, error)
    }

    /// Whether the wall clock was wrong at opening and is plausible now.
    fn corrects_the_first(&self, wall: i64, error: i64) -> bool {
        let plausible = wall >= self.floor - nanos(TOLERANCE);
        let on_trust = self.doubt > 0 && self.last.steady - self.opened < nanos(TRUST);
        plausible && if error > 0 { self.unset.is_some() } else { on_trust }
    }

    fn suspect(&mut self, wall: i64, error: i64) -> Option<Event> {
        let steady = self.last.steady;
        let offset = wall.saturating_sub(steady);
        let same =
            |jump: &Jump| offset.saturating_sub(jump.offset).saturating_abs() <= nanos(TOLERANCE);
        match self.jump.filter(same) {
            Some(jump) if steady - jump.since >= nanos(TRUST) => Some(self.believe(wall, error)),
            Some(_) => None,
            None => {
                self.jump = Some(Jump { since: steady, offset });
                // A clock that jumps all the time must not fill the log file.
                let silent = self.reported.is_some_and(|at| steady - at < nanos(REPORT));
                (!silent).then(|| {
                    self.reported = Some(steady);
                    Event::Jumped(error)
                })
            }
        }
    }

    fn believe(&mut self, wall: i64, error: i64) -> Event {
        self.last.time = wall;
        self.doubt = self.doubt.saturating_add(error).max(0);
        (self.jump, self.unset) = (None, None);
        Event::Believed(error)
    }
}

impl Event {
    fn report(self) {
        match self {
            Self::Jumped(by) => tracing::warn!(
                by = signed(by),
                "the system clock jumped: events keep the log's time until the clock returns, \
                 or for an hour"
            ),
            Self::Believed(by) => tracing::warn!(
                by = signed(by),
                "the log's time follows the system clock; segments that are too old by it are \
                 removed, one a minute"
            ),
        }
    }
}

/// The clocks of the system.
#[derive(Default)]
struct System {
    #[cfg(not(target_os = "linux"))]
    start: std::sync::OnceLock<std::time::Instant>,
}

impl TimeSource for System {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    // `Instant` stops while the machine is suspended.
    #[cfg(target_os = "linux")]
    fn steady(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(time).unwrap_or_default()
    }

    #[cfg(not(target_os = "linux"))]
    fn steady(&self) -> Duration {
        self.start.get_or_init(std::time::Instant::now).elapsed()
    }
}

/// The wall clock and the monotonic clock.
fn now_of(source: &dyn TimeSource) -> (i64, i64) {
    (since_1970(source.wall()), nanos(source.steady()))
}

fn since_1970(time: SystemTime) -> i64 {
    nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn signed(by: i64) -> String {
    let sign = if by < 0 { "-" } else { "+" };
    format!("{sign}{:?}", Duration::from_secs(by.unsigned_abs() / 1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const HOUR: i64 = 3600 * SECOND;
    const YEAR: i64 = 365 * 24 * HOUR;
    const START: i64 = 50 * YEAR;

    /// A clock whose wall clock is off by so much.
    struct Fake {
        state: State,
        true_time: i64,
        off: i64,
    }

    impl Fake {
        fn new() -> Self {
            Self { state: State::starting_at(START, 0), true_time: START, off: 0 }
        }

        fn resuming(newest: i64, off: i64) -> Self {
            Self { state: State::resuming(newest, START + off, 0), true_time: START, off }
        }

        /// Lets time pass, with a look at the clock each second.
        fn pass(&mut self, time: i64) -> Vec<Event> {
            let mut events = Vec::new();
            for _ in 0..time / SECOND {
                self.true_time += SECOND;
                let before = self.state.last.time;
                events
                    .extend(self.state.advance(self.true_time + self.off, self.true_time - START));
                let elapsed = self.state.last.time - before;
                let bounded = (SECOND * 9 / 10..=SECOND * 11 / 10).contains(&elapsed);
                assert!(bounded || matches!(events.last(), Some(Event::Believed(_))));
            }
            events
        }

        fn error(&self) -> i64 {
            self.state.last.time - self.true_time
        }
    }

    #[test]
    fn a_small_error_of_the_wall_clock_is_followed_slowly() {
        let mut clock = Fake::new();
        clock.off = 30 * SECOND;
        assert_eq!(clock.pass(10 * SECOND), []);
        assert_eq!(clock.error(), SECOND);
        clock.pass(300 * SECOND);
        assert_eq!(clock.error(), 30 * SECOND);
        clock.off = -20 * SECOND;
        clock.pass(600 * SECOND);
        assert_eq!(clock.error(), -20 * SECOND);
    }

    #[test]
    fn frequent_looks_at_the_clock_do_not_make_it_follow_faster() {
        let mut clock = Fake::new();
        for step in 1..=1000 {
            assert_eq!(clock.state.advance(START + 50 * SECOND, step * SECOND / 1000), None);
        }
        assert_eq!(clock.state.last.time, START + SECOND + SECOND / 10);
    }

    #[test]
    fn a_momentary_jump_in_either_direction_leaves_no_trace_but_one_report() {
        for off in [YEAR, -YEAR, 2 * 60 * SECOND, i64::MAX - 60 * YEAR, -START] {
            let mut clock = Fake::new();
            clock.off = off;
            assert_eq!(clock.pass(HOUR / 2).len(), 1);
            clock.off = 0;
            assert_eq!(clock.pass(HOUR), []);
            assert_eq!((clock.error(), clock.state.doubt), (0, 0));
        }
    }

    #[test]
    fn a_jump_that_lasts_for_an_hour_is_believed() {
        for off in [YEAR, -YEAR] {
            let mut clock = Fake::new();
            clock.off = off;
            let events = clock.pass(HOUR + 10 * SECOND);
            assert!(matches!(events[..], [Event::Jumped(_), Event::Believed(_)]), "{events:?}");
            assert_eq!((clock.error(), clock.state.doubt), (off, off.max(0)));
        }
    }

    #[test]
    fn a_wall_clock_that_keeps_jumping_is_never_believed_and_seldom_reported() {
        let mut clock = Fake::new();
        let mut events = Vec::new();
        for round in 0..300 {
            clock.off = (round % 3 + 1) * YEAR;
            events.extend(clock.pass(30 * SECOND));
        }
        assert!(clock.error().abs() <= 60 * SECOND);
        assert!((2..=151).contains(&events.len()), "{}", events.len());
    }

    #[test]
    fn a_log_that_is_opened_a_year_later_takes_the_wall_clocks_word_and_doubts_it() {
        let mut clock = Fake::resuming(START - YEAR, 0);
        assert_eq!(clock.pass(2 * HOUR), []);
        assert_eq!((clock.error(), clock.state.doubt), (0, YEAR));
    }

    #[test]
    fn a_wall_clock_that_was_ahead_only_when_the_log_was_opened_is_put_right_at_once() {
        let mut clock = Fake::resuming(START - HOUR, YEAR);
        clock.pass(10 * SECOND);
        assert_eq!((clock.error(), clock.state.doubt), (YEAR, YEAR + HOUR));
        clock.off = 0;
        clock.pass(2 * SECOND);
        assert_eq!((clock.error(), clock.state.doubt), (0, HOUR));
    }

    #[test]
    fn a_wall_clock_behind_the_newest_entry_is_ignored_until_it_is_put_right() {
        let mut clock = Fake::resuming(START - HOUR, -10 * YEAR);
        clock.pass(10 * SECOND);
        assert_eq!(clock.error(), -HOUR, "it goes on from the newest entry");
        clock.off = 0;
        clock.pass(2 * SECOND);
        assert_eq!((clock.error(), clock.state.doubt), (0, HOUR));
    }

    #[test]
    fn newest_entries_from_the_future_are_left_behind_after_an_hour() {
        let mut clock = Fake::resuming(START + YEAR, 0);
        clock.pass(HOUR / 2);
        assert_eq!(clock.error(), YEAR);
        clock.pass(HOUR);
        assert_eq!((clock.error(), clock.state.doubt), (0, 0));
    }
}
