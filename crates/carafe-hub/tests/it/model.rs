//! What a hub has to deliver, according to a `Vec` of everything that was published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use carafe_hub::{Format, Gap, GapReason, PublishError, Start, SubscribeError};
use carafe_log::{AppendError, Appended, Entry, Find, Kind, Publication, Span};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};

use crate::listener::{EventFields, Item};

pub(crate) struct Model {
    first: Position,
    /// Another node may still deliver what lies beyond the tail.
    supplied: bool,
    /// Every entry that was published.
    all: Vec<Entry>,
}

/// The events that a subscriber requests.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) matchers: Vec<TopicMatcher>,
    /// Whether public events of all topics are seen.
    pub(crate) public: bool,
    /// The topics of which all events are seen.
    pub(crate) granted: Vec<TopicMatcher>,
}

impl Model {
    pub(crate) fn new(first: Position, supplied: bool) -> Self {
        Self { first, supplied, all: Vec::new() }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        assert!(entry.offset() > self.tail().offset);
        self.all.push(entry);
    }

    pub(crate) fn tail(&self) -> Position {
        self.all.last().map_or(self.first, |entry| entry.position)
    }

    /// Every position that a subscriber may have received.
    pub(crate) fn positions(&self) -> Vec<Position> {
        std::iter::once(self.first).chain(self.all.iter().map(|entry| entry.position)).collect()
    }

    fn find(&self, span: Span, asked: Position) -> Find {
        match asked {
            _ if asked.generation != self.first.generation => Find::Foreign,
            _ if asked.offset > self.tail().offset && self.supplied => Find::Ahead,
            _ if asked.offset > self.tail().offset => Find::Lost { common: self.tail() },
            _ if asked.offset < span.start.offset => Find::Trimmed,
            _ if self.positions().contains(&asked) => Find::Found,
            _ => Find::Foreign,
        }
    }

    fn before_last(&self, span: Span, count: usize, wish: &Wish) -> Position {
        let kept = |at: &usize| {
            self.all[*at].offset() > span.start.offset
                && wish.sees(&self.all[*at].publication)
                && self.all[*at].publication.kind() == Kind::Event
        };
        let Some(back) = count.checked_sub(1) else {
            return self.tail();
        };
        let at = (0..self.all.len()).rev().filter(kept).nth(back);
        // In the list of positions, the one before an entry has the entry's own number.
        at.map_or(span.start, |at| self.positions()[at])
    }

    /// The answer to a batch. `None` if it was refused, because a topic has ended.
    pub(crate) fn appended(
        &self,
        span: Span,
        batch: &[Publication],
        answer: Result<Vec<Appended>, PublishError>,
    ) -> Option<Vec<Appended>> {
        match answer {
            Ok(appended) => Some(appended),
            Err(PublishError::Append(AppendError::Ended { topic, position, .. })) => {
                let of_batch = |publication: &Publication| {
                    matches!(publication.kind(), Kind::End(_)) && *publication.topic() == topic
                };
                match position {
                    Some(position) => {
                        let kept = self.all.iter().filter(|e| e.offset() > span.start.offset);
                        let end = end_of(kept.rev(), &topic);
                        assert_eq!(end.map(|end| end.position), Some(position));
                    }
                    None => assert!(batch.iter().any(of_batch)),
                }
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether all topics have ended, as far as the subscriber may know.
    pub(crate) fn is_over(&self, span: Span, wish: &Wish) -> bool {
        !self.ends(span, wish).is_empty()
    }

    /// Whether all topics had ended when this was the newest position.
    pub(crate) fn was_over(&self, wish: &Wish, at: Position) -> bool {
        let known = self.all.partition_point(|entry| entry.offset() <= at.offset);
        !ends(&self.all[..known], wish).is_empty()
    }

    fn ends(&self, span: Span, wish: &Wish) -> Vec<&Entry> {
        let from = self.all.partition_point(|entry| entry.offset() <= span.start.offset);
        ends(&self.all[from..], wish)
    }

    /// The position before an entry.
    fn before(&self, entry: &Entry) -> Position {
        let at = self.all.iter().position(|one| one.position == entry.position).unwrap();
        self.positions()[at]
    }

    /// The newest events of each topic, in order.
    fn latest(&self, span: Span, count: usize, wish: &Wish) -> Vec<&Entry> {
        let kept = self.all.iter().filter(|entry| {
            entry.offset() > span.start.offset
                && wish.sees(&entry.publication)
                && entry.publication.kind() == Kind::Event
        });
        let kept: Vec<_> = kept.collect();
        let mut found = BTreeMap::new();
        for topic in kept.iter().flat_map(|entry| entry.publication.topics()) {
            let has_it = |entry: &&&Entry| entry.publication.topics().any(|one| one == topic);
            if wish.matchers.iter().any(|matcher| matcher.matches(topic)) {
                let newest = kept.iter().rev().filter(has_it).take(count);
                found.extend(newest.map(|entry| (entry.offset(), *entry)));
            }
        }
        found.into_values().collect()
    }

    fn next_after(&self, offset: Offset, wish: &Wish) -> Option<&Entry> {
        let from = self.all.partition_point(|entry| entry.offset() <= offset);
        self.all[from..].iter().find(|entry| wish.sees(&entry.publication))
    }
}

impl Wish {
    /// Whether the publication has one of the requested topics.
    pub(crate) fn matches(&self, publication: &Publication) -> bool {
        among(publication, &self.matchers)
    }

    fn sees(&self, publication: &Publication) -> bool {
        let granted = among(publication, &self.granted);
        self.matches(publication) && (granted || (self.public && !publication.is_private()))
    }

    /// Whether several topics are requested, and no patterns.
    fn has_several_topics(&self) -> bool {
        let topics: BTreeSet<_> = self.matchers.iter().map(ToString::to_string).collect();
        let is_topic = |matcher: &TopicMatcher| matches!(matcher, TopicMatcher::Exact(_));
        topics.len() > 1 && self.matchers.iter().all(is_topic)
    }

    /// The topics that an envelope names.
    fn named(&self, publication: &Publication) -> Vec<String> {
        let is_in = |matchers: &[TopicMatcher], topic: &Topic| {
            matchers.iter().any(|matcher| matcher.matches(topic))
        };
        let all = (self.public && !publication.is_private())
            || self.granted.contains(&TopicMatcher::any());
        let granted: Vec<_> =
            publication.topics().filter(|topic| all || is_in(&self.granted, topic)).collect();
        let asked: Vec<_> =
            granted.iter().copied().filter(|topic| all || is_in(&self.matchers, topic)).collect();
        let named = if asked.is_empty() { granted } else { asked };
        named.into_iter().map(Topic::to_string).collect()
    }

    /// Why the request has to be rejected, if so.
    pub(crate) fn refusal(&self) -> Option<SubscribeError> {
        self.matchers.iter().find_map(|matcher| match matcher {
            _ if self.public => None,
            TopicMatcher::Exact(topic)
                if !self.granted.iter().any(|granted| granted.matches(topic)) =>
            {
                Some(SubscribeError::NotGranted(topic.clone()))
            }
            TopicMatcher::Pattern(_) if self.granted.is_empty() => {
                Some(SubscribeError::NothingGranted)
            }
            _ => None,
        })
    }
}

/// The ends of a subscriber's topics in order, if all have ended with these entries.
fn ends<'a>(entries: &'a [Entry], wish: &Wish) -> Vec<&'a Entry> {
    let end = |matcher: &TopicMatcher| match matcher {
        TopicMatcher::Exact(topic) => {
            end_of(entries.iter().rev(), topic).filter(|end| wish.sees(&end.publication))
        }
        TopicMatcher::Pattern(_) => None,
    };
    let ends: Option<Vec<_>> = wish.matchers.iter().map(end).collect();
    let mut ends = ends.unwrap_or_default();
    ends.sort_by_key(|end| end.offset());
    ends
}

/// The end of a topic, if it has ended with these entries, of which the newest comes first.
fn end_of<'a>(mut entries: impl Iterator<Item = &'a Entry>, topic: &Topic) -> Option<&'a Entry> {
    let of_life = |entry: &&Entry| {
        let publication = &entry.publication;
        match publication.kind() {
            Kind::Event => publication.reopens() && publication.topics().any(|of| of == topic),
            _ => publication.topic() == topic,
        }
    };
    entries.find(of_life).filter(|entry| matches!(entry.publication.kind(), Kind::End(_)))
}

fn among(publication: &Publication, matchers: &[TopicMatcher]) -> bool {
    publication.topics().any(|topic| matchers.iter().any(|matcher| matcher.matches(topic)))
}

/// What one subscriber has received, and has to receive next.
pub(crate) struct Account {
    wish: Wish,
    format: Option<Format>,
    /// What it has to receive before any event.
    opening: VecDeque<Item>,
    /// The last position that it received. Everything it still has to receive comes after.
    seen: Position,
    /// It resumed after a position that no entry has yet.
    ahead: bool,
    /// Heartbeats for which it has waited for that.
    heartbeats: usize,
    /// The position of the hub when the subscriber last had everything.
    caught_up_at: Option<Position>,
    /// The position up to which it had everything by waiting, however long ago it was polled.
    waited_to: Offset,
    ids: Vec<Position>,
}

impl Account {
    pub(crate) fn open(
        model: &Model,
        span: Span,
        wish: Wish,
        format: Option<Format>,
        start: &Start,
    ) -> Self {
        let mut account = Self {
            wish,
            format,
            opening: VecDeque::new(),
            seen: span.start,
            ahead: false,
            heartbeats: 0,
            caught_up_at: None,
            waited_to: 0,
            ids: Vec::new(),
        };
        // Who does not say that it has the ends of its topics begins right before the first.
        let or_end = |position: Position, wish: &Wish| {
            let ends = model.ends(span, wish);
            let is_over = ends.last().is_some_and(|end| end.offset() <= position.offset);
            if is_over { model.before(ends[0]) } else { position }
        };
        match start {
            Start::Tail => {
                let position = or_end(model.tail(), &account.wish);
                account.at(position)
            }
            Start::Earliest => account.at(span.start),
            Start::Latest => account.with_snapshot(model, span, 1),
            Start::Last(count) if account.wish.has_several_topics() => {
                account.with_snapshot(model, span, *count)
            }
            Start::Last(count) => {
                let position = model.before_last(span, *count, &account.wish);
                let position = or_end(position, &account.wish);
                account.at(position)
            }
            Start::After(position) => account.at_found(model, span, *position),
            Start::AfterId(id) => match id.parse() {
                Ok(position) => account.at_found(model, span, position),
                Err(_) => {
                    let mut gap = gap(span, id.clone(), GapReason::Foreign);
                    gap.resume_after = or_end(model.tail(), &account.wish);
                    let position = gap.resume_after;
                    account.opening.push_back(Item::Gap(gap));
                    account.at(position)
                }
            },
            start => panic!("the model does not know {start:?}"),
        }
    }

    fn at(mut self, position: Position) -> Self {
        self.seen = position;
        self.opening.push_back(Item::Position(position));
        self
    }

    /// A snapshot, with the ends if all topics have ended, and then the position.
    fn with_snapshot(mut self, model: &Model, span: Span, count: usize) -> Self {
        let mut entries = model.latest(span, count, &self.wish);
        entries.extend(model.ends(span, &self.wish));
        entries.sort_by_key(|entry| entry.offset());
        let events: Vec<_> =
            entries.into_iter().map(|entry| Item::Event(self.fields(entry))).collect();
        self.opening.extend(events);
        self.opening.push_back(Item::Position(model.tail()));
        self
    }

    fn at_found(mut self, model: &Model, span: Span, position: Position) -> Self {
        match model.find(span, position) {
            Find::Trimmed => self.beyond_gap(span, position.to_string(), GapReason::Trimmed),
            Find::Foreign => self.beyond_gap(span, position.to_string(), GapReason::Foreign),
            Find::Lost { common } => {
                let gap = Gap::new(position.to_string(), GapReason::Lost, common);
                self.opening.push_back(Item::Gap(gap.with_oldest(span.oldest)));
                self.at(common)
            }
            found @ (Find::Found | Find::Ahead) => {
                self.ahead = found == Find::Ahead;
                self.at(position)
            }
        }
    }

    fn beyond_gap(mut self, span: Span, requested: String, reason: GapReason) -> Self {
        self.opening.push_back(Item::Gap(gap(span, requested, reason)));
        self.at(span.start)
    }

    pub(crate) fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Every ID after which the subscriber could resume, the latest last.
    pub(crate) fn ids(&self) -> &[Position] {
        &self.ids
    }

    /// The subscriber receives what the model says, next and in full.
    pub(crate) fn receive(&mut self, model: &Model, span: Span, items: &Item) {
        self.caught_up_at = None;
        let mut expected = self.opening.pop_front();
        // An event of a snapshot that was trimmed before it was read is left out.
        while expected.as_ref().is_some_and(|it| it != items && is_trimmed(it, span)) {
            expected = self.opening.pop_front();
        }
        match (expected, items) {
            (Some(expected), items) => assert_eq!(*items, expected),
            (None, Item::Gap(gap)) => self.check_gap(model, span, gap),
            (None, Item::Event(said)) => self.check_event(model, said),
            (None, Item::Position(_)) => {
                panic!("the position is sent once, and then when it is requested")
            }
        }
        self.see(items);
    }

    fn see(&mut self, items: &Item) {
        self.seen = items.position();
        self.ids.push(self.seen);
    }

    fn check_event(&self, model: &Model, said: &EventFields) {
        assert!(!self.ahead, "what it has seen is not known yet");
        let next = model.next_after(self.seen.offset, &self.wish);
        let expected = next.map(|entry| self.fields(entry));
        assert_eq!(Some(said), expected.as_ref(), "after {}", self.seen);
    }

    /// What it receives of an event.
    fn fields(&self, entry: &Entry) -> EventFields {
        let named = |_| self.wish.named(&entry.publication);
        let said = EventFields::of(entry, self.format);
        EventFields {
            topics: if self.format.is_some() { said.topics.map(named) } else { said.topics },
            ..said
        }
    }

    fn check_gap(&mut self, model: &Model, span: Span, gap_sent: &Gap) {
        let requested: Position = gap_sent.requested.parse().unwrap();
        if std::mem::take(&mut self.ahead) {
            assert_eq!(requested, self.seen);
            if gap_sent.reason == GapReason::Lost {
                return self.check_lost(model, gap_sent);
            }
            let trimmed = model.find(span, requested) == Find::Trimmed;
            let reason = if trimmed { GapReason::Trimmed } else { GapReason::Foreign };
            return assert_eq!(*gap_sent, gap(span, gap_sent.requested.clone(), reason));
        }
        assert_eq!(*gap_sent, gap(span, gap_sent.requested.clone(), GapReason::Trimmed));
        assert!(requested.offset < span.start.offset, "nothing after it is gone");
        assert!(requested.offset >= self.waited_to, "it had everything that is gone");
        self.check_skipped(model, requested);
    }

    /// It has waited for the tail, which has not arrived.
    fn check_lost(&self, model: &Model, gap_sent: &Gap) {
        assert!(self.heartbeats > 2, "so soon");
        assert!(model.positions().contains(&gap_sent.resume_after));
        assert!(gap_sent.resume_after.offset < self.seen.offset, "the tail was there");
    }

    /// Nothing up to `position` is for this subscriber.
    fn check_skipped(&self, model: &Model, position: Position) {
        assert!(position.offset >= self.seen.offset && model.positions().contains(&position));
        let next = model.next_after(self.seen.offset, &self.wish);
        assert!(
            next.is_none_or(|entry| entry.offset() > position.offset),
            "{next:?} was passed over"
        );
    }

    /// It has received everything.
    pub(crate) fn check_caught_up(&mut self, model: &Model) {
        assert!(self.opening.is_empty());
        let known = self.seen.offset <= model.tail().offset;
        assert_eq!(
            self.ahead, !known,
            "whether a position is known is reported when the tail gets there"
        );
        assert_eq!(model.next_after(self.seen.offset, &self.wish), None);
        self.caught_up_at = Some(model.tail());
        self.wait_to(model.tail());
    }

    /// While it waited, nothing for it came up to `position`. A stream that is ahead may still get
    /// a gap.
    pub(crate) fn wait_to(&mut self, position: Position) {
        if !self.ahead {
            self.waited_to = position.offset;
        }
    }

    /// What it received while it was idle, if anything.
    pub(crate) fn hear_idle(&mut self, model: &Model, span: Span, items: Option<&Item>) {
        self.heartbeat();
        if let Some(lost @ Item::Gap(_)) = items {
            assert_eq!(lost.position(), model.tail(), "whatever there is now was there before");
            return self.receive(model, span, lost);
        }
        if let Some(cursor) = self.caught_up_at {
            let moved = cursor != self.seen && !self.ahead;
            assert_eq!(items, moved.then_some(Item::Position(cursor)).as_ref());
        }
        let Some(items) = items else { return };
        let Item::Position(position) = items else { panic!("{items:?}") };
        self.hear_moved(model, *position);
    }

    /// A heartbeat was due.
    pub(crate) fn heartbeat(&mut self) {
        self.heartbeats += 1;
    }

    /// It received its position, since it was idle.
    pub(crate) fn hear_moved(&mut self, model: &Model, position: Position) {
        assert!(!self.ahead, "where it stands is not known yet");
        assert_ne!(position, self.seen, "it has not moved");
        self.check_skipped(model, position);
        self.see(&Item::Position(position));
    }

    /// A heartbeat has stated a position: a client that resumes there receives all that it lacks,
    /// and nothing twice.
    pub(crate) fn hear_stated(&mut self, model: &Model, position: Position) {
        assert!(!self.ahead, "where it stands is not known yet");
        if position.offset > self.seen.offset {
            return self.hear_moved(model, position);
        }
        let next = model.next_after(position.offset, &self.wish);
        assert!(next.is_none_or(|entry| entry.offset() > self.seen.offset), "twice: {next:?}");
    }

    /// It received that its time is over, and where to resume: nothing that it lacks is before that
    /// position.
    pub(crate) fn hear_expired(&mut self, model: &Model, position: Position) {
        if position != self.seen {
            self.check_skipped(model, position);
        }
    }

    /// The last position that it received.
    pub(crate) fn seen(&self) -> Position {
        self.seen
    }

    /// Whether it may still wait for the tail: nothing that it requested has arrived there yet.
    pub(crate) fn is_ahead(&self, model: &Model) -> bool {
        let there = model.all.iter().filter(|entry| entry.offset() >= self.seen.offset);
        self.ahead && !there.into_iter().any(|entry| self.wish.matches(&entry.publication))
    }
}

fn is_trimmed(item: &Item, span: Span) -> bool {
    matches!(item, Item::Event(said) if said.position.offset <= span.start.offset)
}

fn gap(span: Span, requested: String, reason: GapReason) -> Gap {
    Gap::new(requested, reason, span.start).with_oldest(span.oldest)
}
