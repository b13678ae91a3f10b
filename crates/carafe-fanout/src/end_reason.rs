//! Why a stream ended: one enum for every delivery path, for observers, metrics and the log.

use std::io::{self, ErrorKind};

/// Why a stream ended.
///
/// ```
/// use std::io::{Error, ErrorKind};
/// use carafe_fanout::EndReason;
///
/// assert_eq!(EndReason::by(&Error::from(ErrorKind::BrokenPipe)), EndReason::Left);
/// assert_eq!(EndReason::by(&Error::from(ErrorKind::TimedOut)), EndReason::Stalled);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The stream was sent completely: the hub drained, or the subscriber's token expired.
    Completed,
    /// The subscriber's rights were revoked.
    Revoked,
    /// The log could not be read.
    Failed,
    /// The client closed the connection.
    Left,
    /// The client made no write progress within the write timeout.
    Stalled,
    /// The client sent more than it may while its stream is open.
    Exceeded,
    /// The shard or the connection that served the stream ended first.
    Cut,
}

impl EndReason {
    /// The reason of a stream whose socket has failed with this error.
    ///
    /// The kernel enforces the write timeout too (`TCP_USER_TIMEOUT`), and may report it first.
    /// After ICMP errors it reports these in place of the timeout: they end an established
    /// connection in no other way.
    #[must_use]
    pub fn by(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Self::Stalled
            }
            _ => Self::Left,
        }
    }

    /// The name of the reason in metrics and log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "ended",
            Self::Revoked => "revoked",
            Self::Failed => "failed",
            Self::Left => "left",
            Self::Stalled => "stalled",
            Self::Exceeded => "exceeded",
            Self::Cut => "cut",
        }
    }
}
