//! The names of all limits.

/// A limit that somebody can meet. Each is counted by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    BatchBytes,
    BodyBytesInFlight,
    BodyTime,
    CatchUpBytes,
    ComplexPatterns,
    ComplexPatternsPerClient,
    Descriptors,
    DiskFull,
    DrainTime,
    EventBytes,
    FormFields,
    HeaderBytes,
    HeaderTime,
    HistoryBytes,
    Matchers,
    PublishRate,
    Subscribers,
    SubscribersPerAddress,
    TokenBytes,
    TopicBytes,
    Topics,
    WaitingBytes,
    WriteTime,
}

impl Limit {
    pub(crate) const ALL: [Self; 23] = [
        Self::BatchBytes,
        Self::BodyBytesInFlight,
        Self::BodyTime,
        Self::CatchUpBytes,
        Self::ComplexPatterns,
        Self::ComplexPatternsPerClient,
        Self::Descriptors,
        Self::DiskFull,
        Self::DrainTime,
        Self::EventBytes,
        Self::FormFields,
        Self::HeaderBytes,
        Self::HeaderTime,
        Self::HistoryBytes,
        Self::Matchers,
        Self::PublishRate,
        Self::Subscribers,
        Self::SubscribersPerAddress,
        Self::TokenBytes,
        Self::TopicBytes,
        Self::Topics,
        Self::WaitingBytes,
        Self::WriteTime,
    ];

    /// The name, which is the option's where there is one.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BatchBytes => "batch-bytes",
            Self::BodyBytesInFlight => "body-bytes-in-flight",
            Self::BodyTime => "body-time",
            Self::CatchUpBytes => "catch-up-bytes",
            Self::ComplexPatterns => "complex-patterns",
            Self::ComplexPatternsPerClient => "complex-patterns-per-client",
            Self::Descriptors => "descriptors",
            Self::DiskFull => "disk-full",
            Self::DrainTime => "drain-time",
            Self::EventBytes => "event-bytes",
            Self::FormFields => "form-fields",
            Self::HeaderBytes => "header-bytes",
            Self::HeaderTime => "header-time",
            Self::HistoryBytes => "history-bytes",
            Self::Matchers => "matchers",
            Self::PublishRate => "publish-rate",
            Self::Subscribers => "subscribers",
            Self::SubscribersPerAddress => "subscribers-per-address",
            Self::TokenBytes => "token-bytes",
            Self::TopicBytes => "topic-bytes",
            Self::Topics => "topics",
            Self::WaitingBytes => "waiting-bytes",
            Self::WriteTime => "write-time",
        }
    }
}
