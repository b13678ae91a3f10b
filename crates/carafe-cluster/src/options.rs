//! The options of a node.

use std::time::Duration;

/// How long a node waits for the engine, and what may wait.
///
/// ```
/// use carafe_cluster::ClusterOptions;
///
/// let options = ClusterOptions::default().with_waiting_bytes(1 << 20);
/// assert_eq!(options.answer_within.as_secs(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// The time after which a publisher is answered
    /// [`AppendError::Unavailable`](carafe_log::AppendError::Unavailable). 2 seconds by default.
    pub answer_within: Duration,
    /// The time after which a commit is given up whose outcome is unknown. Until then it is sent
    /// again, with the same ID. At most half of the time after which it is [late](crate::LATE),
    /// which is 10 seconds, and the default.
    pub give_up_after: Duration,
    /// The maximum number of bytes of events that wait for an answer; a further append fails with
    /// [`AppendError::Busy`](carafe_log::AppendError::Busy). 64 MiB by default.
    pub waiting_bytes: usize,
    /// The maximum number of erasures that the local log has not carried out; a further erasure
    /// that is published at this node fails with
    /// [`AppendError::TooManyErasures`](carafe_log::AppendError::TooManyErasures). Erasures of
    /// other nodes are applied all the same. 100,000 by default.
    pub erasures: usize,
    /// The maximum number of ended and stopped topics that the local log remembers; a further end
    /// or stop that is published at this node fails with
    /// [`AppendError::TooManyEnded`](carafe_log::AppendError::TooManyEnded). Those of other nodes
    /// are applied all the same. A million by default.
    pub ended_topics: usize,
    /// The maximum number of idempotency keys of trimmed entries that the local log remembers; a
    /// further key, or erasure, that is published at this node fails with
    /// [`AppendError::TooManyKeys`](carafe_log::AppendError::TooManyKeys). Those of other nodes are
    /// applied all the same. 5 million by default.
    pub remembered_keys: usize,
    /// For how long the engine has to lack what this node has read, before the node stops. A server
    /// that has lost its lead without noticing it may say so for some seconds. 15 seconds by
    /// default.
    pub believe_after: Duration,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(2),
            give_up_after: Duration::from_secs(10),
            waiting_bytes: 64 << 20,
            erasures: 100_000,
            ended_topics: 1_000_000,
            remembered_keys: 5_000_000,
            believe_after: Duration::from_secs(15),
        }
    }
}

impl ClusterOptions {
    /// Sets [`answer_within`](Self::answer_within).
    #[must_use]
    pub fn with_answer_within(mut self, time: Duration) -> Self {
        self.answer_within = time;
        self
    }

    /// Sets [`give_up_after`](Self::give_up_after).
    #[must_use]
    pub fn with_give_up_after(mut self, time: Duration) -> Self {
        self.give_up_after = time;
        self
    }

    /// Sets [`waiting_bytes`](Self::waiting_bytes).
    #[must_use]
    pub fn with_waiting_bytes(mut self, bytes: usize) -> Self {
        self.waiting_bytes = bytes;
        self
    }

    /// Sets [`erasures`](Self::erasures).
    #[must_use]
    pub fn with_erasures(mut self, erasures: usize) -> Self {
        self.erasures = erasures;
        self
    }

    /// Sets [`ended_topics`](Self::ended_topics).
    #[must_use]
    pub fn with_ended_topics(mut self, topics: usize) -> Self {
        self.ended_topics = topics;
        self
    }

    /// Sets [`remembered_keys`](Self::remembered_keys).
    #[must_use]
    pub fn with_remembered_keys(mut self, keys: usize) -> Self {
        self.remembered_keys = keys;
        self
    }

    /// Sets [`believe_after`](Self::believe_after).
    #[must_use]
    pub fn with_believe_after(mut self, time: Duration) -> Self {
        self.believe_after = time;
        self
    }
}
