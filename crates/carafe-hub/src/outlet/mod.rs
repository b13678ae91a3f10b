//! The way out for many subscribers whose bytes one driver writes: what each is sent next, without I/O and clock.
//!
//! Subscribers who ask for the same and have all that came share a [`Group`]: one cursor, and the bytes from there to the
//! tail, joined once. A pass takes them to each seat. Whoever takes less than that lags: what it has begun is finished first,
//! then it catches up from the ring. If the ring does not reach back so far, it becomes a subscription of its own, which
//! reads the log, until it has caught up.

mod group;
mod notice;
mod seat;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use carafe_protocol::{HEARTBEAT, Offset, Position};
use futures_core::Stream;
use slab::Slab;
use smallvec::SmallVec;

pub(crate) use self::group::GroupId;
use self::group::{Group, Groups, Pass};
pub(crate) use self::notice::{Notice, NoticeId};
use self::seat::{End, Lagging, Place, Seat, Settled, Streaming, Woken};
use crate::core::{Cursor, Interest, Step};
use crate::frame::{Frame, expired_frame, position_frame};
use crate::hub::{Shared, State, Waiter};
use crate::membership::Membership;
use crate::subscription::{CHUNK, Subscription};
use crate::{Form, Frames};

/// Names a subscriber of an outlet. The name is given out again when the subscriber has left.
pub type SeatId = u32;

/// A moment by the driver's clock, in whatever it counts. After the last comes the first again.
pub type Tick = u32;

/// How many seats of a group are sent something before others have their turn.
const SLICE: usize = 64;

/// How much one subscription of its own may say before others have their turn.
const STEPS: usize = 4;

/// The end of a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Takes the bytes of the subscribers to their clients.
pub trait Sink {
    /// Writes as many of `bytes` as this subscriber's client takes now.
    fn write(&mut self, seat: SeatId, bytes: &[u8]) -> Written;

    /// All was written to this subscriber, the end of its stream too, or `failed` to be read. The outlet has forgotten it.
    fn ended(&mut self, seat: SeatId, failed: bool);
}

/// What became of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// So many were taken. If that is not all, the driver calls [`Outlet::writable`] when there is room again.
    Bytes(usize),
    /// The client is gone. The outlet forgets the subscriber.
    Gone,
}

/// Subscribers whose bytes one driver writes, each frame as a chunk of HTTP/1.1.
///
/// The driver calls [`look`](Self::look) after the bell, and [`turn`](Self::turn) for as long as there is something to do.
pub struct Outlet {
    shared: Arc<Shared>,
    notice: NoticeId,
    woken: Arc<Woken>,
    seats: Slab<Seat>,
    groups: Groups,
    queue: VecDeque<Turn>,
    now: Tick,
    /// The last position that was told in a heartbeat's place.
    position: Option<(Position, Bytes)>,
    heartbeat: Bytes,
    /// Kept, so that looking does not allocate.
    touched: Vec<GroupId>,
    called: Vec<SeatId>,
    /// Where to go on looking for seats that are to end.
    ended: usize,
}

/// Who is served next.
enum Turn {
    Group(GroupId),
    Seat(SeatId),
}

/// What the beginning of a pass comes to.
#[derive(PartialEq, Eq)]
enum Begun {
    Pass,
    /// There is nothing new for the group.
    Nothing,
    /// Its seats have to go on as subscriptions of their own.
    Elsewhere,
}

/// What comes next, and where who has it stands.
struct Joined {
    bytes: Bytes,
    /// The last entry in it.
    up_to: Position,
    /// There is more in the ring.
    more: bool,
}

/// What there is after a position.
enum Next {
    Joined(Joined),
    Nothing,
    /// It does not come from the ring: the log has to be read, or a gap to be told.
    Elsewhere,
}

impl Outlet {
    pub(crate) fn new(shared: Arc<Shared>, bell: Waker) -> Self {
        let notice = shared.state().notices.insert(Notice::new(bell.clone())) as NoticeId;
        Self {
            shared,
            notice,
            woken: Woken::new(bell),
            seats: Slab::new(),
            groups: Groups::new(),
            queue: VecDeque::new(),
            now: 0,
            position: None,
            heartbeat: Frame::chunked(HEARTBEAT).chunk().clone(),
            touched: Vec::new(),
            called: Vec::new(),
            ended: 0,
        }
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there is no subscriber.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Takes a subscription in. `opening` is said first, as a part of its first block.
    pub fn seat(&mut self, frames: Frames, opening: Bytes) -> SeatId {
        let id = self.seats.vacant_key() as SeatId;
        let waker = self.woken.waker(id);
        let (rest, end, sent) = (Bytes::new(), End::Open, self.now);
        let streaming = Streaming { frames, waker, opening, rest, end, sent, went_on: None };
        self.seats.insert(Seat::Streaming(Box::new(streaming)));
        self.queue.push_back(Turn::Seat(id));
        id
    }

    /// The subscriber's client has gone.
    pub fn leave(&mut self, seat: SeatId) {
        let place = self.seats.get(seat as usize).and_then(Seat::place);
        let left = self.seats.try_remove(seat as usize);
        if let Some(place) = place {
            self.shared.state().notices[self.notice as usize].unsettle();
            self.take_out(place);
        }
        drop(left);
    }

    /// The subscriber's client takes bytes again.
    pub fn writable(&mut self, seat: SeatId) {
        if self.seats.get(seat as usize).is_some_and(|seat| seat.blocked_since().is_some()) {
            self.queue.push_back(Turn::Seat(seat));
        }
    }

    /// The subscriber's time is over: its stream ends with `carafe.expired` when it has all that there is.
    pub fn expire(&mut self, seat: SeatId) {
        self.unsettle(seat);
        if let Some(Seat::Streaming(streaming)) = self.seats.get_mut(seat as usize)
            && streaming.end == End::Open
        {
            streaming.end = End::Expired;
            self.queue.push_back(Turn::Seat(seat));
        }
    }

    /// Since when the subscriber's client has not taken what it is sent; `None` if it takes it.
    #[must_use]
    pub fn blocked_since(&self, seat: SeatId) -> Option<Tick> {
        self.seats.get(seat as usize)?.blocked_since()
    }

    /// Sets the time.
    pub fn at(&mut self, now: Tick) {
        self.now = now;
    }

    /// Looks at what has come since it last looked.
    pub fn look(&mut self) {
        let (mut touched, mut called) = (std::mem::take(&mut self.touched), std::mem::take(&mut self.called));
        let to_end = self.shared.state().notices[self.notice as usize].take(&mut touched);
        self.woken.take(&mut called);
        touched.drain(..).for_each(|group| self.touch(group));
        self.queue.extend(called.drain(..).map(Turn::Seat));
        (self.touched, self.called) = (touched, called);
        self.end(to_end);
    }

    /// Sends some subscribers what they lack; `false` if there is nothing to be sent.
    pub fn turn(&mut self, sink: &mut impl Sink) -> bool {
        match self.queue.pop_front() {
            None => return false,
            Some(Turn::Group(group)) => self.serve_group(group, sink),
            Some(Turn::Seat(seat)) => self.serve_seat(seat, sink),
        }
        true
    }

    fn touch(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if std::mem::replace(&mut group.queued, true) {
            group.touched = true;
        } else {
            self.queue.push_back(Turn::Group(id));
        }
    }
}

/// Groups.
impl Outlet {
    fn serve_group(&mut self, id: GroupId, sink: &mut impl Sink) {
        if self.groups.pass(id).is_none() && !self.begin_passes(id) {
            return;
        }
        let Some((bytes, from)) = self.groups.pass(id).map(|pass| (pass.bytes.clone(), pass.from)) else {
            return;
        };
        for _ in 0..SLICE {
            let Some(seat) = self.next_of_pass(id) else { return self.end_pass(id) };
            self.pass_to(seat, from, &bytes, sink);
        }
        // A group whose last seat has gone is no more.
        if self.groups.get(id).is_some() {
            self.queue.push_back(Turn::Group(id));
        }
    }

    /// Begins a pass of this group, and of others that are next: the lock is taken once for all of them.
    fn begin_passes(&mut self, id: GroupId) -> bool {
        let next = self.queue.iter().take(SLICE).filter_map(|turn| match turn {
            Turn::Group(next) => Some(*next),
            Turn::Seat(_) => None,
        });
        let ids: SmallVec<[GroupId; SLICE]> = std::iter::once(id).chain(next).collect();
        let shared = Arc::clone(&self.shared);
        let mut elsewhere: SmallVec<[GroupId; 1]> = SmallVec::new();
        let mut state = shared.state();
        for id in ids {
            if self.groups.pass(id).is_none() && self.begin_pass(&mut state, id) == Begun::Elsewhere {
                elsewhere.push(id);
            }
        }
        drop(state);
        elsewhere.into_iter().for_each(|id| self.dissolve(id));
        self.groups.pass(id).is_some()
    }

    fn begin_pass(&mut self, state: &mut State, id: GroupId) -> Begun {
        let Some(group) = self.groups.get_mut(id) else { return Begun::Nothing };
        let Membership { id: subscriber, cursor, .. } = &mut group.membership;
        let (caught_up_to, _) = state.caught_up_to(*subscriber);
        caught_up_to.into_iter().for_each(|position| cursor.advance(position));
        let from = cursor.position;
        let next = next(&self.shared, state, &cursor.interest, from, group.form, Offset::MAX);
        let more = matches!(&next, Next::Joined(Joined { more: true, .. }) | Next::Elsewhere);
        if !more {
            state.wait(*subscriber, Waiter::Group(self.notice, id));
        }
        match next {
            Next::Joined(Joined { bytes, up_to, .. }) => {
                cursor.position = up_to;
                (group.told, group.sent) = (up_to.offset, self.now);
                let left = group.seats.len();
                self.groups.begin(id, Pass { bytes, from, left, more });
                Begun::Pass
            }
            Next::Nothing => {
                cursor.advance(state.core.tail());
                (group.queued, group.touched) = (false, false);
                Begun::Nothing
            }
            Next::Elsewhere => Begun::Elsewhere,
        }
    }

    fn next_of_pass(&mut self, id: GroupId) -> Option<SeatId> {
        let seats = self.groups.get(id)?.seats.len();
        let pass = self.groups.pass_mut(id)?;
        // Fewer may be left than it has yet to come to.
        pass.left = pass.left.min(seats).checked_sub(1)?;
        let at = pass.left;
        self.groups.get(id)?.seats.get(at).copied()
    }

    fn end_pass(&mut self, id: GroupId) {
        if self.groups.get(id).is_none() {
            return;
        }
        let more = self.groups.end_pass(id);
        if let Some(group) = self.groups.get_mut(id) {
            group.queued = more;
        }
        if more {
            self.queue.push_back(Turn::Group(id));
        }
    }

    /// Sends what a pass takes to a seat, unless it has it already or lags.
    fn pass_to(&mut self, id: SeatId, from: Position, bytes: &Bytes, sink: &mut impl Sink) {
        let Some(Seat::Settled(seat)) = self.seats.get_mut(id as usize) else { return };
        let Some(group) = self.groups.get(seat.place.group) else { return };
        if seat.pass == group.number {
            return;
        }
        // Up to where it came, the group has waited.
        seat.since.take_if(|since| since.offset <= from.offset);
        if seat.since.is_some() {
            return self.pass_to_early(id, sink);
        }
        seat.pass = group.number;
        match sink.write(id, bytes) {
            Written::Bytes(written) if written == bytes.len() => {}
            Written::Bytes(written) => {
                let after = group.membership.cursor.position;
                self.lag(id, bytes.slice(written..), after);
            }
            Written::Gone => self.leave(id),
        }
    }

    /// Sends a seat that of a pass which it has not yet.
    fn pass_to_early(&mut self, id: SeatId, sink: &mut impl Sink) {
        let Some(Seat::Settled(seat)) = self.seats.get_mut(id as usize) else { return };
        let Some(group) = self.groups.get(seat.place.group) else { return };
        seat.pass = group.number;
        let up_to = group.membership.cursor.position;
        let Some(since) = seat.since.take_if(|since| since.offset < up_to.offset) else { return };
        self.lag(id, Bytes::new(), *since);
        self.serve_seat(id, sink);
    }

    /// All its seats become subscriptions of their own.
    fn dissolve(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(id) else { return };
        for seat in group.seats.clone() {
            self.unsettle(seat);
            self.queue.push_back(Turn::Seat(seat));
        }
    }

    /// Takes a seat out of its group, and forgets a group without seats.
    fn take_out(&mut self, place: Place) {
        let Some(group) = self.groups.get_mut(place.group) else { return };
        let moved = group.take_out(place.at);
        if group.seats.is_empty() {
            drop(self.groups.remove(place.group));
        } else if let Some(moved) = moved {
            self.seats[moved as usize].move_to(place);
        }
    }
}

/// Seats.
impl Outlet {
    fn serve_seat(&mut self, id: SeatId, sink: &mut impl Sink) {
        match self.seats.get(id as usize) {
            Some(Seat::Lagging(_)) => self.serve_lagging(id, sink),
            Some(Seat::Streaming(_)) => self.serve_streaming(id, sink),
            Some(Seat::Settled(_)) | None => {}
        }
    }

    /// Finishes what was begun, and then catches up with the group.
    fn serve_lagging(&mut self, id: SeatId, sink: &mut impl Sink) {
        if !self.write_rest(id, sink) {
            return;
        }
        let Some(Seat::Lagging(lagging)) = self.seats.get_mut(id as usize) else { return };
        let Some(group) = self.groups.get(lagging.place.group) else { return };
        match lacks(&self.shared, group, lagging.after) {
            Next::Nothing => {
                let Lagging { place, told, sent, .. } = **lagging;
                let settled = Settled { place, pass: group.number, sent, told, since: None };
                self.seats[id as usize] = Seat::Settled(settled);
            }
            Next::Joined(joined) => {
                lagging.rest = joined.bytes;
                (lagging.after, lagging.told) = (joined.up_to, joined.up_to.offset);
                lagging.sent = self.now;
                if self.write_rest(id, sink) {
                    self.queue.push_back(Turn::Seat(id));
                }
            }
            Next::Elsewhere => {
                self.unsettle(id);
                self.queue.push_back(Turn::Seat(id));
            }
        }
    }

    /// Lets a subscription of its own say what it has to, and settles it when it has caught up.
    fn serve_streaming(&mut self, id: SeatId, sink: &mut impl Sink) {
        for _ in 0..STEPS {
            let free = self.write_rest_or_end(id, sink);
            let Some(Seat::Streaming(streaming)) = self.seats.get_mut(id as usize) else { return };
            if !free {
                return streaming.read_on();
            }
            if !streaming.say_more() {
                return self.settle(id);
            }
            streaming.sent = self.now;
        }
        if self.write_rest_or_end(id, sink) {
            self.queue.push_back(Turn::Seat(id));
        }
    }

    /// The same as [`write_rest`](Self::write_rest); a stream that is over ends then.
    fn write_rest_or_end(&mut self, id: SeatId, sink: &mut impl Sink) -> bool {
        if !self.write_rest(id, sink) {
            return false;
        }
        let Some(Seat::Streaming(streaming)) = self.seats.get(id as usize) else { return false };
        if streaming.end != End::Over {
            return true;
        }
        let failed = streaming.frames.has_failed();
        self.leave(id);
        sink.ended(id, failed);
        false
    }

    /// Writes what is left of what was begun; whether that is all of it.
    fn write_rest(&mut self, id: SeatId, sink: &mut impl Sink) -> bool {
        let Some((rest, sent)) = self.seats.get_mut(id as usize).and_then(Seat::rest_mut) else {
            return false;
        };
        if rest.is_empty() {
            return true;
        }
        match sink.write(id, rest) {
            Written::Bytes(written) => {
                rest.advance(written);
                if written > 0 {
                    *sent = self.now;
                }
                rest.is_empty()
            }
            Written::Gone => {
                self.leave(id);
                false
            }
        }
    }

    /// Makes a subscription that has caught up one of a group.
    fn settle(&mut self, id: SeatId) {
        let Some(Seat::Streaming(streaming)) = self.seats.get_mut(id as usize) else { return };
        if streaming.end != End::Open || !streaming.frames.subscription.is_live() {
            return;
        }
        let Some((group, since)) = find_group(&self.shared, self.notice, &self.groups, &mut streaming.frames)
        else {
            return self.queue.push_back(Turn::Seat(id));
        };
        let (told, sent) = (streaming.told(), streaming.sent);
        let (pass, at) = self.groups.get(group).map_or((0, 0), |known| (known.number, known.seats.len()));
        let place = Place { group, at: at as u32 };
        let settled = Seat::Settled(Settled { place, pass, sent, told, since });
        let Seat::Streaming(streaming) = std::mem::replace(&mut self.seats[id as usize], settled) else {
            return;
        };
        if self.groups.get(group).is_none() {
            let Frames { subscription, form } = streaming.frames;
            self.groups.insert(subscription.membership, form);
        }
        if let Some(group) = self.groups.get_mut(group) {
            group.seats.push(id);
        }
    }

    /// Makes a seat a subscription of its own again, which goes on where it stands.
    fn unsettle(&mut self, id: SeatId) {
        let Some(seat) = self.seats.get_mut(id as usize) else { return };
        let Some(place) = seat.place() else { return };
        let (rest, position, told, sent) = match seat {
            Seat::Settled(seat) => (Bytes::new(), self.groups.position_of(seat), seat.told, self.now),
            Seat::Lagging(seat) => (std::mem::take(&mut seat.rest), seat.after, seat.told, seat.sent),
            Seat::Streaming(_) => return,
        };
        let Some(group) = self.groups.get(place.group) else { return };
        let frames = go_on(&self.shared, self.notice, group, position);
        // What the group was told of later it has yet to be told.
        let told = if group.told <= position.offset { told.max(group.told) } else { told };
        let (waker, opening, end) = (self.woken.waker(id), Bytes::new(), End::Open);
        let went_on = Some((position.offset, told));
        *seat = Seat::Streaming(Box::new(Streaming { frames, waker, opening, rest, end, sent, went_on }));
        self.take_out(place);
    }

    /// A settled seat has been sent only a part of what brings it to `after`.
    fn lag(&mut self, id: SeatId, rest: Bytes, after: Position) {
        let seat = &mut self.seats[id as usize];
        if let Seat::Settled(Settled { place, told, .. }) = *seat {
            let lagging = Lagging { place, rest, after, told, sent: self.now };
            *seat = Seat::Lagging(Box::new(lagging));
        }
    }

    /// Lets so many seats end, each after what it is owed.
    fn end(&mut self, count: usize) {
        let (mut left, all) = (count, self.seats.capacity());
        for _ in 0..all {
            if left == 0 {
                return;
            }
            self.ended = (self.ended + 1) % all;
            left -= usize::from(self.end_seat(self.ended as SeatId));
        }
    }

    fn end_seat(&mut self, id: SeatId) -> bool {
        if self.seats.get(id as usize).and_then(Seat::place).is_none() {
            return false;
        }
        self.unsettle(id);
        if let Some(Seat::Streaming(streaming)) = self.seats.get(id as usize) {
            self.shared.state().end_one(streaming.frames.subscription.membership.id);
        }
        self.queue.push_back(Turn::Seat(id));
        true
    }
}

/// Signs of life.
impl Outlet {
    /// Sends a sign of life to a subscriber that was sent nothing for so long: the position if it has moved.
    pub fn beat(&mut self, seat: SeatId, silence: Tick, sink: &mut impl Sink) {
        if self.silence(seat).is_none_or(|silent| silent < silence) {
            return;
        }
        let position = self.moved_to(seat);
        let bytes = match position {
            Some(position) => self.position_chunk(position),
            None => self.heartbeat.clone(),
        };
        match sink.write(seat, &bytes) {
            Written::Bytes(written) => self.has_beaten(seat, bytes.slice(written..), position),
            Written::Gone => self.leave(seat),
        }
    }

    /// How long the subscriber was sent nothing; `None` if there is something that it has yet to take.
    fn silence(&self, seat: SeatId) -> Option<Tick> {
        let since = |sent| self.now.wrapping_sub(sent);
        match self.seats.get(seat as usize)? {
            Seat::Settled(seat) => Some(since(seat.sent).min(since(self.groups.get(seat.place.group)?.sent))),
            Seat::Lagging(_) => None,
            Seat::Streaming(streaming) => streaming.rest.is_empty().then(|| since(streaming.sent)),
        }
    }

    /// The position up to which the subscriber has all, if it was not told that yet.
    fn moved_to(&self, seat: SeatId) -> Option<Position> {
        let Seat::Settled(seat) = self.seats.get(seat as usize)? else { return None };
        let group = self.groups.get(seat.place.group)?;
        // There, the position is a comment, as the heartbeat is.
        if group.form == Form::Mercure
            || seat.pass != group.number && self.groups.pass(seat.place.group).is_some()
        {
            return None;
        }
        let state = self.shared.state();
        let tail = state.core.tail();
        let moved = tail.offset > seat.told.max(group.told);
        (moved && state.is_waiting(group.membership.id)).then_some(tail)
    }

    /// All who are told the same position are sent the same bytes.
    fn position_chunk(&mut self, position: Position) -> Bytes {
        match &self.position {
            Some((told, chunk)) if *told == position => chunk.clone(),
            _ => {
                let chunk = position_frame(Form::Plain, position).chunk().clone();
                self.position = Some((position, chunk.clone()));
                chunk
            }
        }
    }

    fn has_beaten(&mut self, id: SeatId, rest: Bytes, position: Option<Position>) {
        match &mut self.seats[id as usize] {
            Seat::Settled(seat) => {
                seat.sent = self.now;
                let stands = self.groups.position_of(seat);
                if let Some(position) = position {
                    seat.told = position.offset;
                }
                if !rest.is_empty() {
                    self.lag(id, rest, position.unwrap_or(stands));
                }
            }
            Seat::Streaming(streaming) => {
                streaming.sent = self.now;
                streaming.rest = rest;
            }
            Seat::Lagging(_) => {}
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        // Groups leave the hub before nobody looks after them any more.
        self.seats.clear();
        self.groups = Groups::new();
        let notice = self.shared.state().notices.remove(self.notice as usize);
        drop(notice);
    }
}

impl Streaming {
    /// Takes what the subscription has to say; `false` if that is nothing now.
    fn say_more(&mut self) -> bool {
        let mut cx = Context::from_waker(&self.waker);
        self.rest = match Pin::new(&mut self.frames).poll_next(&mut cx) {
            Poll::Ready(Some(block)) => self.chunk(&block),
            Poll::Ready(None) => self.last(&[]),
            Poll::Pending if self.end == End::Expired && !self.frames.subscription.waits_for_log() => {
                let expired = expired_frame(self.frames.form, self.frames.subscription.told);
                self.last(expired.chunk())
            }
            Poll::Pending => return false,
        };
        true
    }

    /// Takes what the log answers, though it cannot be said yet: others wait for their turn to read.
    fn read_on(&mut self) {
        let _ = self.frames.subscription.poll_log(&mut Context::from_waker(&self.waker));
    }

    fn chunk(&mut self, block: &[u8]) -> Bytes {
        let opening = std::mem::take(&mut self.opening);
        if opening.is_empty() {
            return Frame::chunked(block).chunk().clone();
        }
        Frame::chunked(&[&opening, block].concat()).chunk().clone()
    }

    fn last(&mut self, chunk: &[u8]) -> Bytes {
        self.end = End::Over;
        [chunk, LAST_CHUNK].concat().into()
    }
}

/// The group for a subscription that has caught up, by the name that it will have if it is new; and where the subscription stands
/// if that is further than the group. `None` if it has not caught up, or has to end.
fn find_group(
    shared: &Shared,
    notice: NoticeId,
    groups: &Groups,
    frames: &mut Frames,
) -> Option<(GroupId, Option<Box<Position>>)> {
    let Membership { id, cursor, .. } = &mut frames.subscription.membership;
    // Declared before the lock, and so dropped after it.
    let (caught_up_to, _waiter);
    let mut state = shared.state();
    (caught_up_to, _waiter) = state.caught_up_to(*id);
    caught_up_to.into_iter().for_each(|position| cursor.advance(position));
    if state.is_ending(*id) || !state.core.has_caught_up(&cursor.interest, cursor.position) {
        return None;
    }
    cursor.advance(state.core.tail());
    state.notices[notice as usize].settle();
    let Some(known) = groups.find(&cursor.interest, frames.form) else {
        state.become_group(*id, notice, groups.next_id());
        return Some((groups.next_id(), None));
    };
    let waits = groups.get(known).is_some_and(|group| state.is_waiting(group.membership.id));
    Some((known, (!waits).then(|| Box::new(cursor.position))))
}

/// A subscription of its own for a seat that has all up to `position`.
fn go_on(shared: &Arc<Shared>, notice: NoticeId, group: &Group, position: Position) -> Frames {
    let mut state = shared.state();
    let ends = state.notices[notice as usize].unsettle();
    let Membership { id: of_group, cursor: shared_cursor, .. } = &group.membership;
    let (id, interest) = state.join_as(&shared_cursor.interest);
    let mut cursor = Cursor { interest, position };
    if position.offset >= shared_cursor.position.offset {
        // It has waited with its group, whose cursor stays where it began to.
        state.waited_to(*of_group).into_iter().for_each(|position| cursor.advance(position));
    }
    if ends {
        state.end_one(id);
    }
    drop(state);
    let membership = Membership { shared: Arc::clone(shared), id, cursor };
    Subscription::going_on(membership).into_frames(group.form)
}

/// What a seat of the group lacks that stands at `position`.
fn lacks(shared: &Shared, group: &Group, position: Position) -> Next {
    let cursor = &group.membership.cursor;
    if position.offset >= cursor.position.offset {
        return Next::Nothing;
    }
    let until = cursor.position.offset;
    next(shared, &mut shared.state(), &cursor.interest, position, group.form, until)
}

/// What the ring has between the two, at most about as much as one chunk takes.
fn next(
    shared: &Shared,
    state: &mut State,
    interest: &Interest,
    after: Position,
    form: Form,
    until: Offset,
) -> Next {
    let mut frames: SmallVec<[Frame; 16]> = SmallVec::new();
    let (mut up_to, mut bytes, mut more) = (after, 0, true);
    while more && bytes < CHUNK {
        let mut position = up_to;
        match state.core.step(interest, &mut position, Some(form)) {
            Step::CaughtUp => more = false,
            Step::Entry(entry, _) if entry.offset() > until => more = false,
            Step::Entry(entry, frame) if !shared.retentions.is_over(&entry) => {
                up_to = position;
                bytes += frame.len();
                frames.push(frame);
            }
            Step::Entry(..) | Step::Behind => break,
        }
    }
    match (frames.is_empty(), more) {
        (true, true) => Next::Elsewhere,
        (true, false) => Next::Nothing,
        (false, more) => Next::Joined(Joined { bytes: join(&frames, bytes), up_to, more }),
    }
}

fn join(frames: &[Frame], bytes: usize) -> Bytes {
    if let [frame] = frames {
        return frame.chunk().clone();
    }
    let mut joined = BytesMut::with_capacity(bytes);
    frames.iter().for_each(|frame| joined.extend_from_slice(frame.chunk()));
    joined.freeze()
}
