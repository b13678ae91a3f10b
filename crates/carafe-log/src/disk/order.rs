//! The order of what is written: positions are given out, and idempotency keys are looked up.

use std::collections::HashMap;
use std::sync::Arc;

use carafe_protocol::{Position, Topic};
use futures_channel::oneshot;

use super::queue::{Job, What};
use super::state::Shared;
use crate::entry::now;
use crate::{AppendAtError, AppendError, Appended, Entry, IdempotencyKey, Publication};

/// What was asked for, put in order: what to store, and what to answer then.
#[derive(Default)]
pub(crate) struct Ordered {
    pub(crate) entries: Vec<Arc<Entry>>,
    keys: HashMap<(Topic, IdempotencyKey), Position>,
    answers: Vec<Answer>,
}

enum Answer {
    Appended(oneshot::Sender<Result<Vec<Appended>, AppendError>>, Vec<Appended>),
    Supplied(oneshot::Sender<Result<(), AppendAtError>>),
}

impl Ordered {
    /// Puts what was asked for in order after what is there; what cannot be is refused at once.
    pub(crate) fn take(&mut self, job: Job, shared: &Shared) {
        let tail = self.entries.last().map_or_else(|| shared.state().tail, |entry| entry.position);
        match job.what {
            What::Publications(batch, reply) => match self.publications(batch, tail, shared) {
                Ok(appended) => self.answers.push(Answer::Appended(reply, appended)),
                Err(error) => drop(reply.send(Err(error))),
            },
            What::Entries(entries, reply) => match in_order(&entries, tail) {
                Ok(()) => {
                    self.entries.extend(entries.into_iter().map(Arc::new));
                    self.answers.push(Answer::Supplied(reply));
                }
                Err(error) => drop(reply.send(Err(error))),
            },
        }
    }

    fn publications(
        &mut self,
        batch: Vec<Publication>,
        mut tail: Position,
        shared: &Shared,
    ) -> Result<Vec<Appended>, AppendError> {
        let generation = shared.state().active.segment.header.generation;
        let (time, before) = (now(), self.entries.len());
        let mut appended = Vec::with_capacity(batch.len());
        for publication in batch {
            let position = Position { generation, offset: tail.offset + 1, nonce: rand::random() };
            let entry = Entry { position, time, publication };
            match self.first_with_key_of(&entry, shared) {
                Ok(Some(position)) => appended.push(Appended { position, repeated: true }),
                Ok(None) => {
                    tail = position;
                    self.push(entry);
                    appended.push(Appended { position, repeated: false });
                }
                Err(error) => {
                    self.entries.truncate(before);
                    self.keys.retain(|_, position| position.offset < tail.offset);
                    return Err(error);
                }
            }
        }
        Ok(appended)
    }

    fn first_with_key_of(&self, entry: &Entry, shared: &Shared) -> Result<Option<Position>, AppendError> {
        let Some(key) = entry.publication.key() else { return Ok(None) };
        let name = (entry.publication.topic().clone(), key.clone());
        if let Some(position) = self.keys.get(&name) {
            return Ok(Some(*position));
        }
        shared.keyed(entry.publication.topic(), key).map_err(|error| AppendError::Failed(error.to_string()))
    }

    fn push(&mut self, entry: Entry) {
        if let Some(key) = entry.publication.key() {
            self.keys.insert((entry.publication.topic().clone(), key.clone()), entry.position);
        }
        self.entries.push(Arc::new(entry));
    }

    /// Who asked may have left.
    pub(crate) fn answer(self, stored: &Result<(), AppendError>) {
        for answer in self.answers {
            match answer {
                Answer::Appended(reply, appended) => {
                    drop(reply.send(stored.clone().map(|()| appended)));
                }
                Answer::Supplied(reply) => drop(reply.send(stored.clone().map_err(Into::into))),
            }
        }
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
