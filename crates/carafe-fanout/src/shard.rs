//! A shard: the only writer to its sockets. It has a thread with its own poller, and may have a
//! [helper](crate::helper).
//!
//! The thread repeats: it waits for events of sockets and for wakes, and takes a
//! [turn](crate::turns).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use carafe_hub::Hub;
use mio::{Events, Poll};
use tracing::error;

use crate::clients::Clients;
use crate::hangup_poller::HangupPoller;
use crate::options::ShardOptions;
use crate::pollers::Pollers;
use crate::send_buffer::SendBuffers;
use crate::shard_inbox::ShardInbox;
use crate::shard_waker::ShardWaker;
use crate::stream::StreamObserver;
use crate::turns::{HANGUPS, Turns, WAKE};

/// What the thread of a shard shares with its helper and with the pool.
pub(crate) struct Shard<G: StreamObserver> {
    pub(crate) inbox: Arc<ShardInbox<G>>,
    pub(crate) waker: Arc<ShardWaker>,
    stopped: AtomicBool,
    /// `None` once the shard has ended. Thread and helper hold the lock during a turn. Below it,
    /// the hub's lock and that of the inbox are taken. It is poisoned if a turn panics: then the
    /// shard ends.
    pub(crate) turns: Mutex<Option<Turns<G>>>,
}

/// The thread of a shard. Dropping it ends the shard.
pub(crate) struct ShardThread<G: StreamObserver> {
    pub(crate) shard: Arc<Shard<G>>,
    poll: Poll,
}

impl<G: StreamObserver> Shard<G> {
    /// Ends the shard.
    pub(crate) fn stop(&self) {
        // Release, and Acquire below: what happened before the stop is visible to the shard.
        self.stopped.store(true, Ordering::Release);
        self.waker.wake_thread();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl<G: StreamObserver> ShardThread<G> {
    pub(crate) fn new(hub: &Hub, options: &ShardOptions, heartbeat: Duration) -> io::Result<Self> {
        let poll = Poll::new()?;
        let shard_waker = ShardWaker::new(poll.registry(), WAKE)?;
        let waker = Waker::from(Arc::clone(&shard_waker));
        let hangups = HangupPoller::new(poll.registry().try_clone()?, HANGUPS)?;
        let pollers = Pollers {
            prompt: poll.registry().try_clone()?,
            hangup: hangups.registry().try_clone()?,
        };
        let inbox = ShardInbox::new(waker.clone());
        let turns = Turns::new(
            hub.dispatcher(waker),
            Clients::new(pollers, SendBuffers::new(options)),
            hangups,
            Arc::clone(&inbox),
            heartbeat,
            options.write_timeout,
        );
        let (stopped, turns) = (AtomicBool::new(false), Mutex::new(Some(turns)));
        let shard = Arc::new(Shard { inbox, waker: shard_waker, stopped, turns });
        Ok(Self { shard, poll })
    }

    /// Runs until the pool stops it. A poller that fails ends the shard; its streams are cut, and
    /// their clients reconnect to another shard.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut wait = None;
        while !self.shard.is_stopped() {
            let wait_now = self.wait(wait);
            let polled = self.poll.poll(&mut events, wait_now);
            self.shard.waker.is_awake();
            if let Err(error) = polled
                && error.kind() != io::ErrorKind::Interrupted
            {
                return error!(%error, "a shard ends: it cannot poll its sockets");
            }
            wait = match self.turn(&events) {
                Ok(wait) => wait,
                Err(error) => return error!(%error, "a shard ends: it cannot poll for hangups"),
            };
        }
    }

    /// How long to wait, if there is nothing to do for `wait`. A thread that does not wait is not
    /// to be woken either: its turn comes anyway.
    fn wait(&self, wait: Option<Duration>) -> Option<Duration> {
        let waits = wait != Some(Duration::ZERO) && self.shard.waker.may_wait();
        if waits { wait } else { Some(Duration::ZERO) }
    }

    /// Takes a turn. Returns how long the thread may wait after it.
    fn turn(&self, events: &Events) -> io::Result<Option<Duration>> {
        let turns = self.shard.turns.lock();
        let mut turns = turns.map_err(|_| io::Error::other("its helper has panicked"))?;
        let Some(turns) = &mut *turns else { return Ok(None) };
        // Before anything is looked for: a later wake leads to another turn.
        self.shard.waker.reset();
        turns.take(events)?;
        Ok(turns.wait())
    }
}

impl<G: StreamObserver> Drop for ShardThread<G> {
    /// Also runs when the thread panics.
    fn drop(&mut self) {
        let turns = self.shard.turns.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(turns);
        self.shard.waker.end_helper();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Wake};

    use carafe_log::MemoryLog;

    use super::*;
    use crate::end_reason::EndReason;
    use crate::helper::ShardHelper;

    struct Observer;

    impl StreamObserver for Observer {
        fn ended(self, _: EndReason) {}

        fn sent(&mut self, _: usize, _: u32) {}
    }

    /// A shard whose thread does not run.
    fn thread() -> ShardThread<Observer> {
        let hub = Hub::new(MemoryLog::default());
        ShardThread::new(&hub, &ShardOptions::default(), Duration::from_secs(15)).unwrap()
    }

    /// Wakes the shard while its state is locked, and polls a helper.
    fn wake_while_locked(shard: &Shard<Observer>, helper: &mut ShardHelper<Observer>) {
        let _turn = shard.turns.lock().unwrap();
        Waker::from(Arc::clone(&shard.waker)).wake();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(helper).poll(&mut cx).is_pending());
    }

    fn is_thread_woken(thread: &mut ShardThread<Observer>) -> bool {
        let mut events = Events::with_capacity(8);
        thread.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().any(|event| event.token() == WAKE)
    }

    #[test]
    fn a_helper_wakes_the_thread_that_waits_if_another_helper_has_a_turn() {
        let mut thread = thread();
        let shard = Arc::clone(&thread.shard);
        let mut helper = ShardHelper::new(Arc::clone(&shard));
        shard.waker.register_helper(Waker::noop());
        assert!(shard.waker.may_wait());
        wake_while_locked(&shard, &mut helper);
        assert!(is_thread_woken(&mut thread));
    }

    #[test]
    fn a_helper_leaves_a_review_to_the_thread() {
        let mut thread = thread();
        let shard = Arc::clone(&thread.shard);
        let mut helper = ShardHelper::new(Arc::clone(&shard));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut helper).poll(&mut cx).is_pending());
        assert!(shard.waker.may_wait());
        shard.inbox.request_review();
        assert!(Pin::new(&mut helper).poll(&mut cx).is_pending());
        assert!(is_thread_woken(&mut thread));
    }

    #[test]
    fn a_helper_leaves_the_thread_alone_that_has_a_turn() {
        let mut thread = thread();
        let shard = Arc::clone(&thread.shard);
        let mut helper = ShardHelper::new(Arc::clone(&shard));
        wake_while_locked(&shard, &mut helper);
        assert!(!is_thread_woken(&mut thread));
        assert!(!shard.waker.may_wait());
    }

    #[test]
    fn a_thread_that_does_not_wait_is_not_woken() {
        let mut thread = thread();
        assert_eq!(thread.wait(Some(Duration::ZERO)), Some(Duration::ZERO));
        thread.shard.waker.wake_by_ref();
        assert!(!is_thread_woken(&mut thread));
        assert_eq!(thread.wait(None), Some(Duration::ZERO), "its turn comes without a wait");
    }
}
