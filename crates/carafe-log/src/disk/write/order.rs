//! Orders a commit: assigns positions or takes given ones, checks idempotency keys, and decides
//! over ended topics. Runs on the writer thread.

use std::collections::HashMap;
use std::sync::Arc;

use carafe_protocol::Position;

use crate::clock_reading::Reading;
use crate::disk::format::index::milliseconds;
use crate::disk::options::DiskOptions;
use crate::disk::read::keys::{KeyLookup, Name, StoredKey, is_since, key_of};
use crate::disk::state::DiskShared;
use crate::disk::write::answers::{Answer, CommitAnswers};
use crate::disk::write::queue::{CommitPlace, Commits, Job, Work};
use crate::entry::entry_at;
use crate::key_table::KeyTable;
use crate::lifecycle::{Bounds, Changes, Decisions};
use crate::placement::Placement;
use crate::{AppendAtError, AppendError, Appended, Entry, Erasures, OrderedAnswers, Publication};

/// Ordered jobs: the entries to store, and the answers to send afterwards.
pub(crate) struct Ordered {
    now: Reading,
    pub(crate) entries: Vec<Arc<Entry>>,
    keys: KeyTable<Name, StoredKey>,
    life: Changes,
    /// The bounds of what this log alone decides.
    bounds: Bounds,
    /// The erasures of this commit.
    erasures: Erasures,
    /// The maximum number of erasures that wait to be carried out.
    most_erasures: usize,
    answers: Vec<Answer>,
    /// Why nothing of this commit is stored.
    failed: Option<AppendError>,
}

/// A batch that comes next.
struct Next<'a> {
    placement: Placement,
    /// The lookup of its keys, and the number of its first publication there.
    looked: &'a KeyLookup,
    number: usize,
    bounds: Bounds,
    /// The maximum number of erasures that wait, if it counts.
    most_erasures: Option<usize>,
}

impl Ordered {
    /// No jobs yet. Publications get the time of `now`.
    pub(crate) fn at(now: Reading, options: &DiskOptions) -> Self {
        Self {
            now,
            entries: Vec::new(),
            keys: KeyTable::default(),
            life: Changes::default(),
            bounds: Bounds::of_own(options.ended_topics),
            erasures: Erasures::default(),
            most_erasures: options.erasures,
            answers: Vec::new(),
            failed: None,
        }
    }

    /// Orders a job after the ones before it. Rejects it immediately if it cannot be ordered.
    pub(crate) fn take(&mut self, job: Job, shared: &DiskShared) {
        if let Some(error) = &self.failed {
            return job.refuse(error.clone());
        }
        // Jobs of one commit follow each other before any of them is in the state.
        let tail = self.entries.last().map_or_else(|| shared.state().tail, |entry| entry.position);
        match job.what {
            Work::Publications(batch, looked, reply) => {
                let placement = self.behind(tail, shared);
                let (bounds, most_erasures) = (self.bounds, Some(self.most_erasures));
                let next = Next { placement, looked: &looked, number: 0, bounds, most_erasures };
                match self.publications(batch, &next, shared) {
                    Ok(appended) => self.answers.push(Answer::Appended(reply, appended)),
                    // The end may be of this commit: nobody may know of it before it is stored.
                    Err(error @ AppendError::Ended { .. }) => {
                        self.answers.push(Answer::Refused(reply, error));
                    }
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Work::Entries(entries, reply) => match in_order(&entries, tail, shared) {
                Ok(()) => {
                    self.supplied(&entries, shared);
                    self.entries.extend(entries.into_iter().map(Arc::new));
                    self.answers.push(Answer::Supplied(reply));
                }
                Err(error) => drop(reply.send(Err(error))),
            },
            Work::Ordered(commits, looked, reply) => {
                match self.commits(commits, &looked, tail, shared) {
                    Ok(answers) => self.answers.push(Answer::Ordered(reply, answers)),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
        }
    }

    fn behind(&self, tail: Position, shared: &DiskShared) -> Placement {
        let generation = shared.state().active.segment.header.generation;
        // The tail may be of an earlier generation, if this one has no entry yet.
        Placement::behind(Position { generation, ..tail }, self.now.time())
    }

    /// What another node has decided holds for the jobs that follow.
    fn supplied(&mut self, entries: &[Entry], shared: &DiskShared) {
        let lifecycle = shared.lifecycle();
        let mut decisions = Decisions::new(&lifecycle, &self.life, self.bounds);
        entries.iter().for_each(|entry| decisions.record(entry));
        let changes = decisions.finish();
        self.life.extend(changes);
        for entry in entries {
            self.erasures.add(entry);
            self.add_key(entry);
        }
        entries.last().into_iter().for_each(|newest| shared.clock.supply(newest.time));
    }

    /// Adds the key of an entry of this commit.
    fn add_key(&mut self, entry: &Entry) {
        let Some(name) = key_of(&entry.publication) else { return };
        self.keys.add(name, entry.offset(), StoredKey::of(entry), |offset, _| {
            let known = entry_at(&self.entries, offset);
            known.is_none_or(|known| self.erasures.covers(known))
        });
    }

    /// Orders commits. If something cannot be read that decides, nothing of this commit of the log
    /// is stored: another node would decide otherwise.
    fn commits(
        &mut self,
        commits: Commits,
        looked: &KeyLookup,
        tail: Position,
        shared: &DiskShared,
    ) -> Result<OrderedAnswers, AppendAtError> {
        let Commits { publications, first, places } = commits;
        if first <= tail.offset {
            return Err(AppendAtError::OutOfOrder { offset: first, tail: tail.offset });
        }
        let (mut publications, mut number) = (publications.into_iter(), 0);
        let mut all = Vec::with_capacity(places.len());
        for CommitPlace { mut placement, batches } in places {
            let mut answers = Vec::with_capacity(batches.len());
            shared.clock.supply(placement.time);
            let bounds = Bounds::of_commit(placement.time, shared.key_window);
            for size in batches {
                let next = Next { placement, looked, number, bounds, most_erasures: None };
                let batch = publications.by_ref().take(size).collect();
                let answer = self.publications(batch, &next, shared);
                if let Err(error @ AppendError::Keys(_)) = answer {
                    self.failed = Some(error.clone());
                    return Err(error.into());
                }
                answers.push(answer);
                (placement, number) = (placement.after(size), number + size);
            }
            all.push(answers);
        }
        Ok(all)
    }

    /// Orders a batch. If one of its keys cannot be looked up, or a topic has ended, nothing of the
    /// batch is ordered.
    fn publications(
        &mut self,
        publications: Vec<Publication>,
        next: &Next<'_>,
        shared: &DiskShared,
    ) -> Result<Vec<Appended>, AppendError> {
        let mut batch = Batch::new(next.placement, self.erasures.clone());
        let lifecycle = shared.lifecycle();
        let mut decisions = Decisions::new(&lifecycle, &self.life, next.bounds);
        for (at, publication) in publications.into_iter().enumerate() {
            let known = match key_of(&publication) {
                Some(name) => self.known(&name, &batch, next, at, shared)?,
                None => None,
            };
            // Known keys first: a producer may send its last events again after the end.
            let known = known.map_or_else(|| decisions.check(&publication), |key| Ok(Some(key)))?;
            if let Some(limit) = next.most_erasures.filter(|_| publication.is_erasure()) {
                check_erasures(limit, &batch, shared)?;
            }
            let renews = decisions.renews(&publication);
            if let Some(entry) = batch.push(at, publication.with_renewal(renews), known) {
                decisions.record(entry);
            }
        }
        let changes = decisions.finish();
        self.life.extend(changes);
        self.erasures = batch.erasures;
        batch.entries.iter().for_each(|entry| self.add_key(entry));
        self.entries.extend(batch.entries);
        Ok(batch.appended)
    }

    /// The position of the entry that has a key.
    fn known(
        &self,
        name: &Name,
        batch: &Batch,
        next: &Next<'_>,
        at: usize,
        shared: &DiskShared,
    ) -> Result<Option<Position>, AppendError> {
        // Keys of this commit come first: they are in no index yet. `looked` knows the entries up
        // to its view, and `known` searches what was stored since. The key of an event that this
        // commit erases is free again.
        let (time, erasures) = (next.placement.time, &batch.erasures);
        let is_erased = |entries, key: &StoredKey| {
            entry_at(entries, key.position.offset).is_some_and(|entry| erasures.covers(entry))
        };
        let of_batch = batch.keys.get(name).filter(|key| !is_erased(&batch.entries, key));
        let of_commit = self.keys.of(name).map(|(_, key)| key);
        let mut of_commit = of_commit.filter(|key| !is_erased(&self.entries, key));
        if let Some(key) = of_batch.or_else(|| of_commit.next()) {
            // Several commits of other times may be in this one.
            let is_known = is_since(milliseconds(key.time), shared.known_since(time));
            return Ok(is_known.then_some(key.position));
        }
        let known = shared.known(name, next.number + at, next.looked, time, erasures);
        known.map_err(|error| {
            tracing::warn!(%error, "idempotency keys cannot be looked up");
            AppendError::Keys(error)
        })
    }

    /// Why nothing of this commit may be stored.
    pub(crate) fn failed(&self) -> Option<AppendError> {
        self.failed.clone()
    }

    /// The answers, once it is known whether the entries are stored.
    pub(crate) fn answers(self, stored: Result<(), AppendError>) -> CommitAnswers {
        CommitAnswers { answers: self.answers, stored }
    }
}

/// The entries and keys of one batch. They are merged only after the whole batch is ordered, so
/// that a rejected batch leaves nothing.
struct Batch {
    placement: Placement,
    entries: Vec<Arc<Entry>>,
    /// The newest entry with each key.
    keys: HashMap<Name, StoredKey>,
    /// The erasures of the commit up to here.
    erasures: Erasures,
    appended: Vec<Appended>,
}

impl Batch {
    fn new(placement: Placement, erasures: Erasures) -> Self {
        let (entries, keys, appended) = (Vec::new(), HashMap::new(), Vec::new());
        Self { placement, entries, keys, erasures, appended }
    }

    /// Returns the entry of a publication that is not known yet.
    fn push(
        &mut self,
        at: usize,
        publication: Publication,
        known: Option<Position>,
    ) -> Option<&Entry> {
        if let Some(position) = known {
            self.appended.push(Appended { position, repeated: true });
            return None;
        }
        let position = self.placement.position(at, self.entries.last().map(|last| last.position));
        let entry = Arc::new(Entry { position, time: self.placement.time, publication });
        self.keys.extend(key_of(&entry.publication).map(|name| (name, StoredKey::of(&entry))));
        self.erasures.add(&entry);
        self.entries.push(entry);
        self.appended.push(Appended { position, repeated: false });
        self.entries.last().map(|entry| &**entry)
    }
}

/// Bounds the erasures that wait to be carried out.
fn check_erasures(limit: usize, batch: &Batch, shared: &DiskShared) -> Result<(), AppendError> {
    let waiting = shared.view().erasures.as_ref().map_or(0, |erasures| erasures.len());
    let is_full = waiting + batch.erasures.len() >= limit;
    if is_full { Err(AppendError::TooManyErasures { limit }) } else { Ok(()) }
}

fn in_order(
    entries: &[Entry],
    mut tail: Position,
    shared: &DiskShared,
) -> Result<(), AppendAtError> {
    let stored = shared.state().tail.offset;
    for entry in entries {
        let offset = entry.offset();
        if offset <= tail.offset {
            return Err(AppendAtError::OutOfOrder { offset, tail: tail.offset });
        }
        // A segment can begin at what is stored, and has 32 bits for the offsets.
        if !shared.supplied && offset - stored > u64::from(u32::MAX) {
            return Err(AppendAtError::TooFar { offset, tail: stored });
        }
        tail = entry.position;
    }
    Ok(())
}
