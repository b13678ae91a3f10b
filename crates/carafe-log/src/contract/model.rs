//! Random use of a log, against a model that is a `Vec`.

use std::sync::Arc;

use crate::{
    Access, AppendAt, AppendError, Appended, BlockLimit, Commit, Entry, Erase, Find,
    IdempotencyKey, Kind, LatestQuery, Log, OrderedCommit, Outcome, Publication, Read, ReadError,
    TopicState,
};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use proptest::prelude::*;
use proptest::sample::Index;

use super::Factory;
use super::helpers::{check_random, positions, publication, settle, supplied, topic, wait};
use super::latest::agrees_with;

const SEED: u64 = 0xCAFE;
const TOPICS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Draft>),
    AppendAt(Vec<(Offset, Draft)>),
    /// A commit of several batches, so many offsets beyond the next one.
    AppendOrdered(Offset, Vec<Vec<Draft>>),
    Find(Index, Offset, bool),
    Read(Index, usize, BlockLimit),
    BeforeLast(usize, usize),
    Latest(Index, usize, usize),
}

/// A publication to be: its topic, an alternate, a key, and what it is.
#[derive(Clone, Debug)]
pub(super) struct Draft(usize, Option<usize>, Option<u8>, What);

#[derive(Clone, Copy, Debug)]
enum What {
    Event,
    Reopening,
    End(Outcome),
    Stop,
    Erase,
    /// So many offsets before the next one.
    EraseOne(Offset),
}

pub(super) fn draft() -> impl Strategy<Value = Draft> {
    let topic = || 0..TOPICS.len();
    let what = prop_oneof![
        20 => Just(What::Event),
        2 => Just(What::Reopening),
        2 => prop::sample::select(&Outcome::ALL[..]).prop_map(What::End),
        1 => Just(What::Stop),
        1 => Just(What::Erase),
        1 => (1..20_u64).prop_map(What::EraseOne),
    ];
    (topic(), prop::option::of(topic()), prop::option::of(0_u8..4), what)
        .prop_map(|(t, a, k, w)| Draft(t, a, k, w))
}

fn batches() -> impl Strategy<Value = Vec<Vec<Draft>>> {
    prop::collection::vec(prop::collection::vec(draft(), 0..3), 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let limit = (0..6_usize, prop_oneof![0..2000_usize, Just(usize::MAX)])
        .prop_map(|(entries, bytes)| BlockLimit { entries, bytes });
    let wanted = 0..=TOPICS.len();
    prop_oneof![
        4 => prop::collection::vec(draft(), 0..4).prop_map(Step::Append),
        2 => prop::collection::vec((0..5_u64, draft()), 0..3).prop_map(Step::AppendAt),
        2 => (0..5_u64, batches()).prop_map(|(gap, batches)| Step::AppendOrdered(gap, batches)),
        2 => (any::<Index>(), 0..3_u64, any::<bool>()).prop_map(|(at, by, nonce)| Step::Find(at, by, nonce)),
        3 => (any::<Index>(), wanted.clone(), limit).prop_map(|(at, w, limit)| Step::Read(at, w, limit)),
        1 => (0..8_usize, wanted.clone()).prop_map(|(count, w)| Step::BeforeLast(count, w)),
        1 => (any::<Index>(), 0..4_usize, wanted).prop_map(|(at, count, w)| Step::Latest(at, count, w)),
    ]
}

/// Any log does what appending to a `Vec` and cutting off its front would.
pub fn random_use_agrees_with_a_vec<F: Factory>() {
    let steps = (any::<bool>(), prop::collection::vec(step(), 0..60));
    check_random(SEED, 256, &steps, |(tight, steps)| {
        let log = if tight { F::tight() } else { F::roomy() };
        let mut model = Model { all: Vec::new(), first: log.span().start };
        steps.into_iter().for_each(|step| model.check(&log, step));
    });
}

struct Model {
    /// Every entry there ever was.
    all: Vec<Entry>,
    first: Position,
}

impl Model {
    fn check(&mut self, log: &(impl Log + AppendAt), step: Step) {
        settle(log);
        let start = self.check_span(log);
        match step {
            Step::Append(drafts) => self.append(log, start, drafts),
            Step::AppendAt(drafts) => self.append_at(log, drafts),
            Step::AppendOrdered(gap, drafts) => self.append_ordered(log, start, gap, drafts),
            Step::Find(at, by, wrong_nonce) => {
                let known = self.position(at);
                let nonce = known.nonce ^ u32::from(wrong_nonce);
                let asked = Position { offset: known.offset + by, nonce, ..known };
                assert_eq!(wait(log.find(asked)).unwrap(), self.find(start, asked));
            }
            Step::Read(at, wanted, limit) => {
                self.read(log, start, self.position(at).offset, wanted, limit);
            }
            Step::BeforeLast(count, wanted) => {
                let from = wait(log.before_last(count, matchers(wanted), Access::all())).unwrap();
                let kept = self.counted(start, wanted);
                let left = kept.iter().filter(|position| position.offset > from.offset).count();
                assert_eq!(left, count.min(kept.len()));
                assert_eq!(self.find(start, from), Find::Found);
            }
            Step::Latest(after, count, wanted) => {
                let query = LatestQuery::of(matchers(wanted)).with_access(Access::all());
                let query = query.with_after(self.position(after).offset).with_count(count);
                agrees_with(log, &self.events(start), &query);
            }
        }
        settle(log);
        let start = self.check_span(log);
        self.check_states(log, start);
    }

    /// The start is where an entry was that is gone, or the very first; all after it is kept.
    fn check_span(&self, log: &impl Read) -> Position {
        let span = log.span();
        let (kept, gone) = (self.wanted(span.start, TOPICS.len()), self.first);
        assert!(
            self.all
                .iter()
                .map(|entry| entry.position)
                .chain([gone])
                .any(|known| known == span.start)
        );
        assert_eq!(span.oldest, kept.first().copied());
        assert_eq!(span.tail, kept.last().copied().unwrap_or(span.start));
        span.start
    }

    fn position(&self, at: Index) -> Position {
        match at.index(self.all.len() + 1) {
            0 => self.first,
            at => self.all[at - 1].position,
        }
    }

    fn append(&mut self, log: &impl Log, start: Position, drafts: Vec<Draft>) {
        let publications = self.publications(drafts);
        let answer = wait(log.append(publications.clone()));
        // The model takes the positions of the answer. Where the batch was refused, it has none,
        // and finds the refusal before it asks for one that matters.
        let given = answer.clone().unwrap_or_default();
        let expected = self.decide_all(start, publications, |model, number| {
            let next = Position { offset: model.tail().offset + 1, ..model.tail() };
            given.get(number).map_or(next, |given| given.position)
        });
        assert_eq!(answer, expected);
    }

    /// Each batch is decided as if it were appended. Its place is that in the commit.
    fn append_ordered(
        &mut self,
        log: &(impl Log + AppendAt),
        start: Position,
        gap: Offset,
        drafts: Vec<Vec<Draft>>,
    ) {
        let first = self.tail().offset + 1 + gap;
        let batches = drafts.into_iter().map(|drafts| self.publications(drafts)).collect();
        let commit = Commit { seed: first as u32, batches };
        let (mut expected, mut index) = (Vec::new(), 0);
        for batch in commit.batches.clone() {
            let size = batch.len();
            expected.push(self.decide_all(start, batch, |model, number| {
                let index = index + number;
                let (offset, nonce) = (first + index as Offset, commit.nonce(index));
                Position { offset, nonce, ..model.first }
            }));
            index += size;
        }
        let ordered = OrderedCommit { commit, first, time: log.clock().now() };
        assert_eq!(wait(log.append_ordered(vec![ordered])), Ok(vec![expected]));
    }

    fn publications(&self, drafts: Vec<Draft>) -> Vec<Publication> {
        let publications = drafts.into_iter().map(Draft::publication);
        publications.map(|publication| with_offset(publication, self.tail().offset)).collect()
    }

    /// The answer to a batch, whose new entries get these positions.
    fn decide_all(
        &mut self,
        start: Position,
        publications: Vec<Publication>,
        place: impl Fn(&Self, usize) -> Position,
    ) -> Result<Vec<Appended>, AppendError> {
        let (kept, before) = (self.all.clone(), self.all.len());
        let mut appended = Vec::new();
        for (number, publication) in publications.into_iter().enumerate() {
            match self.decide(start, before, &publication) {
                Err(refused) => {
                    self.all = kept;
                    return Err(refused);
                }
                Ok(Some(position)) => appended.push(Appended { position, repeated: true }),
                Ok(None) => {
                    let position = place(self, number);
                    appended.push(Appended { position, repeated: false });
                    self.push(Entry { position, time: std::time::UNIX_EPOCH, publication });
                }
            }
        }
        Ok(appended)
    }

    /// The position of the entry that a publication repeats. Entries from `before` on belong to the
    /// same batch.
    fn decide(
        &self,
        start: Position,
        before: usize,
        publication: &Publication,
    ) -> Result<Option<Position>, AppendError> {
        let mut kept = self.all.iter().filter(|entry| entry.position.offset > start.offset);
        if let Some(known) =
            kept.find(|entry| publication.key().is_some() && same_key(entry, publication))
        {
            return Ok(Some(known.position));
        }
        if publication.reopens() || matches!(publication.kind(), Kind::Erase(_)) {
            return Ok(None);
        }
        for topic in publication.topics() {
            let Some((at, entry)) = self.newest_of_life(start, topic) else { continue };
            let Kind::End(outcome) = entry.publication.kind() else { continue };
            if publication.kind() == Kind::End(outcome) {
                return Ok(Some(entry.position));
            }
            let position = (at < before).then_some(entry.position);
            return Err(AppendError::Ended { topic: topic.clone(), outcome, position });
        }
        let newest = self.newest_of_life(start, publication.topic());
        let stop = newest.filter(|_| publication.kind() == Kind::Stop);
        Ok(stop
            .filter(|(_, entry)| entry.publication.kind() == Kind::Stop)
            .map(|(_, entry)| entry.position))
    }

    /// The newest kept entry that has ended, stopped or reopened a topic.
    fn newest_of_life(&self, start: Position, topic: &Topic) -> Option<(usize, &Entry)> {
        self.all.iter().enumerate().rev().find(|(_, entry)| {
            let publication = &entry.publication;
            let changes = match publication.kind() {
                Kind::Event | Kind::Removed(_) => {
                    publication.reopens() && publication.topics().any(|of| of == topic)
                }
                Kind::Erase(_) => false,
                _ => publication.topic() == topic,
            };
            changes && entry.position.offset > start.offset
        })
    }

    fn check_states(&self, log: &impl Read, start: Position) {
        for topic in TOPICS.map(topic) {
            let (mut end, mut stop) = (None, None);
            if let Some((_, entry)) = self.newest_of_life(start, &topic) {
                match entry.publication.kind() {
                    Kind::End(outcome) => end = Some((outcome, entry.position)),
                    Kind::Stop => stop = Some(entry.position),
                    _ => {}
                }
            }
            let TopicState { end: of_log, stop: stop_of_log } = log.topic_state(&topic);
            let of_log = of_log.map(|end| (end.outcome, end.position));
            assert_eq!((of_log, stop_of_log), (end, stop), "{topic}");
        }
    }

    fn append_at(&mut self, log: &(impl Log + AppendAt), drafts: Vec<(Offset, Draft)>) {
        let mut offset = self.tail().offset;
        let mut good = true;
        let entries: Vec<_> = drafts
            .into_iter()
            .map(|(further, Draft(topic, alternate, _, what))| {
                good &= further > 0;
                offset += further;
                let publication = Draft(topic, alternate, None, what).publication();
                supplied(log, offset, with_offset(publication, self.tail().offset))
            })
            .collect();
        assert_eq!(wait(log.append_at(entries.clone())).is_ok(), good);
        entries.into_iter().filter(|_| good).for_each(|entry| self.push(entry));
    }

    fn push(&mut self, entry: Entry) {
        assert!(entry.position.offset > self.tail().offset);
        if let Kind::Erase(erase) = entry.publication.kind() {
            let topic = entry.publication.topic();
            let is_erased = |known: &&mut Entry| match erase {
                Erase::Before => known.publication.topics().any(|of| of == topic),
                Erase::Event { offset, nonce } => {
                    (known.position.offset, known.position.nonce) == (offset, nonce)
                }
                Erase::One(offset) => known.position.offset == offset,
            };
            self.all.iter_mut().filter(is_erased).for_each(|known| *known = known.erased());
        }
        self.all.push(entry);
    }

    fn tail(&self) -> Position {
        self.all.last().map_or(self.first, |entry| entry.position)
    }

    fn find(&self, start: Position, asked: Position) -> Find {
        let kept = self.wanted(start, TOPICS.len());
        match asked {
            _ if asked.generation != self.first.generation => Find::Foreign,
            _ if asked.offset > self.tail().offset => Find::Lost { common: self.tail() },
            _ if asked.offset < start.offset => Find::Trimmed,
            _ if asked == start || kept.contains(&asked) => Find::Found,
            _ => Find::Foreign,
        }
    }

    fn read(
        &self,
        log: &impl Read,
        start: Position,
        after: Offset,
        wanted: usize,
        limit: BlockLimit,
    ) {
        let answer = wait(log.read(after, matchers(wanted), limit));
        if after < start.offset {
            assert_eq!(answer.unwrap_err(), ReadError::Trimmed { after, start });
            return;
        }
        let block = answer.unwrap();
        let up_to = block.up_to.offset;
        let owed = self
            .wanted(start, wanted)
            .into_iter()
            .filter(|entry| (after + 1..=up_to).contains(&entry.offset));
        assert_eq!(positions(&block.entries), owed.collect::<Vec<_>>());
        for entry in &block.entries {
            let known = self.all.iter().find(|known| known.position == entry.position).unwrap();
            assert_eq!(entry.publication, known.publication);
        }
        assert!(up_to >= after && up_to <= self.tail().offset);
        let (count, bytes) =
            (block.entries.len(), block.entries.iter().map(|entry| entry.weight()).sum::<usize>());
        assert!(count <= 1 || (count <= limit.entries && bytes <= limit.bytes));
        assert!(
            up_to > after || after == self.tail().offset,
            "there was more and nothing was looked at"
        );
    }

    /// The same of entries that count as events.
    fn counted(&self, start: Position, wanted: usize) -> Vec<Position> {
        let mut counted = self.wanted(start, wanted);
        let counts = |position: &Position| {
            let known = self.all.iter().find(|known| known.position == *position).unwrap();
            known.publication.counts()
        };
        counted.retain(counts);
        counted
    }

    /// What is kept after `start` and counts as an event.
    fn events(&self, start: Position) -> Vec<Arc<Entry>> {
        let counts =
            |entry: &&Entry| entry.position.offset > start.offset && entry.publication.counts();
        self.all.iter().filter(counts).cloned().map(Arc::new).collect()
    }

    /// Of what is kept after `start`, the entries of a topic, or all.
    fn wanted(&self, start: Position, wanted: usize) -> Vec<Position> {
        let of_topic = |entry: &&Entry| {
            TOPICS.get(wanted).is_none_or(|wanted| {
                entry.publication.topics().any(|topic| topic.as_str() == *wanted)
            })
        };
        let kept = self.all.iter().filter(|entry| entry.position.offset > start.offset);
        kept.filter(of_topic).map(|entry| entry.position).collect()
    }
}

impl Draft {
    pub(super) fn publication(self) -> Publication {
        let Self(to, alternate, key, what) = self;
        let with_alternate = |publication: Publication| {
            publication.with_alternates(alternate.map(|at| topic(TOPICS[at])))
        };
        let publication = match what {
            What::Event => with_alternate(publication(TOPICS[to], "")),
            What::Reopening => with_alternate(publication(TOPICS[to], "")).with_reopening(true),
            What::End(outcome) => Publication::end(topic(TOPICS[to]), outcome).with_data("reason"),
            What::Stop => Publication::stop(topic(TOPICS[to])),
            What::Erase => Publication::erase(topic(TOPICS[to]), Erase::Before),
            What::EraseOne(back) => Publication::erase(topic(TOPICS[to]), Erase::One(back)),
        };
        let key = key.map(|key| IdempotencyKey::new(&key.to_string()).unwrap());
        key.into_iter().fold(publication, Publication::with_key)
    }
}

/// The offset of an erasure of one event, which is drawn relative to the tail.
fn with_offset(publication: Publication, tail: Offset) -> Publication {
    match publication.kind() {
        Kind::Erase(Erase::One(back)) => {
            publication.with_kind(Kind::Erase(Erase::One(tail.saturating_sub(back))))
        }
        _ => publication,
    }
}

fn same_key(entry: &Entry, publication: &Publication) -> bool {
    (entry.publication.topic(), entry.publication.key()) == (publication.topic(), publication.key())
}

fn matchers(wanted: usize) -> Vec<TopicMatcher> {
    TOPICS
        .get(wanted)
        .map_or_else(|| vec![TopicMatcher::any()], |wanted| vec![topic(wanted).into()])
}
