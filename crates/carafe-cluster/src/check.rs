//! What the options of a node require of an engine, and what is found.

use std::fmt;
use std::time::Duration;

use carafe_log::BoxFuture;

use crate::{Engine, EngineError};

/// The least time for which an engine has to recognize a message that is sent again: three times
/// as long as a node sends a commit with an unknown outcome. What is stored after a longer time is
/// [late](crate::LATE), and nobody applies it.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(30);

/// An engine that can be set up and checked.
pub trait Setup: Engine {
    /// Creates what the engine stores commits in, with the settings that a cluster needs. What is
    /// already there is never changed.
    fn create(&self, requirements: Requirements) -> BoxFuture<'_, Result<Created, EngineError>>;

    /// Compares the settings of the engine with what the nodes require. One finding for each
    /// setting, also for those that are right.
    fn check(&self, requirements: Requirements)
    -> BoxFuture<'_, Result<Vec<Finding>, EngineError>>;
}

/// What [`Setup::create`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It has created what was missing.
    New,
    /// Nothing: it was there.
    Existed,
}

/// The options of a node that an engine has to fit. They should be the same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// The maximum size of an event in bytes (`--event-bytes`).
    pub event_bytes: usize,
    /// How long a node keeps an entry (`--history-age`). `None`: without a limit.
    pub history_age: Option<Duration>,
    /// How much history a node keeps (`--history-bytes`). `None`: without a limit.
    pub history_bytes: Option<u64>,
    /// How long an idempotency key is known (`--key-window`).
    pub key_window: Duration,
}

/// One setting of an engine, compared with what the nodes require.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What follows from it.
    pub severity: Severity,
    /// The name of the setting.
    pub setting: &'static str,
    /// What it is, and what to change.
    pub text: String,
}

/// What follows from a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing: it is right.
    Right,
    /// The cluster works, but does not promise all that it could.
    Warning,
    /// The cluster would lose events, or its nodes would disagree: a node does not start.
    Refusal,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Right => "ok",
            Severity::Warning => "warning",
            Severity::Refusal => "refused",
        };
        write!(f, "{severity}: {}: {}", self.setting, self.text)
    }
}

impl Finding {
    /// The setting is right.
    pub fn right(setting: &'static str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Right, setting, text: text.into() }
    }

    /// The setting works, and another would be better.
    pub fn warning(setting: &'static str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, setting, text: text.into() }
    }

    /// The setting must not be used.
    ///
    /// ```
    /// use carafe_cluster::Finding;
    ///
    /// let finding = Finding::refusal("storage", "the stream is in memory: create it with `file`");
    /// let shown = "refused: storage: the stream is in memory: create it with `file`";
    /// assert_eq!(finding.to_string(), shown);
    /// ```
    pub fn refusal(setting: &'static str, text: impl Into<String>) -> Self {
        Self { severity: Severity::Refusal, setting, text: text.into() }
    }
}
