//! What a hub owes its subscribers, by a `Vec` of all that was ever published.

use std::collections::VecDeque;

use carafe_hub::{Format, Gap, GapReason, Start, SubscribeError};
use carafe_log::{Entry, Find, Publication, Span};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};

use crate::listener::{Heard, Said};

pub(crate) struct Model {
    first: Position,
    /// Another node may still deliver what lies beyond the tail.
    supplied: bool,
    /// Every entry there ever was.
    all: Vec<Entry>,
}

/// For which events a subscriber asked.
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

    /// Every position that a subscriber may have been told.
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
            self.all[*at].offset() > span.start.offset && wish.sees(&self.all[*at].publication)
        };
        let Some(back) = count.checked_sub(1) else {
            return self.tail();
        };
        let at = (0..self.all.len()).rev().filter(kept).nth(back);
        // In the list of positions, the one before an entry has the entry's own number.
        at.map_or(span.start, |at| self.positions()[at])
    }

    fn next_after(&self, offset: Offset, wish: &Wish) -> Option<&Entry> {
        let from = self.all.partition_point(|entry| entry.offset() <= offset);
        self.all[from..].iter().find(|entry| wish.sees(&entry.publication))
    }
}

impl Wish {
    /// Whether it is for one of the topics.
    pub(crate) fn matches(&self, publication: &Publication) -> bool {
        among(publication, &self.matchers)
    }

    fn sees(&self, publication: &Publication) -> bool {
        let granted = among(publication, &self.granted);
        self.matches(publication) && (granted || (self.public && !publication.is_private()))
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

    /// Why it may not ask for that, if so.
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

fn among(publication: &Publication, matchers: &[TopicMatcher]) -> bool {
    publication.topics().any(|topic| matchers.iter().any(|matcher| matcher.matches(topic)))
}

/// What one subscriber has heard and is owed.
pub(crate) struct Account {
    wish: Wish,
    format: Option<Format>,
    /// What it has to hear before any event.
    opening: VecDeque<Heard>,
    /// The last position that it heard; all that it is owed comes after.
    seen: Position,
    /// It asked to go on after a position that nobody has been given yet.
    ahead: bool,
    /// How many signs of life it has waited for that.
    beats: usize,
    /// Where the hub stood when the subscriber last had everything.
    caught_up_at: Option<Position>,
    /// Up to where it had everything, by waiting, however long ago it was polled.
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
        let account = Self {
            wish,
            format,
            opening: VecDeque::new(),
            seen: span.start,
            ahead: false,
            beats: 0,
            caught_up_at: None,
            waited_to: 0,
            ids: Vec::new(),
        };
        match start {
            Start::Tail => account.at(model.tail()),
            Start::Earliest => account.at(span.start),
            Start::Last(count) => {
                let position = model.before_last(span, *count, &account.wish);
                account.at(position)
            }
            Start::After(position) => account.at_found(model, span, *position),
            Start::AfterId(id) => match id.parse() {
                Ok(position) => account.at_found(model, span, position),
                Err(_) => account.beyond_gap(span, id.clone(), GapReason::Foreign),
            },
        }
    }

    fn at(mut self, position: Position) -> Self {
        self.seen = position;
        self.opening.push_back(Heard::Position(position));
        self
    }

    fn at_found(mut self, model: &Model, span: Span, position: Position) -> Self {
        match model.find(span, position) {
            Find::Trimmed => self.beyond_gap(span, position.to_string(), GapReason::Trimmed),
            Find::Foreign => self.beyond_gap(span, position.to_string(), GapReason::Foreign),
            Find::Lost { common } => {
                let gap = gap(span, position.to_string(), GapReason::Lost);
                self.opening.push_back(Heard::Gap(Gap { resume_after: common, ..gap }));
                self.at(common)
            }
            found @ (Find::Found | Find::Ahead) => {
                self.ahead = found == Find::Ahead;
                self.at(position)
            }
        }
    }

    fn beyond_gap(mut self, span: Span, requested: String, reason: GapReason) -> Self {
        self.opening.push_back(Heard::Gap(gap(span, requested, reason)));
        self.at(span.start)
    }

    pub(crate) fn wish(&self) -> &Wish {
        &self.wish
    }

    /// Every ID that the subscriber could go on after, the latest last.
    pub(crate) fn ids(&self) -> &[Position] {
        &self.ids
    }

    /// It is heard what the model says, next and in full.
    pub(crate) fn hear(&mut self, model: &Model, span: Span, heard: &Heard) {
        self.caught_up_at = None;
        match (self.opening.pop_front(), heard) {
            (Some(expected), heard) => assert_eq!(*heard, expected),
            (None, Heard::Gap(gap)) => self.check_gap(model, span, gap),
            (None, Heard::Event(said)) => self.check_event(model, said),
            (None, Heard::Position(_)) => {
                panic!("the position is told once, and then when it is asked for")
            }
        }
        self.see(heard);
    }

    fn see(&mut self, heard: &Heard) {
        self.seen = heard.position();
        self.ids.push(self.seen);
    }

    fn check_event(&self, model: &Model, said: &Said) {
        assert!(!self.ahead, "what it has seen is not known yet");
        let owed = model.next_after(self.seen.offset, &self.wish).map(|entry| {
            let named = |_| self.wish.named(&entry.publication);
            let said = Said::of(entry, self.format);
            Said {
                topics: if self.format.is_some() { said.topics.map(named) } else { said.topics },
                ..said
            }
        });
        assert_eq!(Some(said), owed.as_ref(), "after {}", self.seen);
    }

    fn check_gap(&mut self, model: &Model, span: Span, told: &Gap) {
        let requested: Position = told.requested.parse().unwrap();
        if std::mem::take(&mut self.ahead) {
            assert_eq!(requested, self.seen);
            if told.reason == GapReason::Lost {
                return self.check_lost(model, told);
            }
            let trimmed = model.find(span, requested) == Find::Trimmed;
            let reason = if trimmed { GapReason::Trimmed } else { GapReason::Foreign };
            return assert_eq!(*told, gap(span, told.requested.clone(), reason));
        }
        assert_eq!(*told, gap(span, told.requested.clone(), GapReason::Trimmed));
        assert!(requested.offset < span.start.offset, "nothing after it is gone");
        assert!(requested.offset >= self.waited_to, "it had everything that is gone");
        self.check_passed_over(model, requested);
    }

    /// It has waited for the tail, which has not come.
    fn check_lost(&self, model: &Model, told: &Gap) {
        assert!(self.beats > 2, "so soon");
        assert!(model.positions().contains(&told.resume_after));
        assert!(told.resume_after.offset < self.seen.offset, "the tail was there");
    }

    /// Nothing up to `position` is for this subscriber.
    fn check_passed_over(&self, model: &Model, position: Position) {
        assert!(position.offset >= self.seen.offset && model.positions().contains(&position));
        let next = model.next_after(self.seen.offset, &self.wish);
        assert!(
            next.is_none_or(|entry| entry.offset() > position.offset),
            "{next:?} was passed over"
        );
    }

    /// It has been told all that it is owed.
    pub(crate) fn check_caught_up(&mut self, model: &Model) {
        assert!(self.opening.is_empty());
        let known = self.seen.offset <= model.tail().offset;
        assert_eq!(
            self.ahead, !known,
            "whether a position is known is told when the tail gets there"
        );
        assert_eq!(model.next_after(self.seen.offset, &self.wish), None);
        self.caught_up_at = Some(model.tail());
        self.wait_to(model.tail());
    }

    /// While it waited, nothing for it came up to `position`. Who is ahead may yet be set back.
    pub(crate) fn wait_to(&mut self, position: Position) {
        if !self.ahead {
            self.waited_to = position.offset;
        }
    }

    /// What it heard while it was idle, if anything.
    pub(crate) fn hear_idle(&mut self, model: &Model, span: Span, heard: Option<&Heard>) {
        self.beat();
        if let Some(lost @ Heard::Gap(_)) = heard {
            assert_eq!(lost.position(), model.tail(), "whatever there is now was there before");
            return self.hear(model, span, lost);
        }
        if let Some(cursor) = self.caught_up_at {
            let moved = cursor != self.seen && !self.ahead;
            assert_eq!(heard, moved.then_some(Heard::Position(cursor)).as_ref());
        }
        let Some(heard) = heard else { return };
        let Heard::Position(position) = heard else { panic!("{heard:?}") };
        self.hear_moved(model, *position);
    }

    /// A sign of life was due.
    pub(crate) fn beat(&mut self) {
        self.beats += 1;
    }

    /// It heard where it stands, since it was idle.
    pub(crate) fn hear_moved(&mut self, model: &Model, position: Position) {
        assert!(!self.ahead, "where it stands is not known yet");
        assert_ne!(position, self.seen, "it has not moved");
        self.check_passed_over(model, position);
        self.see(&Heard::Position(position));
    }

    /// It heard that its time is over, and after which position to come back: nothing that it is
    /// owed is before that.
    pub(crate) fn hear_expired(&mut self, model: &Model, position: Position) {
        if position != self.seen {
            self.check_passed_over(model, position);
        }
    }

    /// The last position that it heard.
    pub(crate) fn seen(&self) -> Position {
        self.seen
    }

    /// Whether it may still wait for the tail: nothing that it asked for has come there yet.
    pub(crate) fn is_ahead(&self, model: &Model) -> bool {
        let there = model.all.iter().filter(|entry| entry.offset() >= self.seen.offset);
        self.ahead && !there.into_iter().any(|entry| self.wish.matches(&entry.publication))
    }
}

fn gap(span: Span, requested: String, reason: GapReason) -> Gap {
    Gap { requested, oldest: span.oldest, reason, resume_after: span.start }
}
