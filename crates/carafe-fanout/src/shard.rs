//! One thread with its own poller, the only writer to its sockets.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use carafe_hub::{Dispatcher, Hub, SubscriberId, TableKey};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use tracing::{debug, error};

use crate::clients::Clients;
use crate::clock::{Clock, ticks};
use crate::closing_sockets::ClosingSockets;
use crate::hangup_poller::HangupPoller;
use crate::heartbeats::HeartbeatRounds;
use crate::poll_waker::PollWaker;
use crate::pollers::Pollers;
use crate::shard_inbox::ShardInbox;
use crate::socket;
use crate::{EndReason, NewStream, SendBuffers, ShardOptions, StreamObserver};

/// The token of the waker, which no subscriber has.
const WAKE: Token = Token(usize::MAX);

/// That of the poller of those who leave.
const HANGUPS: Token = Token(usize::MAX - 1);

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
    hangups: HangupPoller,
    closing: ClosingSockets,
    joining: Vec<(TcpStream, NewStream<G>)>,
    /// When to look for others, if some have come lately.
    next_look: Option<Instant>,
    /// When streams end because their time is over, the soonest first.
    deadlines: BinaryHeap<Reverse<(Instant, SubscriberId, u32)>>,
    heartbeats: HeartbeatRounds,
    clock: Clock,
    poll: Poll,
    poll_waker: Arc<PollWaker>,
    inbox: Arc<ShardInbox<G>>,
    options: ShardOptions,
    /// There is more to be sent than was sent in one go.
    busy: bool,
}

impl<G: StreamObserver> Shard<G> {
    pub(crate) fn new(hub: &Hub, options: ShardOptions, heartbeat: Duration) -> io::Result<Self> {
        let poll = Poll::new()?;
        let poll_waker = PollWaker::new(poll.registry(), WAKE)?;
        let waker = Waker::from(Arc::clone(&poll_waker));
        let hangups = HangupPoller::new(poll.registry().try_clone()?, HANGUPS)?;
        let pollers = Pollers {
            prompt: poll.registry().try_clone()?,
            hangup: hangups.registry().try_clone()?,
        };
        Ok(Self {
            dispatcher: hub.dispatcher(waker.clone()),
            clients: Clients::new(pollers, SendBuffers::new(&options)),
            hangups,
            closing: ClosingSockets::default(),
            joining: Vec::new(),
            next_look: None,
            deadlines: BinaryHeap::new(),
            heartbeats: HeartbeatRounds::new(heartbeat, Instant::now()),
            clock: Clock::new(),
            poll,
            poll_waker,
            inbox: ShardInbox::new(waker),
            options,
            busy: false,
        })
    }

    pub(crate) fn inbox(&self) -> &Arc<ShardInbox<G>> {
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
        let beat = (!self.dispatcher.is_empty()).then(|| self.heartbeats.next());
        let next = [deadline, beat, self.closing.next(), self.next_look, self.hangups.next()]
            .into_iter()
            .flatten()
            .min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn round(&mut self, events: &Events) -> io::Result<()> {
        let now = Instant::now();
        self.dispatcher.set_time(self.clock.at(now));
        self.poll_waker.reset();
        for event in events {
            if event.token() == HANGUPS {
                self.hangups.begin(now)?;
            } else if event.token() != WAKE && !self.closing.takes(event.token()) {
                take(&mut self.dispatcher, &mut self.clients, event);
            }
        }
        let Self { hangups, dispatcher, clients, .. } = self;
        hangups.look(now, |event| take(dispatcher, clients, event))?;
        self.take_in(now);
        self.dispatcher.collect_wakes();
        self.busy = self.serve() | !self.joining.is_empty();
        self.keep_time(now);
        self.close_ended(now);
        Ok(())
    }

    /// Sends what there is to be sent; whether there is more.
    fn serve(&mut self) -> bool {
        self.clients.writes = 0;
        while self.clients.writes < WRITES {
            if !self.dispatcher.serve_next(&mut self.clients) {
                return false;
            }
        }
        true
    }

    /// Takes streams in that have come, not all at once.
    fn take_in(&mut self, now: Instant) {
        // A subscriber that is given out again must not be found among those that are over.
        self.close_ended(now);
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
            self.add(socket, joining);
        }
    }

    fn add(&mut self, socket: TcpStream, joining: NewStream<G>) {
        let NewStream { frames, until, observer } = joining;
        let subscriber = self.dispatcher.add(frames);
        let mut socket = mio::net::TcpStream::from_std(socket);
        let registered = self.hangups.registry().register(
            &mut socket,
            Token(subscriber.index()),
            Interest::READABLE,
        );
        let number = self.clients.insert(subscriber, socket, observer);
        match registered {
            Ok(()) => {
                self.deadlines.extend(until.map(|until| Reverse((until, subscriber, number))))
            }
            Err(error) => {
                debug!(%error, "a connection could not be taken over");
                self.dispatcher.remove(subscriber);
                self.clients.ended.push((subscriber, EndReason::Left));
            }
        }
    }

    /// Does what the time asks for.
    fn keep_time(&mut self, now: Instant) {
        while let Some(Reverse((until, subscriber, number))) = self.deadlines.peek().copied()
            && until <= now
        {
            self.deadlines.pop();
            if self.clients.get(subscriber).is_some_and(|client| client.number == number) {
                self.dispatcher.expire(subscriber);
                self.busy = true;
            }
        }
        for subscriber in self.heartbeats.due(self.clients.places(), now) {
            self.look_after(SubscriberId::from_index(subscriber as usize), now);
        }
        self.closing.close_late(now);
    }

    /// Cuts a client that takes nothing, and tells one that was sent nothing that the stream is
    /// alive.
    fn look_after(&mut self, subscriber: SubscriberId, now: Instant) {
        let allowed = ticks(self.options.write_time);
        let stalled = |since| self.clock.since(since, now) >= allowed;
        if self.dispatcher.blocked_since(subscriber).is_some_and(stalled) {
            self.dispatcher.remove(subscriber);
            self.clients.ended.push((subscriber, EndReason::Stalled));
        } else {
            if self.dispatcher.blocked_since(subscriber).is_none() {
                self.clients.relax(subscriber);
            }
            self.dispatcher.send_heartbeat(
                subscriber,
                self.heartbeats.silence(),
                &mut self.clients,
            );
        }
    }

    /// Closes the connections of clients that the dispatcher has forgotten.
    fn close_ended(&mut self, now: Instant) {
        let mut gone = 0;
        while let Some((subscriber, ended)) = self.clients.ended.pop() {
            let Some(client) = self.clients.remove(subscriber) else { continue };
            gone += 1;
            let socket = client.end(ended);
            match ended {
                EndReason::Completed | EndReason::Failed => {
                    self.closing.add(socket, self.clients.pollers(), now)
                }
                EndReason::Stalled => socket::abort(socket),
                EndReason::Left | EndReason::Cut => drop(socket),
            }
        }
        self.inbox.load.fetch_sub(gone, Ordering::Relaxed);
    }
}

/// Takes in what a client's socket tells.
fn take<G: StreamObserver>(dispatcher: &mut Dispatcher, clients: &mut Clients<G>, event: &Event) {
    let Some(subscriber) = SubscriberId::try_from_index(event.token().0) else { return };
    let Some(client) = clients.get(subscriber) else { return };
    let ended = if event.is_read_closed() || event.is_error() {
        Some(socket::why_closed(&client.socket))
    } else if event.is_readable() {
        socket::hear(&client.socket)
    } else {
        None
    };
    if let Some(ended) = ended {
        dispatcher.remove(subscriber);
        clients.ended.push((subscriber, ended));
    } else if event.is_writable() {
        dispatcher.writable(subscriber);
    }
}

impl<G: StreamObserver> Drop for Shard<G> {
    /// However it ended: nobody is handed to a shard that is no more, and whoever was is told.
    fn drop(&mut self) {
        self.inbox.load.store(usize::MAX / 2, Ordering::Relaxed);
        let waiting = self.joining.drain(..).chain(self.inbox.close());
        waiting.for_each(|(_, joining)| joining.observer.ended(EndReason::Cut));
        self.clients.drain().for_each(|client| drop(client.end(EndReason::Cut)));
    }
}
