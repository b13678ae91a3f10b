//! What a node reports about itself.

use std::time::Duration;

use carafe_log::AppendAtError;

use crate::place::Divergence;

/// How far a node has come, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Whether the tail of the engine arrives.
    pub link: Link,
    /// How long that has been so.
    pub link_age: Duration,
    /// Why the tail does not arrive, or is not stored.
    pub trouble: Option<String>,
    /// The sequence of the last commit that the node has applied.
    pub applied: u64,
    /// The sequence of the newest commit that the node has heard of.
    pub last: u64,
    /// What the node read, or reads, before it had what the engine had at the start. `None` until
    /// the engine has answered once.
    pub fill: Option<Fill>,
    /// Whether the node has applied what the engine had at the start.
    pub is_filled: bool,
    /// Whether the node has applied what the engine had when the tail began to arrive. Until then,
    /// it sends nothing that is published, and old events arrive as new ones.
    pub is_caught_up: bool,
    /// The number of idempotency keys of trimmed entries that the local log
    /// [remembers](crate::ClusterOptions::remembered_keys), when the node last compared itself with
    /// the engine.
    pub remembered_keys: usize,
    /// Why the node has stopped.
    pub stopped: Option<Stopped>,
    /// Counters since the start.
    pub counters: Counters,
}

impl Progress {
    /// The number of commits that the node knows of and has not applied.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use carafe_cluster::{ClusterLog, ClusterOptions, Engine, MemoryEngine};
    /// use carafe_log::{MemoryLimits, MemoryLog};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = MemoryEngine::new("events");
    /// let generation = engine.state().await?.identity.generation;
    /// let log = MemoryLog::with_generation(MemoryLimits::default(), generation);
    /// let log = ClusterLog::start(Arc::new(engine), log, ClusterOptions::default()).await?;
    /// log.node().filled().await;
    /// assert_eq!(log.node().progress().lag(), 0);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.last.saturating_sub(self.applied)
    }
}

/// Whether the tail of the engine arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It has not arrived since the start.
    Connecting,
    /// It arrives.
    Following,
    /// It has stopped to arrive.
    Away,
}

/// The commits that a node reads when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The sequence of the first one.
    pub from: u64,
    /// The sequence of the last one.
    pub to: u64,
}

/// Why a node has stopped to follow the engine. It has to be started again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// Its log is not a part of what the engine has. At the start, [`plan`](crate::plan) tells
    /// what has to be done.
    #[error(transparent)]
    Diverged(#[from] Divergence),
    /// Another node has published in a format that this one does not know.
    #[error(
        "the engine's message {sequence} is in format {format}, which this version does not know: \
         upgrade this node"
    )]
    Newer {
        /// The sequence of the message.
        sequence: u64,
        /// Its format.
        format: u32,
    },
    /// A task of the node has panicked, which is a defect of this program.
    #[error("the node has panicked: see the message before")]
    Panicked,
    /// The local log has failed.
    #[error("the log of this node has failed: {0}")]
    Failed(#[source] AppendAtError),
}

/// What a node has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Own commits that came back from the engine.
    pub commits: u64,
    /// Own batches that were answered by the order of the engine.
    pub batches: u64,
    /// Batches that were answered that the engine is away.
    pub unavailable: u64,
    /// Own commits that were sent again, since their outcome was unknown.
    pub resent: u64,
    /// Own commits whose outcome stayed unknown.
    pub given_up: u64,
    /// Own commits that the engine refused.
    pub refused: u64,
    /// Commits of all nodes that were applied.
    pub applied_commits: u64,
    /// Entries of these that were stored.
    pub applied_entries: u64,
    /// Messages that are no commits.
    pub skipped: u64,
    /// Commits that were stored [late](crate::LATE), and were skipped.
    pub late: u64,
    /// Messages that were removed from the engine before the node read them.
    pub missing: u64,
    /// Tails that were taken, the first one included.
    pub tails: u64,
    /// Appends that the local log refused, and that were tried again.
    pub retries: u64,
}
