//! Streams on their way to a shard.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use carafe_hub::{Client, Frames};

use crate::EndReason;

/// A stream whose response head has been sent.
pub struct NewStream<G> {
    /// What is sent.
    pub frames: Frames,
    /// When the stream ends because its time is over.
    pub until: Option<Instant>,
    /// Who is told when it has ended.
    pub observer: G,
}

/// What is held for a stream as long as it is open.
pub trait StreamObserver: Send + 'static {
    /// The stream has ended, for whatever reason.
    fn ended(self, ended: EndReason);

    /// The kernel has taken so many bytes of the stream.
    fn sent(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Whose stream it is, if that is known.
    fn client(&self) -> Option<Client> {
        None
    }
}

/// So many are not let wait: their memory is better used by who comes next.
const MANY: usize = 64;

type Arrival<G> = (TcpStream, NewStream<G>);

/// What other threads and a shard have in common.
pub(crate) struct ShardInbox<G> {
    /// `None` when the shard is no more.
    waiting: Mutex<Option<Waiting<G>>>,
    /// How many streams the shard has, or will have.
    pub(crate) load: AtomicUsize,
    stopped: AtomicBool,
    waker: Waker,
}

/// Streams that the shard has yet to take.
struct Waiting<G> {
    streams: Vec<Arrival<G>>,
    /// The shard looks by itself soon.
    is_coming: bool,
}

impl<G: StreamObserver> ShardInbox<G> {
    pub(crate) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::new(Some(Waiting { streams: Vec::new(), is_coming: false })),
            load: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            waker,
        })
    }

    /// HangupPoller a stream for the shard. If the shard is no more, the stream ends.
    pub(crate) fn put(&self, socket: TcpStream, mut joining: NewStream<G>) {
        self.load.fetch_add(1, Ordering::Relaxed);
        // Waking the shard costs more than the rest. It has time as long as there is nothing to be
        // sent.
        let has_time = joining.frames.wait(&self.waker);
        let mut waiting = self.waiting();
        let Some(Waiting { streams, is_coming }) = &mut *waiting else {
            drop(waiting);
            return joining.observer.ended(EndReason::Cut);
        };
        streams.push((socket, joining));
        let rings = !(has_time && *is_coming) || streams.len() >= MANY;
        drop(waiting);
        if rings {
            self.waker.wake_by_ref();
        }
    }

    /// What has come. If that is nothing, the shard says whether it looks again soon; else it does.
    pub(crate) fn take(&self, looks_again: bool) -> Vec<Arrival<G>> {
        let mut waiting = self.waiting();
        let Some(Waiting { streams, is_coming }) = &mut *waiting else { return Vec::new() };
        *is_coming = looks_again || !streams.is_empty();
        std::mem::take(streams)
    }

    /// Takes nothing in any more, and gives what has not been taken out.
    pub(crate) fn close(&self) -> Vec<Arrival<G>> {
        self.waiting().take().map(|waiting| waiting.streams).unwrap_or_default()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.waiting().is_none()
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting<G>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}
