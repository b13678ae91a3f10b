//! Topics in requests of a publisher, and what a hub says of one.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::header::HeaderMap;

/// How a topic ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is complete.
    Done,
    /// Its producer has failed.
    Failed,
    /// Its producer was asked to stop, or has stopped by itself.
    Cancelled,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The state of a topic: where a producer that comes back goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicState {
    /// The position of the hub: a stream that begins there misses nothing that follows.
    pub position: Option<String>,
    /// The position of the newest event of the topic.
    pub last_position: Option<String>,
    /// The idempotency key of the newest event of the topic.
    pub last_key: Option<String>,
    /// The position of the request to stop, if there is one.
    pub stop: Option<String>,
}

impl TopicState {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name)?.to_str().ok();
        Self {
            position: text("carafe-position").map(String::from),
            last_position: text("carafe-last-position").map(String::from),
            last_key: text("carafe-last-key").map(key),
            stop: text("carafe-stop").map(String::from),
        }
    }
}

/// What is encoded in a part of a path: all but what RFC 3986 calls unreserved.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &PART.remove(b'/');

/// The path of a topic below `/events`. Slashes stay, unless the URL parser would take a part
/// between them for a step up.
pub(crate) fn path(topic: &str) -> String {
    let is_step = |part: &str| matches!(part, "" | "." | "..");
    let encoded = if topic.split('/').any(is_step) { PART } else { PATH };
    format!("/{}", utf8_percent_encode(topic, encoded))
}

/// A key as the hub writes it into a header.
fn key(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_paths() {
        for (topic, expected) in [
            ("orders/42", "/orders/42"),
            ("a b?#%", "/a%20b%3F%23%25"),
            ("caf\u{e9}", "/caf%C3%A9"),
            ("a/../b", "/a%2F..%2Fb"),
            ("a//b", "/a%2F%2Fb"),
        ] {
            assert_eq!(path(topic), expected);
            let url = format!("http://h/events{expected}");
            assert_eq!(reqwest::Url::parse(&url).unwrap().as_str(), url);
        }
    }

    #[test]
    fn keys_are_percent_decoded() {
        for (text, expected) in
            [("a-1", "a-1"), ("a%20b%25", "a b%"), ("%C3%A9", "\u{e9}"), ("%", "%"), ("%zz", "%zz")]
        {
            assert_eq!(key(text), expected);
        }
    }
}
