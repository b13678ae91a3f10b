//! The event loop that drives all connections of a run, on the calling thread.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::error::Error;

use crate::alarm::Alarm;
use crate::clock;
use crate::fleet::Fleet;
use crate::mark::{Mark, Run};
use crate::plan::Plan;
use crate::publishers::Publishers;
use crate::stages::Stages;
use crate::tally::Tally;

const ALARM: Token = Token(usize::MAX - 1);
const STAGES: Token = Token(usize::MAX - 2);

/// The longest wait for an event, which bounds the age of the progress bar.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// The same while connections are opened at a rate.
const RAMP_WAIT: Duration = Duration::from_millis(10);

/// How long to wait for an ID at the beginning of a stream. Many servers send none.
const FIRST_ID: Duration = Duration::from_secs(1);

/// How often the missing events of all connections are counted.
const COUNTING: Duration = Duration::from_millis(20);

pub(crate) struct Load {
    pub(crate) plan: Plan,
    pub(crate) tally: Tally,
    pub(crate) fleet: Fleet,
    publishers: Publishers,
    alarm: Alarm,
    run: Run,
    poll: Poll,
    events: Events,
}

/// The result of one round of publishing.
pub(crate) struct Round {
    pub(crate) published: u64,
    /// From the first publish until the last event has arrived.
    pub(crate) seconds: f64,
    /// The share of one core that this process used.
    pub(crate) core: f64,
}

/// Actions at a fixed rate.
struct Pace {
    start: Instant,
    a_second: f64,
    done: u64,
}

impl Pace {
    fn new(a_second: f64) -> Self {
        Self { start: Instant::now(), a_second, done: 0 }
    }

    /// The number of actions that are due.
    fn due(&self) -> u64 {
        let all = self.start.elapsed().as_secs_f64() * self.a_second;
        (all as u64 + 1).saturating_sub(self.done)
    }

    fn next(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.done as f64 / self.a_second)
    }
}

/// A timeout that restarts whenever the observed state changes.
struct IdleTimeout<T> {
    limit: Duration,
    since: Instant,
    state: Option<T>,
}

impl<T: PartialEq> IdleTimeout<T> {
    fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), state: None }
    }

    fn is_over_at(&mut self, state: T) -> bool {
        if self.state.as_ref() != Some(&state) {
            (self.state, self.since) = (Some(state), Instant::now());
        }
        self.since.elapsed() > self.limit
    }
}

impl Load {
    pub(crate) fn new(plan: Plan) -> Result<Self, Error> {
        let poll = Poll::new()?;
        Ok(Self {
            tally: Tally::new(plan.connections, plan.topics, plan.is_ordered()),
            fleet: Fleet::new(&plan, poll.registry().try_clone()?),
            publishers: Publishers::new(&plan, poll.registry())?,
            alarm: Alarm::new(poll.registry(), ALARM)?,
            run: Run::new(run_id(), plan.payload),
            plan,
            events: Events::with_capacity(4096),
            poll,
        })
    }

    pub(crate) fn stages(&self) -> std::io::Result<Stages> {
        Stages::new(self.poll.registry(), STAGES)
    }

    /// Opens all connections, then stops reading those that are to be stalled.
    pub(crate) fn connect(&mut self, mut seen: impl FnMut(&Self)) -> Result<(), Error> {
        let pace = self.plan.ramp.map(Pace::new);
        let mut queued = 0;
        let mut timeout = IdleTimeout::new(self.plan.timeout);
        while self.fleet.open() + self.lost() < self.plan.connections {
            queued = self.let_open(queued, pace.as_ref());
            self.turn(if pace.is_some() { RAMP_WAIT } else { MAX_WAIT })?;
            let open = self.fleet.open();
            if timeout.is_over_at((queued, open)) {
                let all = self.plan.connections;
                return Err(Error::Failed(format!("only {open} of {all} streams opened")));
            }
            seen(self);
        }
        if self.plan.resumes {
            self.wait_for_ids()?;
        }
        let stalled = self.plan.connections - self.plan.stalled..self.plan.connections;
        for connection in stalled {
            self.fleet.stall(connection, &mut self.tally)?;
        }
        Ok(())
    }

    /// Waits until all connections have an ID to resume from. Servers that send one at the
    /// beginning of a stream do so at once; for others this waits in vain, for `FIRST_ID`.
    fn wait_for_ids(&mut self) -> Result<(), Error> {
        let mut timeout = IdleTimeout::new(FIRST_ID);
        loop {
            let without_id = self.fleet.without_id();
            if without_id == 0 || timeout.is_over_at(without_id) {
                return Ok(());
            }
            self.turn(RAMP_WAIT)?;
        }
    }

    /// Queues the connections that are due. Returns how many have been queued in all.
    fn let_open(&mut self, queued: usize, pace: Option<&Pace>) -> usize {
        let due = pace.map_or(u64::MAX, Pace::due);
        let due = usize::try_from(due).unwrap_or(usize::MAX).clamp(queued, self.plan.sockets());
        (queued..due).for_each(|connection| self.fleet.let_open(connection));
        due
    }

    fn lost(&self) -> usize {
        usize::try_from(self.tally.checks.faults().lost).unwrap_or(usize::MAX)
    }

    /// Publishes, and waits until all events have arrived or the timeout is over.
    pub(crate) fn round(&mut self, mut seen: impl FnMut(&Self, u64)) -> Result<Round, Error> {
        let (start, processor) = (Instant::now(), clock::processor());
        let published = self.publish_all(start, &mut seen)?;
        let mut seconds = start.elapsed().as_secs_f64();
        self.settle(|load| {
            seconds = start.elapsed().as_secs_f64();
            seen(load, published);
        })?;
        let processor = (clock::processor() - processor) as f64 / 1e9;
        Ok(Round { published, seconds, core: processor / start.elapsed().as_secs_f64() })
    }

    fn publish_all(
        &mut self,
        start: Instant,
        seen: &mut impl FnMut(&Self, u64),
    ) -> Result<u64, Error> {
        let mut events = self.plan.rate.map(Pace::new);
        let mut leaving = self.plan.reconnects.map(Pace::new);
        let mut published = 0;
        while !self.is_published(published, start) {
            self.publish_due(&mut published, events.as_mut())?;
            leaving.iter_mut().for_each(|pace| self.churn(pace));
            let next =
                events.iter().filter(|_| self.may_publish()).chain(&leaving).map(Pace::next).min();
            self.turn(
                next.map_or(MAX_WAIT, |next| next.saturating_duration_since(Instant::now())),
            )?;
            seen(self, published);
        }
        Ok(published)
    }

    fn is_published(&self, published: u64, start: Instant) -> bool {
        let enough = self.plan.events.is_some_and(|events| published >= events && events > 0);
        enough || self.plan.time.is_some_and(|time| start.elapsed() >= time)
    }

    fn may_publish(&self) -> bool {
        let window = self.plan.window.max(self.plan.publication());
        self.plan.events != Some(0) && self.in_flight() + self.plan.publication() <= window
    }

    /// The number of events in flight.
    pub(crate) fn in_flight(&self) -> usize {
        if self.plan.only_publishes() {
            self.publishers.unanswered() * self.plan.publication()
        } else {
            self.tally.flight.events()
        }
    }

    fn publish_due(
        &mut self,
        published: &mut u64,
        mut pace: Option<&mut Pace>,
    ) -> Result<(), Error> {
        let events = self.plan.events.unwrap_or(u64::MAX);
        let mut any = false;
        while *published < events
            && self.may_publish()
            && pace.as_ref().is_none_or(|pace| pace.due() > 0)
        {
            self.publish(*published);
            *published += self.plan.publication() as u64;
            if let Some(pace) = &mut pace {
                pace.done += 1;
            }
            any = true;
        }
        if any { self.publishers.flush() } else { Ok(()) }
    }

    fn publish(&mut self, published: u64) {
        let mut body = Vec::new();
        let Some(name) = self.plan.batch.clone() else {
            let topic = (published % self.plan.topics as u64) as usize;
            self.write_body(topic, &mut body);
            return self.publishers.publish(topic, &self.plan.media_type, &body);
        };
        for topic in 0..self.plan.topics {
            let name = name.replace("{topic}", &topic.to_string());
            let start = format!("{{\"topic\":\"{name}\",\"data\":\"");
            for _ in 0..self.plan.batch_size {
                body.extend_from_slice(start.as_bytes());
                let mark = self.next_mark(topic);
                self.run.write(&mark, &mut body);
                body.extend_from_slice(b"\"}\n");
            }
        }
        self.publishers.publish(0, "application/x-ndjson", &body);
    }

    fn write_body(&mut self, topic: usize, body: &mut Vec<u8>) {
        let mark = self.next_mark(topic);
        match &self.plan.body {
            Some(template) => template.write(topic, body, |body| self.run.write(&mark, body)),
            None => self.run.write(&mark, body),
        }
    }

    fn next_mark(&mut self, topic: usize) -> Mark {
        let number = self.tally.flight.publish(topic);
        Mark { topic: topic as u32, number, sent: clock::now() }
    }

    /// Closes and reopens the connections that are due, in turn.
    fn churn(&mut self, pace: &mut Pace) {
        // A server that does not keep up has fewer open streams than are due.
        for _ in 0..pace.due().min(self.fleet.open() as u64) {
            self.fleet.reconnect((pace.done % self.plan.connections as u64) as usize);
            pace.done += 1;
        }
    }

    /// Waits until all events have arrived and all connections are open.
    fn settle(&mut self, mut seen: impl FnMut(&Self)) -> Result<(), Error> {
        let mut timeout = IdleTimeout::new(self.plan.timeout);
        while self.is_unsettled()
            && !timeout.is_over_at((
                self.tally.deliveries,
                self.fleet.open(),
                self.publishers.unanswered(),
            ))
        {
            self.turn(MAX_WAIT)?;
            seen(self);
        }
        Ok(())
    }

    fn is_unsettled(&self) -> bool {
        let away = self.fleet.open() + self.plan.stalled + self.lost() < self.plan.connections;
        self.tally.flight.events() > 0 || self.publishers.unanswered() > 0 || away
    }

    /// Reconnects the stalled connections, and waits until they have received everything.
    pub(crate) fn wake_stalled(&mut self) -> Result<(), Error> {
        self.fleet.wake_stalled();
        let (mut timeout, mut counted) = (IdleTimeout::new(self.plan.timeout), Instant::now());
        while !timeout.is_over_at((self.tally.deliveries, self.fleet.open())) {
            self.turn(COUNTING)?;
            // Counting visits every connection.
            if counted.elapsed() >= COUNTING {
                if self.fleet.lacking(&self.tally) == 0 {
                    break;
                }
                counted = Instant::now();
            }
        }
        Ok(())
    }

    /// Keeps all connections going until `is_over`.
    pub(crate) fn idle_until(&mut self, mut is_over: impl FnMut() -> bool) -> Result<(), Error> {
        while !is_over() {
            self.turn(MAX_WAIT)?;
        }
        Ok(())
    }

    /// Counts the events that never arrived, at the end of the run.
    pub(crate) fn count_missing(&mut self) {
        self.tally.checks.faults_mut().missing = self.fleet.lacking(&self.tally);
    }

    /// Handles the events that are ready, or waits for some, for `rest` at most.
    fn turn(&mut self, rest: Duration) -> Result<(), Error> {
        self.fleet.begin_to_open(&mut self.tally)?;
        self.publishers.flush()?;
        let tries = self.fleet.next_try().into_iter().chain(self.publishers.next_try());
        let next = tries.min().map_or(rest, |next| next.saturating_duration_since(Instant::now()));
        let rest = rest.min(next);
        if !rest.is_zero() && rest < MAX_WAIT {
            self.alarm.set(rest)?;
        }
        self.poll.poll(&mut self.events, Some(rest))?;
        for event in &self.events {
            match event.token() {
                STAGES | ALARM => {}
                token if self.publishers.ready(token)? => {}
                Token(connection) => self.fleet.ready(connection, &self.run, &mut self.tally)?,
            }
        }
        Ok(())
    }
}

/// A number that differs from that of other runs.
fn run_id() -> u32 {
    (clock::now() >> 8) as u32 ^ std::process::id().rotate_left(16)
}
