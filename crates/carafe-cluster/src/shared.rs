//! What the tasks of a node and its handles share.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use carafe_log::{AppendError, Refill};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::engine::{ATTEMPT, EngineError, HEARTBEAT, State};
use crate::engine_time::EngineTime;
use crate::offsets::offset_before;
use crate::options::ClusterOptions;
use crate::progress::{Counters, Fill, Link, Progress, Stopped};
use crate::publish::Outbox;
use crate::questions::Questions;

/// What the tasks of a node and its handles share. Its locks are leaves, and are held for no I/O.
pub(crate) struct Shared {
    pub(crate) options: ClusterOptions,
    outbox: Mutex<Outbox>,
    counters: Mutex<Counters>,
    status: watch::Sender<Status>,
    time: Mutex<EngineTime>,
    /// What readers ask.
    pub(crate) questions: Questions,
    /// Something was published.
    pub(crate) published: Notify,
    /// Nobody waits for an answer.
    idle: Notify,
}

#[derive(Clone, Debug)]
struct Status {
    link: Link,
    since: Instant,
    trouble: Option<String>,
    applied: u64,
    last: u64,
    /// What the engine keeps, as it was when the node compared itself with it.
    refill: Refill,
    fill: Option<Fill>,
    is_filled: bool,
    /// What the engine had when the tail began to arrive. `None` until one does.
    target: Option<u64>,
    /// A reader waits until this was applied.
    awaited: u64,
    remembered_keys: usize,
    stopped: Option<Stopped>,
    /// The engine has given an own commit a sequence that was applied before.
    is_doubtful: bool,
}

impl Status {
    /// Whether what is published now will come back soon.
    fn is_open(&self) -> bool {
        self.link == Link::Following && self.is_caught_up()
    }

    fn is_caught_up(&self) -> bool {
        self.target.is_some_and(|target| self.applied >= target)
    }

    /// The engine's newest message is at least this one.
    fn heard_of(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    fn link(&mut self, link: Link) {
        if self.link != link {
            (self.link, self.since) = (link, Instant::now());
        }
    }
}

/// What a log is filled with again that was lost.
fn refill(state: &State) -> Refill {
    Refill { after: offset_before(state.first), age: state.age }
}

impl Shared {
    pub(crate) fn new(
        options: ClusterOptions,
        state: &State,
        time: EngineTime,
        applied: u64,
    ) -> Self {
        let status = Status {
            link: Link::Connecting,
            since: Instant::now(),
            trouble: None,
            applied,
            last: applied,
            refill: refill(state),
            fill: None,
            is_filled: false,
            target: None,
            awaited: 0,
            remembered_keys: 0,
            stopped: None,
            is_doubtful: false,
        };
        Self {
            options,
            outbox: Mutex::new(Outbox::new(options.waiting_bytes, state.payload)),
            counters: Mutex::default(),
            status: watch::Sender::new(status),
            time: Mutex::new(time),
            questions: Questions::default(),
            published: Notify::new(),
            idle: Notify::new(),
        }
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Counters)) {
        count(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The node has compared itself with the engine, which has this.
    pub(crate) fn compared(&self, state: &State) {
        self.moved(|status| {
            status.heard_of(state.last);
            status.refill = refill(state);
        });
        self.outbox().set_payload(state.payload);
    }

    pub(crate) fn refill(&self) -> Refill {
        self.status.borrow().refill
    }

    fn time(&self) -> MutexGuard<'_, EngineTime> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine has answered what its time is.
    pub(crate) fn told_time(&self, time: EngineTime) {
        *self.time() = time;
    }

    /// The engine has stored a message at this time.
    pub(crate) fn stored_at(&self, time: SystemTime) {
        self.time().stored(time);
    }

    /// The engine's time, as far as this node knows it.
    pub(crate) fn engine_time(&self) -> SystemTime {
        self.time().now()
    }

    pub(crate) fn progress(&self) -> Progress {
        let status = self.status.borrow().clone();
        let is_caught_up = status.is_caught_up();
        Progress {
            link: status.link,
            link_age: status.since.elapsed(),
            trouble: status.trouble,
            applied: status.applied,
            last: status.last,
            fill: status.fill,
            is_filled: status.is_filled,
            is_caught_up,
            remembered_keys: status.remembered_keys,
            stopped: status.stopped,
            counters: *self.counters.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The tail arrives, and the engine's newest message was `last` before.
    pub(crate) fn following(&self, last: u64) {
        let (mut applied, mut was_following) = (0, true);
        self.moved(|status| {
            (applied, was_following) = (status.applied, status.link == Link::Following);
            status.link(Link::Following);
            status.trouble = None;
            let fill = Fill { from: status.applied + 1, to: last };
            status.fill.get_or_insert(fill);
            status.target = Some(last);
            status.heard_of(last);
        });
        self.count(|counters| counters.tails += 1);
        if !was_following {
            tracing::info!(applied, last, "the node follows the engine");
        }
    }

    /// The tail does not arrive, or cannot be stored.
    pub(crate) fn away(&self, why: &str) {
        let mut is_new = false;
        self.status.send_modify(|status| {
            is_new = status.trouble.is_none();
            status.trouble = Some(why.to_owned());
            if status.link == Link::Following {
                status.link(Link::Away);
            }
        });
        // Once for each time that it is away, not for each attempt.
        if is_new {
            tracing::warn!(why, "the node does not follow the engine");
        }
    }

    /// The node has applied what came up to this message.
    pub(crate) fn applied(&self, sequence: u64) {
        self.moved(|status| {
            status.applied = sequence;
            status.heard_of(sequence);
        });
    }

    /// The engine has acknowledged an own commit.
    pub(crate) fn acknowledged(&self, sequence: u64) {
        self.moved(|status| {
            status.is_doubtful |= sequence <= status.applied;
            status.heard_of(sequence);
        });
    }

    /// Whether an acknowledgement does not fit to what was applied. Asking resets it.
    pub(crate) fn take_doubt(&self) -> bool {
        let mut doubt = false;
        self.status.send_if_modified(|status| {
            doubt = std::mem::take(&mut status.is_doubtful);
            false
        });
        doubt
    }

    /// The newest message that the node has applied.
    pub(crate) fn applied_sequence(&self) -> u64 {
        self.status.borrow().applied
    }

    /// The newest message that the node has heard of.
    pub(crate) fn last(&self) -> u64 {
        self.status.borrow().last
    }

    /// Changes the status, and wakes those who wait for it only if they may go on: it changes with
    /// each commit.
    fn moved(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_if_modified(|status| {
            let may_go_on = |status: &Status| {
                (status.is_open(), status.is_filled, status.applied >= status.awaited)
            };
            let before = may_go_on(status);
            change(status);
            let is_filled = status.fill.is_some_and(|fill| status.applied >= fill.to);
            status.is_filled |= is_filled;
            before != may_go_on(status)
        });
    }

    pub(crate) fn remembers(&self, keys: usize) {
        self.moved(|status| status.remembered_keys = keys);
    }

    /// Ends the node: it answers publishers that the engine is away.
    pub(crate) fn stop(&self, why: Stopped) {
        tracing::error!(%why, "the node has stopped to follow the engine");
        // Before the publisher sees that it stops.
        self.outbox().stop(AppendError::Unavailable);
        self.status.send_modify(|status| {
            status.link(Link::Away);
            status.stopped = Some(why);
        });
        self.notify_if_idle();
    }

    /// Waits until what is published comes back soon. Returns `false` when the node has stopped.
    pub(crate) async fn is_open(&self) -> bool {
        let mut status = self.status.subscribe();
        let found = status.wait_for(|status| status.stopped.is_some() || status.is_open()).await;
        found.is_ok_and(|status| status.stopped.is_none())
    }

    /// Waits until the node has applied this message. Returns `false` when the node has stopped
    /// before. Only one may wait at a time.
    pub(crate) async fn reached(&self, sequence: u64) -> bool {
        let mut status = self.status.subscribe();
        self.status.send_if_modified(|status| {
            status.awaited = sequence;
            false
        });
        let has_reached = |status: &Status| status.applied >= sequence;
        let found = status.wait_for(|it| it.stopped.is_some() || has_reached(it)).await;
        found.is_ok_and(|status| has_reached(&status))
    }

    pub(crate) async fn filled(&self) {
        // Fails only when the sender is gone, which `self` has.
        let _ = self.status.subscribe().wait_for(|status| status.is_filled).await;
    }

    pub(crate) async fn stopped(&self) -> Stopped {
        let mut status = self.status.subscribe();
        let found = status.wait_for(|status| status.stopped.is_some()).await;
        match found.ok().and_then(|status| status.stopped.clone()) {
            Some(stopped) => stopped,
            // Not reached: `self` has the sender.
            None => std::future::pending().await,
        }
    }

    /// Waits until nobody waits for an answer.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.outbox().is_idle() {
                return;
            }
            notified.await;
        }
    }

    pub(crate) fn notify_if_idle(&self) {
        if self.outbox().is_idle() {
            self.idle.notify_waiters();
        }
    }
}

/// Stops the node when its task panics: else it would stand still and nobody would know.
pub(crate) struct StopOnPanic(pub(crate) Arc<Shared>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(Stopped::Panicked);
        }
    }
}

/// The answer of an engine. An engine answers within [`ATTEMPT`]; if it does not, this does.
pub(crate) async fn bounded<T>(
    call: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    let answer = timeout(ATTEMPT + HEARTBEAT, call).await;
    answer.unwrap_or_else(|_| Err(EngineError::Unavailable("the engine does not answer".into())))
}
