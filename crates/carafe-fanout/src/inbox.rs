//! Streams on their way to a shard.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Instant;

use carafe_hub::Frames;

/// A stream whose response head has been sent.
pub struct Joining<G> {
    /// What is sent.
    pub frames: Frames,
    /// When the stream ends because its time is over.
    pub until: Option<Instant>,
    /// Who is told when it has ended.
    pub guest: G,
}

/// What is held for a stream as long as it is open.
pub trait Guest: Send + 'static {
    /// The stream has ended, for whatever reason.
    fn ended(self, ended: Ended);
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was sent whole: the hub drained, or its time was over.
    Whole,
    /// Its history cannot be read.
    Failed,
    /// Its client left.
    Gone,
    /// Its client took nothing for too long.
    Stalled,
    /// Its shard ended.
    Cut,
}

type Arrival<G> = (TcpStream, Joining<G>);

/// What other threads and a shard have in common.
pub(crate) struct Inbox<G> {
    /// `None` when the shard is no more.
    joining: Mutex<Option<Vec<Arrival<G>>>>,
    /// How many streams the shard has, or will have.
    pub(crate) load: AtomicUsize,
    stopped: AtomicBool,
    bell: Waker,
}

impl<G: Guest> Inbox<G> {
    pub(crate) fn new(bell: Waker) -> Arc<Self> {
        Arc::new(Self {
            joining: Mutex::new(Some(Vec::new())),
            load: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            bell,
        })
    }

    /// Leaves a stream for the shard. If the shard is no more, the stream ends.
    pub(crate) fn put(&self, socket: TcpStream, joining: Joining<G>) {
        self.load.fetch_add(1, Ordering::Relaxed);
        let mut inbox = self.joining();
        let Some(waiting) = &mut *inbox else {
            drop(inbox);
            return joining.guest.ended(Ended::Cut);
        };
        waiting.push((socket, joining));
        let first = waiting.len() == 1;
        drop(inbox);
        if first {
            self.bell.wake_by_ref();
        }
    }

    pub(crate) fn take(&self) -> Vec<Arrival<G>> {
        self.joining().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes nothing in any more, and gives what has not been taken out.
    pub(crate) fn close(&self) -> Vec<Arrival<G>> {
        self.joining().take().unwrap_or_default()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.joining().is_none()
    }

    fn joining(&self) -> MutexGuard<'_, Option<Vec<Arrival<G>>>> {
        self.joining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.bell.wake_by_ref();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// Wakes a shard from its poller.
pub(crate) struct Bell(pub(crate) mio::Waker);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "a shard cannot be woken");
        }
    }
}
