//! Publish and subscribe.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use carafe_log::{AppendError, Appended, Entry, Find, Followed, Log, Publication, ReadError};
use carafe_protocol::{Generation, Offset, Position, TopicMatcher};

use crate::compiler::Compiler;
use crate::core::{Core, Cursor, Interest};
use crate::counts::{Counts, HubCounts};
use crate::dispatcher::{Dispatcher, Notice};
use crate::feeds::PatternLimits;
use crate::gap::{Gap, GapReason};
use crate::ids::{DispatcherId, GroupId, SubscriptionId};
use crate::membership::Membership;
use crate::paged_table::PagedTable;
use crate::patterns::TooMany;
use crate::replays::Replays;
use crate::retention::{Retention, Retentions};
use crate::subscription::{Frames, Subscription};
use crate::{Access, Client, Drain, Start, Subscribe, SubscribeError, counts};

/// How many entries are taken in at a time.
const AT_ONCE: usize = 32;

/// Publishes to a log, and delivers from it. Clones are handles to the same hub.
#[derive(Clone)]
pub struct Hub {
    pub(crate) shared: Arc<Shared>,
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
    /// Of these, how many one client may have, by [`Subscribe::by`].
    pub complex_patterns_per_client: usize,
    /// Subscriptions that may read the log at once; the others wait for their turn.
    pub replays: usize,
    /// Of these, how many one client may have, by [`Subscribe::by`].
    pub replays_per_client: usize,
    /// Topics whose events are shown for a shorter time than the log keeps them. Who resumes from
    /// before what is not shown any more is told a gap.
    pub retention: Vec<Retention>,
}

impl HubLimits {
    fn patterns(&self) -> PatternLimits {
        PatternLimits {
            in_all: self.complex_patterns,
            per_client: self.complex_patterns_per_client,
        }
    }
}

impl Default for HubLimits {
    /// 64 MiB, 100 matchers, 1000 complex patterns, 100 of one client, 64 replays, 4 of one client;
    /// all that the log keeps is shown.
    fn default() -> Self {
        Self {
            ring_bytes: 64 << 20,
            matchers: 100,
            complex_patterns: 1000,
            complex_patterns_per_client: 100,
            replays: 64,
            replays_per_client: 4,
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
        let core = Core::new(limits.ring_bytes, limits.patterns(), log.span().tail);
        let state = Mutex::new(State::new(core));
        let retentions = Retentions::new(limits.retention.clone(), log.clock());
        let replays = Replays::new(limits.replays, limits.replays_per_client);
        let (compiler, counts) = (Compiler::new(), Counts::default());
        let shared = Arc::new(Shared { log, limits, retentions, replays, compiler, counts, state });
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
    /// When the type is reserved, the hub is draining, or the log does not take it; nothing is
    /// stored then.
    pub async fn publish(&self, publication: Publication) -> Result<Appended, PublishError> {
        let appended = self.publish_all(vec![publication]).await?;
        Ok(appended[0])
    }

    /// Publishes a batch in order, whole or not at all.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_all(
        &self,
        batch: Vec<Publication>,
    ) -> Result<Vec<Appended>, PublishError> {
        if self.shared.state().draining {
            return Err(PublishError::Draining);
        }
        batch.iter().try_for_each(refuse_reserved_type)?;
        let sizes = counts::sizes(&batch);
        let appended = self.shared.log.append(batch).await?;
        self.shared.counts.published(&sizes, &appended);
        Ok(appended)
    }

    /// Opens a subscription. The request is a [`Subscribe`], or anything that converts into one: a
    /// topic, a pattern, a matcher, or a text that [`TopicMatcher::parse`] accepts.
    ///
    /// ```
    /// # use carafe_hub::{Hub, SubscribeError};
    /// # use carafe_log::MemoryLog;
    /// # async fn example() -> Result<(), SubscribeError> {
    /// let hub = Hub::new(MemoryLog::default());
    /// let subscription = hub.subscribe("orders/*").await?;
    /// # drop(subscription);
    /// # Ok(()) }
    /// ```
    ///
    /// [`TopicMatcher::parse`]: carafe_protocol::TopicMatcher::parse
    ///
    /// # Errors
    /// When it asks for too much or for what it may not see, the hub is draining, or the log cannot
    /// be read.
    pub fn subscribe<R>(
        &self,
        request: R,
    ) -> impl Future<Output = Result<Subscription, SubscribeError>> + use<'_, R>
    where
        R: TryInto<Subscribe, Error: Into<SubscribeError>>,
    {
        // Converted here, so that the future holds no `R` and is `Send` for any.
        let request = request.try_into().map_err(Into::into);
        async move { self.open(request?).await }
    }

    async fn open(&self, mut request: Subscribe) -> Result<Subscription, SubscribeError> {
        request.complete();
        request.check()?;
        let limit = request.limit.unwrap_or(self.shared.limits.matchers);
        if request.matchers.len() > limit {
            return Err(SubscribeError::TooManyMatchers { limit });
        }
        self.shared.check_complex(request.complex(), request.client)?;
        let origin = self.shared.origin(&request).await?;
        let subscription = self.shared.join(&request, origin)?;
        self.shared.look_back(&subscription.membership.cursor).await;
        Ok(subscription)
    }

    /// Whether a subscription may ask for so many topics and patterns, so many of which have to be
    /// compiled. To be asked before they are.
    ///
    /// # Errors
    /// When it would be refused whatever they are.
    pub fn check_matchers(
        &self,
        matchers: usize,
        compiled: usize,
        client: Option<Client>,
    ) -> Result<(), SubscribeError> {
        let HubLimits { matchers: limit, .. } = self.shared.limits;
        if matchers > limit {
            return Err(SubscribeError::TooManyMatchers { limit });
        }
        self.shared.check_complex(compiled, client)
    }

    /// Compiles a pattern when it is the client's turn, on a thread of its own: it takes up to some
    /// milliseconds. One is compiled at a time.
    ///
    /// # Panics
    /// When `compile` does.
    pub async fn compile<T: Send + 'static>(
        &self,
        client: Option<Client>,
        compile: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        self.shared.compiler.run(client, compile).await
    }

    /// A way out for subscriptions whose bytes its driver writes. `bell` is called when there is
    /// something to be done.
    #[must_use]
    pub fn dispatcher(&self, bell: Waker) -> Dispatcher {
        Dispatcher::new(Arc::clone(&self.shared), bell)
    }

    /// Whether a stream is one of this hub.
    #[must_use]
    pub fn owns(&self, frames: &Frames) -> bool {
        Arc::ptr_eq(&self.shared, &frames.subscription.membership.shared)
    }

    /// The newest position that the hub has read: whoever subscribes after it misses nothing that
    /// comes.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.state().core.tail()
    }

    /// How many subscriptions are open.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.shared.state().streams()
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

    /// Takes no new subscriptions and events from now on; the open streams end as the [`Drain`] is
    /// driven.
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
    compiler: Compiler,
    pub(crate) counts: Counts,
    // One lock: an entry is in the ring and in its feeds, or in neither, and a subscription that
    // found nothing has left its waker before the next entry comes. While it is held, the log is
    // never called, and no waker is called or dropped: either may be a task's end, which leaves the
    // hub.
    state: Mutex<State>,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes entries in, some at a time: what else the lock is for is never held up for long.
    fn deliver(&self, entries: &[Arc<Entry>]) {
        for entries in entries.chunks(AT_ONCE) {
            let wakers = self.push(entries);
            wakers.into_iter().for_each(Waker::wake);
            while self.state().core.evict() {}
        }
    }

    fn push(&self, entries: &[Arc<Entry>]) -> Vec<Waker> {
        loop {
            let mut state = self.state();
            let Some(untested) = state.core.untested(entries) else { return state.push(entries) };
            drop(state);
            let tested = untested.test();
            self.state().core.learn(tested);
        }
    }

    /// Lets a subscription that goes on within the ring be served from there, if its patterns are
    /// new and that takes few tests.
    async fn look_back(&self, cursor: &Cursor) {
        let mut next = self.state().core.older(&cursor.interest, cursor.position);
        while let Some(older) = next {
            // Without the lock.
            let found = older.test();
            next = self.state().core.know_older(found, &cursor.interest, cursor.position);
            if next.is_some() {
                yield_now().await;
            }
        }
    }

    /// Refuses what could never be had.
    fn check_complex(&self, count: usize, client: Option<Client>) -> Result<(), SubscribeError> {
        let HubLimits { complex_patterns, complex_patterns_per_client, .. } = self.limits;
        let of_client = client.map_or(usize::MAX, |_| complex_patterns_per_client);
        let limit = complex_patterns.min(of_client);
        if count > limit { Err(SubscribeError::TooComplex { limit }) } else { Ok(()) }
    }

    /// Resolves the start of a request, which may read the log.
    async fn origin(&self, request: &Subscribe) -> Result<Origin, ReadError> {
        let at = |position| Origin { after: Some(position), ..Origin::default() };
        match &request.start {
            Start::Tail => Ok(Origin::default()),
            Start::Earliest => Ok(at(self.log.span().start)),
            Start::Last(count) => {
                let _turn = self.replays.turn(request.client).await;
                let (wanted, access) = (request.matchers.clone(), request.access.clone());
                Ok(at(self.log.before_last(*count, wanted, access).await?))
            }
            Start::After(position) => self.resume(*position, request.client).await,
            Start::AfterId(id) => match id.parse() {
                Ok(position) => self.resume(position, request.client).await,
                Err(_) => Ok(self.beyond_gap(id.clone(), GapReason::Foreign)),
            },
        }
    }

    /// Where a subscription goes on that has seen everything up to `position`.
    pub(crate) async fn resume(
        &self,
        position: Position,
        client: Option<Client>,
    ) -> Result<Origin, ReadError> {
        // Who comes back soon, as all do after a restart, costs no look at the log.
        if position.offset >= self.log.span().start.offset && self.state().core.has(position) {
            return Ok(Origin { after: Some(position), ..Origin::default() });
        }
        let _turn = self.replays.turn(client).await;
        Ok(match self.log.find(position).await? {
            Find::Found => Origin { after: Some(position), ..Origin::default() },
            Find::Ahead => Origin { after: Some(position), gap: None, ahead: true },
            Find::Lost { common } => self.lost(position, common),
            Find::Trimmed => self.beyond_gap(position.to_string(), GapReason::Trimmed),
            Find::Foreign => self.beyond_gap(position.to_string(), GapReason::Foreign),
        })
    }

    /// Goes on after the last entry that is still the same.
    fn lost(&self, position: Position, common: Position) -> Origin {
        let gap = self.lost_gap(position, common);
        Origin { after: Some(common), gap: Some(gap), ahead: false }
    }

    /// What is told to who goes on with the oldest entry.
    pub(crate) fn gap(&self, requested: String, reason: GapReason) -> Gap {
        let span = self.log.span();
        Gap { requested, oldest: span.oldest, reason, resume_after: span.start }
    }

    /// What is told to a subscription that has seen entries that were lost.
    pub(crate) fn lost_gap(&self, requested: Position, common: Position) -> Gap {
        let (requested, oldest) = (requested.to_string(), self.log.span().oldest);
        Gap { requested, oldest, reason: GapReason::Lost, resume_after: common }
    }

    /// Goes on behind entries that are lost in the middle of the log.
    pub(crate) fn beyond_loss(&self, requested: String, up_to: Position) -> Origin {
        let gap = Gap { resume_after: up_to, ..self.gap(requested, GapReason::Lost) };
        Origin { after: Some(up_to), gap: Some(gap), ahead: false }
    }

    pub(crate) fn beyond_gap(&self, requested: String, reason: GapReason) -> Origin {
        let gap = self.gap(requested, reason);
        Origin { after: Some(gap.resume_after), gap: Some(gap), ahead: false }
    }

    fn join(
        self: &Arc<Self>,
        request: &Subscribe,
        origin: Origin,
    ) -> Result<Subscription, SubscribeError> {
        let mut state = self.state();
        if state.draining {
            return Err(SubscribeError::Draining);
        }
        let position = origin.after.unwrap_or(state.core.tail());
        let (id, interest) = state.join(&request.matchers, &request.access, request.client)?;
        drop(state);
        let begins = matches!(request.start, Start::Earliest | Start::Last(_));
        let cursor = Cursor { interest, position };
        let membership = Membership { shared: Arc::clone(self), id, cursor };
        Ok(Subscription::new(membership, begins, origin.into()))
    }
}

/// Lets other tasks of the thread have their turn.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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
    subscribers: PagedTable<SubscriptionId, Subscriber>,
    /// What each dispatcher has to look at.
    pub(crate) notices: PagedTable<DispatcherId, Notice>,
    /// How many subscribers are groups, which are no streams themselves.
    groups: usize,
    draining: bool,
}

/// What is known of a subscription while it is not being polled.
#[derive(Default)]
struct Subscriber {
    standing: Standing,
    ending: bool,
    /// Its streams are a dispatcher's, and end by that.
    is_group: bool,
}

/// Whether a subscription waits.
#[derive(Default)]
enum Standing {
    /// It is being polled, or has yet to be.
    #[default]
    Busy,
    /// It has caught up, and nothing that it wants has come since.
    Waits(Waiter),
    /// Something has. Up to here, nothing had.
    // Field by field, since there is no room for the variant's number within a position.
    Woken { generation: Generation, offset: Offset, nonce: u32 },
}

/// Who waits for what a subscription wants.
pub(crate) enum Waiter {
    /// A task.
    Task(Waker),
    /// A group of subscriptions that a dispatcher serves.
    Group(DispatcherId, GroupId),
}

impl Subscriber {
    /// Whether it is a stream of its own that does not end yet.
    fn is_open_stream(&self) -> bool {
        !self.ending && !self.is_group
    }

    /// A subscription that waits stands where the tail is, however long ago it was polled.
    fn wake(&mut self, tail: Position) -> Option<Waiter> {
        match std::mem::take(&mut self.standing) {
            Standing::Waits(waiter) => {
                let Position { generation, offset, nonce } = tail;
                self.standing = Standing::Woken { generation, offset, nonce };
                Some(waiter)
            }
            other => {
                self.standing = other;
                None
            }
        }
    }
}

impl State {
    fn new(core: Core) -> Self {
        let (subscribers, notices) = (PagedTable::new(), PagedTable::new());
        Self { core, early: Some(Vec::new()), subscribers, notices, groups: 0, draining: false }
    }

    /// Begins with the newest entries that the log has, so that who comes back soon is served from
    /// memory.
    fn start(&mut self, followed: &Followed, limits: &HubLimits) {
        self.core = Core::new(limits.ring_bytes, limits.patterns(), followed.after);
        let early = self.early.take().unwrap_or_default();
        self.push(&followed.recent);
        self.push(&early);
        while self.core.evict() {}
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
            for id in wanting.drain(..) {
                let waiter = self.subscribers[id].wake(before);
                wakers.extend(waiter.and_then(|waiter| self.waker(waiter)));
            }
        }
        wakers
    }

    /// Whom to wake for it; nobody if a dispatcher has been woken already.
    fn waker(&mut self, waiter: Waiter) -> Option<Waker> {
        match waiter {
            Waiter::Task(waker) => Some(waker),
            Waiter::Group(notice, group) => self.notices[notice].touch(group),
        }
    }

    /// Adds a member.
    fn join(
        &mut self,
        matchers: &[TopicMatcher],
        access: &Access,
        client: Option<Client>,
    ) -> Result<(SubscriptionId, Interest), TooMany> {
        let id = self.subscribers.vacant_key();
        let interest = self.core.join(id, matchers, access, client)?;
        self.subscribers.insert(Subscriber::default());
        Ok((id, interest))
    }

    /// Adds a member that wants what another wants.
    pub(crate) fn join_as(&mut self, other: &Interest) -> (SubscriptionId, Interest) {
        let id = self.subscribers.insert(Subscriber::default());
        (id, self.core.join_as(id, other))
    }

    /// Up to where a subscription that waited has missed nothing, and what waited for it.
    pub(crate) fn caught_up_to(
        &mut self,
        id: SubscriptionId,
    ) -> (Option<Position>, Option<Waiter>) {
        match std::mem::take(&mut self.subscribers[id].standing) {
            Standing::Busy => (None, None),
            Standing::Waits(waiter) => (Some(self.core.tail()), Some(waiter)),
            Standing::Woken { generation, offset, nonce } => {
                (Some(Position { generation, offset, nonce }), None)
            }
        }
    }

    /// Whether a subscription has all that there is and goes on; its cursor stands where the tail
    /// is then. What waited for it is to be dropped after the lock.
    pub(crate) fn has_caught_up(
        &mut self,
        id: SubscriptionId,
        cursor: &mut Cursor,
    ) -> (bool, Option<Waiter>) {
        let (caught_up_to, waiter) = self.caught_up_to(id);
        caught_up_to.into_iter().for_each(|position| cursor.advance(position));
        let has = !self.subscribers[id].ending
            && self.core.has_caught_up(&cursor.interest, cursor.position);
        if has {
            cursor.advance(self.core.tail());
        }
        (has, waiter)
    }

    /// Up to where a subscription that waits, or has waited until it was woken, has missed nothing.
    pub(crate) fn waited_to(&self, id: SubscriptionId) -> Option<Position> {
        match &self.subscribers[id].standing {
            Standing::Busy => None,
            Standing::Waits(_) => Some(self.core.tail()),
            Standing::Woken { generation, offset, nonce } => {
                Some(Position { generation: *generation, offset: *offset, nonce: *nonce })
            }
        }
    }

    /// How many streams are open.
    pub(crate) fn streams(&self) -> usize {
        let settled: usize = self.notices.values().map(Notice::settled).sum();
        self.subscribers.len() + settled - self.groups
    }

    /// Leaves what waits for a subscription that has caught up; `false` if it has to end instead.
    pub(crate) fn wait(&mut self, id: SubscriptionId, waiter: Waiter) -> bool {
        let subscriber = &mut self.subscribers[id];
        if subscriber.ending {
            return false;
        }
        subscriber.standing = Standing::Waits(waiter);
        true
    }

    /// Makes a subscription that has caught up the one of a group.
    pub(crate) fn become_group(
        &mut self,
        id: SubscriptionId,
        notice: DispatcherId,
        group: GroupId,
    ) {
        let subscriber = &mut self.subscribers[id];
        subscriber.is_group = true;
        self.groups += 1;
        subscriber.standing = Standing::Waits(Waiter::Group(notice, group));
    }

    /// Lets one subscription end.
    pub(crate) fn end_one(&mut self, id: SubscriptionId) {
        self.subscribers[id].ending = true;
    }

    /// Whether it has caught up, and nothing that it wants has come since.
    pub(crate) fn is_waiting(&self, id: SubscriptionId) -> bool {
        matches!(self.subscribers[id].standing, Standing::Waits(_))
    }

    /// Forgets a subscription, and gives what waited for it.
    pub(crate) fn leave(&mut self, id: SubscriptionId, interest: &Interest) -> Option<Waiter> {
        self.core.leave(interest);
        let subscriber = self.subscribers.remove(id);
        self.groups -= usize::from(subscriber.is_group);
        match subscriber.standing {
            Standing::Waits(waiter) => Some(waiter),
            Standing::Busy | Standing::Woken { .. } => None,
        }
    }

    /// Marks up to `count` streams to end, and gives how many those are and whom to wake.
    pub(crate) fn end(&mut self, count: usize) -> (usize, Vec<Waker>) {
        let tail = self.core.tail();
        let (mut ended, mut wakers) = (0, Vec::new());
        let open = self.subscribers.values_mut().filter(|subscriber| subscriber.is_open_stream());
        for subscriber in open.take(count) {
            ended += 1;
            subscriber.ending = true;
            if let Some(Waiter::Task(waker)) = subscriber.wake(tail) {
                wakers.push(waker);
            }
        }
        for notice in self.notices.values_mut() {
            let (more, waker) = notice.end(count - ended);
            ended += more;
            wakers.extend(waker);
        }
        (ended, wakers)
    }
}
