//! What one subscriber has to receive, according to the model.

use std::collections::VecDeque;

use carafe_hub::{Delivery, Format, Gap, GapReason, Page, Start};
use carafe_log::{Entry, Find, Span};
use carafe_protocol::{Offset, Position};

use crate::listener::{EventFields, Item};
use crate::model::{Model, Wish, is_erased};

/// What one subscriber has received, and has to receive next.
pub(crate) struct Account {
    wish: Wish,
    format: Option<Format>,
    /// What it has to receive before any event.
    opening: VecDeque<Item>,
    /// The last position that it received. Everything it still has to receive comes after.
    seen: Position,
    /// It began with history, and has received no event yet: what was erased is no gap for it.
    from_history: bool,
    /// The tail when it began.
    began_at: Offset,
    /// Up to here, it has passed over what was erased before it could know of it.
    passed: Offset,
    /// It reads pages, which have neither ends nor stops.
    pages: bool,
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
        let account = Self {
            wish,
            format,
            opening: VecDeque::new(),
            seen: span.start,
            from_history: false,
            began_at: model.tail().offset,
            passed: 0,
            pages: false,
            caught_up_at: None,
            waited_to: 0,
            ids: Vec::new(),
        };
        match start {
            Start::Tail => account.at_tail(model, span, None),
            Start::Earliest => account.in_history(span.start),
            Start::Latest => account.with_snapshot(model, span, 1),
            Start::Last(count) if account.wish.has_several_topics() => {
                account.with_snapshot(model, span, *count)
            }
            Start::Last(count) => {
                let position = model.before_last(span, *count, &account.wish);
                // Of one topic at most. Its end is not counted, and is never left out.
                let end = model.ends(span, &account.wish).pop();
                let end = end.filter(|end| end.offset() <= position.offset);
                account.in_history(end.map_or(position, |end| model.before(end)))
            }
            Start::After(position) => account.at_found(model, span, *position),
            Start::AfterId(id) => match id.parse() {
                Ok(position) => account.at_found(model, span, position),
                Err(_) => {
                    let gap = gap(span, id.clone(), GapReason::Foreign);
                    account.at_tail(model, span, Some(gap))
                }
            },
            start => panic!("the model does not know {start:?}"),
        }
    }

    /// It has not said that it has the ends of its topics. If all have ended, it receives the end,
    /// or of several topics the ends, and nothing between them.
    fn at_tail(mut self, model: &Model, span: Span, gap: Option<Gap>) -> Self {
        let ends = model.ends(span, &self.wish);
        let position = ends.first().map_or(model.tail(), |first| model.before(first));
        self.from_history = gap.is_none() && !ends.is_empty();
        self.opening.extend(gap.map(|mut gap| {
            gap.resume_after = position;
            Item::Gap(gap)
        }));
        if ends.len() > 1 { self.with_entries(model, ends) } else { self.at(position) }
    }

    fn at(mut self, position: Position) -> Self {
        self.seen = position;
        self.opening.push_back(Item::Position(position));
        self
    }

    fn in_history(mut self, position: Position) -> Self {
        self.from_history = true;
        self.at(position)
    }

    /// A snapshot, with the ends if all topics have ended, and then the position.
    fn with_snapshot(self, model: &Model, span: Span, count: usize) -> Self {
        let mut entries = model.latest(span, count, &self.wish);
        entries.extend(model.ends(span, &self.wish));
        entries.sort_by_key(|entry| entry.offset());
        self.with_entries(model, entries)
    }

    fn with_entries(mut self, model: &Model, entries: Vec<&Entry>) -> Self {
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
            Find::Found => self.at(position),
            Find::Ahead => panic!("{position} is lost: no other node has it"),
        }
    }

    fn beyond_gap(mut self, span: Span, requested: String, reason: GapReason) -> Self {
        self.opening.push_back(Item::Gap(gap(span, requested, reason)));
        self.at(span.start)
    }

    /// The subscriber reads history by pages, which state no position before their events.
    pub(crate) fn by_pages(mut self) -> Self {
        self.opening.retain(|item| !matches!(item, Item::Position(_)));
        self.pages = true;
        self
    }

    /// It receives a page. The next one begins after it.
    pub(crate) fn receive_page(&mut self, model: &Model, span: Span, page: Page) {
        let events = page.events.into_iter().map(|event| Delivery::Entry(event).into());
        for item in page.gap.into_iter().map(Item::Gap).chain(events) {
            self.receive(model, span, &item);
        }
        self.check_skipped(model, page.next);
        if page.is_up_to_date {
            self.check_caught_up(model);
        }
        self.from_history = false;
        self.see(&Item::Position(page.next));
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
        let mut expected = self.next_of_opening(model);
        // An event of a snapshot that was trimmed before it was read is left out.
        while expected.as_ref().is_some_and(|it| it != items && is_trimmed(it, span)) {
            expected = self.next_of_opening(model);
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

    /// What it has to receive before any event. An event of a snapshot that was erased before it
    /// was read is left out, and an end has lost its reason.
    fn next_of_opening(&mut self, model: &Model) -> Option<Item> {
        loop {
            let item = self.opening.pop_front()?;
            let Item::Event(said) = &item else { return Some(item) };
            let entry = model.at(said.position).unwrap();
            if !is_erased(entry) {
                return Some(Item::Event(self.fields(entry)));
            }
        }
    }

    fn see(&mut self, items: &Item) {
        self.seen = items.position();
        self.from_history &= matches!(items, Item::Position(_));
        self.ids.push(self.seen);
    }

    fn check_event(&self, model: &Model, said: &EventFields) {
        let next = self.next(model, self.seen.offset);
        assert!(next.is_none_or(|entry| !is_erased(entry)), "{next:?} was erased");
        let expected = next.map(|entry| self.fields(entry));
        assert_eq!(Some(said), expected.as_ref(), "after {}", self.seen);
    }

    /// What it has to receive next, if it has everything up to an offset. Something erased stands
    /// for a gap.
    fn next<'m>(&self, model: &'m Model, after: Offset) -> Option<&'m Entry> {
        let mut after = after.max(self.passed);
        loop {
            let next = model.next_after(after, &self.wish)?;
            let is_left_out = if is_erased(next) {
                self.from_history
            } else {
                self.pages && !next.publication.is_event()
            };
            if !is_left_out {
                return Some(next);
            }
            after = next.offset();
        }
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
        if gap_sent.reason == GapReason::Erased {
            self.check_skipped(model, requested);
            return self.check_erased(model, span, requested, gap_sent);
        }
        assert_eq!(*gap_sent, gap(span, gap_sent.requested.clone(), GapReason::Trimmed));
        assert!(requested.offset < span.start.offset, "nothing after it is gone");
        assert!(requested.offset >= self.waited_to, "it had everything that is gone");
        self.check_skipped(model, requested);
    }

    /// The gap is as long as it can be, and nothing in it could be delivered.
    fn check_erased(&self, model: &Model, span: Span, after: Position, gap: &Gap) {
        let up_to = gap.resume_after.offset;
        let receives = |after| model.next_after(after, &self.wish);
        let (mut last, mut erased) = (after.offset.max(self.passed), 0);
        while let Some(entry) = receives(last).filter(|entry| entry.offset() <= up_to) {
            assert!(is_erased(entry), "{entry:?} is in {gap:?}");
            erased += 1;
            last = entry.offset();
        }
        assert!(erased > 0 && last == up_to, "{gap:?} has {erased} events up to {last}");
        assert!(receives(up_to).is_none_or(|next| !is_erased(next)), "the gap goes on");
        // It has caught up before, so it lacks what came then.
        assert!(!self.from_history || up_to > self.began_at, "history has no such gap");
        assert_eq!(gap.oldest, span.oldest);
    }

    /// Nothing up to `position` is for this subscriber.
    fn check_skipped(&self, model: &Model, position: Position) {
        assert!(position.offset >= self.seen.offset && model.positions().contains(&position));
        let next = self.next(model, self.seen.offset);
        assert!(
            next.is_none_or(|entry| entry.offset() > position.offset),
            "{next:?} was passed over"
        );
    }

    /// It has received everything.
    pub(crate) fn check_caught_up(&mut self, model: &Model) {
        assert!(self.opening.is_empty());
        assert!(self.seen.offset <= model.tail().offset);
        assert_eq!(self.next(model, self.seen.offset), None);
        if std::mem::take(&mut self.from_history) {
            self.passed = model.tail().offset;
        }
        self.caught_up_at = Some(model.tail());
        self.wait_to(model.tail());
    }

    /// While it waited, nothing for it came up to `position`.
    pub(crate) fn wait_to(&mut self, position: Position) {
        self.waited_to = position.offset;
    }

    /// What it received while it was idle, if anything.
    pub(crate) fn hear_idle(&mut self, model: &Model, items: Option<&Item>) {
        if let Some(cursor) = self.caught_up_at {
            let moved = cursor != self.seen;
            assert_eq!(items, moved.then_some(Item::Position(cursor)).as_ref());
        }
        let Some(items) = items else { return };
        let Item::Position(position) = items else { panic!("{items:?}") };
        self.hear_moved(model, *position);
    }

    /// It received its position, since it was idle.
    pub(crate) fn hear_moved(&mut self, model: &Model, position: Position) {
        assert_ne!(position, self.seen, "it has not moved");
        self.check_skipped(model, position);
        self.see(&Item::Position(position));
    }

    /// A heartbeat has stated a position: a client that resumes there receives all that it lacks,
    /// and nothing twice.
    pub(crate) fn hear_stated(&mut self, model: &Model, position: Position) {
        if position.offset > self.seen.offset {
            return self.hear_moved(model, position);
        }
        let next = self.next(model, position.offset);
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
}

fn is_trimmed(item: &Item, span: Span) -> bool {
    matches!(item, Item::Event(said) if said.position.offset <= span.start.offset)
}

fn gap(span: Span, requested: String, reason: GapReason) -> Gap {
    Gap::new(requested, reason, span.start).with_oldest(span.oldest)
}
