//! The task that follows the engine and fills the local log.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use carafe_log::{AppendAt, AppendAtError, AppendError, Read};
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::round::{Obstacle, Round, Skipped};
use crate::comparison::{Comparison, compare};
use crate::engine::{Engine, EngineError, HEARTBEAT, State, Tail};
use crate::message::{MessageId, Stored};
use crate::offsets::sequence_of;
use crate::place::{Place, note_applied};
use crate::progress::Stopped;
use crate::publish::Answer;
use crate::shared::{Shared, StopOnPanic, bounded};
use crate::suspicion::Suspicion;

/// A tail that is silent for so long is replaced.
const SILENCE: Duration = HEARTBEAT.saturating_mul(3);

/// How often a node compares itself with the engine while its tail lasts: a tail may send
/// heartbeats and deliver nothing.
const COMPARISON: Duration = Duration::from_secs(10);

/// Fills the local log of a node.
pub(crate) struct Replicator<L> {
    engine: Arc<dyn Engine>,
    local: Arc<L>,
    shared: Arc<Shared>,
    place: Place,
    suspicion: Suspicion,
    backoff: Backoff,
    compared: Instant,
    /// The newest message that was skipped. After another tail, some come again.
    skipped: u64,
    /// Since when the tail delivers nothing although there is more.
    behind: Option<Instant>,
}

/// Why a tail is given up.
enum Interruption {
    /// It can be taken again.
    Again(String),
    Stop(Stopped),
}

impl From<EngineError> for Interruption {
    fn from(error: EngineError) -> Self {
        Self::Again(error.to_string())
    }
}

impl<L: AppendAt + Read + 'static> Replicator<L> {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        local: Arc<L>,
        shared: Arc<Shared>,
        place: Place,
    ) -> Self {
        let (backoff, compared) = (Backoff::default(), Instant::now());
        Self {
            engine,
            local,
            shared,
            place,
            suspicion: Suspicion::default(),
            backoff,
            compared,
            skipped: 0,
            behind: None,
        }
    }

    /// Runs until the node has to be started again.
    pub(crate) async fn run(mut self) {
        let _guard = StopOnPanic(Arc::clone(&self.shared));
        loop {
            match self.follow().await {
                Err(Interruption::Again(why)) => self.shared.away(&why),
                Err(Interruption::Stop(why)) => return self.shared.stop(why),
            }
            sleep(self.backoff.next()).await;
        }
    }

    /// Follows one tail to its end.
    async fn follow(&mut self) -> Result<Infallible, Interruption> {
        // What was applied before the last tail ended, even if the log did not say so.
        self.place.catch_up(&*self.local);
        self.shared.applied(self.place.applied);
        let state = self.compare().await?;
        self.go_back_to_witness(&state);
        let mut tail = bounded(self.engine.tail(self.place.applied + 1)).await?;
        if self.place.applied >= state.last {
            self.supply_time();
        }
        self.shared.following(state.last);
        self.behind = None;
        loop {
            let messages = next(&mut *tail).await?;
            if self.shared.take_doubt() || self.compared.elapsed() >= COMPARISON {
                self.compare().await?;
            }
            if messages.is_empty() {
                self.rest().await?;
            } else {
                self.behind = None;
                self.apply(messages).await?;
            }
            // Only now: a log that stores nothing must not take a tail after the other.
            self.backoff.reset();
        }
    }

    /// Compares the newest applied commit with the engine's.
    async fn compare(&mut self) -> Result<State, Interruption> {
        let Comparison { state, time, judgement } = compare(&*self.engine, &self.place).await?;
        self.shared.told_time(time);
        self.compared = Instant::now();
        if let Err(why) = judgement {
            let is_certain = self.suspicion.confirm(why, self.shared.options.believe_after);
            let again = || Interruption::Again(format!("the engine is asked again, since {why}"));
            return Err(if is_certain { Interruption::Stop(why.into()) } else { again() });
        }
        self.suspicion.clear();
        // Only an empty log may begin later.
        self.place.applied = self.place.applied.max(state.first.saturating_sub(1));
        self.shared.applied(self.place.applied);
        self.shared.compared(&state);
        note_applied(&*self.local, self.place.applied).await;
        self.shared.remembers(self.local.remembered_keys());
        Ok(state)
    }

    /// Messages behind the newest commit were skipped, and nothing compares them. If the engine has
    /// lost them since, others have their sequences.
    fn go_back_to_witness(&mut self, state: &State) {
        let Some(witness) = self.place.witness else { return };
        let kept = sequence_of(witness.offset).max(state.first.saturating_sub(1));
        self.place.applied = self.place.applied.min(kept);
        self.shared.applied(self.place.applied);
    }

    /// Looks after the tail while nothing comes.
    async fn rest(&mut self) -> Result<(), Interruption> {
        if self.place.applied >= self.shared.last() {
            self.behind = None;
            self.supply_time();
            return Ok(());
        }
        let since = *self.behind.get_or_insert_with(Instant::now);
        if since.elapsed() >= SILENCE { self.find_out().await } else { Ok(()) }
    }

    /// The log has all that the engine has: the time passes for it, too, although nothing comes.
    /// While it reads what is older, its time is that of what it reads.
    fn supply_time(&self) {
        self.local.clock().supply(self.shared.engine_time());
    }

    /// The tail delivers nothing although there is more: it is broken, or the messages are gone.
    async fn find_out(&mut self) -> Result<(), Interruption> {
        let message = self.left_out(self.shared.last() + 1).await?;
        message.map_or(Ok(()), |message| {
            let why = format!("the tail does not deliver message {}", message.sequence);
            Err(Interruption::Again(why))
        })
    }

    /// The first message before `end` that the tail has not delivered. The place moves behind those
    /// that the engine does not have any more.
    async fn left_out(&mut self, end: u64) -> Result<Option<Stored>, Interruption> {
        let next = self.place.applied + 1;
        let found = bounded(self.engine.first_from(next)).await?;
        let found = found.filter(|found| found.sequence < end);
        let end = found.as_ref().map_or(end, |found| found.sequence);
        if end > next {
            // If retention has removed them, the node was overtaken, or its empty log begins later.
            self.compare().await?;
            self.removed_before(end);
        }
        // Retention may have removed it, too, meanwhile.
        Ok(found.filter(|found| found.sequence > self.place.applied))
    }

    /// Applies messages in order.
    async fn apply(&mut self, messages: Vec<Stored>) -> Result<(), Interruption> {
        messages.iter().for_each(|message| self.shared.stored_at(message.time));
        let mut messages = VecDeque::from(messages);
        while !messages.is_empty() {
            let mut place = self.place;
            let round = Round::take(&mut place, &mut messages);
            let obstacle = round.obstacle;
            self.store(round).await?;
            self.place = place;
            if place.applied >= self.shared.last() {
                // Before anybody is told that the log is filled.
                self.supply_time();
            }
            self.shared.applied(place.applied);
            match obstacle {
                None => {}
                Some(Obstacle::Hole { next }) => {
                    // The server that the tail comes from may lack what the leader has.
                    if let Some(message) = self.left_out(next).await? {
                        messages.push_front(message);
                    }
                }
                Some(Obstacle::Repeated { sequence }) => {
                    let why = format!("the tail delivers message {sequence} again");
                    return Err(Interruption::Again(why));
                }
                Some(Obstacle::Newer { sequence, format }) => {
                    return Err(Interruption::Stop(Stopped::Newer { sequence, format }));
                }
            }
        }
        Ok(())
    }

    /// Stores commits, and answers those of this node.
    async fn store(&mut self, round: Round) -> Result<(), Interruption> {
        round.skipped.iter().for_each(|skipped| self.skip(skipped));
        if round.commits.is_empty() {
            return Ok(());
        }
        let answers = self.local.append_ordered(round.commits).await;
        self.answer(&round.ids, answers.map_err(|error| self.refused(error))?);
        Ok(())
    }

    fn skip(&mut self, skipped: &Skipped) {
        let late = skipped.late();
        // An own commit that comes late has not come before, and does not count if it comes again.
        if let Some(id) = late {
            self.shared.outbox().give_up(id, &AppendError::Unavailable);
            self.shared.notify_if_idle();
        }
        let Skipped { sequence, why, .. } = skipped;
        if *sequence <= self.skipped {
            return;
        }
        self.skipped = *sequence;
        if late.is_some() {
            self.shared.count(|counters| counters.late += 1);
            tracing::warn!(sequence, %why, "a commit is skipped");
        } else {
            self.shared.count(|counters| counters.skipped += 1);
            tracing::error!(sequence, %why, "a message of the engine is skipped");
        }
    }

    fn answer(&self, ids: &[Option<MessageId>], answers: Vec<Vec<Answer>>) {
        let stored = answers.iter().flatten().flatten().flatten();
        let entries = stored.filter(|appended| !appended.repeated).count();
        let (mut commits, mut batches) = (0, 0);
        let mut outbox = self.shared.outbox();
        for (id, answers) in ids.iter().zip(answers) {
            let Some(delivered) = id.and_then(|id| outbox.deliver(id, answers)) else { continue };
            commits += 1;
            batches += delivered as u64;
        }
        drop(outbox);
        self.shared.count(|counters| {
            counters.commits += commits;
            counters.batches += batches;
            counters.applied_commits += ids.len() as u64;
            counters.applied_entries += entries as u64;
        });
        self.shared.notify_if_idle();
    }

    /// The local log does not store commits. They are read from the engine again.
    fn refused(&self, error: AppendAtError) -> Interruption {
        let is_final =
            matches!(error, AppendAtError::Append(AppendError::Failed(_) | AppendError::Closed));
        if is_final {
            return Interruption::Stop(Stopped::Failed(error));
        }
        self.shared.count(|counters| counters.retries += 1);
        Interruption::Again(error.to_string())
    }

    /// Messages were removed from the engine, and retention has not done that: somebody has.
    fn removed_before(&mut self, end: u64) {
        let (first, last) = (self.place.applied + 1, end - 1);
        if first > last {
            return;
        }
        tracing::error!(first, last, "messages were removed from the engine");
        self.shared.count(|counters| counters.missing += end - first);
        self.place.applied = last;
        self.shared.applied(last);
    }
}

/// The next messages of a tail that is not silent.
async fn next(tail: &mut dyn Tail) -> Result<Vec<Stored>, Interruption> {
    let silent = |_| Interruption::Again("the tail is silent".into());
    Ok(timeout(SILENCE, tail.next()).await.map_err(silent)??)
}
