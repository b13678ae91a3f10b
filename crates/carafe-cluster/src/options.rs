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
    /// For how long the engine has to lack what this node has read, before the node stops. A server
    /// that has lost its lead without noticing it may say so for some seconds. 15 seconds by
    /// default.
    pub believe_after: Duration,
    /// The time for which all nodes remember idempotency keys and ends. With it, the node
    /// [tells](crate::Progress::forgets_keys) if its log keeps less.
    pub key_window: Option<Duration>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(2),
            give_up_after: Duration::from_secs(10),
            waiting_bytes: 64 << 20,
            erasures: 100_000,
            ended_topics: 1_000_000,
            believe_after: Duration::from_secs(15),
            key_window: None,
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

    /// Sets [`believe_after`](Self::believe_after).
    #[must_use]
    pub fn with_believe_after(mut self, time: Duration) -> Self {
        self.believe_after = time;
        self
    }

    /// Sets [`key_window`](Self::key_window).
    #[must_use]
    pub fn with_key_window(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.key_window = window.into();
        self
    }
}
