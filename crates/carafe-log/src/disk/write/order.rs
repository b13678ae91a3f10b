//! Orders a commit: assigns positions, checks idempotency keys, and decides over ended topics. Runs
//! on the writer thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use carafe_protocol::Position;

use crate::clock::Reading;
use crate::disk::options::DiskOptions;
use crate::disk::read::keys::{KeyLookup, Name, key_of};
use crate::disk::state::DiskShared;
use crate::disk::write::answers::{Answer, CommitAnswers};
use crate::disk::write::queue::{Job, Work};
use crate::lifecycle::{Changes, Decisions};
use crate::{AppendAtError, AppendError, Appended, Entry, Erasures, Publication, ReadError};

/// Ordered jobs: the entries to store, and the answers to send afterwards.
pub(crate) struct Ordered {
    now: Reading,
    pub(crate) entries: Vec<Arc<Entry>>,
    keys: Keys,
    life: Changes,
    ended_topics: usize,
    /// The erasures of this commit.
    erasures: Erasures,
    /// The maximum number of erasures that wait to be carried out.
    most_erasures: usize,
    answers: Vec<Answer>,
}

type Keys = HashMap<Name, Position>;

impl Ordered {
    /// No jobs yet. Publications get the time of `now`.
    pub(crate) fn at(now: Reading, options: &DiskOptions) -> Self {
        Self {
            now,
            entries: Vec::new(),
            keys: Keys::new(),
            life: Changes::default(),
            ended_topics: options.ended_topics,
            erasures: Erasures::default(),
            most_erasures: options.erasures,
            answers: Vec::new(),
        }
    }

    /// Orders a job after the ones before it. Rejects it immediately if it cannot be ordered.
    pub(crate) fn take(&mut self, job: Job, shared: &DiskShared) {
        // Jobs of one commit follow each other before any of them is in the state.
        let tail = self.entries.last().map_or_else(|| shared.state().tail, |entry| entry.position);
        match job.what {
            Work::Publications(batch, looked, reply) => {
                match self.publications(batch, &looked, tail, shared) {
                    Ok(appended) => self.answers.push(Answer::Appended(reply, appended)),
                    // The end may be of this commit: nobody may know of it before it is stored.
                    Err(error @ AppendError::Ended { .. }) => {
                        self.answers.push(Answer::Refused(reply, error));
                    }
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Work::Entries(entries, reply) => match in_order(&entries, tail) {
                Ok(()) => {
                    self.supplied(&entries, shared);
                    self.entries.extend(entries.into_iter().map(Arc::new));
                    self.answers.push(Answer::Supplied(reply));
                }
                Err(error) => drop(reply.send(Err(error))),
            },
        }
    }

    /// What another node has decided holds for the jobs that follow.
    fn supplied(&mut self, entries: &[Entry], shared: &DiskShared) {
        let lifecycle = shared.lifecycle();
        let mut decisions = Decisions::new(&lifecycle, &self.life, self.ended_topics);
        entries.iter().for_each(|entry| decisions.record(entry));
        let changes = decisions.finish();
        self.life.extend(changes);
        for entry in entries {
            self.erasures.add(entry);
        }
    }

    /// Orders a batch. If one of its keys cannot be looked up, or a topic has ended, nothing of the
    /// batch is ordered.
    fn publications(
        &mut self,
        publications: Vec<Publication>,
        looked: &KeyLookup,
        tail: Position,
        shared: &DiskShared,
    ) -> Result<Vec<Appended>, AppendError> {
        let generation = shared.state().active.segment.header.generation;
        // The tail may be of an earlier generation, if this one has no entry yet.
        let tail = Position { generation, ..tail };
        let mut batch = Batch::after(tail, self.erasures.clone());
        let lifecycle = shared.lifecycle();
        let mut decisions = Decisions::new(&lifecycle, &self.life, self.ended_topics);
        let time = self.now.time();
        for (number, publication) in publications.into_iter().enumerate() {
            let known = match key_of(&publication) {
                Some(name) => self.known(&name, &batch, number, looked, shared)?,
                None => None,
            };
            // Known keys first: a producer may send its last events again after the end.
            let known = known.map_or_else(|| decisions.check(&publication), |key| Ok(Some(key)))?;
            self.check_erasures(&publication, &batch, shared)?;
            if let Some(entry) = batch.push(publication, known, time) {
                decisions.record(entry);
            }
        }
        let changes = decisions.finish();
        self.life.extend(changes);
        self.erasures = batch.erasures;
        self.entries.extend(batch.entries);
        self.keys.extend(batch.keys);
        Ok(batch.appended)
    }

    fn known(
        &self,
        name: &Name,
        batch: &Batch,
        number: usize,
        looked: &KeyLookup,
        shared: &DiskShared,
    ) -> Result<Option<Position>, AppendError> {
        // Keys of this commit come first: they are in no index yet. `looked` knows the entries up
        // to its view, and `known` searches what was stored since.
        let failed = |error| {
            tracing::warn!(%error, "idempotency keys cannot be looked up");
            AppendError::Keys(error)
        };
        let known = match batch.keys.get(name).or_else(|| self.keys.get(name)) {
            Some(position) => Some(*position),
            None => shared.known(name, number, looked, self.now.time()).map_err(failed)?,
        };
        let Some(position) = known.filter(|_| !batch.erasures.is_empty()) else {
            return Ok(known);
        };
        // The key of an event that was erased in this commit is free again.
        let is_erased = self.is_erased(position, batch, shared).map_err(failed)?;
        Ok(known.filter(|_| !is_erased))
    }

    /// Whether an erasure of this commit erases an entry, which may be of this commit, too.
    fn is_erased(
        &self,
        position: Position,
        batch: &Batch,
        shared: &DiskShared,
    ) -> Result<bool, ReadError> {
        let mut ordered = self.entries.iter().chain(&batch.entries);
        if let Some(entry) = ordered.find(|entry| entry.position == position) {
            return Ok(batch.erasures.covers(entry));
        }
        let entry = shared.entry_at(&shared.view(), position.offset)?;
        Ok(entry.is_some_and(|entry| batch.erasures.covers(&entry)))
    }

    /// Bounds the erasures that wait to be carried out.
    fn check_erasures(
        &self,
        publication: &Publication,
        batch: &Batch,
        shared: &DiskShared,
    ) -> Result<(), AppendError> {
        if !publication.is_erasure() {
            return Ok(());
        }
        let waiting = shared.view().erasures.as_ref().map_or(0, |erasures| erasures.len());
        let limit = self.most_erasures;
        let is_full = waiting + batch.erasures.len() >= limit;
        if is_full { Err(AppendError::TooManyErasures { limit }) } else { Ok(()) }
    }

    /// The answers, once it is known whether the entries are stored.
    pub(crate) fn answers(self, stored: Result<(), AppendError>) -> CommitAnswers {
        CommitAnswers { answers: self.answers, stored }
    }
}

/// The entries and keys of one batch. They are merged only after the whole batch is ordered, so
/// that a rejected batch leaves nothing.
struct Batch {
    tail: Position,
    entries: Vec<Arc<Entry>>,
    keys: Keys,
    /// The erasures of the commit up to here.
    erasures: Erasures,
    appended: Vec<Appended>,
}

impl Batch {
    fn after(tail: Position, erasures: Erasures) -> Self {
        let (entries, keys, appended) = (Vec::new(), Keys::new(), Vec::new());
        Self { tail, entries, keys, erasures, appended }
    }

    /// Returns the entry of a publication that is not known yet.
    fn push(
        &mut self,
        publication: Publication,
        known: Option<Position>,
        time: SystemTime,
    ) -> Option<&Entry> {
        if let Some(position) = known {
            self.appended.push(Appended { position, repeated: true });
            return None;
        }
        // Does not overflow: at a million events per second, 2^64 offsets last for half a million
        // years.
        let position =
            Position { offset: self.tail.offset + 1, nonce: rand::random(), ..self.tail };
        self.tail = position;
        self.keys.extend(key_of(&publication).map(|name| (name, position)));
        let entry = Arc::new(Entry { position, time, publication });
        self.erasures.add(&entry);
        self.entries.push(entry);
        self.appended.push(Appended { position, repeated: false });
        self.entries.last().map(|entry| &**entry)
    }
}

fn in_order(entries: &[Entry], mut tail: Position) -> Result<(), AppendAtError> {
    for entry in entries {
        if entry.offset() <= tail.offset {
            return Err(AppendAtError::OutOfOrder { offset: entry.offset(), tail: tail.offset });
        }
        tail = entry.position;
    }
    Ok(())
}
