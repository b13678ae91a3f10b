//! All shards.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use carafe_hub::{Frames, Hub};

use crate::shard::Shard;
use crate::shard_inbox::ShardInbox;
use crate::{NewStream, ShardOptions, StreamObserver, socket};

/// The shards that serve a hub's sockets. Clones are handles to the same; when the last is dropped,
/// the shards end.
pub struct ShardPool<G: StreamObserver> {
    hub: Hub,
    shards: Arc<Shards<G>>,
}

impl<G: StreamObserver> Clone for ShardPool<G> {
    fn clone(&self) -> Self {
        Self { hub: self.hub.clone(), shards: Arc::clone(&self.shards) }
    }
}

struct Shards<G: StreamObserver>(Vec<Arc<ShardInbox<G>>>);

impl<G: StreamObserver> ShardPool<G> {
    /// Starts the shards.
    ///
    /// # Errors
    /// When the system gives no poller or no thread.
    pub fn start(hub: &Hub, options: &ShardOptions, heartbeat: Duration) -> io::Result<Self> {
        let shard = |number| {
            let shard = Shard::new(hub, options.clone(), heartbeat)?;
            let inbox = Arc::clone(shard.inbox());
            thread::Builder::new().name(format!("shard-{number}")).spawn(move || shard.run())?;
            Ok(inbox)
        };
        let shards = (0..options.threads.get()).map(shard).collect::<io::Result<_>>()?;
        Ok(Self { hub: hub.clone(), shards: Arc::new(Shards(shards)) })
    }

    /// Bounds what the kernel holds for the clients of a listener, by the send buffer and the write
    /// time of the options.
    pub fn prepare(listener: &impl AsFd, options: &ShardOptions) {
        socket::prepare(listener, options);
    }

    /// Hands a connection, which must not block, to the shard with the fewest. The frames must be
    /// [served](Self::serves). While there is nothing to be sent, the shard takes its time to
    /// notice that the client has gone: a tenth of a second.
    pub fn add(&self, socket: TcpStream, joining: NewStream<G>) {
        let shards = self.shards.0.iter();
        if let Some(shard) = shards.min_by_key(|shard| shard.load.load(Ordering::Relaxed)) {
            shard.put(socket, joining);
        }
    }

    /// Whether these are of the hub that the shards serve, and there still is a shard.
    #[must_use]
    pub fn serves(&self, frames: &Frames) -> bool {
        self.hub.owns(frames) && !self.shards.0.iter().all(|shard| shard.is_closed())
    }

    /// How many streams there are.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shards.0.iter().map(|shard| shard.load.load(Ordering::Relaxed)).sum()
    }
}

impl<G: StreamObserver> Drop for Shards<G> {
    fn drop(&mut self) {
        self.0.iter().for_each(|shard| shard.stop());
    }
}
