//! The shards of a hub.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use carafe_hub::{Frames, Hub};

use crate::helper::ShardHelper;
use crate::options::ShardOptions;
use crate::shard::{Shard, ShardThread};
use crate::socket;
use crate::stream::{NewStream, StreamObserver};
use crate::transport::Transport;

/// The shards that deliver a hub's streams. Clones are handles to the same shards. When the last is
/// dropped, the shards end and cut their streams.
pub struct ShardPool<G: StreamObserver> {
    hub: Hub,
    shards: Arc<Shards<G>>,
}

impl<G: StreamObserver> Clone for ShardPool<G> {
    fn clone(&self) -> Self {
        Self { hub: self.hub.clone(), shards: Arc::clone(&self.shards) }
    }
}

/// The shards, which end when this is dropped.
struct Shards<G: StreamObserver>(Vec<Arc<Shard<G>>>);

impl<G: StreamObserver> ShardPool<G> {
    /// Starts the shards. A stream sends a sign of life after a silence of `heartbeat`, or up to a
    /// quarter of it earlier.
    ///
    /// # Errors
    /// When the system has no poller or no thread left.
    pub fn start(hub: &Hub, options: &ShardOptions, heartbeat: Duration) -> io::Result<Self> {
        let shard = |number| {
            let thread = ShardThread::new(hub, options, heartbeat)?;
            let shard = Arc::clone(&thread.shard);
            thread::Builder::new().name(format!("shard-{number}")).spawn(move || thread.run())?;
            Ok(shard)
        };
        let shards = (0..options.threads.get()).map(shard).collect::<io::Result<_>>()?;
        Ok(Self { hub: hub.clone(), shards: Arc::new(Shards(shards)) })
    }

    /// The helpers of the shards: futures to be run on the executor that runs the publishers, each
    /// as a task. They deliver events to few subscribers without waking a shard's thread. A shard
    /// has one helper at a time: those of a second call replace the first.
    pub fn helpers(&self) -> impl Iterator<Item = ShardHelper<G>> {
        self.shards.0.iter().map(|shard| ShardHelper::new(Arc::clone(shard)))
    }

    /// Sets the socket options of a listener that its accepted sockets inherit: the send buffer and
    /// the write timeout.
    pub fn prepare(listener: &impl AsFd, options: &ShardOptions) {
        socket::prepare(listener, options);
    }

    /// Passes a stream to the shard with the fewest streams. The socket must not block, and the
    /// frames must be [served](Self::serves) here. As long as nothing is to be sent, it may take a
    /// tenth of a second until the shard notices that the client has left.
    pub fn add(&self, transport: impl Into<Transport>, stream: NewStream<G>) {
        let shards = self.shards.0.iter();
        if let Some(shard) = shards.min_by_key(|shard| shard.inbox.load.load(Ordering::Relaxed)) {
            shard.inbox.put(transport.into(), stream);
        }
    }

    /// Ends the streams whose observers say that they [were revoked](StreamObserver::is_revoked).
    /// The shards ask all observers, some in each turn. Streams that are added later are asked
    /// then: so none is missed if what the observers look at was changed before this call.
    pub fn review(&self) {
        self.shards.0.iter().for_each(|shard| shard.inbox.request_review());
    }

    /// Whether the frames are of the hub that the shards serve, and at least one shard runs.
    #[must_use]
    pub fn serves(&self, frames: &Frames) -> bool {
        self.hub.owns(frames) && !self.shards.0.iter().all(|shard| shard.inbox.is_closed())
    }

    /// The number of open streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shards.0.iter().map(|shard| shard.inbox.load.load(Ordering::Relaxed)).sum()
    }
}

impl<G: StreamObserver> Drop for Shards<G> {
    fn drop(&mut self) {
        self.0.iter().for_each(|shard| shard.stop());
    }
}
