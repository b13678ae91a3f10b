//! What streams asked for, kept once for all streams that asked for the same.
//!
//! A node may have a million idle streams. Where most of them ask for the same, a stream keeps one
//! pointer to its request, and the table has each request as long as a stream uses it. Where each
//! asks for something else, the table is full after [`REQUESTS`], and further streams keep nothing:
//! their log lines have no topics. The limit does not hold while debug lines are logged.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_protocol::TopicMatcher;
use tracing::Level;

/// The most requests in the table: some megabytes.
const REQUESTS: usize = 10_000;

/// The most bytes of the topics, and of the subject: enough to recognise a stream in a log line.
const TOPICS: usize = 200;
const SUBJECT: usize = 100;

/// What a stream asked for, and whose token asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamRequest {
    /// The topics and patterns, cut off where they are long; `*` for all topics.
    topics: Box<str>,
    /// The subject of the token; empty without one.
    subject: Box<str>,
}

impl StreamRequest {
    pub(crate) fn new(matchers: &[TopicMatcher], subject: Option<&str>) -> Self {
        let subject = cut(subject.unwrap_or_default(), SUBJECT);
        Self { topics: describe(matchers).into(), subject: subject.into() }
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

/// The requests of all open streams.
#[derive(Debug, Default)]
pub(crate) struct StreamRequests(Mutex<HashSet<Arc<StreamRequest>>>);

impl StreamRequests {
    /// The shared copy of a request; `None` if the table is full.
    pub(crate) fn share(&self, request: StreamRequest) -> Option<Arc<StreamRequest>> {
        let mut table = self.table();
        if let Some(known) = table.get(&request) {
            return Some(Arc::clone(known));
        }
        if table.len() >= REQUESTS && !tracing::enabled!(Level::DEBUG) {
            return None;
        }
        let shared = Arc::new(request);
        table.insert(Arc::clone(&shared));
        Some(shared)
    }

    /// Forgets the request if no other stream uses it. It is dropped under the lock: of two streams
    /// that end at once, the second sees that it is the last.
    pub(crate) fn release(&self, request: Arc<StreamRequest>) {
        let mut table = self.table();
        // One count is the table's, one this stream's.
        if Arc::strong_count(&request) <= 2 {
            table.remove(&*request);
        }
        drop(request);
    }

    fn table(&self) -> MutexGuard<'_, HashSet<Arc<StreamRequest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use carafe_protocol::Topic;

    use super::*;

    fn request(topics: &[&str], subject: Option<&str>) -> StreamRequest {
        let matchers: Vec<TopicMatcher> =
            topics.iter().map(|topic| Topic::new(topic).unwrap().into()).collect();
        StreamRequest::new(&matchers, subject)
    }

    #[test]
    fn streams_that_ask_for_the_same_share_one_copy_until_the_last_ends() {
        let requests = StreamRequests::default();
        let [one, same, other] =
            [&["a"], &["a"], &["b"]].map(|topics| requests.share(request(topics, None)).unwrap());
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        requests.release(one);
        requests.release(other);
        assert_eq!(requests.table().len(), 1);
        requests.release(same);
        assert!(requests.table().is_empty());
    }

    #[test]
    fn very_many_different_requests_take_no_more_memory() {
        let requests = StreamRequests::default();
        let share = |number: usize| requests.share(request(&[&number.to_string()], None));
        let kept: Vec<_> = (0..REQUESTS + 100).filter_map(share).collect();
        assert_eq!((kept.len(), requests.table().len()), (REQUESTS, REQUESTS));
        assert!(share(7).is_some(), "one that is kept is shared");
        kept.into_iter().for_each(|request| requests.release(request));
        assert!(share(REQUESTS).is_some());
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
