//! A handle to a node, for those who watch it.

use std::future::Future;
use std::sync::Arc;

use crate::progress::{Progress, Stopped};
use crate::shared::Shared;

/// A handle to the node of a [`ClusterLog`](crate::ClusterLog), which tells how it is. Clones are
/// handles to the same node. It does not keep the node running.
///
/// ```
/// use std::sync::Arc;
///
/// use carafe_cluster::{ClusterLog, ClusterOptions, Engine, MemoryEngine, Stopped};
/// use carafe_log::{MemoryLimits, MemoryLog};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = MemoryEngine::new("events");
/// let generation = engine.state().await?.identity.generation;
/// let log = MemoryLog::with_generation(MemoryLimits::default(), generation);
/// let log = ClusterLog::start(Arc::new(engine.clone()), log, ClusterOptions::default()).await?;
/// let node = log.node();
/// node.filled().await;
///
/// engine.recreate();
/// assert!(matches!(node.stopped().await, Stopped::Diverged(_)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Node(pub(crate) Arc<Shared>);

impl Node {
    /// How far the node has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.0.progress()
    }

    /// Completes when the node has applied what the engine had at the start.
    pub fn filled(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.0);
        async move { shared.filled().await }
    }

    /// Completes with the reason when the node has stopped to follow the engine.
    pub fn stopped(&self) -> impl Future<Output = Stopped> + Send + use<> {
        let shared = Arc::clone(&self.0);
        async move { shared.stopped().await }
    }
}
