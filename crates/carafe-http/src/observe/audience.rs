//! How many open streams request a topic. Only a hub with the console keeps this: it takes memory
//! for each stream.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_protocol::{Topic, TopicMatcher};

/// What the open streams request. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Audience(Arc<Mutex<HashMap<Requested, usize>>>);

/// What a stream requests; nothing stands for all topics. Streams that request the same share it.
pub(crate) type Requested = Arc<[TopicMatcher]>;

/// A stream among those that are counted, until it is dropped.
pub(crate) struct Seat {
    audience: Audience,
    requested: Requested,
}

impl Audience {
    /// Counts a stream.
    pub(crate) fn join(&self, matchers: &[TopicMatcher]) -> Seat {
        let mut open = self.open();
        let requested = match open.get_key_value(matchers) {
            Some((known, _)) => Arc::clone(known),
            None => matchers.into(),
        };
        *open.entry(Arc::clone(&requested)).or_default() += 1;
        Seat { audience: self.clone(), requested }
    }

    /// What is requested now, each with the number of its streams. Matching takes time, so it is
    /// done without the lock.
    pub(crate) fn snapshot(&self) -> Vec<(Requested, usize)> {
        self.open().iter().map(|(requested, streams)| (Arc::clone(requested), *streams)).collect()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Requested, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of streams that request a topic.
pub(crate) fn streams_of(topic: &Topic, snapshot: &[(Requested, usize)]) -> usize {
    let requests = |requested: &Requested| {
        requested.is_empty() || requested.iter().any(|matcher| matcher.matches(topic))
    };
    snapshot.iter().filter(|(it, _)| requests(it)).map(|(_, streams)| streams).sum()
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.audience.open();
        let Some(streams) = open.get_mut(&self.requested) else { return };
        *streams -= 1;
        if *streams == 0 {
            open.remove(&self.requested);
        }
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audience").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matchers(texts: &[&str]) -> Vec<TopicMatcher> {
        texts.iter().map(|text| TopicMatcher::parse(text).unwrap()).collect()
    }

    #[track_caller]
    fn check(audience: &Audience, topic: &str, streams: usize) {
        let topic = Topic::new(topic).unwrap();
        assert_eq!(streams_of(&topic, &audience.snapshot()), streams, "{topic}");
    }

    #[test]
    fn a_stream_counts_once_for_each_topic_that_it_requests_until_it_ends() {
        let audience = Audience::default();
        let both = audience.join(&matchers(&["orders/1", "orders/*"]));
        let same = audience.join(&matchers(&["orders/1", "orders/*"]));
        let all = audience.join(&[]);
        check(&audience, "orders/1", 3);
        check(&audience, "orders/2", 3);
        check(&audience, "news", 1);
        drop((both, all));
        check(&audience, "orders/1", 1);
        check(&audience, "news", 0);
        drop(same);
        assert!(audience.snapshot().is_empty(), "what nobody requests is forgotten");
    }
}
