//! How long events of some topics are shown, within what the log keeps.

use std::time::Duration;

use carafe_log::{Clock, Entry};
use carafe_protocol::{Topic, TopicPattern};

/// Events of these topics are shown for so long at most.
#[derive(Clone, Debug)]
pub struct Retention {
    /// The topics.
    pub topics: TopicPattern,
    /// How long after it was published an event is shown.
    pub age: Duration,
}

/// All rules. For each topic, the first that matches counts.
pub(crate) struct Retentions {
    rules: Vec<Retention>,
    clock: Clock,
    shortest: Duration,
}

impl Retentions {
    pub(crate) fn new(rules: Vec<Retention>, clock: Clock) -> Self {
        let shortest = rules.iter().map(|rule| rule.age).min().unwrap_or(Duration::MAX);
        Self { rules, clock, shortest }
    }

    /// Whether the entry is not shown any more: under none of its topics.
    pub(crate) fn is_over(&self, entry: &Entry) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let age = self.clock.now().duration_since(entry.time).unwrap_or_default();
        // What is live is decided here, without a look at its topics.
        age > self.shortest && entry.publication.topics().all(|topic| self.age_of(topic) < age)
    }

    fn age_of(&self, topic: &Topic) -> Duration {
        let rule = self.rules.iter().find(|rule| rule.topics.matches(topic.as_str()));
        rule.map_or(Duration::MAX, |rule| rule.age)
    }
}
