//! The events of a feed that are not known to be stored.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;

use crate::feed::event::FeedEvent;
use crate::publish::Publish;
use crate::random;

/// Bytes of an event in memory, beside its texts.
const BESIDE: usize = 128;

/// The most bytes that are sent at once.
const CHUNK: usize = 64 << 10;

/// Events in their order: first those that were sent in the present request, then the others.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    events: VecDeque<Kept>,
    weight: usize,
    limit: usize,
    sent: usize,
    /// The weight of what was sent since the hub was asked what it has.
    unchecked: usize,
    /// How many events of the present request are known to be stored and were dropped.
    released: u64,
    /// All events that are known to be stored, and the key of the last one.
    stored: u64,
    last_stored: Option<String>,
    /// Makes the keys of this feed different from those of others.
    prefix: String,
    number: u64,
}

/// The newest event of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// It is one that was kept.
    Stored,
    /// Nothing new is stored.
    Known,
    /// Somebody else has published it.
    Foreign,
}

#[derive(Debug)]
struct Kept {
    key: String,
    data: String,
    event_type: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
}

impl Kept {
    fn weight(&self) -> usize {
        BESIDE + self.key.len() + self.data.len() + self.event_type.as_ref().map_or(0, String::len)
    }
}

impl Backlog {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, prefix: random::unique(), ..Self::default() }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// An event that is larger than the limit is kept alone.
    pub(crate) fn has_room(&self) -> bool {
        self.events.is_empty() || self.weight < self.limit
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.events.len()
    }

    /// Whether something was sent that is not known to be stored.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent > 0
    }

    /// Whether it is time to ask what is stored, before the backlog is full.
    pub(crate) fn needs_check(&self) -> bool {
        self.sent > 0 && self.unchecked >= self.limit / 4
    }

    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    pub(crate) fn push(&mut self, event: FeedEvent) {
        let FeedEvent { data, event_type, key } = event;
        let key = key.unwrap_or_else(|| {
            self.number += 1;
            format!("{}-{}", self.prefix, self.number)
        });
        let kept = Kept { key, data, event_type };
        self.weight += kept.weight();
        self.events.push_back(kept);
    }

    /// The lines of the next events. They count as sent.
    pub(crate) fn next_chunk(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::new();
        while let Some(event) = self.events.get(self.sent)
            && chunk.len() < CHUNK
        {
            let event_type = event.event_type.as_deref();
            let line = Line { id: &event.key, data: &event.data, event: event_type };
            serde_json::to_writer(&mut chunk, &line).expect("an object of texts is always JSON");
            chunk.push(b'\n');
            self.unchecked += event.weight();
            self.sent += 1;
        }
        (!chunk.is_empty()).then(|| chunk.into())
    }

    /// The hub was asked what it has.
    pub(crate) fn checked(&mut self) {
        self.unchecked = 0;
    }

    /// Another request begins: all that is kept is sent again.
    pub(crate) fn begin_request(&mut self) {
        (self.sent, self.unchecked, self.released) = (0, 0, 0);
    }

    /// The newest event of the topic has this key. If it is one of the feed, all events up to it
    /// are stored.
    pub(crate) fn release_to(&mut self, key: Option<&str>) -> Newest {
        match self.events.iter().position(|event| Some(&*event.key) == key) {
            Some(at) => {
                self.release(at + 1);
                Newest::Stored
            }
            None if self.last_stored.as_deref() == key => Newest::Known,
            None => Newest::Foreign,
        }
    }

    /// The first events of the present request are stored, so many in all.
    pub(crate) fn release_of_request(&mut self, stored: u64) {
        let more = stored.saturating_sub(self.released);
        self.release(usize::try_from(more).unwrap_or(usize::MAX).min(self.sent));
    }

    /// The first events are stored.
    pub(crate) fn release(&mut self, count: usize) {
        for event in self.events.drain(..count) {
            self.weight -= event.weight();
            self.last_stored = Some(event.key);
        }
        self.sent = self.sent.saturating_sub(count);
        self.released += count as u64;
        self.stored += count as u64;
    }

    /// The first events as a batch for this topic.
    pub(crate) fn first(&self, count: usize, topic: &str) -> Vec<Publish> {
        let events = self.events.iter().take(count);
        let publish = events.map(|event| {
            let publish = Publish::to(topic, &*event.data).with_key(&*event.key);
            match &event.event_type {
                Some(event_type) => publish.with_type(&**event_type),
                None => publish,
            }
        });
        publish.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(data: &[&str]) -> Backlog {
        let mut backlog = Backlog::new(1000);
        data.iter().for_each(|data| backlog.push(FeedEvent::new(*data).with_key(*data)));
        backlog
    }

    fn sent(backlog: &mut Backlog) -> String {
        let chunk = backlog.next_chunk().unwrap_or_default();
        String::from_utf8(chunk.to_vec()).unwrap()
    }

    #[test]
    fn events_are_lines_with_keys_of_their_own() {
        let mut backlog = Backlog::new(1000);
        backlog.push(FeedEvent::new("a\nb").with_type("t"));
        backlog.push("c".into());
        let lines = sent(&mut backlog);
        let keys: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["id"].as_str().unwrap().into())
            .collect();
        assert_ne!(keys[0], keys[1]);
        let expected = format!(
            "{{\"id\":\"{}\",\"data\":\"a\\nb\",\"event\":\"t\"}}\n{{\"id\":\"{}\",\"data\":\"c\"}}\n",
            keys[0], keys[1]
        );
        assert_eq!(lines, expected);
        assert_eq!(sent(&mut backlog), "");
    }

    #[test]
    fn what_is_not_stored_is_sent_again_in_the_next_request() {
        let mut backlog = backlog(&["1", "2", "3"]);
        let all = sent(&mut backlog);
        assert_eq!(backlog.release_to(None), Newest::Known, "there is nothing yet");
        assert_eq!(backlog.release_to(Some("1")), Newest::Stored);
        assert_eq!(backlog.release_to(Some("1")), Newest::Known, "it is no longer kept");
        assert_eq!(backlog.release_to(Some("9")), Newest::Foreign);
        assert_eq!(backlog.release_to(None), Newest::Foreign, "one without a key");
        backlog.begin_request();
        assert!(all.ends_with(&sent(&mut backlog)));
        assert_eq!((backlog.stored(), backlog.has_unsent()), (1, false));
    }

    #[test]
    fn the_count_of_a_response_includes_what_was_released_before() {
        let mut backlog = backlog(&["1", "2", "3"]);
        sent(&mut backlog);
        backlog.release_to(Some("1"));
        backlog.push(FeedEvent::new("4").with_key("4"));
        backlog.release_of_request(2);
        assert_eq!(backlog.first(9, "t").len(), 2);
        backlog.release_of_request(100);
        assert_eq!(backlog.first(9, "t"), [Publish::to("t", "4").with_key("4")], "it was not sent");
        assert_eq!(backlog.stored(), 3);
    }

    #[test]
    fn the_backlog_is_full_at_its_limit_and_is_checked_before() {
        let mut backlog = Backlog::new(1000);
        let (mut checks, mut pushed) = (0, 0);
        while backlog.has_room() {
            backlog.push("x".into());
            pushed += 1;
            sent(&mut backlog);
            if backlog.needs_check() {
                backlog.checked();
                checks += 1;
            }
        }
        assert!((4..8).contains(&pushed), "{pushed}");
        assert!((2..5).contains(&checks), "{checks}");
        backlog.release_of_request(100);
        assert!(backlog.has_room() && backlog.is_empty());
    }
}
