//! Which topics somebody feeds: those with open ingest requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_protocol::Topic;

/// The topics with open ingest requests. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Feeding(Arc<Mutex<HashMap<Topic, Requests>>>);

/// Open requests for a topic.
#[derive(Clone, Copy, Default)]
struct Requests {
    public: usize,
    /// Of which all events are private: who may not see these must not learn of the requests.
    private: usize,
}

impl Requests {
    fn of(&mut self, private: bool) -> &mut usize {
        if private { &mut self.private } else { &mut self.public }
    }
}

/// The topics of one open ingest request, until it is dropped.
pub(crate) struct Fed {
    feeding: Feeding,
    topics: Vec<Topic>,
    private: bool,
}

impl Feeding {
    /// Counts a request that feeds these topics.
    pub(crate) fn begin<'t>(&self, topics: impl Iterator<Item = &'t Topic>, private: bool) -> Fed {
        let topics: Vec<_> = topics.cloned().collect();
        let mut counts = self.counts();
        for topic in &topics {
            *counts.entry(topic.clone()).or_default().of(private) += 1;
        }
        drop(counts);
        Fed { feeding: self.clone(), topics, private }
    }

    /// Whether a request that feeds this topic is open, as far as somebody may know who
    /// `sees_private` events of the topic.
    pub(crate) fn is_fed(&self, topic: &Topic, sees_private: bool) -> bool {
        let requests = self.counts().get(topic).copied().unwrap_or_default();
        requests.public > 0 || (sees_private && requests.private > 0)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Topic, Requests>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let mut counts = self.feeding.counts();
        for topic in &self.topics {
            if let Some(count) = counts.get_mut(topic) {
                *count.of(self.private) -= 1;
                if count.public + count.private == 0 {
                    counts.remove(topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_fed_while_one_of_its_requests_is_open() {
        let (feeding, a, b) =
            (Feeding::default(), Topic::new("a").unwrap(), Topic::new("b").unwrap());
        let first = feeding.begin([&a, &a, &b].into_iter(), false);
        let second = feeding.begin([&a].into_iter(), true);
        assert_eq!([&a, &b].map(|topic| feeding.is_fed(topic, true)), [true, true]);
        drop(first);
        assert_eq!([&a, &b].map(|topic| feeding.is_fed(topic, true)), [true, false]);
        assert!(!feeding.is_fed(&a, false), "all its events are private");
        drop(second);
        assert!(feeding.counts().is_empty(), "what nobody feeds is forgotten");
    }
}
