//! How long events of some topics are shown, within the time for which the log keeps them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use carafe_log::{Clock, Entry, Log};
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
    /// How long an event is shown after it was published, or after the end of its topic.
    pub age: Duration,
    /// Whether the age counts from the end of the topic. Events of a topic that has not ended, or
    /// was reopened, are shown as long as the log keeps them.
    pub after_end: bool,
}

impl Retention {
    /// Shows events of these topics for `age` after they were published.
    #[must_use]
    pub fn new(topics: TopicPattern, age: Duration) -> Self {
        Self { topics, age, after_end: false }
    }

    /// Sets whether the age counts from the end of the topic.
    #[must_use]
    pub fn with_after_end(mut self, after_end: bool) -> Self {
        self.after_end = after_end;
        self
    }
}

/// All rules. For each topic, the first rule that matches applies.
pub(crate) struct Retentions {
    rules: Vec<Retention>,
    log: Arc<dyn Log>,
    clock: Clock,
    shortest: Duration,
}

impl Retentions {
    pub(crate) fn new(rules: Vec<Retention>, log: Arc<dyn Log>) -> Self {
        let shortest = rules.iter().map(|rule| rule.age).min().unwrap_or(Duration::MAX);
        Self { rules, clock: log.clock(), log, shortest }
    }

    /// Whether the entry is no longer shown under any of its topics. May ask the log, so it is not
    /// to be called under the hub's lock.
    pub(crate) fn has_expired(&self, entry: &Entry) -> bool {
        self.is_old(entry, |topic, rule, now| {
            let since = match rule.after_end {
                true => self.log.topic_state(topic).end.map(|end| end.time),
                false => Some(entry.time),
            };
            since.is_some_and(|since| rule.age < age(now, since))
        })
    }

    /// Whether [`has_expired`](Self::has_expired) may be true. Does not ask the log.
    pub(crate) fn may_have_expired(&self, entry: &Entry) -> bool {
        // No end is older than the events before it.
        self.is_old(entry, |_, rule, now| rule.age < age(now, entry.time))
    }

    fn is_old(
        &self,
        entry: &Entry,
        under: impl Fn(&Topic, &Retention, SystemTime) -> bool,
    ) -> bool {
        // Whoever comes late learns of an end as long as the log keeps it.
        if self.rules.is_empty() || is_end(entry) {
            return false;
        }
        let now = self.clock.now();
        // Live entries are younger than every rule, so their topics are not matched.
        age(now, entry.time) > self.shortest
            && entry.publication.topics().all(|topic| {
                let rule = self.rules.iter().find(|rule| rule.topics.matches(topic.as_str()));
                rule.is_some_and(|rule| under(topic, rule, now))
            })
    }
}

/// A time of the future, after the clock was set back, has age zero: its entry is shown.
fn age(now: SystemTime, since: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or_default()
}
