//! The name that an event is published to.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

/// The name that an event is published to, usually a path such as `orders/42`.
///
/// A topic has one to [`Topic::MAX_BYTES`] bytes of UTF-8. It has no control characters and no byte
/// order mark U+FEFF, which is invisible. It has no path segments `.` and `..`: URL parsers of
/// proxies and clients normalize them, so that `a/../b` would reach another topic.
///
/// ```
/// use carafe_protocol::Topic;
///
/// let topic = Topic::new("orders/42")?;
/// assert_eq!(topic.as_str(), "orders/42");
/// assert!(Topic::new("orders/../admin").is_err());
/// # Ok::<(), carafe_protocol::BadTopic>(())
/// ```
// `SmolStr` stores a short text inline. A hub holds millions of topics: separate allocations would
// cost memory and fragment the heap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(SmolStr);

/// The text is not a valid topic.
///
/// ```
/// use carafe_protocol::{BadTopic, Topic};
///
/// assert_eq!(Topic::new("a\nb"), Err(BadTopic::ControlCharacter));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTopic {
    /// The text is empty.
    #[error("the topic is empty: name one, such as `orders/42`")]
    Empty,
    /// The text is longer than [`Topic::MAX_BYTES`].
    #[error(
        "the topic has {0} bytes, more than the {max} allowed: use a shorter one",
        max = Topic::MAX_BYTES
    )]
    TooLong(usize),
    /// The text has a control character, such as a line break.
    #[error("the topic has a control character: use printable text")]
    ControlCharacter,
    /// The text has a byte order mark, U+FEFF. Some editors put it at the start of a file.
    #[error(
        "the topic has a byte order mark, U+FEFF, which is invisible: save the text as UTF-8 \
         without it"
    )]
    ByteOrderMark,
    /// The text has a segment that URL parsers normalize.
    #[error(
        "the topic has a segment `.` or `..`, which URL parsers normalize: leave such segments out"
    )]
    DotSegment,
}

impl Topic {
    /// The maximum length of a topic in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Checks that `text` is a topic.
    ///
    /// # Errors
    /// When the text is empty or too long, has a control character, a byte order mark or a dot
    /// segment.
    pub fn new(text: &str) -> Result<Self, BadTopic> {
        if text.contains(BYTE_ORDER_MARK) {
            return Err(BadTopic::ByteOrderMark);
        }
        Self::stored(text)
    }

    /// Checks a topic that a log has stored. It may have a byte order mark: earlier versions stored
    /// such topics, and their logs stay readable.
    ///
    /// # Errors
    /// When the text is empty or too long, has a control character or a dot segment.
    pub fn stored(text: &str) -> Result<Self, BadTopic> {
        if text.is_empty() {
            return Err(BadTopic::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(BadTopic::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(BadTopic::ControlCharacter);
        }
        // The URL standard also treats a backslash as a slash.
        if text.split(['/', '\\']).any(is_dot_segment) {
            return Err(BadTopic::DotSegment);
        }
        Ok(Self(text.into()))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the topic begins with `carafe/`. Such topics are the hub's own: no client publishes
    /// or subscribes to them.
    ///
    /// ```
    /// use carafe_protocol::Topic;
    ///
    /// assert!(Topic::new("carafe/revocations")?.is_reserved());
    /// assert!(!Topic::new("carafes")?.is_reserved());
    /// # Ok::<(), carafe_protocol::BadTopic>(())
    /// ```
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("carafe/")
    }
}

/// Invisible, but not a control character by its Unicode category.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The URL standard normalizes `.` and `..`, and treats `%2e` as a dot.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        // `get` returns nothing within a character, so a text of any script is safe.
        let escaped = rest.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2e"));
        match rest.strip_prefix('.').or(escaped.then(|| &rest[3..])) {
            Some(after) => rest = after,
            None => return false,
        }
        dots += 1;
    }
    // Three dots and more are an ordinary segment.
    dots == 1 || dots == 2
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Topic {
    type Err = BadTopic;

    fn from_str(text: &str) -> Result<Self, BadTopic> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Topic {
    type Error = BadTopic;

    fn try_from(text: &str) -> Result<Self, BadTopic> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), BadTopic>) {
        assert_eq!(Topic::new(text).map(|_| ()), expected, "{text:?}");
    }

    #[test]
    fn any_printable_text_is_a_topic() {
        for text in [
            "orders/42",
            "/orders",
            "a//b",
            "a b?c#d",
            "日本",
            "https://example.com/a",
            "...",
            "a..b",
            "%2e%2e%2e",
        ] {
            check(text, Ok(()));
        }
        check(&"x".repeat(Topic::MAX_BYTES), Ok(()));
    }

    #[test]
    fn a_text_that_is_no_topic_is_rejected_with_the_reason() {
        check("", Err(BadTopic::Empty));
        check(&"x".repeat(Topic::MAX_BYTES + 1), Err(BadTopic::TooLong(1025)));
        for text in ["a\nb", "a\0", "\u{1b}[31m", "\u{85}"] {
            check(text, Err(BadTopic::ControlCharacter));
        }
        for text in ["\u{feff}", "\u{feff}a", "a/\u{feff}b", "a\u{feff}"] {
            check(text, Err(BadTopic::ByteOrderMark));
        }
        for text in [".", "..", "a/../b", "a/./b", "a/%2E%2e/b", "a/.%2e", "a\\..\\b"] {
            check(text, Err(BadTopic::DotSegment));
        }
    }

    #[test]
    fn a_stored_topic_may_have_a_byte_order_mark_and_nothing_else_that_a_new_one_may_not() {
        assert_eq!(Topic::stored("\u{feff}a").unwrap().as_str(), "\u{feff}a");
        for text in ["", "a\nb", "a/../b", &"x".repeat(Topic::MAX_BYTES + 1)] {
            assert_eq!(Topic::stored(text), Topic::new(text), "{text:?}");
        }
    }
}
