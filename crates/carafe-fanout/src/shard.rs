//! A shard: one thread with its own poller, the only writer to its sockets.
//!
//! The thread repeats a round: it takes in events of sockets and new streams, lets the dispatcher
//! write, and does what is due by time. No part of a round takes longer than some milliseconds, so
//! that no client waits for another. The dispatcher decides what is sent; the shard does the I/O.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
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
use crate::end_reason::EndReason;
use crate::hangup_poller::HangupPoller;
use crate::heartbeats::HeartbeatRounds;
use crate::options::ShardOptions;
use crate::poll_waker::PollWaker;
use crate::pollers::Pollers;
use crate::send_buffer::SendBuffers;
use crate::shard_inbox::ShardInbox;
use crate::socket;
use crate::stream::{NewStream, StreamObserver};
use crate::transport::Transport;

/// The token of the waker. Those of subscribers are their IDs, which are smaller.
const WAKE: Token = Token(usize::MAX);

/// The token of the hangup poller.
const HANGUPS: Token = Token(usize::MAX - 1);

/// Writes before the shard looks for other events: about a millisecond.
const WRITES: usize = 128;

/// How long a stream with nothing to send may wait in the inbox: several are taken in together.
const PAUSE: Duration = Duration::from_millis(100);

/// New streams that are taken in within one round.
const NEW_STREAMS: usize = 64;

pub(crate) struct Shard<G: StreamObserver> {
    dispatcher: Dispatcher,
    clients: Clients<G>,
    hangups: HangupPoller,
    closing: ClosingSockets,
    /// Streams that were taken from the inbox, the first to be added last.
    new: Vec<(Transport, NewStream<G>)>,
    /// When to look into the inbox again, if there were streams lately.
    next_look: Option<Instant>,
    /// When streams expire, the earliest first, with the number of the client: its ID may be
    /// reused by then.
    deadlines: BinaryHeap<Reverse<(Instant, SubscriberId, u32)>>,
    heartbeats: HeartbeatRounds,
    clock: Clock,
    poll: Poll,
    poll_waker: Arc<PollWaker>,
    inbox: Arc<ShardInbox<G>>,
    options: ShardOptions,
    /// There is more to do than fits into one round.
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
            new: Vec::new(),
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

    /// Runs until the pool stops it. A poller that fails ends the shard; its streams are cut, and
    /// their clients reconnect to another shard.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        while !self.inbox.is_stopped() {
            if let Err(error) = self.poll.poll(&mut events, self.wait())
                && error.kind() != io::ErrorKind::Interrupted
            {
                return error!(%error, "a shard ends: it cannot poll its sockets");
            }
            if let Err(error) = self.round(&events) {
                return error!(%error, "a shard ends: it cannot poll for hangups");
            }
        }
    }

    /// How long the shard may wait for events; `None` is without limit.
    fn wait(&self) -> Option<Duration> {
        if self.busy {
            return Some(Duration::ZERO);
        }
        let deadline = self.deadlines.peek().map(|Reverse((deadline, ..))| *deadline);
        let heartbeat = (!self.dispatcher.is_empty()).then(|| self.heartbeats.next());
        let next = [deadline, heartbeat, self.closing.next(), self.next_look, self.hangups.next()]
            .into_iter()
            .flatten()
            .min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn round(&mut self, events: &Events) -> io::Result<()> {
        let now = Instant::now();
        self.dispatcher.set_time(self.clock.at(now));
        // Before anything is looked for: a later wake leads to another round.
        self.poll_waker.reset();
        for event in events {
            if event.token() == HANGUPS {
                self.hangups.begin(now)?;
            } else if event.token() != WAKE && !self.closing.takes(event.token()) {
                handle(&mut self.dispatcher, &mut self.clients, event);
            }
        }
        let Self { hangups, dispatcher, clients, .. } = self;
        hangups.look(now, |event| handle(dispatcher, clients, event))?;
        self.take_in(now);
        self.dispatcher.collect_wakes();
        self.busy = self.serve() | !self.new.is_empty();
        self.keep_time(now);
        self.close_ended(now);
        Ok(())
    }

    /// Lets the dispatcher write; `true` if it has more.
    fn serve(&mut self) -> bool {
        self.clients.writes = 0;
        while self.clients.writes < WRITES {
            if !self.dispatcher.serve_next(&mut self.clients) {
                return false;
            }
        }
        true
    }

    /// Adds streams from the inbox.
    fn take_in(&mut self, now: Instant) {
        // First, since the dispatcher reuses IDs: a new subscriber must not be in the list of those
        // that have ended.
        self.close_ended(now);
        if self.new.is_empty() {
            self.next_look = self.next_look.filter(|next| now < *next);
            self.new = self.inbox.take(self.next_look.is_some());
            self.new.reverse();
            if !self.new.is_empty() {
                self.next_look = Some(now + PAUSE);
            }
        }
        let rest = self.new.len().saturating_sub(NEW_STREAMS);
        for (transport, stream) in self.new.split_off(rest).into_iter().rev() {
            self.add(transport, stream);
        }
    }

    fn add(&mut self, mut transport: Transport, stream: NewStream<G>) {
        let NewStream { frames, until, observer } = stream;
        let subscriber = self.dispatcher.add(frames);
        let registered = self.hangups.registry().register(
            &mut transport.socket,
            Token(subscriber.index()),
            Interest::READABLE,
        );
        let number = self.clients.insert(subscriber, transport, observer);
        match registered {
            Ok(()) => {
                self.deadlines.extend(until.map(|until| Reverse((until, subscriber, number))));
            }
            Err(error) => {
                debug!(%error, "cannot watch the socket of a new stream");
                self.dispatcher.remove(subscriber);
                self.clients.ended.push((subscriber, EndReason::Left));
            }
        }
    }

    /// Expires streams, visits subscribers, and closes sockets.
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
        for index in self.heartbeats.due(self.clients.bound(), now) {
            self.visit(SubscriberId::from_index(index as usize), now);
        }
        self.closing.close_late(now);
    }

    /// Disconnects a client that makes no write progress within the write timeout; sends a
    /// heartbeat to one that was sent nothing for a while.
    fn visit(&mut self, subscriber: SubscriberId, now: Instant) {
        let allowed = ticks(self.options.write_timeout);
        let stalled = |since| self.clock.since(since, now) >= allowed;
        if self.dispatcher.blocked_since(subscriber).is_some_and(stalled) {
            self.dispatcher.remove(subscriber);
            self.clients.ended.push((subscriber, EndReason::Stalled));
            return;
        }
        if self.dispatcher.blocked_since(subscriber).is_none() {
            self.clients.relax(subscriber);
        }
        let silence = self.heartbeats.silence();
        self.dispatcher.send_heartbeat(subscriber, silence, &mut self.clients);
    }

    /// Closes the sockets of subscribers that the dispatcher has removed.
    fn close_ended(&mut self, now: Instant) {
        let mut ended = 0;
        while let Some((subscriber, reason)) = self.clients.ended.pop() {
            let Some(client) = self.clients.remove(subscriber) else { continue };
            ended += 1;
            let transport = client.end(reason);
            match reason {
                EndReason::Completed | EndReason::Failed => {
                    let socket = self.clients.close(transport);
                    self.closing.add(socket, self.clients.pollers(), now);
                }
                EndReason::Stalled => socket::abort(transport.socket),
                EndReason::Left => drop(self.clients.close(transport)),
                EndReason::Cut => drop(transport),
            }
        }
        self.inbox.load.fetch_sub(ended, Ordering::Relaxed);
    }
}

/// Handles an event of a subscriber's socket.
fn handle<G: StreamObserver>(dispatcher: &mut Dispatcher, clients: &mut Clients<G>, event: &Event) {
    let Some(subscriber) = SubscriberId::try_from_index(event.token().0) else { return };
    let Some(client) = clients.get_mut(subscriber) else { return };
    if let Some(reason) = client.transport.end_by(event) {
        dispatcher.remove(subscriber);
        clients.ended.push((subscriber, reason));
    } else if event.is_writable() {
        dispatcher.writable(subscriber);
    }
}

impl<G: StreamObserver> Drop for Shard<G> {
    /// Also runs when the shard panics: the pool passes it no more streams, and all observers learn
    /// that their streams are cut.
    fn drop(&mut self) {
        // Never the smallest load again. Half of the range leaves room for additions in flight.
        self.inbox.load.store(usize::MAX / 2, Ordering::Relaxed);
        let queued = self.new.drain(..).chain(self.inbox.close());
        queued.for_each(|(_, stream)| stream.observer.ended(EndReason::Cut));
        self.clients.drain().for_each(|client| drop(client.end(EndReason::Cut)));
    }
}
