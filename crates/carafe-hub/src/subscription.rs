//! One open stream inside the hub.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use carafe_log::{Block, BlockLimit, Entry, ReadError};
use carafe_protocol::{Offset, Position, TopicMatcher};
use futures_core::Stream;
use smallvec::SmallVec;

use crate::core::Step;
use crate::frame::Frame;
use crate::gap::{Gap, GapReason};
use crate::hub::{Origin, Shared, Waiter};
use crate::membership::Membership;
use crate::{Client, Format};

/// How much a subscription that is behind reads from the log at once.
const BLOCK: BlockLimit = BlockLimit { entries: 256, bytes: 64 << 10 };

/// The most bytes of frames that are joined in one chunk.
pub(crate) const CHUNK: usize = 64 << 10;

/// How many heartbeats a stream waits for a tail that another node has yet to deliver. After these
/// the tail counts as lost.
const AHEAD_BEATS: u8 = 2;

/// A subscription: what it asked for, in order, each event once, first from history and then as it
/// is published.
///
/// It begins with its position. It ends when the hub drains and all that was published has been
/// delivered; dropping it leaves the hub.
pub struct Subscription {
    pub(crate) membership: Membership,
    /// For whom the log is read, if that is known.
    pub(crate) client: Option<Client>,
    opening: Opening,
    /// The last position that the subscriber was given.
    pub(crate) told: Position,
    phase: Phase,
}

/// What a subscription delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Where the stream stands.
    Position(Position),
    /// History is gone; the stream goes on after it.
    Gap(Gap),
    /// An event.
    Entry(Arc<Entry>),
}

/// What the stream has to say before any event.
#[derive(Default)]
struct Opening {
    gap: Option<Box<Gap>>,
    position: bool,
    /// The position asked for is beyond the tail; when the tail gets there it has to be looked for
    /// again.
    ahead: bool,
    /// How many heartbeats it has waited for that.
    beats: u8,
    /// It begins with what there is of history: what is not shown any more before that is no gap.
    begins: bool,
    /// The gap is not told yet, since it may go on.
    collects: bool,
}

/// Where the next event comes from.
enum Phase {
    /// The ring.
    Live,
    /// The log: a block is being read.
    Reading(Pending<Result<Block, ReadError>>),
    /// The log: a block was read. The rest of it, and how far it reaches.
    Block(Box<(VecDeque<Arc<Entry>>, Position)>),
    /// The tail has reached the position: it is being looked for.
    Finding(Pending<Result<Origin, ReadError>>),
    /// The log cannot be read: the stream ends, and its client comes back.
    Failed,
}

pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What one poll of a subscription gives: the delivery, and its frame if a format was asked for.
type Item = (Delivery, Bytes);

impl Subscription {
    pub(crate) fn new(
        membership: Membership,
        begins: bool,
        (_, gap, ahead): (Option<Position>, Option<Gap>, bool),
    ) -> Self {
        let opening =
            Opening { gap: gap.map(Box::new), position: true, ahead, begins, ..Opening::default() };
        let (told, client) = (membership.cursor.position, membership.cursor.interest.client());
        Self { membership, client, opening, told, phase: Phase::Live }
    }

    /// Goes on for who has been told all up to where the cursor stands.
    pub(crate) fn going_on(membership: Membership) -> Self {
        let told = membership.cursor.position;
        Self { membership, client: None, opening: Opening::default(), told, phase: Phase::Live }
    }

    /// Whether the next thing it says, if any, is an entry that comes from the ring.
    pub(crate) fn is_live(&self) -> bool {
        let Opening { gap, position, ahead, beats: _, begins: _, collects } = &self.opening;
        matches!(self.phase, Phase::Live) && gap.is_none() && !position && !ahead && !collects
    }

    /// Takes what the log answers, if it was asked, and says nothing.
    pub(crate) fn poll_log(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.phase {
            Phase::Reading(reading) => {
                let read = ready!(reading.as_mut().poll(cx));
                self.take_block(read);
            }
            Phase::Finding(finding) => {
                let found = ready!(finding.as_mut().poll(cx));
                self.take_origin(found);
            }
            Phase::Live | Phase::Block(_) | Phase::Failed => {}
        }
        Poll::Ready(())
    }

    /// Waits if there is nothing to be said, and says whether it does.
    fn wait(&mut self, waker: &Waker) -> bool {
        if !self.is_live() {
            return false;
        }
        let Membership { shared, id, cursor, .. } = &mut self.membership;
        // Declared before the lock, and so dropped after it.
        let (has_all, _waiter);
        let mut state = shared.state();
        (has_all, _waiter) = state.has_caught_up(*id, cursor);
        self.opening.begins &= !has_all;
        has_all && state.wait(*id, Waiter::Task(waker.clone()))
    }

    /// The same subscription as the bytes that a client gets.
    pub fn into_frames(self, format: Format) -> Frames {
        Frames { subscription: self, format }
    }

    fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
        format: Option<Format>,
        source: Source,
    ) -> Poll<Option<Item>> {
        loop {
            if let Some(item) = self.next_opening(format) {
                return Poll::Ready(Some(item));
            }
            match &self.phase {
                Phase::Live => match ready!(self.poll_live(cx, format, source)) {
                    Live::Item(item) => return Poll::Ready(Some(item)),
                    Live::End => return Poll::Ready(None),
                    Live::Elsewhere => {}
                },
                Phase::Reading(_) | Phase::Finding(_) => ready!(self.poll_log(cx)),
                Phase::Block(_) => {
                    if let Some(item) = self.next_of_block(format) {
                        return Poll::Ready(Some(item));
                    }
                }
                Phase::Failed => return Poll::Ready(None),
            }
        }
    }

    /// A gap before the position: cut off between the two, the client has been told once, or asks
    /// again.
    fn next_opening(&mut self, format: Option<Format>) -> Option<Item> {
        if !self.opening.collects
            && let Some(gap) = self.opening.gap.take()
        {
            self.membership.shared.counts.gap();
            let frame = frame_of(format, |format| format.gap(&gap));
            self.told = gap.resume_after;
            return Some((Delivery::Gap(*gap), frame));
        }
        std::mem::take(&mut self.opening.position).then(|| self.position_item(format))
    }

    fn position_item(&mut self, format: Option<Format>) -> Item {
        self.told = self.membership.cursor.position;
        (Delivery::Position(self.told), frame_of(format, |format| format.position(self.told)))
    }

    fn poll_live(
        &mut self,
        cx: &Context<'_>,
        format: Option<Format>,
        source: Source,
    ) -> Poll<Live> {
        let shared = Arc::clone(&self.membership.shared);
        // Declared before the lock, and so dropped after it.
        let (caught_up_to, _waiter);
        let Membership { id, cursor, .. } = &mut self.membership;
        let mut state = shared.state();
        (caught_up_to, _waiter) = state.caught_up_to(*id);
        if self.opening.ahead && state.core.tail().offset >= cursor.position.offset {
            drop(state);
            if source == Source::AtHand {
                return Poll::Pending;
            }
            self.look_for_position();
            return Poll::Ready(Live::Elsewhere);
        }
        caught_up_to.into_iter().for_each(|position| cursor.advance(position));
        let id = *id;
        match state.core.step(&cursor.interest, &mut cursor.position, format) {
            Step::Entry(entry, _) if shared.retentions.is_over(&entry) => {
                drop(state);
                self.pass_over(&entry);
                Poll::Ready(Live::Elsewhere)
            }
            Step::Entry(..) | Step::CaughtUp if self.opening.collects => {
                self.end_gap();
                Poll::Ready(Live::Elsewhere)
            }
            Step::Entry(entry, frame) => {
                self.opening.begins = false;
                self.told = entry.position;
                Poll::Ready(Live::Item((Delivery::Entry(entry), frame.block())))
            }
            Step::Hidden => Poll::Ready(Live::Elsewhere),
            Step::Behind if source == Source::AtHand => Poll::Pending,
            Step::Behind => {
                let matchers = state.core.matchers(&cursor.interest);
                drop(state);
                let reading =
                    read_log(Arc::clone(&shared), self.client, cursor.position.offset, matchers);
                self.phase = Phase::Reading(reading);
                Poll::Ready(Live::Elsewhere)
            }
            Step::CaughtUp => {
                self.opening.begins = false;
                let waiter = Waiter::Task(cx.waker().clone());
                if state.wait(id, waiter) { Poll::Pending } else { Poll::Ready(Live::End) }
            }
        }
    }

    fn look_for_position(&mut self) {
        let Membership { shared, cursor, .. } = &self.membership;
        let (shared, position, client) = (Arc::clone(shared), cursor.position, self.client);
        self.phase = Phase::Finding(Box::pin(async move { shared.resume(position, client).await }));
    }

    /// Counts a heartbeat; whether the stream has waited for the tail so long that there is
    /// something to be said instead.
    pub(crate) fn gives_up_waiting(&mut self) -> bool {
        if !self.opening.ahead || !matches!(self.phase, Phase::Live) {
            return false;
        }
        self.opening.beats += 1;
        let Membership { shared, cursor, .. } = &mut self.membership;
        let tail = shared.state().core.tail();
        if self.opening.beats <= AHEAD_BEATS || tail.offset >= cursor.position.offset {
            return false;
        }
        let gap = shared.lost_gap(cursor.position, tail);
        cursor.position = tail;
        self.opening = Opening { gap: Some(Box::new(gap)), ..Opening::default() };
        true
    }

    fn take_block(&mut self, read: Result<Block, ReadError>) {
        match read {
            Ok(block) => self.phase = Phase::Block(Box::new((block.entries.into(), block.up_to))),
            Err(ReadError::Trimmed { .. }) => {
                let requested = self.misses_from();
                self.take_origin(Ok(self
                    .membership
                    .shared
                    .beyond_gap(requested, GapReason::Trimmed)));
            }
            Err(ReadError::Lost { up_to, .. }) => {
                let requested = self.misses_from();
                self.take_origin(Ok(self.membership.shared.beyond_loss(requested, up_to)));
            }
            Err(error) => self.fail(&error),
        }
    }

    fn take_origin(&mut self, found: Result<Origin, ReadError>) {
        let origin = match found {
            Ok(origin) => origin,
            Err(error) => return self.fail(&error),
        };
        let (after, gap, ahead) = origin.into();
        self.membership.cursor.position = after.unwrap_or(self.membership.cursor.position);
        self.opening = Opening { gap: gap.map(Box::new), ahead, ..Opening::default() };
        self.phase = Phase::Live;
    }

    fn fail(&mut self, error: &ReadError) {
        tracing::error!(%error, "a stream ends because its history cannot be read");
        self.phase = Phase::Failed;
    }

    fn next_of_block(&mut self, format: Option<Format>) -> Option<Item> {
        while let Phase::Block(block) = &mut self.phase {
            let Some(entry) = block.0.pop_front() else {
                self.membership.cursor.position = block.1;
                self.phase = Phase::Live;
                return None;
            };
            self.membership.cursor.position = entry.position;
            if !self.membership.cursor.interest.sees(&entry) {
                continue;
            }
            if self.membership.shared.retentions.is_over(&entry) {
                self.pass_over(&entry);
            } else if self.opening.collects {
                block.0.push_front(entry);
                self.end_gap();
                return None;
            } else {
                self.opening.begins = false;
                self.told = entry.position;
                let frame = frame_of(format, |format| self.membership.encode(&entry, format));
                return Some((Delivery::Entry(entry), frame));
            }
        }
        None
    }

    /// Does not show an entry any more, which is a gap for who is owed it.
    fn pass_over(&mut self, entry: &Entry) {
        if self.opening.begins {
            return;
        }
        let new =
            || Box::new(self.membership.shared.gap(self.told.to_string(), GapReason::Trimmed));
        let gap = self.opening.gap.get_or_insert_with(new);
        gap.resume_after = entry.position;
        self.opening.collects = true;
    }

    /// After which position it has missed something: a gap that is not told yet becomes part of the
    /// next.
    fn misses_from(&self) -> String {
        let collected = self.opening.gap.as_ref().filter(|_| self.opening.collects);
        collected.map_or_else(
            || self.membership.cursor.position.to_string(),
            |gap| gap.requested.clone(),
        )
    }

    /// A gap that was collected is now to be told; the stream goes on after it.
    fn end_gap(&mut self) {
        self.opening.collects = false;
        if let Some(gap) = &self.opening.gap {
            self.membership.cursor.position = gap.resume_after;
        }
    }
}

/// Reads a block of the log when there is a turn to.
pub(crate) fn read_log(
    shared: Arc<Shared>,
    client: Option<Client>,
    after: Offset,
    matchers: Vec<TopicMatcher>,
) -> Pending<Result<Block, ReadError>> {
    Box::pin(async move {
        let _turn = shared.replays.turn(client).await;
        shared.log.read(after, matchers, BLOCK).await
    })
}

/// Where the next thing to say may come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Anywhere,
    /// Not from a log that would have to be asked first.
    AtHand,
}

/// What a look at the ring comes to.
enum Live {
    Item(Item),
    End,
    /// The next event comes from elsewhere: the phase has changed.
    Elsewhere,
}

fn frame_of(format: Option<Format>, encode: impl FnOnce(Format) -> Frame) -> Bytes {
    format.map_or_else(Bytes::new, |format| encode(format).block())
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let item = ready!(self.poll_item(cx, None, Source::Anywhere));
        Poll::Ready(item.map(|(delivery, _)| delivery))
    }
}

/// A subscription as the bytes of an event stream: all frames that wait, joined, at most about 64
/// KiB at once.
pub struct Frames {
    pub(crate) subscription: Subscription,
    pub(crate) format: Format,
}

impl Frames {
    /// What the stream says before any event: where it stands, and first the gap if there is one.
    /// Nothing if that was said.
    pub fn opening(&mut self) -> Bytes {
        let Self { subscription, format } = self;
        let frames =
            std::iter::from_fn(|| subscription.next_opening(Some(*format)).map(|(_, frame)| frame));
        let mut frames: SmallVec<[Bytes; 2]> = frames.collect();
        if frames.len() > 1 { frames.concat().into() } else { frames.pop().unwrap_or_default() }
    }

    /// What to send in place of a heartbeat on a stream that was idle: the position, if it has
    /// moved since the client was told one; or that the tail is lost, if the stream has waited for
    /// it for too long.
    pub fn instead_of_heartbeat(&mut self) -> Option<Bytes> {
        let subscription = &mut self.subscription;
        if subscription.gives_up_waiting() {
            return Some(self.opening());
        }
        let moved = subscription.membership.cursor.position != subscription.told;
        (moved && matches!(subscription.phase, Phase::Live) && !subscription.opening.ahead)
            .then(|| subscription.position_item(Some(self.format)).1)
    }

    /// What is to be sent next, as of the stream; but with something to give, the log is not read
    /// ahead. For who may not ask again for a long time: a turn to read would be held meanwhile.
    pub fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.poll_joined(cx, Source::AtHand)
    }

    fn poll_joined(&mut self, cx: &mut Context<'_>, more: Source) -> Poll<Option<Bytes>> {
        let Self { subscription, format } = self;
        let Some((_, first)) = ready!(subscription.poll_item(cx, Some(*format), Source::Anywhere))
        else {
            return Poll::Ready(None);
        };
        let mut joined: Option<BytesMut> = None;
        while joined.as_ref().map_or(first.len(), BytesMut::len) < CHUNK {
            let Poll::Ready(Some((_, frame))) = subscription.poll_item(cx, Some(*format), more)
            else {
                break;
            };
            joined.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&frame);
        }
        Poll::Ready(Some(joined.map_or(first, BytesMut::freeze)))
    }

    /// Whether there is nothing to be sent. Then the waker is called when there is.
    pub fn wait(&mut self, waker: &Waker) -> bool {
        self.subscription.wait(waker)
    }

    /// Whether it ends because the log cannot be read.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.subscription.phase, Phase::Failed)
    }

    /// Whether a stream may end here because its time is over. A gap has to be told first, since
    /// who comes back after the position behind it is not told any more.
    #[must_use]
    pub fn may_expire(&self) -> bool {
        self.subscription.opening.gap.is_none()
    }

    /// What to send where a stream ends because its time is over, as a token's is.
    #[must_use]
    pub fn expired(&self) -> Bytes {
        self.format.expired(self.subscription.told).block()
    }
}

impl Stream for Frames {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.get_mut().poll_joined(cx, Source::Anywhere)
    }
}
