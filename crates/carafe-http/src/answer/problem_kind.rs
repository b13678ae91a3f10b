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
    BadToken,
    BadTopic,
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
    TooManyMatchers,
    TooManyParameters,
    TooManyTopics,
    TooMuchWork,
    Unavailable,
    WrongMethod,
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

    #[rustfmt::skip]
    fn row(self) -> Row {
        use StatusCode as S;
        match self {
            Self::BadEventType => ("urn:carafe:problem:bad-event-type", "Bad event type", S::BAD_REQUEST),
            Self::BadHost => ("urn:carafe:problem:bad-host", "Bad host", S::BAD_REQUEST),
            Self::BadId => ("urn:carafe:problem:bad-id", "Bad idempotency key", S::BAD_REQUEST),
            Self::BadLine => ("urn:carafe:problem:bad-line", "Bad line in a batch", S::BAD_REQUEST),
            Self::BadParameter => ("urn:carafe:problem:bad-parameter", "Bad parameter", S::BAD_REQUEST),
            Self::BadPattern => ("urn:carafe:problem:bad-pattern", "Bad pattern", S::BAD_REQUEST),
            Self::BadToken => ("urn:carafe:problem:bad-token", "Bad token", S::UNAUTHORIZED),
            Self::BadTopic => ("urn:carafe:problem:bad-topic", "Bad topic", S::BAD_REQUEST),
            Self::BadUpdate => ("urn:carafe:problem:bad-update", "Bad update", S::BAD_REQUEST),
            Self::BadUtf8 => ("urn:carafe:problem:bad-utf-8", "Text is not UTF-8", S::BAD_REQUEST),
            Self::BodyBroken => ("urn:carafe:problem:body-broken", "Incomplete body", S::BAD_REQUEST),
            Self::BodyTimeout => ("urn:carafe:problem:body-timeout", "Body too slow", S::REQUEST_TIMEOUT),
            Self::ContentEncoding => ("urn:carafe:problem:content-encoding", "Compressed body", S::UNSUPPORTED_MEDIA_TYPE),
            Self::DiskFull => ("urn:carafe:problem:disk-full", "The disk is full", S::INSUFFICIENT_STORAGE),
            Self::Forbidden => ("urn:carafe:problem:forbidden", "Not allowed", S::FORBIDDEN),
            Self::ForeignOrigin => ("urn:carafe:problem:foreign-origin", "Origin not allowed", S::FORBIDDEN),
            Self::NoToken => ("urn:carafe:problem:no-token", "No token", S::UNAUTHORIZED),
            Self::NoTopic => ("urn:carafe:problem:no-topic", "No topic", S::UNSUPPORTED_MEDIA_TYPE),
            Self::NotFound => ("urn:carafe:problem:not-found", "Not found", S::NOT_FOUND),
            Self::NotLoopback => ("urn:carafe:problem:not-loopback", "Not from this machine", S::FORBIDDEN),
            Self::TooComplex => ("urn:carafe:problem:too-complex", "Too many complex patterns", S::BAD_REQUEST),
            Self::TooFast => ("urn:carafe:problem:too-fast", "Too fast", S::TOO_MANY_REQUESTS),
            Self::TooLarge => ("urn:carafe:problem:too-large", "Too large", S::PAYLOAD_TOO_LARGE),
            Self::TooManyMatchers => ("urn:carafe:problem:too-many-matchers", "Too many topics and patterns", S::BAD_REQUEST),
            Self::TooManyParameters => ("urn:carafe:problem:too-many-parameters", "Too many parameters", S::BAD_REQUEST),
            Self::TooManyTopics => ("urn:carafe:problem:too-many-topics", "Too many topics", S::BAD_REQUEST),
            Self::TooMuchWork => ("urn:carafe:problem:too-much-work", "Too much to search", S::BAD_REQUEST),
            Self::Unavailable => ("urn:carafe:problem:unavailable", "Not available now", S::SERVICE_UNAVAILABLE),
            Self::WrongMethod => ("urn:carafe:problem:wrong-method", "Method not allowed", S::METHOD_NOT_ALLOWED),
        }
    }
}
