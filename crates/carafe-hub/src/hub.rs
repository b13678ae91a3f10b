//! Publish and subscribe.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use carafe_log::{AppendError, Appended, Entry, Find, Followed, Log, Publication, ReadError};
use carafe_protocol::Position;
use slab::Slab;

use crate::core::{Core, Cursor};
use crate::counts::{Counts, HubCounts};
use crate::feeds::SubscriberId;
use crate::gap::{Gap, GapReason};
use crate::replays::Replays;
use crate::retention::{Retention, Retentions};
use crate::subscription::Subscription;
use crate::{Drain, Start, Subscribe, SubscribeError, counts};

/// Publishes to a log, and delivers from it. Clones are handles to the same hub.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// What a hub may use, and how long it shows events.
#[derive(Clone, Debug)]
pub struct HubLimits {
    /// About how many bytes of recent entries are held ready.
    pub ring_bytes: usize,
    /// Topics and patterns that one subscription may ask for.
    pub matchers: usize,
    /// Distinct patterns in use that are neither literals, `:name` nor `*` between slashes.
    pub complex_patterns: usize,
    /// Subscriptions that may read the log at once; the others wait for their turn.
    pub replays: usize,
    /// Topics whose events are shown for a shorter time than the log keeps them. Who resumes from before what is not
    /// shown any more is told a gap.
    pub retention: Vec<Retention>,
}

impl Default for HubLimits {
    /// 64 MiB, 100 matchers, 1000 complex patterns, 64 replays; all that the log keeps is shown.
    fn default() -> Self {
        Self {
            ring_bytes: 64 << 20,
            matchers: 100,
            complex_patterns: 1000,
            replays: 64,
            retention: Vec::new(),
        }
    }
}

/// Why an event was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Types that begin with `carafe.` are the hub's own.
    #[error(
        "the event type `{0}` is reserved: types that begin with `carafe.` are the hub's own, use another"
    )]
    ReservedType(String),
    /// The hub is draining.
    #[error("the hub is shutting down: publish again in a moment")]
    Draining,
    /// The log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Hub {
    /// A hub on this log, with the default limits.
    #[must_use]
    pub fn new(log: impl Log + 'static) -> Self {
        Self::with_limits(log, HubLimits::default())
    }

    /// A hub on this log.
    #[must_use]
    pub fn with_limits(log: impl Log + 'static, limits: HubLimits) -> Self {
        let log: Arc<dyn Log> = Arc::new(log);
        let core = Core::new(limits.ring_bytes, limits.complex_patterns, log.span().tail);
        let state =
            Mutex::new(State { core, early: Some(Vec::new()), subscribers: Slab::new(), draining: false });
        let retentions = Retentions::new(limits.retention.clone());
        let (replays, counts) = (Replays::new(limits.replays), Counts::default());
        let shared = Arc::new(Shared { log, limits, retentions, replays, counts, state });
        let follower = Arc::downgrade(&shared);
        let follower = move |entries: &[Arc<Entry>]| {
            if let Some(shared) = follower.upgrade() {
                shared.deliver(entries);
            }
        };
        let followed = shared.log.follow(shared.limits.ring_bytes, Box::new(follower));
        shared.state().start(&followed, &shared.limits);
        Self { shared }
    }

    /// Publishes one event, and answers when the log has it.
    ///
    /// # Errors
    /// When the type is reserved, the hub is draining, or the log does not take it; nothing is stored then.
    pub async fn publish(&self, publication: Publication) -> Result<Appended, PublishError> {
        let appended = self.publish_all(vec![publication]).await?;
        Ok(appended[0])
    }

    /// Publishes a batch in order, whole or not at all.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_all(&self, batch: Vec<Publication>) -> Result<Vec<Appended>, PublishError> {
        if self.shared.state().draining {
            return Err(PublishError::Draining);
        }
        batch.iter().try_for_each(refuse_reserved_type)?;
        let sizes = counts::sizes(&batch);
        let appended = self.shared.log.append(batch).await?;
        self.shared.counts.published(&sizes, &appended);
        Ok(appended)
    }

    /// Opens a subscription.
    ///
    /// # Errors
    /// When it asks for too much or for what it may not see, the hub is draining, or the log cannot be read.
    pub async fn subscribe(&self, mut request: Subscribe) -> Result<Subscription, SubscribeError> {
        request.complete();
        request.check()?;
        let limit = self.shared.limits.matchers;
        if request.matchers.len() > limit {
            return Err(SubscribeError::TooManyMatchers { limit });
        }
        let origin = self.shared.origin(&request).await?;
        self.shared.join(&request, origin)
    }

    /// The newest position that the hub has read: whoever subscribes after it misses nothing that comes.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.state().core.tail()
    }

    /// How many subscriptions are open.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.shared.state().subscribers()
    }

    /// What it has done so far, and what it is doing now.
    #[must_use]
    pub fn counts(&self) -> HubCounts {
        let Shared { log, replays, counts, .. } = &*self.shared;
        counts.so_far(self.subscriptions(), replays, log.span())
    }

    /// Whether [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.state().draining
    }

    /// Takes no new subscriptions and events from now on; the open streams end as the [`Drain`] is driven.
    #[must_use = "the open streams end only as the drain is driven"]
    pub fn drain(&self) -> Drain {
        self.shared.state().draining = true;
        Drain::new(Arc::clone(&self.shared))
    }
}

fn refuse_reserved_type(publication: &Publication) -> Result<(), PublishError> {
    match publication.event().event_type() {
        Some(event_type) if event_type.as_str().starts_with("carafe.") => {
            Err(PublishError::ReservedType(event_type.to_string()))
        }
        _ => Ok(()),
    }
}

/// Where a subscription begins, and what it is told about that.
#[derive(Default)]
pub(crate) struct Origin {
    /// After which position; the tail where none is given.
    after: Option<Position>,
    gap: Option<Gap>,
    /// The position is beyond the tail.
    ahead: bool,
}

pub(crate) struct Shared {
    pub(crate) log: Arc<dyn Log>,
    limits: HubLimits,
    pub(crate) retentions: Retentions,
    pub(crate) replays: Replays,
    pub(crate) counts: Counts,
    // One lock: an entry is in the ring and in its feeds, or in neither, and a subscription that found nothing
    // has left its waker before the next entry comes. While it is held, the log is never called, and no waker is called or
    // dropped: either may be a task's end, which leaves the hub.
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, entries: &[Arc<Entry>]) {
        let wakers = self.state().push(entries);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Resolves the start of a request, which may read the log.
    async fn origin(&self, request: &Subscribe) -> Result<Origin, ReadError> {
        let at = |position| Origin { after: Some(position), ..Origin::default() };
        match &request.start {
            Start::Tail => Ok(Origin::default()),
            Start::Earliest => Ok(at(self.log.span().start)),
            Start::Last(count) => {
                let _turn = self.replays.turn().await;
                let (wanted, visible) = (request.matchers.clone(), request.access.visible());
                Ok(at(self.log.before_last(*count, wanted, visible).await?))
            }
            Start::After(id) => match id.parse() {
                Ok(position) => self.resume(position).await,
                Err(_) => Ok(self.beyond_gap(id.clone(), GapReason::Foreign)),
            },
        }
    }

    /// Where a subscription goes on that has seen everything up to `position`.
    pub(crate) async fn resume(&self, position: Position) -> Result<Origin, ReadError> {
        Ok(match self.log.find(position).await? {
            Find::Found => Origin { after: Some(position), ..Origin::default() },
            Find::Ahead => Origin { after: Some(position), gap: None, ahead: true },
            Find::Trimmed => self.beyond_gap(position.to_string(), GapReason::Trimmed),
            Find::Foreign => self.beyond_gap(position.to_string(), GapReason::Foreign),
        })
    }

    /// What is told to who goes on with the oldest entry.
    pub(crate) fn gap(&self, requested: String, reason: GapReason) -> Gap {
        let span = self.log.span();
        Gap { requested, oldest: span.oldest, reason, goes_on_after: span.start }
    }

    pub(crate) fn beyond_gap(&self, requested: String, reason: GapReason) -> Origin {
        let gap = self.gap(requested, reason);
        Origin { after: Some(gap.goes_on_after), gap: Some(gap), ahead: false }
    }

    fn join(self: &Arc<Self>, request: &Subscribe, origin: Origin) -> Result<Subscription, SubscribeError> {
        let mut state = self.state();
        if state.draining {
            return Err(SubscribeError::Draining);
        }
        let after = origin.after.unwrap_or(state.core.tail());
        let id = state.subscribers.vacant_key() as SubscriberId;
        let cursor = state.core.join(id, &request.matchers, after, &request.access)?;
        state.subscribers.insert(Subscriber::default());
        drop(state);
        let begins = matches!(request.start, Start::Earliest | Start::Last(_));
        Ok(Subscription::new(Arc::clone(self), id, cursor, begins, origin.into()))
    }
}

impl From<Origin> for (Option<Position>, Option<Gap>, bool) {
    fn from(origin: Origin) -> Self {
        (origin.after, origin.gap, origin.ahead)
    }
}

pub(crate) struct State {
    pub(crate) core: Core,
    /// What the log handed over before the hub knew from where it follows.
    early: Option<Vec<Arc<Entry>>>,
    subscribers: Slab<Subscriber>,
    draining: bool,
}

/// What is known of a subscription while it is not being polled.
#[derive(Default)]
struct Subscriber {
    /// It has caught up, and nothing that it wants has come since.
    waker: Option<Waker>,
    /// It was woken: up to here, nothing that it wants had come.
    caught_up_to: Option<Position>,
    ending: bool,
}

impl Subscriber {
    /// A subscription that waits stands where the tail is, however long ago it was polled.
    fn wake(&mut self, tail: Position) -> Option<Waker> {
        let waker = self.waker.take()?;
        self.caught_up_to = Some(tail);
        Some(waker)
    }
}

impl State {
    /// Begins with the newest entries that the log has, so that who comes back soon is served from memory.
    fn start(&mut self, followed: &Followed, limits: &HubLimits) {
        self.core = Core::new(limits.ring_bytes, limits.complex_patterns, followed.after);
        let early = self.early.take().unwrap_or_default();
        self.push(&followed.recent);
        self.push(&early);
    }

    fn push(&mut self, entries: &[Arc<Entry>]) -> Vec<Waker> {
        if let Some(early) = &mut self.early {
            early.extend_from_slice(entries);
            return Vec::new();
        }
        let (mut wanting, mut wakers) = (Vec::new(), Vec::new());
        for entry in entries {
            let before = self.core.tail();
            self.core.push(Arc::clone(entry), &mut wanting);
            let woken = wanting.drain(..).filter_map(|id| self.subscribers[id as usize].wake(before));
            wakers.extend(woken);
        }
        wakers
    }

    /// Up to where a subscription that waited has missed nothing, and the waker that it left.
    pub(crate) fn caught_up_to(&mut self, id: SubscriberId) -> (Option<Position>, Option<Waker>) {
        let tail = self.core.tail();
        let subscriber = &mut self.subscribers[id as usize];
        let waker = subscriber.wake(tail);
        (subscriber.caught_up_to.take(), waker)
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// Leaves the waker of a subscription that has caught up; `false` if it has to end instead.
    pub(crate) fn wait(&mut self, id: SubscriberId, waker: &Waker) -> bool {
        let subscriber = &mut self.subscribers[id as usize];
        if subscriber.ending {
            return false;
        }
        subscriber.waker = Some(waker.clone());
        true
    }

    /// Forgets a subscription, and gives the waker that it left.
    pub(crate) fn leave(&mut self, id: SubscriberId, cursor: &Cursor) -> Option<Waker> {
        self.core.leave(cursor);
        self.subscribers.remove(id as usize).waker
    }

    /// Marks up to `count` subscriptions to end, and gives their wakers.
    pub(crate) fn end(&mut self, count: usize) -> Vec<Option<Waker>> {
        let tail = self.core.tail();
        let open = self.subscribers.iter_mut().filter(|(_, subscriber)| !subscriber.ending);
        open.take(count)
            .map(|(_, subscriber)| {
                subscriber.ending = true;
                subscriber.wake(tail)
            })
            .collect()
    }
}
