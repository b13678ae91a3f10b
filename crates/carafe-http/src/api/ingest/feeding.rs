//! Which topics somebody feeds: those with open ingest requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_protocol::Topic;

/// The topics with open ingest requests. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Feeding(Arc<Mutex<HashMap<Topic, usize>>>);

/// The topics of one open ingest request, until it is dropped.
pub(crate) struct Fed {
    feeding: Feeding,
    topics: Vec<Topic>,
}

impl Feeding {
    /// Counts a request that feeds these topics.
    pub(crate) fn begin<'t>(&self, topics: impl Iterator<Item = &'t Topic>) -> Fed {
        let topics: Vec<_> = topics.cloned().collect();
        let mut counts = self.counts();
        topics.iter().for_each(|topic| *counts.entry(topic.clone()).or_default() += 1);
        drop(counts);
        Fed { feeding: self.clone(), topics }
    }

    /// Whether a request that feeds this topic is open.
    pub(crate) fn is_fed(&self, topic: &Topic) -> bool {
        self.counts().contains_key(topic)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Topic, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let mut counts = self.feeding.counts();
        for topic in &self.topics {
            if let Some(count) = counts.get_mut(topic) {
                *count -= 1;
                if *count == 0 {
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
        let first = feeding.begin([&a, &a, &b].into_iter());
        let second = feeding.begin([&a].into_iter());
        assert_eq!([&a, &b].map(|topic| feeding.is_fed(topic)), [true, true]);
        drop(first);
        assert_eq!([&a, &b].map(|topic| feeding.is_fed(topic)), [true, false]);
        drop(second);
        assert!(feeding.counts().is_empty(), "what nobody feeds is forgotten");
    }
}
