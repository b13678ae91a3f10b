//! The helper of a shard: takes small turns on the threads of an executor.
//!
//! Waking the shard's thread costs two system calls and two switches of the thread, more than an
//! event for a few clients. So while the thread waits, its helper is woken: a task of the executor
//! that runs the publishers, too. It delivers what has come in a small turn; if there is more, the
//! thread continues.

use std::pin::Pin;
use std::sync::{Arc, TryLockError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::shard::Shard;
use crate::stream::StreamObserver;

/// A turn that comes within this time after the last one waits for the tasks that are ready: their
/// events share a write.
const SOON: Duration = Duration::from_micros(100);

/// Takes small turns for one shard: a future to be run on an executor, until the shard ends.
///
/// A turn writes to some tens of sockets that do not block. An executor that does not poll the
/// helper delays the events of the shard, so it has to be one whose tasks do not block. If the
/// helper is dropped, the thread of the shard does everything.
#[must_use = "a helper takes turns only when it is polled"]
pub struct ShardHelper<G: StreamObserver> {
    shard: Arc<Shard<G>>,
    last_turn: Option<Instant>,
    gives_way: bool,
}

impl<G: StreamObserver> ShardHelper<G> {
    pub(crate) fn new(shard: Arc<Shard<G>>) -> Self {
        Self { shard, last_turn: None, gives_way: true }
    }

    /// Whether the tasks that are ready go first. Not twice, so that they cannot delay the turn for
    /// longer than they take once.
    fn gives_way(&mut self) -> bool {
        let is_soon = self.last_turn.is_some_and(|last| last.elapsed() < SOON);
        let gives_way = is_soon && self.gives_way;
        self.gives_way = !gives_way;
        gives_way
    }

    /// Takes a turn, unless the thread does; `false` once the shard has ended.
    fn turn(&mut self) -> bool {
        let mut turns = match self.shard.turns.try_lock() {
            Ok(turns) => turns,
            Err(TryLockError::WouldBlock) => {
                self.shard.waker.wake_waiting_thread();
                return true;
            }
            Err(TryLockError::Poisoned(_)) => return false,
        };
        let Some(turns) = &mut *turns else { return false };
        if turns.needs_thread() {
            return true;
        }
        self.shard.waker.reset();
        if turns.take_small() {
            self.shard.waker.wake_thread();
        }
        self.last_turn = Some(Instant::now());
        true
    }
}

impl<G: StreamObserver> Future for ShardHelper<G> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Before it looks whether the shard was woken: a later wake calls the helper again.
        self.shard.waker.register_helper(cx.waker());
        if !self.shard.waker.is_woken() {
            return Poll::Pending;
        }
        if self.gives_way() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.turn() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl<G: StreamObserver> Unpin for ShardHelper<G> {}

impl<G: StreamObserver> Drop for ShardHelper<G> {
    fn drop(&mut self) {
        // After a panic in a turn, the thread has to end the shard.
        self.shard.waker.remove_helper(self.shard.turns.is_poisoned());
    }
}
