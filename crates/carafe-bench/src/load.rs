//! The loop that drives all connections of a run, on one thread.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::error::Error;

use crate::clock;
use crate::fleet::Fleet;
use crate::mark::{Mark, Run};
use crate::plan::Plan;
use crate::publisher::Publisher;
use crate::stages::Stages;
use crate::tally::Tally;

const PUBLISHER: Token = Token(usize::MAX - 1);
const STAGES: Token = Token(usize::MAX - 2);

/// The most that the loop rests, so that what it shows is not old.
const REST: Duration = Duration::from_millis(100);

/// The same while connections open at a pace.
const RAMP: Duration = Duration::from_millis(10);

/// How long a server may be silent before it is taken for one that gives no ID at the beginning of
/// a stream.
const FIRST_ID: Duration = Duration::from_secs(1);

/// How often connections are counted that catch up.
const COUNTING: Duration = Duration::from_millis(20);

pub(crate) struct Load {
    pub(crate) plan: Plan,
    pub(crate) tally: Tally,
    pub(crate) fleet: Fleet,
    publisher: Publisher,
    run: Run,
    poll: Poll,
    events: Events,
}

/// What one round of publishing was.
pub(crate) struct Round {
    pub(crate) published: u64,
    /// From the first event on until the last had arrived.
    pub(crate) seconds: f64,
    /// The share of one core that this process took meanwhile.
    pub(crate) core: f64,
}

/// Things that happen so often a second.
struct Pace {
    start: Instant,
    a_second: f64,
    done: u64,
}

impl Pace {
    fn new(a_second: f64) -> Self {
        Self { start: Instant::now(), a_second, done: 0 }
    }

    /// How many are due now that have not been done.
    fn due(&self) -> u64 {
        let all = self.start.elapsed().as_secs_f64() * self.a_second;
        (all as u64 + 1).saturating_sub(self.done)
    }

    fn next(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.done as f64 / self.a_second)
    }
}

/// How long to wait for something to change.
struct Patience<T> {
    limit: Duration,
    since: Instant,
    state: Option<T>,
}

impl<T: PartialEq> Patience<T> {
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
        let registry = || poll.registry().try_clone();
        Ok(Self {
            tally: Tally::new(plan.connections, plan.topics),
            fleet: Fleet::new(plan.stream.clone(), registry()?, plan.connections, plan.resumes),
            publisher: Publisher::new(plan.publish.clone(), registry()?, PUBLISHER, plan.resumes),
            run: Run::new(run_id(), plan.payload),
            plan,
            events: Events::with_capacity(4096),
            poll,
        })
    }

    pub(crate) fn stages(&self) -> std::io::Result<Stages> {
        Stages::new(self.poll.registry(), STAGES)
    }

    /// Opens all connections; those that are to be stalled then stop reading.
    pub(crate) fn connect(&mut self, mut seen: impl FnMut(&Self)) -> Result<(), Error> {
        let pace = self.plan.ramp.map(Pace::new);
        let mut told = 0;
        let mut patience = Patience::new(self.plan.patience);
        while self.fleet.open() + self.lost() < self.plan.connections {
            told = self.let_open(told, pace.as_ref());
            self.turn(if pace.is_some() { RAMP } else { REST })?;
            let open = self.fleet.open();
            if patience.is_over_at((told, open)) {
                let all = self.plan.connections;
                return Err(Error::Failed(format!("only {open} of {all} streams have opened")));
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

    /// Who leaves before it has an ID has nothing to resume after. Servers that tell where a stream
    /// begins do so at once; from others, there is none to wait for.
    fn wait_for_ids(&mut self) -> Result<(), Error> {
        let mut patience = Patience::new(FIRST_ID);
        loop {
            let without_id = self.fleet.without_id();
            if without_id == 0 || patience.is_over_at(without_id) {
                return Ok(());
            }
            self.turn(RAMP)?;
        }
    }

    /// Lets open what is due. How many have been told to.
    fn let_open(&mut self, told: usize, pace: Option<&Pace>) -> usize {
        let due = pace.map_or(u64::MAX, Pace::due);
        let due = usize::try_from(due).unwrap_or(usize::MAX).clamp(told, self.plan.connections);
        (told..due).for_each(|connection| self.fleet.let_open(connection));
        due
    }

    fn lost(&self) -> usize {
        usize::try_from(self.tally.checks.faults().lost).unwrap_or(usize::MAX)
    }

    /// Publishes, and waits until all has arrived or patience is over.
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
            self.turn(next.map_or(REST, |next| next.saturating_duration_since(Instant::now())))?;
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
        self.plan.events != Some(0)
            && self.tally.flight.events() + self.plan.publication() <= window
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
        if any { self.publisher.flush() } else { Ok(()) }
    }

    fn publish(&mut self, published: u64) {
        let mut body = Vec::new();
        let Some(name) = self.plan.batch.clone() else {
            let topic = (published % self.plan.topics as u64) as usize;
            self.write_event(topic, &mut body);
            return self.publisher.publish(topic, "text/plain; charset=utf-8", &body);
        };
        for topic in 0..self.plan.topics {
            let name = name.replace("{topic}", &topic.to_string());
            body.extend_from_slice(format!("{{\"topic\":\"{name}\",\"data\":\"").as_bytes());
            self.write_event(topic, &mut body);
            body.extend_from_slice(b"\"}\n");
        }
        self.publisher.publish(0, "application/x-ndjson", &body);
    }

    fn write_event(&mut self, topic: usize, data: &mut Vec<u8>) {
        let number = self.tally.flight.publish(topic);
        let mark = Mark { topic: topic as u32, number, sent: clock::now() };
        self.run.write(&mark, data);
    }

    /// Lets the connections that are due leave and come back, each in its turn.
    fn churn(&mut self, pace: &mut Pace) {
        // Where the server does not keep up, there is nobody to leave.
        for _ in 0..pace.due().min(self.fleet.open() as u64) {
            self.fleet.reconnect((pace.done % self.plan.connections as u64) as usize);
            pace.done += 1;
        }
    }

    /// Waits until everything has arrived.
    fn settle(&mut self, mut seen: impl FnMut(&Self)) -> Result<(), Error> {
        let mut patience = Patience::new(self.plan.patience);
        while self.is_unsettled()
            && !patience.is_over_at((self.tally.deliveries, self.fleet.open()))
        {
            self.turn(REST)?;
            seen(self);
        }
        Ok(())
    }

    fn is_unsettled(&self) -> bool {
        let away = self.fleet.open() + self.plan.stalled + self.lost() < self.plan.connections;
        self.tally.flight.events() > 0 || self.publisher.unanswered() > 0 || away
    }

    /// Lets those that were stalled come back, and get all they lack.
    pub(crate) fn wake_stalled(&mut self) -> Result<(), Error> {
        self.fleet.wake_stalled();
        let (mut patience, mut counted) = (Patience::new(self.plan.patience), Instant::now());
        while !patience.is_over_at((self.tally.deliveries, self.fleet.open())) {
            self.turn(COUNTING)?;
            // It takes a look at every connection.
            if counted.elapsed() >= COUNTING {
                if self.fleet.lacking(&self.tally) == 0 {
                    break;
                }
                counted = Instant::now();
            }
        }
        Ok(())
    }

    /// Keeps all connections going for a while, however long that is.
    pub(crate) fn idle_until(&mut self, mut is_over: impl FnMut() -> bool) -> Result<(), Error> {
        while !is_over() {
            self.turn(REST)?;
        }
        Ok(())
    }

    /// What never came, at the end of the run.
    pub(crate) fn count_missing(&mut self) {
        self.tally.checks.faults_mut().missing = self.fleet.lacking(&self.tally);
    }

    /// Does what there is to do, or rests until there is something.
    fn turn(&mut self, rest: Duration) -> Result<(), Error> {
        self.fleet.begin_to_open(&mut self.tally)?;
        self.publisher.flush()?;
        let tries = self.fleet.next_try().into_iter().chain(self.publisher.next_try());
        let next = tries.min().map_or(rest, |next| next.saturating_duration_since(Instant::now()));
        self.poll.poll(&mut self.events, Some(rest.min(next)))?;
        for event in &self.events {
            match event.token() {
                STAGES => {}
                PUBLISHER => self.publisher.ready()?,
                Token(connection) => self.fleet.ready(connection, &self.run, &mut self.tally)?,
            }
        }
        Ok(())
    }
}

/// Differs from that of every other run.
fn run_id() -> u32 {
    (clock::now() >> 8) as u32 ^ std::process::id().rotate_left(16)
}
