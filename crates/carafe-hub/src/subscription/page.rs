//! A page: what a subscription delivers, up to a limit, as one value.
//!
//! A page is read by a subscription, so it has the rules of streams for access, gaps and positions.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use carafe_log::{Entry, ReadError, TopicEnd};
use carafe_protocol::Position;

use crate::client::Client;
use crate::gap::Gap;
use crate::hub::Hub;
use crate::inner::HubInner;
use crate::json_line::json_line;
use crate::recent_erasures::ErasureStamp;
use crate::report::{end_json, is_end};
use crate::subscription::registration::Registration;
use crate::subscription::replay::ReadLog;
use crate::subscription::snapshot::read_at;
use crate::subscription::stream::{Delivery, Subscription};
use crate::subscription::subscribe::{Subscribe, SubscribeError};

/// A part of history, and the position after which the next part begins.
///
/// ```
/// use carafe_hub::{Hub, PageLimit, Start, Subscribe};
/// use carafe_log::{MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let orders = Topic::new("orders")?;
/// for order in ["espresso", "latte", "mocha"] {
///     hub.publish(Publication::new(orders.clone(), order)).await?;
/// }
/// let limit = PageLimit { events: 2, ..PageLimit::default() };
/// let from = |start| Subscribe::to(orders.clone()).from(start);
/// let first = hub.page(from(Start::Earliest), limit).await?;
/// assert_eq!((first.events.len(), first.is_up_to_date), (2, false));
///
/// let second = hub.page(from(Start::After(first.next)), limit).await?;
/// assert_eq!(second.events[0].data(), "mocha");
/// assert!(second.is_up_to_date);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The events, in order.
    pub events: Vec<Arc<Entry>>,
    /// The position after which the next page, or a stream, continues exactly.
    pub next: Position,
    /// Whether the page has everything that was published by now.
    pub is_up_to_date: bool,
    /// Whether the page ends because of its limit. The same request then has the same answer, as
    /// long as its events are kept and it begins after the same position with all history.
    pub is_full: bool,
    /// Requested history before the events is gone.
    pub gap: Option<Gap>,
    /// How the topics have ended, if only topics were requested, and no patterns, and nothing will
    /// come after this page: the last of their ends.
    pub ended: Option<TopicEnd>,
    /// The entry of `ended`, which has its topic and its reason, unless it was removed.
    end: Option<Arc<Entry>>,
    /// The events as JSON objects, separated by commas.
    json: String,
}

/// The maximum size of a page. A page has at least one event if there is one.
///
/// ```
/// use carafe_hub::PageLimit;
///
/// let limit = PageLimit { events: 10, ..PageLimit::default() };
/// assert_eq!(limit.bytes, 64 << 10);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// The maximum number of events.
    pub events: usize,
    /// The maximum number of bytes of the events as JSON.
    pub bytes: usize,
}

impl Default for PageLimit {
    /// 100 events of 64 KiB in all: as much memory as a stream takes that reads history.
    fn default() -> Self {
        Self { events: 100, bytes: 64 << 10 }
    }
}

impl Page {
    /// The page as a JSON object in one line. Its events are those of the format
    /// [`Enveloped`](crate::Format::Enveloped).
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { json, next, is_up_to_date, gap, .. } = self;
        let gap =
            gap.as_ref().map(|gap| format!(",\"gap\":{}", json_line(gap))).unwrap_or_default();
        let ended = self.ended.as_ref().map_or_else(|| "null".into(), |end| self.end_json(end));
        format!(
            "{{\"events\":[{json}],\"next\":\"{next}\",\"up_to_date\":{is_up_to_date},\
             \"ended\":{ended}{gap}}}"
        )
    }

    /// The data of `carafe.end` on a stream.
    fn end_json(&self, end: &TopicEnd) -> String {
        let TopicEnd { outcome, position, .. } = end;
        self.end.as_ref().map_or_else(
            || format!("{{\"outcome\":\"{outcome}\",\"position\":\"{position}\"}}"),
            |entry| end_json(entry, *outcome),
        )
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.gap.is_none()
    }

    fn push(&mut self, entry: Arc<Entry>, json: &str) {
        if !self.json.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(json);
        self.next = entry.position;
        self.events.push(entry);
    }
}

impl Hub {
    /// Reads one page: what a stream for this request delivers at once, up to a limit.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn page(&self, request: Subscribe, limit: PageLimit) -> Result<Page, SubscribeError> {
        Ok(self.read_page(request, limit).await?.finish().await?)
    }

    /// Opens a page that may wait for its first event.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn read_page(
        &self,
        request: Subscribe,
        limit: PageLimit,
    ) -> Result<PageReader, SubscribeError> {
        Ok(PageReader::new(self.subscribe(request).await?, limit))
    }
}

/// A page that is being read. While it is open, it counts as a subscription.
///
/// ```
/// use carafe_hub::{Hub, PageLimit, Subscribe};
/// use carafe_log::{MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let orders = Topic::new("orders")?;
/// let mut page = hub.read_page(Subscribe::to(orders.clone()), PageLimit::default()).await?;
/// let publish = hub.publish(Publication::new(orders, "espresso"));
/// let (_, published) = tokio::join!(page.wait(), publish);
/// published?;
/// assert_eq!(page.finish().await?.events.len(), 1);
/// # Ok(()) }
/// ```
pub struct PageReader {
    subscription: Subscription,
    limit: PageLimit,
    page: Page,
    /// Whether something was delivered that belongs to the next page.
    is_cut: bool,
    /// The position after which the first event was read.
    before_events: Position,
    /// Erasures after this may cover events of the page.
    erasures: ErasureStamp,
}

impl PageReader {
    fn new(subscription: Subscription, limit: PageLimit) -> Self {
        let before_events = subscription.last_sent;
        let erasures = subscription.registration.hub.erasures.stamp();
        let page = Page {
            events: Vec::new(),
            next: before_events,
            is_up_to_date: false,
            is_full: false,
            gap: None,
            ended: None,
            end: None,
            json: String::new(),
        };
        Self { subscription, limit, page, is_cut: false, before_events, erasures }
    }

    /// Waits until the page has something to show: an event or a gap. Also completes when the hub
    /// drains. May be dropped and called again.
    pub async fn wait(&mut self) {
        poll_fn(|cx| match self.poll_read(cx) {
            // The subscription has left a waker.
            Poll::Ready(Read::CaughtUp) if self.page.is_empty() => Poll::Pending,
            read => read.map(drop),
        })
        .await;
    }

    /// The page with what is there now.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn finish(mut self) -> Result<Page, ReadError> {
        poll_fn(|cx| self.poll_read(cx)).await;
        if let Some(error) = self.subscription.failure() {
            return Err(error.clone());
        }
        self.cut_erased();
        if self.page.is_up_to_date {
            let Registration { hub, cursor, .. } = &self.subscription.registration;
            self.page.ended = hub.end_before(&cursor.interest, self.page.next);
            if let Some(end) = self.page.ended {
                let last = self.page.end.take().filter(|entry| entry.position == end.position);
                let (hub, client) = (Arc::clone(hub), cursor.interest.client());
                self.page.end = match last {
                    Some(entry) => Some(entry),
                    None => read_end(hub, client, end).await?,
                };
            }
        }
        Ok(self.page)
    }

    /// Reads until the page is complete for now.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        while !self.page.is_full && !self.is_cut {
            if self.page.events.is_empty() {
                // Before the poll: what it returns has the erasures up to here.
                self.erasures = self.subscription.registration.hub.erasures.stamp();
                self.before_events = self.page.next;
            }
            match self.subscription.poll_item(cx, None, ReadLog::Allowed) {
                Poll::Ready(Some((delivery, _))) => self.take(delivery),
                // The hub drains: the stream has delivered everything.
                Poll::Ready(None) => {
                    self.catch_up();
                    return Poll::Ready(Read::Ended);
                }
                Poll::Pending if self.subscription.asks_log() => return Poll::Pending,
                Poll::Pending => {
                    self.catch_up();
                    return Poll::Ready(Read::CaughtUp);
                }
            }
        }
        Poll::Ready(Read::Ended)
    }

    fn take(&mut self, delivery: Delivery) {
        self.page.is_up_to_date = false;
        match delivery {
            Delivery::Position(position) => self.page.next = position,
            // A page has one gap, before its events. The next page begins before this gap, and
            // finds it again.
            Delivery::Gap(_) if !self.page.is_empty() => self.is_cut = true,
            Delivery::Gap(gap) => {
                self.page.next = gap.resume_after;
                self.page.gap = Some(gap);
            }
            Delivery::Entry(entry) => self.add(entry),
            Delivery::End(entry) => {
                self.page.next = entry.position;
                self.page.end = Some(entry);
            }
            Delivery::Stop(entry) => self.page.next = entry.position,
        }
    }

    fn add(&mut self, entry: Arc<Entry>) {
        let json = self.subscription.registration.envelope_json(&entry);
        // The first event is returned whatever its size, or the reader would never get past it.
        let fits = self.page.json.len() + json.len() <= self.limit.bytes;
        if fits || self.page.events.is_empty() {
            self.page.push(entry, &json);
        }
        self.page.is_full = !fits || self.page.events.len() >= self.limit.events;
    }

    /// Ends the page before the first event that was erased since it was read. The next page begins
    /// there, and has the gap.
    fn cut_erased(&mut self) {
        let registration = &self.subscription.registration;
        let recent = &registration.hub.erasures;
        if self.erasures == recent.stamp() {
            return;
        }
        // Its reason may be what was erased: it is read again.
        self.page.end = None;
        let erasures = recent.since(self.erasures);
        let is_erased = |event: &Arc<Entry>| erasures.as_ref().is_none_or(|it| it.covers(event));
        let Some(first) = self.page.events.iter().position(is_erased) else { return };
        let mut events = std::mem::take(&mut self.page.events);
        events.truncate(first);
        self.page.json.clear();
        self.page.next = self.before_events;
        (self.page.is_full, self.page.is_up_to_date) = (false, false);
        for event in events {
            let json = registration.envelope_json(&event);
            self.page.push(event, &json);
        }
    }

    fn catch_up(&mut self) {
        self.page.next = self.subscription.registration.cursor.position;
        self.page.is_up_to_date = true;
    }
}

/// The entry of an end that a page begins behind.
async fn read_end(
    hub: Arc<HubInner>,
    client: Option<Client>,
    end: TopicEnd,
) -> Result<Option<Arc<Entry>>, ReadError> {
    let picked = read_at(hub, client, vec![end.position.offset]).await?;
    Ok(picked.entries.into_iter().find(|entry| is_end(entry)))
}

/// How far a page was read.
enum Read {
    /// To the tail. There may be more later.
    CaughtUp,
    /// To its end.
    Ended,
}
