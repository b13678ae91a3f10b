//! The events of an ingest request on their way into the log, and the memory that they hold.
//!
//! One batch is being appended at a time, while the next one is decoded: so the order of the events
//! is kept, and as many share a commit as arrive during one.

use std::mem;
use std::pin::Pin;
use std::time::Duration;

use carafe_hub::Hub;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::answer::problem::Problem;
use crate::answer::progress::Progress;
use crate::api::body::{WAIT, no_room};
use crate::api::ingest::append::{Appended, append};
use crate::api::ingest::events::{Batch, Decoded};
use crate::api::ingest::on_abort::OnAbort;
use crate::observe::metrics::Metrics;
use crate::policy::body_budget::Held;

/// The most events of a batch, and the most bytes after which it takes no more.
const EVENTS: usize = 1000;
const BYTES: usize = 256 << 10;

/// For how long the answer to a client that has left waits for the end of its topic.
const ANSWERS_AFTER: Duration = Duration::from_secs(1);

/// How often an event is in memory while it is appended: an append that fails is repeated for a
/// part of its batch.
const COPIES: usize = 2;

/// The events that were decoded and are not stored yet. If it is dropped, the rest is stored all
/// the same: its events have arrived.
pub(crate) struct Store {
    hub: Hub,
    metrics: Metrics,
    waiting: Batch,
    appending: Option<Appending>,
    progress: Progress,
    held: Held,
    /// What is to be done if the client leaves; `None` once the request has ended.
    on_abort: Option<OnAbort>,
    /// It is the rest of a request whose client has left. A runtime that shuts down drops it.
    is_rest: bool,
}

struct Appending {
    weight: usize,
    done: Pin<Box<dyn Future<Output = Appended> + Send>>,
}

impl Store {
    pub(crate) fn new(hub: &Hub, metrics: &Metrics, held: Held) -> Self {
        Self {
            hub: hub.clone(),
            metrics: metrics.clone(),
            waiting: Batch::default(),
            appending: None,
            progress: Progress::default(),
            held,
            on_abort: None,
            is_rest: false,
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether all events are stored.
    pub(crate) fn is_idle(&self) -> bool {
        self.appending.is_none() && self.waiting.publications.is_empty()
    }

    /// Whether a batch is being appended.
    pub(crate) fn is_appending(&self) -> bool {
        self.appending.is_some()
    }

    /// Whether no event can be added until a batch is stored.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.publications.len() >= EVENTS || self.waiting.weight >= BYTES
    }

    pub(crate) fn push(&mut self, event: Decoded) {
        self.waiting.weight += event.weight();
        self.waiting.publications.push(event.publication);
        self.waiting.places.push(event.place);
    }

    /// Whether there is memory for the events, and so many bytes of the next one. What is not
    /// needed any more is given back.
    pub(crate) async fn has_room(&mut self, next: usize) -> bool {
        let needed = self.needed(next);
        self.held.shrink_to(needed);
        self.held.has_room(needed).await
    }

    /// Waits until there is memory.
    pub(crate) async fn wait_for_room(&mut self, next: usize) -> Result<(), Problem> {
        let needed = self.needed(next);
        let room = self.held.grow_to(needed, &mut { WAIT }).await;
        room.map_err(|why| no_room(why, self.held.largest_body()))
    }

    fn needed(&self, next: usize) -> usize {
        let appending = self.appending.as_ref().map_or(0, |appending| appending.weight);
        // An open request holds something always, so the budget limits how many there are.
        (COPIES * appending + self.waiting.weight + next).max(1)
    }

    /// Begins to append what waits, unless a batch is being appended. Returns whether it has begun,
    /// and there is room for the next batch.
    pub(crate) fn begin(&mut self) -> bool {
        if self.appending.is_some() || self.waiting.publications.is_empty() {
            return false;
        }
        let batch = mem::take(&mut self.waiting);
        let weight = batch.weight;
        let done = Box::pin(append(self.hub.clone(), self.metrics.clone(), batch));
        self.appending = Some(Appending { weight, done });
        true
    }

    /// Waits for the batch that is being appended. It may be dropped and called again. After a
    /// failure, what waits is dropped: nothing may follow a gap.
    pub(crate) async fn appended(&mut self) -> Result<(), Problem> {
        let Some(appending) = &mut self.appending else { return Ok(()) };
        let Appended { progress, failed, is_unsure } = appending.done.as_mut().await;
        self.appending = None;
        self.progress.join(progress);
        if let Some(on_abort) = &mut self.on_abort {
            progress.last.into_iter().for_each(|last| on_abort.has_stored(last));
            if is_unsure {
                on_abort.is_unsure();
            }
        }
        let Some(failed) = failed else { return Ok(()) };
        self.waiting = Batch::default();
        Err(failed)
    }

    /// Stores everything.
    pub(crate) async fn flush(&mut self) -> Result<(), Problem> {
        while !self.is_idle() {
            self.begin();
            self.appended().await?;
        }
        Ok(())
    }

    /// Sets what is to be done if the client leaves.
    pub(crate) fn set_on_abort(&mut self, on_abort: OnAbort) {
        self.on_abort = Some(on_abort);
    }

    /// The request has ended, and its client is there.
    pub(crate) fn is_done(&mut self) {
        self.on_abort = None;
    }

    /// The client has left, and all events are stored. What is to be done then is done by a task,
    /// and also if nobody waits for it.
    pub(crate) async fn abort(&mut self) {
        let Some(on_abort) = self.on_abort.take().filter(OnAbort::ends_a_topic) else { return };
        let (hub, held) = (self.hub.clone(), self.held.take());
        let ending = tokio::spawn(async move {
            on_abort.run(&hub).await;
            // The budget limits how many such tasks there are.
            drop(held);
        });
        // Not longer: the engine of a cluster may be away.
        let _ = timeout(ANSWERS_AFTER, ending).await;
    }

    fn has_more_to_do(&self) -> bool {
        !self.is_idle() || self.on_abort.as_ref().is_some_and(OnAbort::ends_a_topic)
    }
}

impl Drop for Store {
    /// The client has left in the middle of the body.
    fn drop(&mut self) {
        // Outside the runtime, and during its shutdown, nothing is stored any more. A runtime that
        // shuts down drops each task that is spawned at once, and with it this.
        if !self.is_rest
            && let Ok(runtime) = Handle::try_current()
            && self.has_more_to_do()
        {
            let mut rest = Self::new(&self.hub, &self.metrics, self.held.take());
            mem::swap(&mut rest.waiting, &mut self.waiting);
            mem::swap(&mut rest.appending, &mut self.appending);
            rest.on_abort = self.on_abort.take();
            rest.is_rest = true;
            runtime.spawn(async move {
                // An event that is not stored is as lost as one that did not arrive.
                let _ = rest.flush().await;
                rest.abort().await;
            });
        }
    }
}
