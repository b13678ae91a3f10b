//! All connections of a run: opening, losing and reopening them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::error::Error;

use crate::clock;
use crate::connection::{Connection, Loss};
use crate::mark::Run;
use crate::sources::Sources;
use crate::tally::Tally;
use crate::target::Target;

/// Connections that may be on their way at once: a server's queue of those to accept is not long.
const OPENING: usize = 512;

/// Refused connections are not asked for more often than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

pub(crate) struct Fleet {
    target: Target,
    sources: Sources,
    registry: Registry,
    resumes: bool,
    connections: Vec<Connection>,
    to_open: VecDeque<usize>,
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    opening: usize,
    open: usize,
    buffer: Vec<u8>,
    latest_loss: Option<Loss>,
}

impl Fleet {
    pub(crate) fn new(
        target: Target,
        registry: Registry,
        connections: usize,
        resumes: bool,
    ) -> Self {
        Self {
            sources: Sources::toward(target.address, connections),
            target,
            registry,
            resumes,
            connections: (0..connections).map(|_| Connection::new(resumes)).collect(),
            to_open: VecDeque::new(),
            waiting: BinaryHeap::new(),
            opening: 0,
            open: 0,
            buffer: vec![0; 256 << 10],
            latest_loss: None,
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// What became of the connection that was lost last.
    pub(crate) fn latest_loss(&self) -> Option<&Loss> {
        self.latest_loss.as_ref()
    }

    /// When a connection that waits may try again.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((when, _))| *when)
    }

    /// Lets a connection open, as soon as not too many others are at it.
    pub(crate) fn let_open(&mut self, connection: usize) {
        self.to_open.push_back(connection);
    }

    /// Begins to open what may.
    pub(crate) fn begin_to_open(&mut self, tally: &mut Tally) -> Result<(), Error> {
        let now = Instant::now();
        while self.next_try().is_some_and(|when| when <= now) {
            self.to_open.extend(self.waiting.pop().map(|Reverse((_, connection))| connection));
        }
        while self.opening < OPENING
            && let Some(connection) = self.to_open.pop_front()
        {
            self.opening += 1;
            if let Err(error) = self.connect(connection) {
                self.lost(connection, Loss::Unreachable(error), tally)?;
            }
        }
        Ok(())
    }

    fn connect(&mut self, connection: usize) -> io::Result<()> {
        let mut socket = TcpStream::from_std(self.sources.connect(self.target.address)?);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut socket, Token(connection), both)?;
        self.connections[connection].open(socket);
        Ok(())
    }

    /// Looks after a connection on which something has happened.
    pub(crate) fn ready(
        &mut self,
        connection: usize,
        run: &Run,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let (target, topic) = (&self.target, tally.topic(connection));
        let it = &mut self.connections[connection];
        let request = |it: &Connection| {
            let id = it.id.as_ref().map_or(&b""[..], |id| id.latest());
            target.get(topic, connection, id)
        };
        if let Err(loss) = it.connected(request) {
            return self.lost(connection, loss, tally);
        }
        let mut now = 0;
        let happened = it.read(&mut self.buffer, run, |next, found| {
            if now == 0 {
                now = clock::now();
            }
            tally.found(connection, next, &found, now);
        });
        if happened.opened {
            self.opened(connection, tally);
        }
        happened.lost.map_or(Ok(()), |loss| self.lost(connection, loss, tally))
    }

    fn opened(&mut self, connection: usize, tally: &mut Tally) {
        self.opening -= 1;
        self.open += 1;
        let left = self.connections[connection].left;
        if left > 0 {
            tally.reconnect.saturating_record((clock::now() - left) / 1000);
        }
    }

    /// A run that resumes waits as long as the server said, and comes back, as `EventSource` does.
    /// Any other does without the connection. Where there never was one, the run cannot begin.
    fn lost(&mut self, connection: usize, loss: Loss, tally: &mut Tally) -> Result<(), Error> {
        let it = &mut self.connections[connection];
        let never_open = it.left == 0 && !it.is_open();
        if it.is_open() {
            self.open -= 1;
            it.left = clock::now();
        } else {
            self.opening -= 1;
        }
        it.close();
        if never_open && !matches!(loss, Loss::Ended) {
            return Err(Error::Failed(format!("{}: {loss}", self.target.address)));
        }
        if self.resumes {
            let wait = Duration::from_millis(it.retry.into()).max(SHORTEST_WAIT);
            self.waiting.push(Reverse((Instant::now() + wait, connection)));
        } else {
            tally.checks.faults_mut().lost += 1;
            tally.flight.give_up(tally.topic(connection), it.next);
        }
        self.latest_loss = Some(loss);
        Ok(())
    }

    /// Leaves a stream, and comes back at once.
    pub(crate) fn reconnect(&mut self, connection: usize) {
        let it = &mut self.connections[connection];
        if it.is_open() {
            it.close();
            it.left = clock::now();
            self.open -= 1;
            self.let_open(connection);
        }
    }

    /// Stops reading a stream; nobody waits for its events.
    pub(crate) fn stall(&mut self, connection: usize, tally: &mut Tally) -> io::Result<()> {
        let it = &mut self.connections[connection];
        if it.is_open() {
            it.socket_mut().map_or(Ok(()), |socket| self.registry.deregister(socket))?;
            it.stall();
            self.open -= 1;
            tally.flight.give_up(tally.topic(connection), it.next);
        }
        Ok(())
    }

    /// Leaves the streams that were not read, and comes back to get what they lack.
    pub(crate) fn wake_stalled(&mut self) {
        let now = clock::now();
        for connection in 0..self.connections.len() {
            let it = &mut self.connections[connection];
            if it.is_stalled() {
                it.close();
                it.left = now;
                self.to_open.push_back(connection);
            }
        }
    }

    /// How many connections have nothing to resume after.
    pub(crate) fn without_id(&self) -> usize {
        let lacks = |it: &&Connection| it.id.as_ref().is_none_or(|id| id.latest().is_empty());
        self.connections.iter().filter(lacks).count()
    }

    /// How many events connections lack that were published.
    pub(crate) fn lacking(&self, tally: &Tally) -> u64 {
        let lacks = |(connection, it): (usize, &Connection)| {
            (tally.flight.published(tally.topic(connection)) + 1).saturating_sub(it.next)
        };
        self.connections.iter().enumerate().filter(|(_, it)| !it.is_stalled()).map(lacks).sum()
    }
}
