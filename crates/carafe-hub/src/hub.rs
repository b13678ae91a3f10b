//! The public handle of a hub: publish, subscribe, drain. It knows no socket and no file.

use std::sync::Arc;
use std::task::Waker;

use carafe_log::{
    AppendError, Appended, DiskUsage, Log, Outcome, Publication, Read, TopicState, WaitingErasures,
};
use carafe_protocol::{Position, Topic};

use crate::client::Client;
use crate::counts::{HubCounts, data_sizes};
use crate::delivery::dispatcher::Dispatcher;
use crate::drain::Drain;
use crate::inner::HubInner;
use crate::limits::HubLimits;
use crate::subscription::cursor::Cursor;
use crate::subscription::frames::Frames;
use crate::subscription::origin::{self, Origin};
use crate::subscription::registration::Registration;
use crate::subscription::stream::Subscription;
use crate::subscription::subscribe::{Subscribe, SubscribeError};

/// Publishes to a log, and delivers from it. Clones are handles to the same hub.
///
/// ```
/// use carafe_hub::{Delivery, Hub};
/// use carafe_log::{MemoryLog, Publication};
/// use carafe_protocol::Topic;
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let mut subscription = hub.subscribe("orders/*").await?;
/// hub.publish(Publication::new(Topic::new("orders/42")?, "paid")).await?;
///
/// assert!(matches!(subscription.next().await, Some(Delivery::Position(_))));
/// let Some(Delivery::Entry(entry)) = subscription.next().await else { panic!("no event") };
/// assert_eq!((entry.topic().as_str(), entry.data()), ("orders/42", "paid"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Hub {
    pub(crate) inner: Arc<HubInner>,
}

/// Why an event was not published.
///
/// ```
/// use carafe_hub::{Hub, PublishError};
/// use carafe_log::{MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let _drain = hub.drain();
/// let published = hub.publish(Publication::new(Topic::new("orders/42")?, "paid")).await;
/// assert_eq!(published, Err(PublishError::Draining));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Event types that begin with `carafe.` are reserved for the hub.
    #[error(
        "the event type `{0}` is reserved: types that begin with `carafe.` are the hub's \
         own, use another"
    )]
    ReservedType(String),
    /// Topics that begin with `carafe/` are reserved for the hub.
    #[error(
        "the topic `{0}` is reserved: topics that begin with `carafe/` are the hub's own, use \
         another"
    )]
    ReservedTopic(Topic),
    /// The hub is draining.
    #[error("the hub is shutting down: publish again in a moment")]
    Draining,
    /// The log rejected the event.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log breaks its contract: it returns one position for each event.
    #[error("the log returned {returned} positions for {published} events: repair the log's code")]
    WrongCount {
        /// Events that were appended.
        published: usize,
        /// Positions that the log returned.
        returned: usize,
    },
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
        Self { inner: HubInner::start(Arc::new(log), limits) }
    }

    /// Publishes one event. Returns when the log has stored it.
    ///
    /// # Errors
    /// When the type is reserved, the hub is draining, or the log rejects the event. Nothing is
    /// stored then.
    pub async fn publish(&self, publication: Publication) -> Result<Appended, PublishError> {
        let appended = self.publish_all(vec![publication]).await?;
        // `publish_all` has checked that there is one position for each publication.
        Ok(appended[0])
    }

    /// Publishes a batch in order: all of it or nothing.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_all(
        &self,
        batch: Vec<Publication>,
    ) -> Result<Vec<Appended>, PublishError> {
        if self.is_draining() {
            return Err(PublishError::Draining);
        }
        batch.iter().try_for_each(reject_reserved)?;
        // Before the log takes the batch.
        let sizes = data_sizes(&batch);
        let count = batch.len();
        let appended = self.inner.log.append(batch).await?;
        if appended.len() != count {
            return Err(PublishError::WrongCount { published: count, returned: appended.len() });
        }
        self.inner.counts.add_published(&sizes, &appended);
        Ok(appended)
    }

    /// Ends a topic. Its subscribers receive [`Delivery::End`](crate::Delivery::End). From then on,
    /// the log refuses events of the topic.
    ///
    /// The end has a reason if it is published with one as data.
    ///
    /// ```
    /// use carafe_hub::{Hub, PublishError};
    /// use carafe_log::{AppendError, MemoryLog, Outcome, Publication};
    /// use carafe_protocol::Topic;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (hub, topic) = (Hub::new(MemoryLog::default()), Topic::new("jobs/7")?);
    /// let end = Publication::end(topic.clone(), Outcome::Failed).with_data("out of beans");
    /// hub.publish(end).await?;
    ///
    /// let late = hub.publish(Publication::new(topic, "late")).await;
    /// assert!(matches!(late, Err(PublishError::Append(AppendError::Ended { .. }))));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish). When the topic has ended with another outcome.
    pub async fn end(&self, topic: Topic, outcome: Outcome) -> Result<Appended, PublishError> {
        self.publish(Publication::end(topic, outcome)).await
    }

    /// Asks the producer of a topic to stop. Its subscribers receive
    /// [`Delivery::Stop`](crate::Delivery::Stop), and [`topic_state`](Self::topic_state) says so
    /// until the topic ends or is reopened.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). When the topic has ended.
    pub async fn stop(&self, topic: Topic) -> Result<Appended, PublishError> {
        self.publish(Publication::stop(topic)).await
    }

    /// Whether a topic has ended, and whether its producer was asked to stop.
    #[must_use]
    pub fn topic_state(&self, topic: &Topic) -> TopicState {
        self.inner.log.topic_state(topic)
    }

    /// Whether a request is for topics that have all ended, as far as its reader may know. A
    /// request with a pattern is not.
    #[must_use]
    pub fn has_ended(&self, request: &Subscribe) -> bool {
        self.inner.ends_of(request).is_some()
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
    /// When the request is over a limit or its access shows none of what it requests, the hub is
    /// draining, or the log cannot be read.
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
        request.resolve_everything();
        request.check()?;
        let limit = request.limit.unwrap_or(self.inner.limits.matchers);
        if request.matchers.len() > limit {
            return Err(SubscribeError::TooManyMatchers { limit });
        }
        self.inner.check_complex(request.complex_patterns(), request.client)?;
        // Before the subscription is registered: it may wait for a permit, and a waiting request
        // should hold no feed.
        let (origin, over) = origin::resolve(&self.inner, &request).await?;
        let subscription = self.register(&request, origin, over)?;
        self.inner.backfill(&subscription.registration.cursor).await;
        Ok(subscription)
    }

    /// Whether a subscription may have this number of `matchers`, of which `compiled` are patterns
    /// that have to be compiled. Call it before compiling them.
    ///
    /// # Errors
    /// When the subscription would be rejected whatever the matchers are.
    pub fn check_matchers(
        &self,
        matchers: usize,
        compiled: usize,
        client: Option<Client>,
    ) -> Result<(), SubscribeError> {
        let HubLimits { matchers: limit, .. } = self.inner.limits;
        if matchers > limit {
            return Err(SubscribeError::TooManyMatchers { limit });
        }
        self.inner.check_complex(compiled, client)
    }

    /// Compiles a pattern on a thread of its own, since that takes up to some milliseconds.
    /// Patterns are compiled one at a time, in turns of the clients.
    ///
    /// # Panics
    /// When `compile` does.
    pub async fn compile<T: Send + 'static>(
        &self,
        client: Option<Client>,
        compile: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        self.inner.compiler.run(client, compile).await
    }

    /// A dispatcher for streams whose bytes its driver writes. `waker` is called when the
    /// dispatcher has something to do.
    #[must_use]
    pub fn dispatcher(&self, waker: Waker) -> Dispatcher {
        Dispatcher::new(Arc::clone(&self.inner), waker)
    }

    /// Whether a stream belongs to this hub.
    #[must_use]
    pub fn owns(&self, frames: &Frames) -> bool {
        Arc::ptr_eq(&self.inner, &frames.subscription.registration.hub)
    }

    /// The newest position that the hub has read. A subscription that starts after it misses
    /// nothing that follows.
    #[must_use]
    pub fn position(&self) -> Position {
        self.inner.state().core.tail()
    }

    /// How many subscriptions are open.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.inner.state().wakeups.streams()
    }

    /// What the hub has done so far, and what it is doing now.
    #[must_use]
    pub fn counts(&self) -> HubCounts {
        let HubInner { log, replay_permits, counts, .. } = &*self.inner;
        counts.snapshot(self.subscriptions(), replay_permits, log.span())
    }

    /// The log that the hub delivers from, for what is no stream: to follow or read the entries
    /// that the hub itself has published.
    #[must_use]
    pub fn log(&self) -> &dyn Read {
        &*self.inner.log
    }

    /// Whether other hubs publish to the log, too.
    #[must_use]
    pub fn is_one_of_several(&self) -> bool {
        self.inner.log.refill().is_some()
    }

    /// What the log takes on disk, if it is on disk.
    #[must_use]
    pub fn disk_usage(&self) -> Option<DiskUsage> {
        self.inner.log.disk_usage()
    }

    /// The erasures whose events may still be on the disk. Nobody receives these events.
    #[must_use]
    pub fn waiting_erasures(&self) -> WaitingErasures {
        self.inner.log.waiting_erasures()
    }

    /// Announces that the hub will drain soon: [`is_ready`](Self::is_ready) is false from now on,
    /// so that load balancers send new clients to other nodes. Everything else goes on as before.
    pub fn retire(&self) {
        self.inner.state().retiring = true;
    }

    /// Whether load balancers shall send new clients: until [`retire`](Self::retire) or
    /// [`drain`](Self::drain) is called.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.inner.state();
        !state.retiring && !state.draining
    }

    /// Whether [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.state().draining
    }

    /// Rejects new subscriptions and events from now on. The open streams end as the [`Drain`] is
    /// driven.
    #[must_use = "the open streams end only as the drain is driven"]
    pub fn drain(&self) -> Drain {
        self.inner.state().draining = true;
        self.inner.watches.notify_all();
        Drain::new(Arc::clone(&self.inner))
    }

    /// Closes the hub: it rejects new subscriptions and events, lets all streams end that have
    /// received everything, and closes the log. Completes when every event whose publishing has
    /// succeeded is as safe as the log makes it, so that the process may exit.
    ///
    /// It does not wait for streams: their server sends them what is left. `carafe::server::serve`
    /// and a `StreamDrain` wait for streams, and end them at a limited rate.
    ///
    /// ```
    /// use carafe_hub::{Hub, PublishError};
    /// use carafe_log::{MemoryLog, Publication};
    /// use carafe_protocol::Topic;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::new(MemoryLog::default());
    /// hub.close().await;
    /// let late = hub.publish(Publication::new(Topic::new("orders/42")?, "paid")).await;
    /// assert_eq!(late, Err(PublishError::Draining));
    /// # Ok(()) }
    /// ```
    pub async fn close(&self) {
        let drain = self.drain();
        drain.end(usize::MAX);
        self.inner.log.close().await;
    }

    fn register(
        &self,
        request: &Subscribe,
        origin: Origin,
        over: bool,
    ) -> Result<Subscription, SubscribeError> {
        let mut state = self.inner.state();
        if state.draining {
            // Checked under the lock: `drain` sets the flag under it too, so no stream is opened
            // that a drain would not end.
            return Err(SubscribeError::Draining);
        }
        let (id, interest) = state.subscribe(&request.matchers, &request.access, request.client)?;
        drop(state);
        let cursor = Cursor { interest, position: origin.position() };
        let registration = Registration { hub: Arc::clone(&self.inner), id, cursor };
        Ok(Subscription::new(registration, origin, over))
    }
}

fn reject_reserved(publication: &Publication) -> Result<(), PublishError> {
    let reserved = publication.topics().find(|topic| topic.is_reserved());
    if let Some(topic) = reserved.filter(|_| !publication.is_of_hub()) {
        return Err(PublishError::ReservedTopic(topic.clone()));
    }
    match publication.event().event_type() {
        Some(event_type) if event_type.as_str().starts_with("carafe.") => {
            Err(PublishError::ReservedType(event_type.to_string()))
        }
        _ => Ok(()),
    }
}
