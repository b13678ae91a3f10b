//! All kinds of problem documents: their URN, title and status in one table.

use http::StatusCode;

/// The kind of a problem document (RFC 9457). A program tells kinds apart by their URN; the title
/// and the usual status follow from the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    BadEventType,
    BadHost,
    BadId,
    BadLine,
    BadParameter,
    BadPattern,
    #[cfg(feature = "auth")]
    BadToken,
    BadTopic,
    #[cfg(feature = "mercure")]
    BadUpdate,
    BadUtf8,
    BodyBroken,
    BodyTimeout,
    ContentEncoding,
    DiskFull,
    Forbidden,
    ForeignOrigin,
    NoToken,
    NoTopic,
    NotFound,
    NotLoopback,
    TooComplex,
    TooFast,
    TooLarge,
    TooManyLatest,
    TooManyMatchers,
    #[cfg(feature = "mercure")]
    TooManyParameters,
    TooManyTopics,
    TooMuchWork,
    TopicEnded,
    Unavailable,
    WrongMethod,
}

/// A URN by its last part, which is the name of the kind in the metrics.
macro_rules! urn {
    ($name:literal) => {
        concat!("urn:carafe:problem:", $name)
    };
}

/// URN, title and status of a kind.
type Row = (&'static str, &'static str, StatusCode);

impl ProblemKind {
    /// The name of the kind for programs.
    pub(crate) fn urn(self) -> &'static str {
        self.row().0
    }

    /// The name of the kind for people.
    pub(crate) fn title(self) -> &'static str {
        self.row().1
    }

    /// The status of most answers of this kind.
    pub(crate) fn status(self) -> StatusCode {
        self.row().2
    }

    fn row(self) -> Row {
        use StatusCode as S;
        match self {
            Self::BadEventType => (urn!("bad-event-type"), "Bad event type", S::BAD_REQUEST),
            Self::BadHost => (urn!("bad-host"), "Bad host", S::BAD_REQUEST),
            Self::BadId => (urn!("bad-id"), "Bad idempotency key", S::BAD_REQUEST),
            Self::BadLine => (urn!("bad-line"), "Bad line in a batch", S::BAD_REQUEST),
            Self::BadParameter => (urn!("bad-parameter"), "Bad parameter", S::BAD_REQUEST),
            Self::BadPattern => (urn!("bad-pattern"), "Bad pattern", S::BAD_REQUEST),
            #[cfg(feature = "auth")]
            Self::BadToken => (urn!("bad-token"), "Bad token", S::UNAUTHORIZED),
            Self::BadTopic => (urn!("bad-topic"), "Bad topic", S::BAD_REQUEST),
            #[cfg(feature = "mercure")]
            Self::BadUpdate => (urn!("bad-update"), "Bad update", S::BAD_REQUEST),
            Self::BadUtf8 => (urn!("bad-utf-8"), "Text is not UTF-8", S::BAD_REQUEST),
            Self::BodyBroken => (urn!("body-broken"), "Incomplete body", S::BAD_REQUEST),
            Self::BodyTimeout => (urn!("body-timeout"), "Body too slow", S::REQUEST_TIMEOUT),
            Self::ContentEncoding => {
                (urn!("content-encoding"), "Compressed body", S::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::DiskFull => (urn!("disk-full"), "The disk is full", S::INSUFFICIENT_STORAGE),
            Self::Forbidden => (urn!("forbidden"), "Not allowed", S::FORBIDDEN),
            Self::ForeignOrigin => (urn!("foreign-origin"), "Origin not allowed", S::FORBIDDEN),
            Self::NoToken => (urn!("no-token"), "No token", S::UNAUTHORIZED),
            Self::NoTopic => (urn!("no-topic"), "No topic", S::UNSUPPORTED_MEDIA_TYPE),
            Self::NotFound => (urn!("not-found"), "Not found", S::NOT_FOUND),
            Self::NotLoopback => (urn!("not-loopback"), "Not from this machine", S::FORBIDDEN),
            Self::TooComplex => (urn!("too-complex"), "Too many complex patterns", S::BAD_REQUEST),
            Self::TooFast => (urn!("too-fast"), "Too fast", S::TOO_MANY_REQUESTS),
            Self::TooLarge => (urn!("too-large"), "Too large", S::PAYLOAD_TOO_LARGE),
            Self::TooManyLatest => {
                (urn!("too-many-latest"), "Too many topics for a snapshot", S::BAD_REQUEST)
            }
            Self::TooManyMatchers => {
                (urn!("too-many-matchers"), "Too many topics and patterns", S::BAD_REQUEST)
            }
            #[cfg(feature = "mercure")]
            Self::TooManyParameters => {
                (urn!("too-many-parameters"), "Too many parameters", S::BAD_REQUEST)
            }
            Self::TooManyTopics => (urn!("too-many-topics"), "Too many topics", S::BAD_REQUEST),
            Self::TooMuchWork => (urn!("too-much-work"), "Too much to search", S::BAD_REQUEST),
            Self::TopicEnded => (urn!("topic-ended"), "The topic has ended", S::CONFLICT),
            Self::Unavailable => (urn!("unavailable"), "Not available now", S::SERVICE_UNAVAILABLE),
            Self::WrongMethod => {
                (urn!("wrong-method"), "Method not allowed", S::METHOD_NOT_ALLOWED)
            }
        }
    }
}
