//! The names of all limits.

/// A limit that a client or the system can meet. Each is counted by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    BatchBytes,
    BodyBytesInFlight,
    BodyTimeout,
    CatchUpBytes,
    Cluster,
    ClusterRefused,
    ComplexPatterns,
    ComplexPatternsPerClient,
    ConnectionsPerAddress,
    Descriptors,
    DiskFull,
    DrainTimeout,
    EndedTopics,
    Erasures,
    EventBytes,
    FormFields,
    HeaderBytes,
    HeaderTimeout,
    HistoryBytes,
    Http2Frames,
    IdleConnections,
    LatestEvents,
    Matchers,
    PatternTests,
    PublishRate,
    ReceivedBytes,
    RememberedKeys,
    Revocations,
    SnapshotBytes,
    Subscribers,
    SubscribersPerAddress,
    TokenBytes,
    TopicBytes,
    Topics,
    WaitingBytes,
    WriteTimeout,
}

impl Limit {
    pub(crate) const ALL: [Self; 36] = [
        Self::BatchBytes,
        Self::BodyBytesInFlight,
        Self::BodyTimeout,
        Self::CatchUpBytes,
        Self::Cluster,
        Self::ClusterRefused,
        Self::ComplexPatterns,
        Self::ComplexPatternsPerClient,
        Self::ConnectionsPerAddress,
        Self::Descriptors,
        Self::DiskFull,
        Self::DrainTimeout,
        Self::EndedTopics,
        Self::Erasures,
        Self::EventBytes,
        Self::FormFields,
        Self::HeaderBytes,
        Self::HeaderTimeout,
        Self::HistoryBytes,
        Self::Http2Frames,
        Self::IdleConnections,
        Self::LatestEvents,
        Self::Matchers,
        Self::PatternTests,
        Self::PublishRate,
        Self::ReceivedBytes,
        Self::RememberedKeys,
        Self::Revocations,
        Self::SnapshotBytes,
        Self::Subscribers,
        Self::SubscribersPerAddress,
        Self::TokenBytes,
        Self::TopicBytes,
        Self::Topics,
        Self::WaitingBytes,
        Self::WriteTimeout,
    ];

    /// The option that sets it. The detail of a problem ends with "or raise --" and its name.
    pub(crate) fn option(self) -> Option<&'static str> {
        match self {
            Self::Cluster
            | Self::ClusterRefused
            | Self::Descriptors
            | Self::DiskFull
            | Self::FormFields
            | Self::Http2Frames
            | Self::IdleConnections
            | Self::ReceivedBytes
            | Self::TokenBytes
            | Self::TopicBytes
            | Self::Topics => None,
            _ => Some(self.name()),
        }
    }

    /// The name: that of the option, if there is one.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BatchBytes => "batch-bytes",
            Self::BodyBytesInFlight => "body-bytes-in-flight",
            Self::BodyTimeout => "body-timeout",
            Self::CatchUpBytes => "catch-up-bytes",
            Self::Cluster => "cluster",
            Self::ClusterRefused => "cluster-refused",
            Self::ComplexPatterns => "complex-patterns",
            Self::ComplexPatternsPerClient => "complex-patterns-per-client",
            Self::ConnectionsPerAddress => "connections-per-address",
            Self::Descriptors => "descriptors",
            Self::DiskFull => "disk-full",
            Self::DrainTimeout => "drain-timeout",
            Self::EndedTopics => "ended-topics",
            Self::Erasures => "erasures",
            Self::EventBytes => "event-bytes",
            Self::FormFields => "form-fields",
            Self::HeaderBytes => "header-bytes",
            Self::HeaderTimeout => "header-timeout",
            Self::HistoryBytes => "history-bytes",
            Self::Http2Frames => "http2-frames",
            Self::IdleConnections => "idle-connections",
            Self::LatestEvents => "latest-events",
            Self::Matchers => "matchers",
            Self::PatternTests => "pattern-tests",
            Self::PublishRate => "publish-rate",
            Self::ReceivedBytes => "received-bytes",
            Self::RememberedKeys => "remembered-keys",
            Self::Revocations => "revocations",
            Self::SnapshotBytes => "snapshot-bytes",
            Self::Subscribers => "subscribers",
            Self::SubscribersPerAddress => "subscribers-per-address",
            Self::TokenBytes => "token-bytes",
            Self::TopicBytes => "topic-bytes",
            Self::Topics => "topics",
            Self::WaitingBytes => "waiting-bytes",
            Self::WriteTimeout => "write-timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::problem::Problem;

    #[test]
    fn a_refusal_names_the_option_that_sets_its_limit() {
        for limit in Limit::ALL {
            let problem = Problem::try_again("send less").over(limit);
            let option = limit.option().map(|option| format!(", or raise --{option}"));
            assert_eq!(problem.detail(), format!("send less{}", option.unwrap_or_default()));
        }
    }
}
