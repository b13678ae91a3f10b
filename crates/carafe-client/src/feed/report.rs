//! What the hub says of a request that feeds a topic.

use serde::Deserialize;

use crate::control::Stop;

/// The body of a response: of one that has ended in order, or a problem document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) stop: Option<Stop>,
    stored: u64,
    repeated: u64,
    pub(crate) last: Option<String>,
    pub(crate) detail: Option<String>,
}

impl Report {
    /// A body of a proxy says nothing.
    pub(crate) fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// How many events of the request are stored.
    pub(crate) fn events(&self) -> u64 {
        self.stored.saturating_add(self.repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_success_of_a_stop_and_of_a_problem_are_read() {
        let done = Report::of(br#"{"stored":2,"repeated":1,"last":"1-2-3"}"#);
        assert_eq!((done.events(), done.last.as_deref()), (3, Some("1-2-3")));
        let stop = br#"{"stop":{"topic":"a","reason":null,"position":"p"},"stored":0,"repeated":0,"last":null}"#;
        assert_eq!(Report::of(stop).stop.unwrap().position, "p");
        let problem =
            Report::of(br#"{"status":409,"detail":"it has ended","stored":1,"repeated":0}"#);
        assert_eq!((problem.events(), problem.detail.as_deref()), (1, Some("it has ended")));
        assert_eq!(Report::of(b"<html>").events(), 0);
    }
}
