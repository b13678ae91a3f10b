//! A subscription: what was requested, in order, each event once.
//!
//! Replay and live delivery are one path at two positions: a [`Source`] says where the next entry
//! comes from. A subscription is polled by the task of its stream or by a dispatcher.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use carafe_log::{Entry, Kind, ReadError};
use carafe_protocol::Position;
use futures_core::Stream;

use crate::client::Client;
use crate::feeds::core::Step;
use crate::format::Format;
use crate::frame::Frame;
use crate::gap::{Gap, GapReason};
use crate::inner::Presence;
use crate::report::is_end;
use crate::subscription::opening::Opening;
use crate::subscription::origin::{self, Origin};
use crate::subscription::registration::Registration;
use crate::subscription::replay::{Pending, ReadLog, ReplayBlock, read_block};
use crate::subscription::snapshot::Snapshot;
use crate::wakeups::Waiter;

/// A subscription: what it requested, in order, each event once, first from history and then as it
/// is published.
///
/// It begins with its position, or with a snapshot and then its position. It ends when the hub
/// drains and everything that was published has been delivered. A subscription to exact topics also
/// ends after the ends of all of them. Dropping it unsubscribes.
///
/// ```
/// use carafe_hub::{Delivery, Hub};
/// use carafe_log::MemoryLog;
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let mut subscription = hub.subscribe("orders").await?;
/// assert_eq!(subscription.next().await, Some(Delivery::Position(hub.position())));
/// # Ok(()) }
/// ```
pub struct Subscription {
    pub(crate) registration: Registration,
    /// The client for which the log is read, if known.
    pub(crate) client: Option<Client>,
    opening: Opening,
    /// The last position that the subscriber was sent.
    pub(crate) last_sent: Position,
    source: Source,
    life: Life,
}

/// Whether the topics of a stream may all have ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// No end was delivered since the log was asked.
    GoesOn,
    /// When the stream has caught up, the log is asked.
    MayBeOver,
    /// The same, and the subscriber has all ends already, as it said.
    KnownToBeOver,
}

/// What a subscription delivers. See [`Subscription`] for an example.
///
/// ```
/// use carafe_hub::Delivery;
///
/// fn describe(delivery: &Delivery) -> String {
///     match delivery {
///         Delivery::Entry(entry) => format!("{}: {}", entry.topic(), entry.data()),
///         Delivery::Position(position) => format!("a client resumes after {position}"),
///         Delivery::Gap(gap) => format!("events after {} are gone", gap.requested),
///         Delivery::End(entry) => format!("{} has ended", entry.topic()),
///         _ => "something new".into(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// The position of the stream.
    Position(Position),
    /// Requested history is gone. The stream continues after the gap.
    Gap(Gap),
    /// An event.
    Entry(Arc<Entry>),
    /// The end of a topic. When all topics of a subscription to exact topics have ended, the
    /// subscription ends.
    End(Arc<Entry>),
    /// A request to the producer of a topic that it stop.
    Stop(Arc<Entry>),
}

impl Delivery {
    fn of(entry: Arc<Entry>) -> Self {
        match entry.publication.kind() {
            Kind::End(_) => Self::End(entry),
            Kind::Stop => Self::Stop(entry),
            _ => Self::Entry(entry),
        }
    }

    /// How many events it is.
    pub(super) fn events(&self) -> u32 {
        u32::from(matches!(self, Self::Entry(_)))
    }
}

/// Where the next entry comes from.
enum Source {
    Ring,
    /// The log: a block is being read.
    ReadingLog(Pending<Result<ReplayBlock, ReadError>>),
    /// A block that was read from the log.
    Block(Box<ReplayBlock>),
    /// The snapshot with which the stream begins.
    Snapshot(Box<Snapshot>),
    /// The log cannot be read. The stream ends, and its client reconnects.
    Failed(Box<ReadError>),
    /// All topics have ended.
    Over,
}

/// A delivery, and its frame; an empty one if no format was given.
pub(super) type Item = (Delivery, Frame);

/// The result of a look at the ring.
enum RingPoll {
    Item(Item),
    End,
    /// The source or the opening has changed: poll again.
    Again,
}

impl Subscription {
    /// `over`: all topics have ended at or before the newest entry.
    pub(crate) fn new(registration: Registration, origin: Origin, over: bool) -> Self {
        let client = registration.cursor.interest.client();
        let life = match origin {
            _ if !over => Life::GoesOn,
            Origin::After(_) => Life::KnownToBeOver,
            _ => Life::MayBeOver,
        };
        let (last_sent, opening, source) = match origin {
            Origin::Snapshot(mut snapshot) => {
                let opening = Opening::before_snapshot(snapshot.gap.take());
                (snapshot.start, opening, Source::Snapshot(snapshot))
            }
            origin => (registration.cursor.position, Opening::of(origin, true), Source::Ring),
        };
        Self { registration, client, opening, last_sent, source, life }
    }

    /// Continues for a subscriber that was sent everything up to the cursor.
    pub(crate) fn resumed(registration: Registration) -> Self {
        let (last_sent, opening) = (registration.cursor.position, Opening::done());
        let life = Life::GoesOn;
        Self { registration, client: None, opening, last_sent, source: Source::Ring, life }
    }

    /// Whether the subscriber has requested topics that have all ended, and has their ends already.
    /// The subscription states its position, and ends.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.life == Life::KnownToBeOver
    }

    /// Whether it [is over](Self::is_over) at all nodes: none has reopened a topic. A client that
    /// is told so does not come back.
    // A subscription is no `Sync`, so a future with a shared reference could not be sent.
    pub async fn is_over_everywhere(&mut self) -> bool {
        let Registration { hub, cursor, .. } = &self.registration;
        self.is_over()
            && hub.log.catch_up().await.is_ok()
            && hub.is_over(&cursor.interest, cursor.position)
    }

    /// An end was delivered: the stream ends when it has caught up, if all its topics have ended.
    pub(crate) fn may_be_over(&mut self) {
        self.life = Life::MayBeOver;
    }

    /// Whether the next thing that the stream sends, if any, is an entry from the ring.
    pub(crate) fn is_live(&self) -> bool {
        let goes_on = self.life == Life::GoesOn;
        goes_on && matches!(self.source, Source::Ring) && self.opening.is_done()
    }

    /// Takes the answer of the log, if it was asked. Sends nothing.
    pub(crate) fn poll_log(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.source {
            Source::ReadingLog(reading) => {
                let read = ready!(reading.as_mut().poll(cx));
                self.take_block(read);
            }
            Source::Snapshot(snapshot) => ready!(snapshot.poll_log(cx)),
            Source::Ring | Source::Block(_) | Source::Failed(_) | Source::Over => {}
        }
        Poll::Ready(())
    }

    /// Leaves the waker if there is nothing to send; whether it waits now.
    pub(super) fn wait(&mut self, waker: &Waker) -> bool {
        if !self.is_live() {
            return false;
        }
        let Registration { hub, id, cursor } = &mut self.registration;
        // Declared before the lock guard, and so dropped after it.
        let (has_caught_up, _waiter);
        let mut state = hub.state();
        (has_caught_up, _waiter) = state.has_caught_up(*id, cursor);
        if has_caught_up {
            self.opening.leave_history();
        }
        has_caught_up && state.wakeups.wait(*id, Waiter::Task(waker.clone()))
    }

    pub(super) fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
        format: Option<Format>,
        read_log: ReadLog,
    ) -> Poll<Option<Item>> {
        loop {
            if let Some(item) = self.next_opening(format) {
                return Poll::Ready(Some(item));
            }
            match &self.source {
                Source::Ring => match ready!(self.poll_ring(cx, format, read_log)) {
                    RingPoll::Item(item) => return Poll::Ready(Some(item)),
                    RingPoll::End => return Poll::Ready(None),
                    RingPoll::Again => {}
                },
                Source::ReadingLog(_) => ready!(self.poll_log(cx)),
                Source::Snapshot(_) => {
                    if let Some(item) = ready!(self.poll_snapshot(cx, format, read_log)) {
                        return Poll::Ready(Some(item));
                    }
                }
                Source::Block(_) => {
                    if let Some(item) = self.next_of_block(format) {
                        return Poll::Ready(Some(item));
                    }
                }
                Source::Failed(_) | Source::Over => return Poll::Ready(None),
            }
        }
    }

    /// The gap comes before the position: a client that is disconnected between the two has
    /// received the gap, or resumes from before it and receives it again.
    pub(super) fn next_opening(&mut self, format: Option<Format>) -> Option<Item> {
        if let Some(gap) = self.opening.take_gap() {
            self.registration.hub.counts.add_gap();
            let frame = frame_of(format, |format| format.gap(&gap));
            self.last_sent = gap.resume_after;
            return Some((Delivery::Gap(*gap), frame));
        }
        self.opening.take_position_due().then(|| self.position_item(format))
    }

    fn position_item(&mut self, format: Option<Format>) -> Item {
        let position = self.registration.cursor.position;
        self.last_sent = position;
        (Delivery::Position(position), frame_of(format, |format| format.position(position)))
    }

    /// The position, if it has moved since the subscriber was sent one.
    pub(super) fn moved_position(&mut self, format: Format) -> Option<Bytes> {
        let has_moved = self.registration.cursor.position != self.last_sent;
        let is_live = matches!(self.source, Source::Ring);
        (has_moved && is_live).then(|| self.position_item(Some(format)).1.block())
    }

    /// The position that a client may resume after at any time; `None` if there is a gap to report.
    pub(crate) fn resumes_after(&self) -> Option<Position> {
        let Self { opening, .. } = self;
        let may_state = !opening.has_gap() && !opening.is_snapshot();
        may_state.then_some(self.last_sent)
    }

    fn poll_ring(
        &mut self,
        cx: &Context<'_>,
        format: Option<Format>,
        read_log: ReadLog,
    ) -> Poll<RingPoll> {
        let hub = Arc::clone(&self.registration.hub);
        // Declared before the lock guard, and so dropped after it.
        let (waited_to, _waiter);
        let Registration { id, cursor, .. } = &mut self.registration;
        let mut state = hub.state();
        // One tail for the whole look: the wait ends, and the next step is made, at the same point
        // of the log.
        let tail = state.core.tail();
        (waited_to, _waiter) = state.wakeups.stop_waiting(*id, tail);
        waited_to.into_iter().for_each(|position| cursor.advance(position));
        match state.core.step(&cursor.interest, &mut cursor.position, format) {
            Step::Entry(entry, frame) => {
                drop(state);
                Poll::Ready(self.take_entry(entry, frame))
            }
            // Nothing that is shown follows, so the gap ends here.
            Step::CaughtUp if self.opening.is_growing_gap() => {
                self.finish_gap();
                Poll::Ready(RingPoll::Again)
            }
            Step::Hidden => Poll::Ready(RingPoll::Again),
            // Without a waker: the caller has frames to send, and polls again after them.
            Step::Behind if read_log == ReadLog::NotNow => Poll::Pending,
            Step::Behind => {
                let (after, matchers) =
                    (cursor.position.offset, state.core.matchers(&cursor.interest));
                drop(state);
                // After the lock: the future may take a permit, and the log has locks of its own.
                self.source = Source::ReadingLog(read_block(hub, self.client, after, matchers));
                Poll::Ready(RingPoll::Again)
            }
            Step::CaughtUp if self.life != Life::GoesOn => {
                drop(state);
                self.end_if_over(format);
                Poll::Ready(RingPoll::Again)
            }
            Step::CaughtUp => {
                self.opening.leave_history();
                let waiter = Waiter::Task(cx.waker().clone());
                let waits = state.wakeups.wait(*id, waiter);
                if waits { Poll::Pending } else { Poll::Ready(RingPoll::End) }
            }
        }
    }

    /// Ends the stream if all its topics have ended. Not to be called under the hub's lock.
    fn end_if_over(&mut self, format: Option<Format>) {
        self.life = Life::GoesOn;
        let Registration { hub, cursor, .. } = &self.registration;
        if format.is_none_or(Format::ends_with_topics)
            && hub.is_over(&cursor.interest, cursor.position)
        {
            self.source = Source::Over;
        }
    }

    /// Delivers an entry from the ring, unless a gap has to be reported first.
    fn take_entry(&mut self, entry: Arc<Entry>, frame: Frame) -> RingPoll {
        match self.registration.hub.presence(&entry) {
            Presence::Shown => {}
            Presence::Skipped => return RingPoll::Again,
            Presence::Gone(reason) => {
                self.skip_gone(&entry, reason);
                return RingPoll::Again;
            }
        }
        if self.opening.is_growing_gap() {
            // The cursor moves back to the end of the gap, and finds this entry again.
            self.finish_gap();
            return RingPoll::Again;
        }
        RingPoll::Item((self.delivered(entry), frame))
    }

    /// Records that an entry is delivered now.
    fn delivered(&mut self, entry: Arc<Entry>) -> Delivery {
        self.opening.leave_history();
        self.last_sent = entry.position;
        if is_end(&entry) {
            self.may_be_over();
        }
        Delivery::of(entry)
    }

    /// The next event of the snapshot; `None` if it is skipped, or the snapshot is complete.
    fn poll_snapshot(
        &mut self,
        cx: &mut Context<'_>,
        format: Option<Format>,
        read_log: ReadLog,
    ) -> Poll<Option<Item>> {
        let Source::Snapshot(snapshot) = &mut self.source else { return Poll::Ready(None) };
        let Registration { hub, cursor, .. } = &self.registration;
        match ready!(snapshot.poll_next(cx, (hub, self.client), read_log)) {
            Some(Ok(entry))
                if cursor.interest.shows(&entry)
                    && matches!(hub.presence(&entry), Presence::Shown) =>
            {
                let frame = frame_of(format, |format| self.registration.encode(&entry, format));
                return Poll::Ready(Some((self.delivered(entry), frame)));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => self.fail(error),
            None => {
                self.source = Source::Ring;
                self.opening = Opening::after_snapshot();
            }
        }
        Poll::Ready(None)
    }

    fn take_block(&mut self, read: Result<ReplayBlock, ReadError>) {
        let hub = &self.registration.hub;
        match read {
            Ok(block) => self.source = Source::Block(Box::new(block)),
            Err(ReadError::Trimmed { .. }) => {
                let gap = origin::gap_to_oldest(hub, self.missed_after(), GapReason::Trimmed);
                self.restart(gap);
            }
            Err(ReadError::Lost { up_to, .. }) => {
                let gap = origin::gap_damaged(hub, self.missed_after(), up_to);
                self.restart(gap);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Continues after a gap.
    fn restart(&mut self, gap: Gap) {
        self.registration.cursor.position = gap.resume_after;
        self.opening = Opening::of(Origin::Gap(gap), false);
        self.source = Source::Ring;
        self.may_be_over();
    }

    fn fail(&mut self, error: ReadError) {
        tracing::error!(%error, "a stream ends because its history cannot be read");
        self.source = Source::Failed(Box::new(error));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// Why the log cannot be read.
    pub(super) fn failure(&self) -> Option<&ReadError> {
        match &self.source {
            Source::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the log has a question that it has not answered.
    pub(super) fn asks_log(&self) -> bool {
        matches!(self.source, Source::ReadingLog(_) | Source::Snapshot(_))
    }

    pub(super) fn has_gap(&self) -> bool {
        self.opening.has_gap()
    }

    fn next_of_block(&mut self, format: Option<Format>) -> Option<Item> {
        while let Source::Block(block) = &mut self.source {
            let Registration { hub, cursor, .. } = &mut self.registration;
            if !block.apply_erasures(&hub.erasures) {
                // The cursor is behind the last entry that was delivered: the rest is read again.
                self.source = Source::Ring;
                return None;
            }
            // The block covers more than its last entry: nothing up to `up_to` is wanted, and it is
            // not read again.
            let Some(entry) = block.entries.pop_front() else {
                cursor.position = block.up_to;
                self.source = Source::Ring;
                return None;
            };
            cursor.position = entry.position;
            // The log selects by matchers; what may be seen is decided here, as for the ring.
            if !cursor.interest.shows(&entry) {
                continue;
            }
            match self.registration.hub.presence(&entry) {
                Presence::Shown => {}
                Presence::Skipped => continue,
                Presence::Gone(reason) => {
                    self.skip_gone(&entry, reason);
                    continue;
                }
            }
            if self.opening.is_growing_gap() {
                // The gap comes first, and then this entry.
                block.entries.push_front(entry);
                self.finish_gap();
                return None;
            }
            let frame = frame_of(format, |format| self.registration.encode(&entry, format));
            return Some((self.delivered(entry), frame));
        }
        None
    }

    /// Skips an entry that is no longer shown: a gap for the subscriber.
    fn skip_gone(&mut self, entry: &Entry, reason: GapReason) {
        let Self { registration, opening, last_sent, .. } = self;
        let new_gap = || origin::gap_to_oldest(&registration.hub, last_sent.to_string(), reason);
        opening.grow_gap(new_gap, entry.position);
    }

    /// The position after which the subscriber has missed something. A gap that is not reported yet
    /// becomes part of the next.
    fn missed_after(&self) -> String {
        let requested = self.opening.growing_gap_requested().map(ToOwned::to_owned);
        requested.unwrap_or_else(|| self.registration.cursor.position.to_string())
    }

    /// The gap is complete. The stream continues after it.
    fn finish_gap(&mut self) {
        if let Some(resume_after) = self.opening.finish_gap() {
            self.registration.cursor.position = resume_after;
        }
    }
}

fn frame_of(format: Option<Format>, encode: impl FnOnce(Format) -> Frame) -> Frame {
    format.map_or_else(Frame::default, encode)
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let item = ready!(self.poll_item(cx, None, ReadLog::Allowed));
        Poll::Ready(item.map(|(delivery, _)| delivery))
    }
}
