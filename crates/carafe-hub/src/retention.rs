//! How long events of some topics are shown, within the time for which the log keeps them.

use std::time::Duration;

use carafe_log::{Clock, Entry};
use carafe_protocol::{Topic, TopicPattern};

use crate::report::is_end;

/// Shows events of some topics for a limited time.
///
/// ```
/// use std::time::Duration;
///
/// use carafe_hub::{HubLimits, Retention};
/// use carafe_protocol::TopicPattern;
///
/// let topics = TopicPattern::new("typing/*")?;
/// let rule = Retention::new(topics, Duration::from_secs(60));
/// let limits = HubLimits::default().with_retention(vec![rule]);
/// # drop(limits);
/// # Ok::<(), carafe_protocol::BadPattern>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retention {
    /// The topics.
    pub topics: TopicPattern,
    /// How long an event is shown after it was published.
    pub age: Duration,
}

impl Retention {
    /// Shows events of these topics for `age` after they were published.
    #[must_use]
    pub fn new(topics: TopicPattern, age: Duration) -> Self {
        Self { topics, age }
    }
}

/// All rules. For each topic, the first rule that matches applies.
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

    /// Whether the entry is no longer shown under any of its topics.
    pub(crate) fn has_expired(&self, entry: &Entry) -> bool {
        // Whoever comes late learns of an end as long as the log keeps it.
        if self.rules.is_empty() || is_end(entry) {
            return false;
        }
        // An entry of the future, after the clock was set back, has age zero: it is shown.
        let age = self.clock.now().duration_since(entry.time).unwrap_or_default();
        // Live entries are younger than every rule, so their topics are not matched.
        age > self.shortest && entry.publication.topics().all(|topic| self.age_of(topic) < age)
    }

    fn age_of(&self, topic: &Topic) -> Duration {
        let rule = self.rules.iter().find(|rule| rule.topics.matches(topic.as_str()));
        rule.map_or(Duration::MAX, |rule| rule.age)
    }
}
