//! The name an event is published to.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

/// The name an event is published to, usually a path such as `orders/42`.
///
/// One to [`Topic::MAX_BYTES`] bytes of UTF-8, without control characters, without the byte order
/// mark U+FEFF, which is invisible, and without the path segments `.` and `..`, which URL parsers
/// on the way would fold (`a/../b` would reach another topic).
// A short one takes no memory of its own: of very many, that would be much, and lie between what is
// given back.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(SmolStr);

/// Why a text cannot be a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTopic {
    /// There is no text.
    #[error("the topic is empty: name one, such as `orders/42`")]
    Empty,
    /// It is longer than [`Topic::MAX_BYTES`].
    #[error("the topic has {0} bytes, more than the {max} allowed: use a shorter one", max = Topic::MAX_BYTES)]
    TooLong(usize),
    /// It has a control character, a line break included.
    #[error("the topic has a control character: use printable text")]
    ControlCharacter,
    /// It has a byte order mark, U+FEFF, which editors put at the start of a file.
    #[error(
        "the topic has a byte order mark, U+FEFF, which nobody sees: save the text as UTF-8 without it"
    )]
    ByteOrderMark,
    /// It has a segment that URL parsers fold away.
    #[error("the topic has a segment `.` or `..`, which URL parsers fold: leave such segments out")]
    DotSegment,
}

impl Topic {
    /// The most bytes a topic may have.
    pub const MAX_BYTES: usize = 1024;

    /// Takes `text` as a topic.
    ///
    /// # Errors
    /// When it is empty, too long, has a control character, a byte order mark or a dot segment.
    pub fn new(text: &str) -> Result<Self, BadTopic> {
        if text.contains(BYTE_ORDER_MARK) {
            return Err(BadTopic::ByteOrderMark);
        }
        Self::stored(text)
    }

    /// Takes the topic of an event that a log has stored. It may have a byte order mark: the
    /// versions before that is refused have stored such topics, and their logs stay readable.
    ///
    /// # Errors
    /// When it is empty, too long, has a control character or a dot segment.
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
}

/// Invisible, and no control character to Unicode.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The URL standard folds `.` and `..`, and takes `%2e` for a dot.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        let escaped = rest.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2e"));
        match rest.strip_prefix('.').or(escaped.then(|| &rest[3..])) {
            Some(after) => rest = after,
            None => return false,
        }
        dots += 1;
    }
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
    fn what_cannot_be_a_topic_is_refused_with_its_reason() {
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
