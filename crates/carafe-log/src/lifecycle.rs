//! Which topics have ended, and which producers were asked to stop. Both logs decide by it, in
//! their order.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use carafe_protocol::{Offset, Position, Topic};

use crate::{AppendError, Entry, Kind, Publication, TopicEnd, TopicState};

/// Whether an entry changes the life of its topics.
pub(crate) fn changes_life(publication: &Publication) -> bool {
    publication.reopens()
        || publication.renews()
        || matches!(publication.kind(), Kind::End(_) | Kind::Stop)
}

/// The state of a topic that has ended or was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Ended(TopicEnd),
    Stopped(Position, SystemTime),
}

impl Known {
    fn state(self) -> TopicState {
        match self {
            Self::Ended(end) => TopicState { end: Some(end), stop: None },
            Self::Stopped(position, _) => TopicState { end: None, stop: Some(position) },
        }
    }

    /// The position and the time of the entry that the state came from.
    fn origin(&self) -> (Position, SystemTime) {
        match self {
            Self::Ended(end) => (end.position, end.time),
            Self::Stopped(position, time) => (*position, *time),
        }
    }
}

/// What an entry does to the state of a topic.
#[derive(Clone, Copy)]
enum Change {
    Set(Known),
    /// A new life begins.
    Forget,
    /// The end does not count any more. A stop stays.
    ForgetEnd,
}

impl Change {
    fn of(self, known: Option<Known>) -> Option<Known> {
        match self {
            Self::Set(known) => Some(known),
            Self::Forget => None,
            Self::ForgetEnd => known.filter(|known| matches!(known, Known::Stopped(..))),
        }
    }
}

/// The ended and the stopped topics of a log.
#[derive(Default)]
pub(crate) struct Lifecycle {
    topics: HashMap<Topic, Known>,
    /// The offset and the topic of each end and stop, in order. Those of topics that have another
    /// state since stay here until they are about as many as the others.
    order: VecDeque<(Offset, Topic)>,
    /// Entries up to this offset were trimmed.
    start: Offset,
}

impl Lifecycle {
    /// The state of a topic as readers know it: by an entry that they can read.
    pub(crate) fn state(&self, topic: &Topic) -> TopicState {
        let known = self.known(topic).filter(|known| known.origin().0.offset > self.start);
        known.map(Known::state).unwrap_or_default()
    }

    fn known(&self, topic: &Topic) -> Option<Known> {
        self.topics.get(topic).copied()
    }

    /// The number of ended and stopped topics.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Applies the next entry. Its offset is larger than those of all entries before it.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        for_each_change(entry, |topic, change| self.change(topic, change));
    }

    fn change(&mut self, topic: &Topic, change: Change) {
        let before = self.known(topic);
        let Some(known) = change.of(before) else {
            self.topics.remove(topic);
            return;
        };
        if before == Some(known) {
            return;
        }
        self.topics.insert(topic.clone(), known);
        self.order.push_back((known.origin().0.offset, topic.clone()));
        if self.order.len() > 2 * self.topics.len() + 64 {
            let topics = &self.topics;
            self.order.retain(|(offset, topic)| is_of(topics, topic, *offset));
        }
    }

    /// Forgets the ends and stops up to an offset, whose entries were trimmed, except those that
    /// are newer than `decides_since`: they still decide over what is supplied.
    pub(crate) fn trim(&mut self, start: Offset, decides_since: Option<SystemTime>) {
        self.start = self.start.max(start);
        while let Some((offset, topic)) = self.order.front()
            && *offset <= start
        {
            let known = self.topics.get(topic).map(Known::origin);
            let decides = known.is_some_and(|(position, time)| {
                position.offset == *offset && decides_since.is_some_and(|since| time > since)
            });
            if decides {
                return;
            }
            let Some((offset, topic)) = self.order.pop_front() else { return };
            if is_of(&self.topics, &topic, offset) {
                self.topics.remove(&topic);
            }
        }
    }
}

/// Whether the state of a topic came from the entry with this offset.
fn is_of(topics: &HashMap<Topic, Known>, topic: &Topic, offset: Offset) -> bool {
    topics.get(topic).is_some_and(|known| known.origin().0.offset == offset)
}

/// Calls `change` with each topic whose state the entry changes.
fn for_each_change(entry: &Entry, mut change: impl FnMut(&Topic, Change)) {
    let (publication, position, time) = (&entry.publication, entry.position, entry.time);
    let known = match publication.kind() {
        // An erased event has reopened its topics all the same.
        Kind::Event | Kind::Removed(_) => {
            let of_all = match (publication.reopens(), publication.renews()) {
                (true, _) => Change::Forget,
                (false, true) => Change::ForgetEnd,
                (false, false) => return,
            };
            return publication.topics().for_each(|topic| change(topic, of_all));
        }
        Kind::End(outcome) => {
            let private = publication.is_private();
            Known::Ended(TopicEnd { outcome, position, time, private })
        }
        Kind::Stop => Known::Stopped(position, time),
        Kind::Erase(_) => return,
    };
    change(publication.topic(), Change::Set(known));
}

/// The changes of entries that are ordered and not stored yet.
#[derive(Default)]
pub(crate) struct Changes {
    topics: HashMap<Topic, Option<Known>>,
    /// By how many topics with a state there are more.
    growth: isize,
}

impl Changes {
    /// Adds the changes of entries that follow these.
    pub(crate) fn extend(&mut self, later: Self) {
        self.topics.extend(later.topics);
        self.growth += later.growth;
    }
}

/// What a decision depends on, beside the entries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// The maximum number of ended and stopped topics.
    pub(crate) ended_topics: Option<usize>,
    /// Ends and stops up to this time do not count.
    pub(crate) since: Option<SystemTime>,
}

impl Bounds {
    /// The bounds of what a log alone decides.
    pub(crate) fn of_own(ended_topics: usize) -> Self {
        Self { ended_topics: Some(ended_topics), since: None }
    }

    /// The bounds of a commit that several nodes decide over, of this time: what is as old as the
    /// key window is not there on each of them.
    pub(crate) fn of_commit(time: SystemTime, key_window: Duration) -> Self {
        Self { ended_topics: None, since: time.checked_sub(key_window) }
    }
}

/// Decides over the publications of one batch, one after the other: what is stored before them is
/// in `stored`, what comes before them in the same commit in `commit`.
pub(crate) struct Decisions<'a> {
    stored: &'a Lifecycle,
    commit: &'a Changes,
    batch: Changes,
    bounds: Bounds,
}

impl<'a> Decisions<'a> {
    pub(crate) fn new(stored: &'a Lifecycle, commit: &'a Changes, bounds: Bounds) -> Self {
        Self { stored, commit, batch: Changes::default(), bounds }
    }

    fn known(&self, topic: &Topic) -> Option<Known> {
        let changed = self.batch.topics.get(topic).or_else(|| self.commit.topics.get(topic));
        changed.copied().unwrap_or_else(|| self.stored.known(topic))
    }

    /// The state of a topic, if it is new enough to count.
    fn state(&self, topic: &Topic) -> TopicState {
        let known = self.known(topic).filter(|known| self.counts(known));
        known.map(Known::state).unwrap_or_default()
    }

    fn counts(&self, known: &Known) -> bool {
        self.bounds.since.is_none_or(|since| known.origin().1 > since)
    }

    /// Whether an event comes after an end that does not count any more.
    pub(crate) fn renews(&self, publication: &Publication) -> bool {
        let is_old = |known: Known| matches!(known, Known::Ended(_)) && !self.counts(&known);
        // Otherwise each end counts, and no topic has to be looked up.
        self.bounds.since.is_some()
            && publication.is_event()
            && !publication.reopens()
            && publication.topics().any(|topic| self.known(topic).is_some_and(is_old))
    }

    /// The position of the entry that the publication would repeat; `None` if it is to be stored.
    ///
    /// # Errors
    /// When a topic has ended, or the log remembers as many ended topics as it may.
    pub(crate) fn check(&self, publication: &Publication) -> Result<Option<Position>, AppendError> {
        let kind = publication.kind();
        let is_bound = match kind {
            Kind::Event => !publication.reopens(),
            Kind::End(_) | Kind::Stop => true,
            // What removes content from a topic is possible after its end, too.
            Kind::Erase(_) | Kind::Removed(_) => false,
        };
        if !is_bound {
            return Ok(None);
        }
        for topic in publication.topics() {
            match self.state(topic).end {
                Some(end) if kind == Kind::End(end.outcome) => return Ok(Some(end.position)),
                Some(end) => return Err(self.ended(topic, end)),
                None => {}
            }
        }
        if kind == Kind::Event {
            return Ok(None);
        }
        let stop = self.state(publication.topic()).stop;
        if kind == Kind::Stop && stop.is_some() {
            return Ok(stop);
        }
        let limit = self.bounds.ended_topics.filter(|limit| {
            let known = self.known(publication.topic());
            known.is_none() && self.ended_topics() >= *limit
        });
        limit.map_or(Ok(None), |limit| Err(AppendError::TooManyEnded { limit }))
    }

    fn ended_topics(&self) -> usize {
        self.stored.len().saturating_add_signed(self.commit.growth + self.batch.growth)
    }

    fn ended(&self, topic: &Topic, end: TopicEnd) -> AppendError {
        // The end of the same batch is refused with it, so nobody will find its position.
        let is_of_batch = self.batch.topics.contains_key(topic);
        let position = (!is_of_batch).then_some(end.position);
        AppendError::Ended { topic: topic.clone(), outcome: end.outcome, position }
    }

    /// Records an entry of the batch, which follows those before.
    pub(crate) fn record(&mut self, entry: &Entry) {
        for_each_change(entry, |topic, change| {
            let was = self.known(topic);
            let is = change.of(was);
            self.batch.growth += isize::from(is.is_some()) - isize::from(was.is_some());
            self.batch.topics.insert(topic.clone(), is);
        });
    }

    /// The changes of the batch.
    pub(crate) fn finish(self) -> Changes {
        self.batch
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use carafe_protocol::Generation;

    use super::*;
    use crate::Outcome;

    fn entry(offset: Offset, publication: Publication) -> Entry {
        let position = Position { generation: Generation::new(7), offset, nonce: 1 };
        Entry { position, time: UNIX_EPOCH, publication }
    }

    fn topic(number: u64) -> Topic {
        Topic::new(&format!("jobs/{number}")).unwrap()
    }

    fn end(number: u64) -> Publication {
        Publication::end(topic(number), Outcome::Done)
    }

    #[test]
    fn a_topic_that_ends_and_is_reopened_over_and_over_takes_the_memory_of_one() {
        let mut lifecycle = Lifecycle::default();
        for offset in (1..20_000).step_by(2) {
            lifecycle.apply(&entry(offset, end(1)));
            let event = Publication::new(topic(1), "").with_reopening(true);
            lifecycle.apply(&entry(offset + 1, event));
        }
        assert!(lifecycle.order.len() < 100, "{}", lifecycle.order.len());
        assert!(lifecycle.topics.is_empty());
    }

    #[test]
    fn nothing_is_left_of_what_was_trimmed() {
        let mut lifecycle = Lifecycle::default();
        (1..=1000).for_each(|offset| lifecycle.apply(&entry(offset, end(offset))));
        lifecycle.trim(400, None);
        assert_eq!((lifecycle.topics.len(), lifecycle.order.len()), (600, 600));
        let known =
            [400, 401].map(|number| lifecycle.state(&topic(number)) != TopicState::default());
        assert_eq!(known, [false, true]);
        lifecycle.trim(1000, None);
        assert_eq!((lifecycle.topics.len(), lifecycle.order.len()), (0, 0));
    }

    #[test]
    fn an_end_that_still_decides_outlives_its_entry_and_readers_do_not_know_it() {
        let mut lifecycle = Lifecycle::default();
        (1..=3).for_each(|offset| lifecycle.apply(&entry(offset, end(offset))));
        let (none, since) = (Changes::default(), UNIX_EPOCH - Duration::from_millis(1));
        lifecycle.trim(2, Some(since));
        assert_eq!(lifecycle.state(&topic(1)), TopicState::default());
        assert!(lifecycle.state(&topic(3)).end.is_some());
        let bounds = Bounds { since: Some(since), ..Bounds::default() };
        let decisions = Decisions::new(&lifecycle, &none, bounds);
        assert!(decisions.check(&Publication::new(topic(1), "")).is_err());
        assert_eq!(decisions.check(&end(2)).unwrap().unwrap().offset, 2);
        lifecycle.trim(2, Some(UNIX_EPOCH));
        assert_eq!((lifecycle.topics.len(), lifecycle.order.len()), (1, 1));
    }

    #[test]
    fn a_later_end_of_a_reopened_topic_outlives_the_first() {
        let mut lifecycle = Lifecycle::default();
        lifecycle.apply(&entry(1, end(1)));
        lifecycle.apply(&entry(2, Publication::new(topic(1), "").with_reopening(true)));
        lifecycle.apply(&entry(3, end(1)));
        lifecycle.trim(2, None);
        assert_eq!(lifecycle.state(&topic(1)).end.unwrap().position.offset, 3);
    }

    #[test]
    fn the_limit_counts_topics_of_the_log_the_commit_and_the_batch() {
        let mut lifecycle = Lifecycle::default();
        lifecycle.apply(&entry(1, end(1)));
        let (none, bounds) = (Changes::default(), Bounds::of_own(3));
        let mut decisions = Decisions::new(&lifecycle, &none, bounds);
        decisions.record(&entry(2, end(2)));
        let commit = decisions.finish();
        let mut decisions = Decisions::new(&lifecycle, &commit, bounds);
        assert_eq!(decisions.check(&end(3)), Ok(None));
        decisions.record(&entry(3, end(3)));
        assert_eq!(decisions.check(&end(4)), Err(AppendError::TooManyEnded { limit: 3 }));
        assert_eq!(decisions.check(&Publication::new(topic(4), "")), Ok(None), "events are free");
        assert_eq!(decisions.check(&end(2)).unwrap().unwrap().offset, 2, "it is known");
        decisions.record(&entry(4, Publication::new(topic(1), "").with_reopening(true)));
        assert_eq!(decisions.check(&end(4)), Ok(None), "a reopened topic makes room");
    }

    #[test]
    fn an_old_end_does_not_count_and_what_comes_after_it_forgets_it_and_no_stop() {
        let mut lifecycle = Lifecycle::default();
        lifecycle.apply(&entry(1, end(1)));
        lifecycle.apply(&entry(2, Publication::stop(topic(2))));
        let none = Changes::default();
        let of_both = Publication::new(topic(2), "").with_alternates([topic(1)]);
        let at = |since| {
            let bounds = Bounds { since: Some(since), ..Bounds::default() };
            let decisions = Decisions::new(&lifecycle, &none, bounds);
            (decisions.check(&of_both).is_ok(), decisions.renews(&of_both))
        };
        let moment = Duration::from_millis(1);
        assert_eq!(at(UNIX_EPOCH - moment), (false, false));
        assert_eq!(at(UNIX_EPOCH), (true, true));
        lifecycle.apply(&entry(3, of_both.with_renewal(true)));
        assert_eq!(lifecycle.state(&topic(1)), TopicState::default());
        assert_eq!(lifecycle.state(&topic(2)).stop.unwrap().offset, 2);
        assert_eq!(lifecycle.order.len(), 2, "nothing is noted twice");
    }
}
