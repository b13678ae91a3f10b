//! Whether a stream is over: it requests exact topics only, and all of them have ended.
//!
//! The log is asked, never the entries that a stream has passed: a topic that ended may have been
//! reopened behind them. Only a stream that has delivered an end asks.

use carafe_log::TopicEnd;
use carafe_protocol::{Position, Topic, TopicMatcher};

use crate::feeds::interest::Interest;
use crate::inner::HubInner;
use crate::subscription::subscribe::Subscribe;

impl HubInner {
    /// Whether everything that a subscription will ever receive is at or before this position,
    /// unless a topic is reopened. Not to be called under the hub's lock.
    pub(crate) fn is_over(&self, interest: &Interest, up_to: Position) -> bool {
        self.end_before(interest, up_to).is_some()
    }

    /// The last end of a subscription for which [`is_over`](Self::is_over) is true.
    pub(crate) fn end_before(&self, interest: &Interest, up_to: Position) -> Option<TopicEnd> {
        let topics = self.state().core.exact_topics(interest);
        let topics = topics.iter().flatten().map(Some);
        let ends = self.ends(topics, |topic| interest.covers_topic(topic))?;
        ends.last().copied().filter(|last| last.position.offset <= up_to.offset)
    }

    /// The ends of a request in order, if it requests exact topics only, and all of them have
    /// ended.
    pub(crate) fn ends_of(&self, request: &Subscribe) -> Option<Vec<TopicEnd>> {
        let topics = request.matchers.iter().map(|matcher| match matcher {
            TopicMatcher::Exact(topic) => Some(topic),
            TopicMatcher::Pattern(_) => None,
        });
        self.ends(topics, |topic| request.access.covers_topic(topic))
    }

    /// `None` also for no topics, and for a topic that is none.
    fn ends<'a>(
        &self,
        topics: impl Iterator<Item = Option<&'a Topic>>,
        sees_private: impl Fn(&Topic) -> bool,
    ) -> Option<Vec<TopicEnd>> {
        let end = |topic: Option<&Topic>| {
            let end = self.log.topic_state(topic?).end?;
            // Who may not see the end waits for events, as before.
            (!end.private || sees_private(topic?)).then_some(end)
        };
        let mut ends = topics.map(end).collect::<Option<Vec<_>>>()?;
        ends.sort_unstable_by_key(|end| end.position.offset);
        // A request may name a topic twice.
        ends.dedup_by_key(|end| end.position.offset);
        (!ends.is_empty()).then_some(ends)
    }
}
