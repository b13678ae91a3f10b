//! One thread with its own poller, the only writer to its sockets.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use carafe_hub::{Dispatcher, Hub, SubscriberId};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use tracing::{debug, error};

use crate::beats::Beats;
use crate::bell::Bell;
use crate::clients::Clients;
use crate::clock::{Clock, ticks};
use crate::closing::Closing;
use crate::inbox::Inbox;
use crate::leaves::Leaves;
use crate::socket;
use crate::watch::Watch;
use crate::{Ended, NewStream, SendBuffers, ShardOptions, StreamObserver};

/// The token of the bell, which no seat has.
const BELL: Token = Token(usize::MAX);

/// That of the poller of those who leave.
const LEAVES: Token = Token(usize::MAX - 1);

/// After so many writes it is time to look whether something else has come: about a millisecond.
const WRITES: usize = 128;

/// How long streams may wait to be taken in that have nothing to be sent. When many come, it is
/// done for several at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Streams that are taken in before those that are there have their turn.
const JOINS: usize = 64;

pub(crate) struct Shard<G: StreamObserver> {
    dispatcher: Dispatcher,
    clients: Clients<G>,
    leaves: Leaves,
    closing: Closing,
    joining: Vec<(TcpStream, NewStream<G>)>,
    /// When to look for others, if some have come lately.
    next_look: Option<Instant>,
    /// When streams end because their time is over, the soonest first.
    deadlines: BinaryHeap<Reverse<(Instant, SubscriberId, u32)>>,
    beats: Beats,
    clock: Clock,
    poll: Poll,
    bell: Arc<Bell>,
    inbox: Arc<Inbox<G>>,
    options: ShardOptions,
    /// There is more to be sent than was sent in one go.
    busy: bool,
}

impl<G: StreamObserver> Shard<G> {
    pub(crate) fn new(hub: &Hub, options: ShardOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Bell::new(poll.registry(), BELL)?;
        let waker = Waker::from(Arc::clone(&bell));
        let leaves = Leaves::new(poll.registry().try_clone()?, LEAVES)?;
        let watch = Watch {
            prompt: poll.registry().try_clone()?,
            leisurely: leaves.registry().try_clone()?,
        };
        Ok(Self {
            dispatcher: hub.dispatcher(waker.clone()),
            clients: Clients::new(watch, SendBuffers::new(&options)),
            leaves,
            closing: Closing::default(),
            joining: Vec::new(),
            next_look: None,
            deadlines: BinaryHeap::new(),
            beats: Beats::new(options.heartbeat, Instant::now()),
            clock: Clock::new(),
            poll,
            bell,
            inbox: Inbox::new(waker),
            options,
            busy: false,
        })
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox<G>> {
        &self.inbox
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while !self.inbox.is_stopped() {
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                return error!(%error, "a shard ends: its sockets cannot be polled");
            }
            if let Err(error) = self.round(&events) {
                return error!(%error, "a shard ends: those who leave cannot be polled");
            }
        }
    }

    /// How long nothing is to be done unless something comes.
    fn patience(&self) -> Option<Duration> {
        if self.busy {
            return Some(Duration::ZERO);
        }
        let deadline = self.deadlines.peek().map(|Reverse((deadline, ..))| *deadline);
        let beat = (!self.dispatcher.is_empty()).then(|| self.beats.next());
        let next = [deadline, beat, self.closing.next(), self.next_look, self.leaves.next()]
            .into_iter()
            .flatten()
            .min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn round(&mut self, events: &Events) -> io::Result<()> {
        let now = Instant::now();
        self.dispatcher.at(self.clock.at(now));
        self.bell.hear();
        for event in events {
            if event.token() == LEAVES {
                self.leaves.begin(now)?;
            } else if event.token() != BELL && !self.closing.takes(event.token()) {
                take(&mut self.dispatcher, &mut self.clients, event);
            }
        }
        let Self { leaves, dispatcher, clients, .. } = self;
        leaves.look(now, |event| take(dispatcher, clients, event))?;
        self.take_in(now);
        self.dispatcher.look();
        self.busy = self.serve() | !self.joining.is_empty();
        self.keep_time(now);
        self.bury(now);
        Ok(())
    }

    /// Sends what there is to be sent; whether there is more.
    fn serve(&mut self) -> bool {
        self.clients.writes = 0;
        while self.clients.writes < WRITES {
            if !self.dispatcher.turn(&mut self.clients) {
                return false;
            }
        }
        true
    }

    /// Takes streams in that have come, not all at once.
    fn take_in(&mut self, now: Instant) {
        // A seat that is given out again must not be found among those that are over.
        self.bury(now);
        if self.joining.is_empty() {
            self.next_look = self.next_look.filter(|next| now < *next);
            self.joining = self.inbox.take(self.next_look.is_some());
            // The first that came is the last in the list.
            self.joining.reverse();
            if !self.joining.is_empty() {
                self.next_look = Some(now + PAUSE);
            }
        }
        let rest = self.joining.len().saturating_sub(JOINS);
        for (socket, joining) in self.joining.split_off(rest).into_iter().rev() {
            self.seat(socket, joining);
        }
    }

    fn seat(&mut self, socket: TcpStream, joining: NewStream<G>) {
        let NewStream { frames, until, observer } = joining;
        let seat = self.dispatcher.seat(frames);
        let mut socket = mio::net::TcpStream::from_std(socket);
        let registered =
            self.leaves.registry().register(&mut socket, Token(seat as usize), Interest::READABLE);
        let number = self.clients.insert(seat, socket, observer);
        match registered {
            Ok(()) => self.deadlines.extend(until.map(|until| Reverse((until, seat, number)))),
            Err(error) => {
                debug!(%error, "a connection could not be taken over");
                self.dispatcher.leave(seat);
                self.clients.over.push((seat, Ended::Gone));
            }
        }
    }

    /// Does what the time asks for.
    fn keep_time(&mut self, now: Instant) {
        while let Some(Reverse((until, seat, number))) = self.deadlines.peek().copied()
            && until <= now
        {
            self.deadlines.pop();
            if self.clients.get(seat).is_some_and(|client| client.number == number) {
                self.dispatcher.expire(seat);
                self.busy = true;
            }
        }
        for seat in self.beats.due(self.clients.places(), now) {
            self.look_after(seat, now);
        }
        self.closing.close_late(now);
    }

    /// Cuts a client that takes nothing, and tells one that was sent nothing that the stream is
    /// alive.
    fn look_after(&mut self, seat: SubscriberId, now: Instant) {
        let allowed = ticks(self.options.write_time);
        let stalled = |since| self.clock.since(since, now) >= allowed;
        if self.dispatcher.blocked_since(seat).is_some_and(stalled) {
            self.dispatcher.leave(seat);
            self.clients.over.push((seat, Ended::Stalled));
        } else {
            if self.dispatcher.blocked_since(seat).is_none() {
                self.clients.relax(seat);
            }
            self.dispatcher.beat(seat, self.beats.silence(), &mut self.clients);
        }
    }

    /// Closes the connections of clients that the dispatcher has forgotten.
    fn bury(&mut self, now: Instant) {
        let mut gone = 0;
        while let Some((seat, ended)) = self.clients.over.pop() {
            let Some(client) = self.clients.remove(seat) else { continue };
            gone += 1;
            let socket = client.end(ended);
            match ended {
                Ended::Whole | Ended::Failed => self.closing.add(socket, self.clients.watch(), now),
                Ended::Stalled => socket::abort(socket),
                Ended::Gone | Ended::Cut => drop(socket),
            }
        }
        self.inbox.load.fetch_sub(gone, Ordering::Relaxed);
    }
}

/// Takes in what a client's socket tells.
fn take<G: StreamObserver>(dispatcher: &mut Dispatcher, clients: &mut Clients<G>, event: &Event) {
    let Ok(seat) = SubscriberId::try_from(event.token().0) else { return };
    let Some(client) = clients.get(seat) else { return };
    let ended = if event.is_read_closed() || event.is_error() {
        Some(socket::why_closed(&client.socket))
    } else if event.is_readable() {
        socket::hear(&client.socket)
    } else {
        None
    };
    if let Some(ended) = ended {
        dispatcher.leave(seat);
        clients.over.push((seat, ended));
    } else if event.is_writable() {
        dispatcher.writable(seat);
    }
}

impl<G: StreamObserver> Drop for Shard<G> {
    /// However it ended: nobody is handed to a shard that is no more, and whoever was is told.
    fn drop(&mut self) {
        self.inbox.load.store(usize::MAX / 2, Ordering::Relaxed);
        let waiting = self.joining.drain(..).chain(self.inbox.close());
        waiting.for_each(|(_, joining)| joining.observer.ended(Ended::Cut));
        self.clients.drain().for_each(|client| drop(client.end(Ended::Cut)));
    }
}
