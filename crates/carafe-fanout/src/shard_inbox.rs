//! Passes streams from the threads of connections to a shard.
//!
//! Waking a shard costs a system call. A stream with nothing to send has time: if the shard will
//! look into the inbox soon anyway, it is not woken.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::end_reason::EndReason;
use crate::stream::{NewStream, StreamObserver};
use crate::transport::Transport;

/// The shard is woken once this many streams are queued: until it takes them, hyper's buffers of
/// their connections are in use.
const MANY: usize = 64;

type Queued<G> = (Transport, NewStream<G>);

/// The state that a shard shares with other threads.
pub(crate) struct ShardInbox<G> {
    /// `None` once the shard has ended. No other lock is taken while this one is held.
    queue: Mutex<Option<Queue<G>>>,
    /// Streams of the shard, queued ones included. Relaxed: it only balances the shards, and a
    /// stale count is as good.
    pub(crate) load: AtomicUsize,
    /// A review was requested since the shard began the last.
    review: AtomicBool,
    waker: Waker,
}

struct Queue<G> {
    streams: Vec<Queued<G>>,
    /// The shard looks by itself soon.
    shard_looks: bool,
}

impl<G: StreamObserver> ShardInbox<G> {
    pub(crate) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Some(Queue { streams: Vec::new(), shard_looks: false })),
            load: AtomicUsize::new(0),
            review: AtomicBool::new(false),
            waker,
        })
    }

    /// Queues a stream. If the shard has ended, so does the stream.
    pub(crate) fn put(&self, transport: Transport, mut stream: NewStream<G>) {
        self.load.fetch_add(1, Ordering::Relaxed);
        // From here on, frames for the stream wake the shard by themselves.
        let is_quiet = stream.frames.wait(&self.waker);
        let mut queue = self.queue();
        let Some(Queue { streams, shard_looks }) = &mut *queue else {
            drop(queue);
            return stream.observer.ended(EndReason::Cut);
        };
        streams.push((transport, stream));
        let wakes = !(is_quiet && *shard_looks) || streams.len() >= MANY;
        drop(queue);
        if wakes {
            self.waker.wake_by_ref();
        }
    }

    /// Takes all queued streams. The shard promises to look again soon if there were any, or if it
    /// `looks_again` anyway.
    pub(crate) fn take(&self, looks_again: bool) -> Vec<Queued<G>> {
        let mut queue = self.queue();
        let Some(Queue { streams, shard_looks }) = &mut *queue else { return Vec::new() };
        *shard_looks = looks_again || !streams.is_empty();
        std::mem::take(streams)
    }

    /// Lets the shard ask all its streams whether they were revoked.
    pub(crate) fn request_review(&self) {
        // Release, and Acquire below: the shard sees what was revoked before.
        self.review.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }

    /// Whether a review was requested and has not begun.
    pub(crate) fn has_review(&self) -> bool {
        self.review.load(Ordering::Relaxed)
    }

    /// Whether a review was requested since the last call.
    pub(crate) fn take_review(&self) -> bool {
        // Loaded first: a shard asks in each turn, and there is hardly ever a review.
        self.review.load(Ordering::Relaxed) && self.review.swap(false, Ordering::Acquire)
    }

    /// Rejects further streams, and returns those that are queued.
    pub(crate) fn close(&self) -> Vec<Queued<G>> {
        self.queue().take().map(|queue| queue.streams).unwrap_or_default()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue().is_none()
    }

    fn queue(&self) -> MutexGuard<'_, Option<Queue<G>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
