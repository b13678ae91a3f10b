//! What a shard does in one turn: the dispatcher decides what is sent, and the shard does the I/O.
//!
//! Turns are taken under a lock, by the shard's [thread](crate::shard) or by its
//! [helper](crate::helper). Both are short: no part of a turn takes longer than some milliseconds,
//! so that no client waits for another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use carafe_hub::{Dispatcher, SubscriberId, TableKey};
use mio::event::Event;
use mio::{Events, Interest, Token};
use tracing::debug;

use crate::clients::{Client, Clients};
use crate::clock::{Clock, ticks};
use crate::closing_sockets::ClosingSockets;
use crate::end_reason::EndReason;
use crate::hangup_poller::HangupPoller;
use crate::heartbeats::{HeartbeatRounds, silence};
use crate::requested_heartbeats::RequestedHeartbeats;
use crate::review::Review;
use crate::shard_inbox::ShardInbox;
use crate::socket;
use crate::stream::{NewStream, StreamObserver};
use crate::transport::Transport;

/// The token of the shard's waker. Those of subscribers are their IDs, which are smaller.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// The token of the hangup poller.
pub(crate) const HANGUPS: Token = Token(usize::MAX - 1);

/// The cost of writes in a turn of the thread, before it looks for other events: about a
/// millisecond.
const OF_THREAD: usize = 128;

/// The cost of writes in a turn of the helper, whose thread has other tasks: about 0.1 ms. The
/// last broadcast of the turn may exceed it by one slice.
const OF_HELPER: usize = 32;

/// Turns of the dispatcher that write nothing cost as much as one write.
const TURNS_PER_COST: usize = 4;

/// How long a stream with nothing to send may wait in the inbox: several are taken in together.
const PAUSE: Duration = Duration::from_millis(100);

/// New streams that are taken in within one turn.
const NEW_STREAMS: usize = 64;

/// The state of a shard.
pub(crate) struct Turns<G: StreamObserver> {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) clients: Clients<G>,
    pub(crate) hangups: HangupPoller,
    closing: ClosingSockets,
    /// Streams that were taken from the inbox, the first to be added last.
    new: Vec<(Transport, NewStream<G>)>,
    /// When to look into the inbox again, if there were streams lately.
    next_look: Option<Instant>,
    /// When streams expire, the earliest first, with the number of the client: its ID may be
    /// reused by then.
    deadlines: BinaryHeap<Reverse<(Instant, SubscriberId, u32)>>,
    heartbeats: HeartbeatRounds,
    requested: RequestedHeartbeats,
    review: Review,
    clock: Clock,
    inbox: Arc<ShardInbox<G>>,
    write_timeout: Duration,
    /// There is more to do, and the thread has to do it.
    busy: bool,
    /// Until when the thread waits, if nothing happens.
    thread_waits: Option<Instant>,
}

impl<G: StreamObserver> Turns<G> {
    pub(crate) fn new(
        dispatcher: Dispatcher,
        clients: Clients<G>,
        hangups: HangupPoller,
        inbox: Arc<ShardInbox<G>>,
        heartbeat: Duration,
        write_timeout: Duration,
    ) -> Self {
        Self {
            dispatcher,
            clients,
            hangups,
            closing: ClosingSockets::default(),
            new: Vec::new(),
            next_look: None,
            deadlines: BinaryHeap::new(),
            heartbeats: HeartbeatRounds::new(heartbeat, Instant::now()),
            requested: RequestedHeartbeats::default(),
            review: Review::default(),
            clock: Clock::new(),
            inbox,
            write_timeout,
            busy: false,
            thread_waits: None,
        }
    }

    /// A turn of the thread, with what its poller reports. The thread calls it before it reads the
    /// time until which it [waits](Self::wait).
    pub(crate) fn take(&mut self, events: &Events) -> io::Result<()> {
        let now = Instant::now();
        self.dispatcher.set_time(self.clock.at(now));
        let Self { dispatcher, clients, .. } = self;
        clients.receive_more(|subscriber| dispatcher.remove(subscriber));
        // Before events are handled: a client has one end.
        self.close_ended(now);
        for event in events {
            if event.token() == HANGUPS {
                self.hangups.begin(now)?;
            } else if event.token() != WAKE && !self.closing.takes(event.token()) {
                handle(&mut self.dispatcher, &mut self.clients, event);
            }
        }
        let Self { hangups, dispatcher, clients, .. } = self;
        hangups.look(now, |event| handle(dispatcher, clients, event))?;
        // Before streams are added, since the dispatcher reuses IDs: a new subscriber must not be
        // in the list of those that have ended.
        self.close_ended(now);
        self.take_in(now);
        self.dispatcher.collect_wakes();
        let reviews = self.review_some();
        let serves = self.serve(OF_THREAD);
        self.busy = serves | reviews | !self.new.is_empty() | self.clients.has_unprocessed();
        self.keep_time(now);
        self.close_ended(now);
        Ok(())
    }

    /// How long the thread may wait for events; `None` is without limit.
    pub(crate) fn wait(&mut self) -> Option<Duration> {
        if self.busy {
            return Some(Duration::ZERO);
        }
        self.thread_waits = self.next();
        self.thread_waits.map(|next| next.saturating_duration_since(Instant::now()))
    }

    /// Whether only the thread may take the next turn.
    pub(crate) fn needs_thread(&self) -> bool {
        self.busy
    }

    /// A turn of the helper, which adds streams and writes to some clients. Returns whether the
    /// thread has to continue, or to wait for a shorter time.
    ///
    /// The helper closes no socket, and so frees no ID: the thread may have events of the socket
    /// that it has not handled.
    pub(crate) fn take_small(&mut self) -> bool {
        let now = Instant::now();
        self.dispatcher.set_time(self.clock.at(now));
        self.take_in(now);
        let has_more =
            !self.dispatcher.collect_few_wakes() || self.serve(OF_HELPER) || !self.new.is_empty();
        self.busy = has_more || !self.clients.ended.is_empty() || self.inbox.has_review();
        let is_due = |next| self.thread_waits.is_none_or(|waits| next < waits);
        self.busy || self.next().is_some_and(is_due)
    }

    /// When something is due by time.
    fn next(&self) -> Option<Instant> {
        let deadline = self.deadlines.peek().map(|Reverse((deadline, ..))| *deadline);
        let heartbeat = (!self.dispatcher.is_empty()).then(|| self.heartbeats.next());
        let (requested, closing) = (self.requested.next(), self.closing.next());
        let all = [deadline, heartbeat, requested, closing, self.next_look, self.hangups.next()];
        all.into_iter().flatten().min()
    }

    /// Asks some streams whether they were revoked; `true` if there are more to ask.
    fn review_some(&mut self) -> bool {
        if self.inbox.take_review() {
            self.review.begin(self.clients.bound());
        }
        let Self { review, clients, dispatcher, .. } = self;
        review.ask(
            |subscriber| clients.get(subscriber).is_some_and(Client::is_revoked),
            |subscriber| dispatcher.expire(subscriber),
        )
    }

    /// Lets the dispatcher write; `true` if it has more.
    fn serve(&mut self, cost: usize) -> bool {
        self.clients.cost = 0;
        for _ in 0..cost * TURNS_PER_COST {
            if self.clients.cost >= cost {
                break;
            }
            if !self.dispatcher.serve_next(&mut self.clients) {
                return false;
            }
        }
        true
    }

    /// Adds streams from the inbox.
    fn take_in(&mut self, now: Instant) {
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
            self.add(transport, stream, now);
        }
    }

    fn add(&mut self, mut transport: Transport, stream: NewStream<G>, now: Instant) {
        let NewStream { frames, until, observer } = stream;
        let often =
            frames.heartbeat().interval().filter(|wanted| *wanted < self.heartbeats.interval());
        let subscriber = self.dispatcher.add(frames);
        let registered = self.hangups.registry().register(
            &mut transport.socket,
            Token(subscriber.index()),
            Interest::READABLE,
        );
        if let Err(error) = registered {
            debug!(%error, "cannot watch the socket of a new stream");
            // It never becomes a client: the dispatcher may give its ID to the next stream at once.
            self.dispatcher.remove(subscriber);
            observer.ended(EndReason::Left);
            self.inbox.load.fetch_sub(1, Ordering::Relaxed);
            return drop(self.clients.close(transport));
        }
        // A stream that was revoked on its way here was asked by no review.
        let is_revoked = observer.is_revoked();
        let number = self.clients.insert(subscriber, transport, observer);
        if is_revoked {
            self.dispatcher.expire(subscriber);
        }
        often.into_iter().for_each(|wanted| self.requested.add(wanted, subscriber, number, now));
        self.deadlines.extend(until.map(|until| Reverse((until, subscriber, number))));
    }

    /// Expires streams, visits subscribers, and closes sockets.
    fn keep_time(&mut self, now: Instant) {
        while let Some(Reverse((until, subscriber, number))) = self.deadlines.peek().copied()
            && until <= now
        {
            self.deadlines.pop();
            if self.clients.get(subscriber).is_some_and(|client| client.number() == number) {
                self.dispatcher.expire(subscriber);
                self.busy = true;
            }
        }
        for index in self.heartbeats.due(self.clients.bound(), now) {
            self.visit(SubscriberId::from_index(index as usize), now);
        }
        let mut requested = std::mem::take(&mut self.requested);
        requested.visit_due(now, |subscriber, number| {
            let is_here =
                self.clients.get(subscriber).is_some_and(|client| client.number() == number);
            if is_here {
                self.visit(subscriber, now);
            }
            is_here
        });
        self.requested = requested;
        self.closing.close_late(now);
    }

    /// Disconnects a client that makes no write progress within the write timeout; sends a
    /// heartbeat to one that was sent nothing for a while.
    fn visit(&mut self, subscriber: SubscriberId, now: Instant) {
        let allowed = ticks(self.write_timeout);
        let stalled = |since| self.clock.since(since, now) >= allowed;
        if self.dispatcher.blocked_since(subscriber).is_some_and(stalled) {
            self.dispatcher.remove(subscriber);
            self.clients.ended.push((subscriber, EndReason::Stalled));
            return;
        }
        if self.dispatcher.blocked_since(subscriber).is_none() {
            self.clients.relax(subscriber);
        }
        let requested = self.dispatcher.heartbeat_interval(subscriber);
        let silence = silence(requested.unwrap_or(self.heartbeats.interval()));
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
                EndReason::Completed | EndReason::Revoked | EndReason::Failed => {
                    let socket = self.clients.close(transport);
                    self.closing.add(socket, self.clients.pollers(), now);
                }
                EndReason::Stalled => socket::abort(transport.socket),
                EndReason::Left | EndReason::Exceeded | EndReason::Cut => {
                    drop(self.clients.close(transport));
                }
            }
        }
        self.inbox.load.fetch_sub(ended, Ordering::Relaxed);
    }
}

/// Handles an event of a subscriber's socket.
fn handle<G: StreamObserver>(dispatcher: &mut Dispatcher, clients: &mut Clients<G>, event: &Event) {
    let Some(subscriber) = SubscriberId::try_from_index(event.token().0) else { return };
    if clients.get(subscriber).is_none() {
        return;
    }
    if clients.ends_by(subscriber, event) {
        dispatcher.remove(subscriber);
    } else if event.is_writable() {
        dispatcher.writable(subscriber);
    }
}

impl<G: StreamObserver> Drop for Turns<G> {
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
