//! A topic or a pattern: what a subscriber selects events by.

use std::fmt;
use std::str::FromStr;

use crate::{BadPattern, BadTopic, PatternSegment, Topic, TopicPattern};

/// Selects topics: one topic, or all topics that a pattern matches.
///
/// ```
/// use carafe_protocol::{Topic, TopicMatcher};
///
/// let matcher = TopicMatcher::try_from("orders/*")?;
/// assert!(matcher.matches(&Topic::new("orders/42")?));
/// assert!(!matcher.matches(&Topic::new("invoices/42")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicMatcher {
    /// Exactly this topic.
    Exact(Topic),
    /// Every topic that the pattern matches.
    Pattern(TopicPattern),
}

/// The text is neither a topic nor a pattern.
///
/// ```
/// use carafe_protocol::{BadMatcher, BadPattern, TopicMatcher};
///
/// let error = TopicMatcher::parse("orders/(").unwrap_err();
/// assert_eq!(error, BadMatcher::Pattern(BadPattern::Syntax));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMatcher {
    /// The text has no operator and is not a valid topic.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// The text has operators and is not a valid pattern.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
}

impl TopicMatcher {
    /// Parses a text that may be a topic or a pattern.
    ///
    /// The text is a URL Pattern if it has one of `* + ? ( ) { } \` or a `:` with a name after it.
    /// Otherwise it is an exact topic: `orders/42` and `https://example.com/a` are topics,
    /// `orders/:id` and `orders/*` are patterns. A backslash makes the next character a literal:
    /// `a\*b` is the topic `a*b`.
    ///
    /// # Errors
    /// When the text is empty or too long, has a control character, or has operators and is not a
    /// URL Pattern.
    pub fn parse(text: &str) -> Result<Self, BadMatcher> {
        if !has_operators(text) {
            return Ok(Topic::new(text)?.into());
        }
        let pattern = TopicPattern::new(text)?;
        // A pattern of literals is stored as a topic: it is found by hash, and needs no place in
        // the trie of patterns. The topic is checked again, because unescaping can make a dot
        // segment.
        match literal(&pattern) {
            Some(topic) => Ok(Topic::new(&topic)?.into()),
            None => Ok(pattern.into()),
        }
    }

    /// The matcher of all topics.
    #[must_use]
    pub fn any() -> Self {
        Self::Pattern(TopicPattern::any())
    }

    /// Whether the matcher selects this topic.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match self {
            Self::Exact(wanted) => wanted == topic,
            Self::Pattern(pattern) => pattern.matches(topic.as_str()),
        }
    }
}

fn has_operators(text: &str) -> bool {
    let named = |at: usize| {
        // A colon is one byte, so `at + 1` is a character boundary. `a:` and `https://` name
        // nothing.
        text[at + 1..].starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'))
    };
    text.contains(['*', '+', '?', '(', ')', '{', '}', '\\'])
        || text.match_indices(':').any(|(at, _)| named(at))
}

/// The only topic that the pattern matches, if backslashes are its only operators.
fn literal(pattern: &TopicPattern) -> Option<String> {
    let segments = pattern.segments()?.map(|segment| match segment {
        PatternSegment::Literal(text) => Some(text.into_owned()),
        PatternSegment::Name | PatternSegment::Any => None,
    });
    let topic = segments.collect::<Option<Vec<_>>>()?.join("/");
    // `segments` leaves a leading slash out, which is not significant in patterns. Topics keep it.
    Some(if pattern.as_str().starts_with('/') { format!("/{topic}") } else { topic })
}

impl From<Topic> for TopicMatcher {
    fn from(topic: Topic) -> Self {
        Self::Exact(topic)
    }
}

impl From<TopicPattern> for TopicMatcher {
    fn from(pattern: TopicPattern) -> Self {
        Self::Pattern(pattern)
    }
}

impl FromStr for TopicMatcher {
    type Err = BadMatcher;

    fn from_str(text: &str) -> Result<Self, BadMatcher> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for TopicMatcher {
    type Error = BadMatcher;

    fn try_from(text: &str) -> Result<Self, BadMatcher> {
        Self::parse(text)
    }
}

impl TryFrom<&String> for TopicMatcher {
    type Error = BadMatcher;

    fn try_from(text: &String) -> Result<Self, BadMatcher> {
        Self::parse(text)
    }
}

impl TryFrom<String> for TopicMatcher {
    type Error = BadMatcher;

    fn try_from(text: String) -> Result<Self, BadMatcher> {
        Self::parse(&text)
    }
}

impl fmt::Display for TopicMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(topic) => topic.fmt(f),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: impl Into<TopicMatcher>) {
        assert_eq!(TopicMatcher::parse(text), Ok(expected.into()), "{text}");
    }

    #[test]
    fn a_text_without_operators_is_that_topic() {
        for text in
            ["orders/42", "/orders", "https://example.com/a", "user:42", "a [b] | c", "a:", "a: b"]
        {
            check(text, Topic::new(text).unwrap());
        }
    }

    #[test]
    fn a_text_converts_as_it_is_parsed() {
        let text = String::from("orders/*");
        let expected = TopicMatcher::parse(&text);
        assert_eq!(TopicMatcher::try_from("orders/*"), expected);
        assert_eq!(TopicMatcher::try_from(&text), expected);
        assert_eq!(text.parse(), expected);
        assert_eq!(TopicMatcher::try_from(text), expected);
        assert_eq!(TopicMatcher::try_from(""), Err(BadTopic::Empty.into()));
    }

    #[test]
    fn a_text_with_operators_is_a_pattern() {
        for text in [
            "*",
            "orders/*",
            "orders/:id",
            "orders/(\\d+)",
            "a{/:b}?",
            "https://example.com/:id",
            "a\\*/*",
        ] {
            check(text, TopicPattern::new(text).unwrap());
        }
    }

    #[test]
    fn a_backslash_makes_a_literal() {
        check("a\\*b", Topic::new("a*b").unwrap());
        check("/users/a\\:b", Topic::new("/users/a:b").unwrap());
    }

    #[test]
    fn a_text_that_is_neither_is_rejected_with_the_reason() {
        assert_eq!(TopicMatcher::parse(""), Err(BadTopic::Empty.into()));
        assert_eq!(TopicMatcher::parse("a/../b"), Err(BadTopic::DotSegment.into()));
        assert_eq!(TopicMatcher::parse("a\n*"), Err(BadPattern::ControlCharacter.into()));
        assert_eq!(TopicMatcher::parse("orders/("), Err(BadPattern::Syntax.into()));
        assert_eq!(TopicMatcher::parse("a/\\../b"), Err(BadTopic::DotSegment.into()));
    }
}
