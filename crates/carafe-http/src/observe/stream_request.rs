//! What a stream asked for, as its log lines and the console show it.
//!
//! A node may have a million idle streams, so a stream keeps a description of its request only
//! while its log lines are shown, at level debug, or if the hub has the console.

use std::fmt::Write;

use carafe_protocol::TopicMatcher;
use tracing::Level;

use crate::observe::audience::{Audience, Seat};

/// The most bytes of the topics, and of the subject: enough to recognise a stream in a log line.
const TOPICS: usize = 200;
const SUBJECT: usize = 100;

/// What a stream asked for, and whose token asked.
pub(crate) struct StreamRequest {
    /// The topics and patterns, cut off where they are long; `*` for all topics.
    topics: Box<str>,
    /// The subject of the token; empty without one.
    subject: Box<str>,
    /// Counts the stream for the console.
    _seat: Option<Seat>,
}

impl StreamRequest {
    /// Describes a request; `None` if nothing is logged at level debug, and there is no console.
    pub(crate) fn if_used(
        audience: Option<&Audience>,
        matchers: &[TopicMatcher],
        subject: Option<&str>,
    ) -> Option<Box<Self>> {
        let seat = audience.map(|audience| audience.join(matchers));
        let is_used = seat.is_some() || tracing::enabled!(Level::DEBUG);
        is_used.then(|| Box::new(Self::new(matchers, subject, seat)))
    }

    fn new(matchers: &[TopicMatcher], subject: Option<&str>, seat: Option<Seat>) -> Self {
        let subject = cut(subject.unwrap_or_default(), SUBJECT);
        Self { topics: describe(matchers).into(), subject: subject.into(), _seat: seat }
    }

    pub(crate) fn topics(&self) -> &str {
        &self.topics
    }

    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }
}

fn describe(matchers: &[TopicMatcher]) -> String {
    if matchers.is_empty() {
        return "*".into();
    }
    let mut text = String::new();
    for (at, matcher) in matchers.iter().enumerate() {
        if text.len() > TOPICS {
            break;
        }
        let comma = if at > 0 { ", " } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{matcher}");
    }
    match cut(&text, TOPICS) {
        whole if whole.len() == text.len() => text,
        part => format!("{part}…"),
    }
}

/// At most so many bytes, ending between two characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use carafe_protocol::Topic;

    use super::*;

    fn request(topics: &[&str], subject: Option<&str>) -> StreamRequest {
        let matchers: Vec<TopicMatcher> =
            topics.iter().map(|topic| Topic::new(topic).unwrap().into()).collect();
        StreamRequest::new(&matchers, subject, None)
    }

    #[test]
    fn a_request_is_not_kept_while_nothing_is_logged_at_level_debug() {
        let matchers = [Topic::new("a").unwrap().into()];
        assert!(StreamRequest::if_used(None, &matchers, Some("anna")).is_none());
    }

    #[test]
    fn a_request_has_a_bounded_description() {
        let all = request(&[], Some("anna"));
        assert_eq!((all.topics(), all.subject()), ("*", "anna"));
        assert_eq!(request(&["a", "b/c"], None).topics(), "a, b/c");
        let long = "é".repeat(300);
        let request = request(&[&long, &long, &long], Some(&long));
        assert!(request.topics().len() <= TOPICS + '…'.len_utf8(), "{}", request.topics());
        assert!(request.topics().ends_with('…') && request.subject().len() <= SUBJECT);
    }
}
