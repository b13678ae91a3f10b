//! What is published while the log is measured.

use carafe_log::Publication;
use carafe_protocol::Topic;

use crate::outcome::Outcome;

/// Bytes of an event's data, where nothing else is said.
pub(crate) const DATA: usize = 200;

/// Topics of equal length, each with a number.
pub(crate) fn topics(count: usize) -> Outcome<Vec<Topic>> {
    (0..count).map(|number| Ok(Topic::new(&format!("orders/{number:06}"))?)).collect()
}

/// An event with so many bytes of data.
pub(crate) fn publication(topic: &Topic, bytes: usize) -> Publication {
    Publication::new(topic.clone(), "x".repeat(bytes))
}
