//! What a hub has to deliver, according to a `Vec` of everything that was published.

use std::collections::{BTreeMap, BTreeSet};

use carafe_hub::{EraseOne, PublishError, SubscribeError};
use carafe_log::{AppendError, Appended, Entry, Erase, Find, Kind, Publication, Removed, Span};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use proptest::sample::Index;

use crate::fixture::{Rig, at_once, entry};

pub(crate) struct Model {
    first: Position,
    /// Whether other nodes supply the log: then ends decide also when they were trimmed.
    supplied: bool,
    /// Every entry that was published; of those that were erased, what is left.
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
    pub(crate) fn new(first: Position) -> Self {
        Self { first, supplied: false, all: Vec::new() }
    }

    pub(crate) fn of_log_that_is_supplied(self, supplied: bool) -> Self {
        Self { supplied, ..self }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        assert!(entry.offset() > self.tail().offset);
        if let Kind::Erase(erase) = entry.publication.kind() {
            let is_erased = |known: &&mut Entry| match erase {
                Erase::Before => known.publication.topics().any(|of| of == entry.topic()),
                Erase::Event { offset, nonce } => {
                    (known.offset(), known.position.nonce) == (offset, nonce)
                }
                Erase::One(offset) => known.offset() == offset,
            };
            self.all.iter_mut().filter(is_erased).for_each(|known| *known = known.erased());
        }
        self.all.push(entry);
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.all
    }

    /// What is at a position now.
    pub(crate) fn at(&self, position: Position) -> Option<&Entry> {
        self.all.iter().find(|entry| entry.position == position)
    }

    pub(crate) fn tail(&self) -> Position {
        self.all.last().map_or(self.first, |entry| entry.position)
    }

    /// Every position that a subscriber may have received.
    pub(crate) fn positions(&self) -> Vec<Position> {
        std::iter::once(self.first).chain(self.all.iter().map(|entry| entry.position)).collect()
    }

    pub(crate) fn find(&self, span: Span, asked: Position) -> Find {
        match asked {
            _ if asked.generation != self.first.generation => Find::Foreign,
            _ if asked.offset > self.tail().offset => Find::Lost { common: self.tail() },
            _ if asked.offset < span.start.offset => Find::Trimmed,
            _ if self.positions().contains(&asked) => Find::Found,
            _ => Find::Foreign,
        }
    }

    pub(crate) fn before_last(&self, span: Span, count: usize, wish: &Wish) -> Position {
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

    /// Publishes a batch, and returns what was stored.
    pub(crate) fn publish(&mut self, rig: &Rig, batch: Vec<Publication>) -> Vec<Entry> {
        let answer = at_once(rig.hub.publish_all(batch.clone()));
        let appended = self.appended(rig.span(), &batch, answer).unwrap_or_default();
        let stored = appended.iter().zip(batch).filter(|(appended, _)| !appended.repeated);
        let stored = stored.map(|(appended, publication)| entry(appended.position, publication));
        let stored: Vec<_> = stored.collect();
        stored.iter().for_each(|entry| self.push(entry.clone()));
        stored
    }

    /// Erases an event, and returns the erasure if there was something to be erased.
    pub(crate) fn erase_one(&mut self, rig: &Rig, at: Index) -> Option<Entry> {
        let known = (!self.all.is_empty()).then(|| at.get(&self.all).clone())?;
        let is_kept = known.offset() > rig.span().start.offset;
        let topic = known.publication.topics().last()?;
        let erased = at_once(rig.hub.erase_one(topic, known.position, None)).unwrap();
        match known.publication.kind() {
            Kind::Event if is_kept => {
                let EraseOne::Erased(position) = erased else { panic!("{erased:?}") };
                let (offset, nonce) = (known.offset(), known.position.nonce);
                let one = Erase::Event { offset, nonce };
                let erasure = entry(position, Publication::erase(known.topic().clone(), one));
                self.push(erasure.clone());
                return Some(erasure);
            }
            Kind::Removed(Removed::Erased) if is_kept => {
                assert_eq!(erased, EraseOne::ErasedBefore);
            }
            _ => assert_eq!(erased, EraseOne::NotFound),
        }
        None
    }

    /// The answer to a batch. `None` if it was refused, because a topic has ended.
    fn appended(
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
                        let decides = |e: &&Entry| self.supplied || e.offset() > span.start.offset;
                        let end = end_of(self.all.iter().filter(decides).rev(), &topic);
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

    pub(crate) fn ends(&self, span: Span, wish: &Wish) -> Vec<&Entry> {
        let from = self.all.partition_point(|entry| entry.offset() <= span.start.offset);
        ends(&self.all[from..], wish)
    }

    /// The position before an entry.
    pub(crate) fn before(&self, entry: &Entry) -> Position {
        let at = self.all.iter().position(|one| one.position == entry.position).unwrap();
        self.positions()[at]
    }

    /// The newest events of each topic, in order.
    pub(crate) fn latest(&self, span: Span, count: usize, wish: &Wish) -> Vec<&Entry> {
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

    pub(crate) fn next_after(&self, offset: Offset, wish: &Wish) -> Option<&Entry> {
        let from = self.all.partition_point(|entry| entry.offset() <= offset);
        self.all[from..].iter().find(|entry| wish.receives(&entry.publication))
    }
}

impl Wish {
    /// Whether the publication has one of the requested topics.
    pub(crate) fn matches(&self, publication: &Publication) -> bool {
        among(publication, &self.matchers)
    }

    /// Whether the entry is delivered, or a gap in its place.
    fn receives(&self, publication: &Publication) -> bool {
        self.sees(publication) && !publication.is_erasure()
    }

    fn sees(&self, publication: &Publication) -> bool {
        let granted = among(publication, &self.granted);
        self.matches(publication) && (granted || (self.public && !publication.is_private()))
    }

    /// Whether several topics are requested, and no patterns.
    pub(crate) fn has_several_topics(&self) -> bool {
        let topics: BTreeSet<_> = self.matchers.iter().map(ToString::to_string).collect();
        let is_topic = |matcher: &TopicMatcher| matches!(matcher, TopicMatcher::Exact(_));
        topics.len() > 1 && self.matchers.iter().all(is_topic)
    }

    /// The topics that an envelope names.
    pub(crate) fn named(&self, publication: &Publication) -> Vec<String> {
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
    ends.dedup_by_key(|end| end.offset());
    ends
}

/// The end of a topic, if it has ended with these entries, of which the newest comes first.
fn end_of<'a>(mut entries: impl Iterator<Item = &'a Entry>, topic: &Topic) -> Option<&'a Entry> {
    let of_life = |entry: &&Entry| {
        let publication = &entry.publication;
        match publication.kind() {
            Kind::Event | Kind::Removed(_) => {
                publication.reopens() && publication.topics().any(|of| of == topic)
            }
            Kind::Erase(_) => false,
            _ => publication.topic() == topic,
        }
    };
    entries.find(of_life).filter(|entry| matches!(entry.publication.kind(), Kind::End(_)))
}

fn among(publication: &Publication, matchers: &[TopicMatcher]) -> bool {
    publication.topics().any(|topic| matchers.iter().any(|matcher| matcher.matches(topic)))
}

pub(crate) fn is_erased(entry: &Entry) -> bool {
    entry.publication.kind() == Kind::Removed(Removed::Erased)
}
