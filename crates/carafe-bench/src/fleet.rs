//! All connections of a run: opens, closes and reopens them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::error::Error;

use crate::clock;
use crate::connection::{Connection, Loss, Request};
use crate::http2::Streams;
use crate::mark::Run;
use crate::plan::Plan;
use crate::socket::Socket;
use crate::sources::Sources;
use crate::tally::Tally;
use crate::target::Target;

/// The most connections that are being established at once; the accept queue of a server is short.
const OPENING: usize = 512;

/// The least time between two attempts to connect.
const MIN_RETRY: Duration = Duration::from_millis(100);

pub(crate) struct Fleet {
    target: Target,
    sources: Sources,
    registry: Registry,
    resumes: bool,
    /// Streams of each connection, with HTTP/2.
    streams: Option<usize>,
    connections: Vec<Connection>,
    to_open: VecDeque<usize>,
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    opening: usize,
    open: usize,
    buffer: Vec<u8>,
    latest_loss: Option<Loss>,
}

impl Fleet {
    pub(crate) fn new(plan: &Plan, registry: Registry) -> Self {
        let (target, connections) = (plan.stream.clone(), plan.sockets());
        Self {
            sources: Sources::toward(target.address, connections),
            target,
            registry,
            resumes: plan.resumes,
            streams: plan.http2,
            connections: (0..connections).map(|_| Connection::new(plan.resumes)).collect(),
            to_open: VecDeque::new(),
            waiting: BinaryHeap::new(),
            opening: 0,
            open: 0,
            buffer: vec![0; 256 << 10],
            latest_loss: None,
        }
    }

    /// The number of open streams.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// How the latest lost stream ended.
    pub(crate) fn latest_loss(&self) -> Option<&Loss> {
        self.latest_loss.as_ref()
    }

    /// When the next waiting connection may reconnect.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((when, _))| *when)
    }

    /// Queues a connection to be opened, subject to `OPENING`.
    pub(crate) fn let_open(&mut self, connection: usize) {
        self.to_open.push_back(connection);
    }

    /// Starts to open queued connections.
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
        let socket = Socket::new(socket, self.target.tls.as_ref())?;
        self.connections[connection].open(socket);
        Ok(())
    }

    /// Handles readiness of a socket.
    pub(crate) fn ready(
        &mut self,
        connection: usize,
        run: &Run,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let (target, first) = (&self.target, self.first_stream(connection));
        let streams = self.streams.map(|_| self.streams_of(connection));
        let it = &mut self.connections[connection];
        let request = |it: &Connection| match streams {
            Some(streams) => Request::Http2(requests(target, streams, tally)),
            None => {
                let id = it.id.as_ref().map_or(&b""[..], |id| id.latest());
                Request::Http1(target.get(tally.topic(connection), connection, id))
            }
        };
        if let Err(loss) = it.connected(request) {
            return self.lost(connection, loss, tally);
        }
        let mut now = 0;
        let happened = it.read(&mut self.buffer, run, |stream, next, found| {
            if now == 0 {
                now = clock::now();
            }
            tally.found(first + stream, next, &found, now);
        });
        if happened.opened > 0 {
            self.opened(connection, happened.opened, tally);
        }
        happened.lost.map_or(Ok(()), |loss| self.lost(connection, loss, tally))
    }

    /// The streams of a connection, numbered over all connections.
    fn streams_of(&self, connection: usize) -> Range<usize> {
        let first = self.first_stream(connection);
        first..first + self.streams.unwrap_or(1)
    }

    fn first_stream(&self, connection: usize) -> usize {
        connection * self.streams.unwrap_or(1)
    }

    fn opened(&mut self, connection: usize, streams: usize, tally: &mut Tally) {
        // These are the first of the connection.
        if self.connections[connection].open_streams() == streams {
            self.opening -= 1;
        }
        self.open += streams;
        let left = self.connections[connection].left;
        if left > 0 {
            tally.reconnect.saturating_record((clock::now() - left) / 1000);
        }
    }

    /// Handles the end of a stream. A run that resumes reconnects after the time that the server
    /// has set, as `EventSource` does; in others the connection is lost. It is an error if the
    /// first stream of a connection cannot be opened.
    fn lost(&mut self, connection: usize, loss: Loss, tally: &mut Tally) -> Result<(), Error> {
        let it = &mut self.connections[connection];
        let never_open = it.left == 0 && !it.is_open();
        if it.is_open() {
            self.open -= it.open_streams();
            it.left = clock::now();
        } else {
            self.opening -= 1;
        }
        let next_numbers = it.next_numbers();
        it.close();
        if never_open && !matches!(loss, Loss::Ended) {
            return Err(Error::Failed(format!("{}: {loss}", self.target.address)));
        }
        if self.resumes {
            let wait = Duration::from_millis(it.retry.into()).max(MIN_RETRY);
            self.waiting.push(Reverse((Instant::now() + wait, connection)));
        } else {
            for (stream, next) in self.streams_of(connection).zip(next_numbers) {
                tally.checks.faults_mut().lost += 1;
                tally.flight.give_up(tally.topic(stream), next);
            }
        }
        self.latest_loss = Some(loss);
        Ok(())
    }

    /// Closes a stream and reconnects at once.
    pub(crate) fn reconnect(&mut self, connection: usize) {
        let it = &mut self.connections[connection];
        if it.is_open() {
            it.close();
            it.left = clock::now();
            self.open -= 1;
            self.let_open(connection);
        }
    }

    /// Stops reading a stream. Its events are no longer in flight.
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

    /// Reconnects the stalled streams, which then receive the events that they missed.
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

    /// The number of connections without a last event ID.
    pub(crate) fn without_id(&self) -> usize {
        let lacks = |it: &&Connection| it.id.as_ref().is_none_or(|id| id.latest().is_empty());
        self.connections.iter().filter(lacks).count()
    }

    /// The number of published events that have not arrived, over all connections.
    pub(crate) fn lacking(&self, tally: &Tally) -> u64 {
        let lacks = |(connection, it): (usize, &Connection)| -> u64 {
            let published = |stream| tally.flight.published(tally.topic(stream)) + 1;
            let streams = self.streams_of(connection).zip(it.next_numbers());
            streams.map(|(stream, next)| published(stream).saturating_sub(next)).sum()
        };
        self.connections.iter().enumerate().filter(|(_, it)| !it.is_stalled()).map(lacks).sum()
    }
}

/// The requests of a connection with HTTP/2.
fn requests(target: &Target, streams: Range<usize>, tally: &Tally) -> Box<Streams> {
    let paths: Vec<_> = streams.map(|stream| target.path(tally.topic(stream), stream)).collect();
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    Box::new(Streams::new(scheme, &target.authority, &paths))
}
