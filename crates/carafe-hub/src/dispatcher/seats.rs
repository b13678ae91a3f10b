//! How each subscriber comes to its group, falls behind it, and leaves it.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use carafe_protocol::Position;

use super::group::{Group, Groups};
use super::run::{Next, lacks};
use super::seat::{End, Lagging, Place, Seat, Settled, Streaming};
use super::{Dispatcher, Sink, Turn, Written};
use crate::Frames;
use crate::core::Cursor;
use crate::hub::Shared;
use crate::ids::{DispatcherId, GroupId, SubscriberId};
use crate::membership::Membership;
use crate::paged_table::TableKey;
use crate::subscription::Subscription;

/// How much one subscription of its own may say before others have their turn.
const STEPS: usize = 4;

impl Dispatcher {
    pub(super) fn serve_seat(&mut self, id: SubscriberId, sink: &mut impl Sink) {
        match self.seats.get(id) {
            Some(Seat::Lagging(_)) => self.serve_lagging(id, sink),
            Some(Seat::Streaming(_)) => self.serve_streaming(id, sink),
            Some(Seat::Settled(_)) | None => {}
        }
    }

    /// Finishes what was begun, and then catches up with the group.
    fn serve_lagging(&mut self, id: SubscriberId, sink: &mut impl Sink) {
        if !self.write_rest(id, sink) {
            return;
        }
        let Some(Seat::Lagging(lagging)) = self.seats.get_mut(id) else { return };
        let Some(group) = self.groups.get(lagging.place.group) else { return };
        let position = self.groups.position_after(lagging);
        match lacks(&self.shared, group, position) {
            Next::Nothing => {
                let Lagging { place, told, sent, .. } = **lagging;
                // Before it lagged, it may have come when its group had yet to be sent what it has
                // already.
                let is_ahead = position.offset > group.membership.cursor.position.offset;
                let since = is_ahead.then(|| Box::new(position));
                self.seats[id] =
                    Seat::Settled(Settled { place, pass: group.number, sent, told, since });
            }
            Next::Run(run) => {
                lagging.rest = run.bytes();
                (lagging.after, lagging.told) = (run.up_to, run.up_to.offset);
                lagging.pass = (!run.more).then_some(group.number);
                lagging.sent = self.now;
                if self.write_rest(id, sink) {
                    self.queue.push_back(Turn::Seat(id));
                }
            }
            Next::Hidden(position) => {
                (lagging.after, lagging.pass) = (position, None);
                self.queue.push_back(Turn::Seat(id));
            }
            Next::Behind | Next::Over => {
                self.unsettle(id);
                self.queue.push_back(Turn::Seat(id));
            }
        }
    }

    /// Lets a subscription of its own say what it has to, and settles it when it has caught up.
    fn serve_streaming(&mut self, id: SubscriberId, sink: &mut impl Sink) {
        for _ in 0..STEPS {
            let free = self.write_rest_or_end(id, sink);
            let Some(Seat::Streaming(streaming)) = self.seats.get_mut(id) else { return };
            if !free {
                return streaming.read_on();
            }
            if streaming.went_on.is_some() {
                let client = &mut streaming.frames.subscription.client;
                *client = client.or_else(|| sink.client(id));
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
    fn write_rest_or_end(&mut self, id: SubscriberId, sink: &mut impl Sink) -> bool {
        if !self.write_rest(id, sink) {
            return false;
        }
        let Some(Seat::Streaming(streaming)) = self.seats.get(id) else { return false };
        if streaming.end != End::Over {
            return true;
        }
        let failed = streaming.frames.has_failed();
        self.remove(id);
        sink.ended(id, failed);
        false
    }

    /// Writes what is left of what was begun; whether that is all of it.
    fn write_rest(&mut self, id: SubscriberId, sink: &mut impl Sink) -> bool {
        let Some((rest, sent)) = self.seats.get_mut(id).and_then(Seat::rest_mut) else {
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
                self.remove(id);
                false
            }
        }
    }

    /// Makes a subscription that has caught up one of a group.
    fn settle(&mut self, id: SubscriberId) {
        let Some(Seat::Streaming(streaming)) = self.seats.get_mut(id) else { return };
        if streaming.end != End::Open || !streaming.frames.subscription.is_live() {
            return;
        }
        let Some((group, since)) =
            find_group(&self.shared, self.notice, &self.groups, &mut streaming.frames)
        else {
            return self.queue.push_back(Turn::Seat(id));
        };
        let (told, sent) = (streaming.told(), streaming.sent);
        let (pass, at) =
            self.groups.get(group).map_or((0, 0), |known| (known.number, known.seats.len()));
        let place = Place { group, at: at as u32 };
        let settled = Seat::Settled(Settled { place, pass, sent, told, since });
        let Seat::Streaming(streaming) = std::mem::replace(&mut self.seats[id], settled) else {
            return;
        };
        if self.groups.get(group).is_none() {
            let Frames { subscription, format } = streaming.frames;
            self.groups.insert(subscription.membership, format);
        }
        if let Some(group) = self.groups.get_mut(group) {
            group.seats.push(id);
        }
    }

    /// Makes a seat a subscription of its own again, which goes on where it stands.
    pub(super) fn unsettle(&mut self, id: SubscriberId) {
        let Some(seat) = self.seats.get_mut(id) else { return };
        let Some(place) = seat.place() else { return };
        let (rest, position, told, sent) = match seat {
            Seat::Settled(seat) => {
                (Bytes::new(), self.groups.position_of(seat), seat.told, self.now)
            }
            Seat::Lagging(seat) => {
                let position = self.groups.position_after(seat);
                (std::mem::take(&mut seat.rest), position, seat.told, seat.sent)
            }
            Seat::Streaming(_) => return,
        };
        let Some(group) = self.groups.get(place.group) else { return };
        let frames = go_on(&self.shared, self.notice, group, position);
        // What the group was told of later it has yet to be told.
        let told = if group.told <= position.offset { told.max(group.told) } else { told };
        let (waker, end) = (self.woken.waker(Turn::Seat(id)), End::Open);
        let went_on = Some((position.offset, told));
        *seat = Seat::Streaming(Box::new(Streaming { frames, waker, rest, end, sent, went_on }));
        self.take_out(place);
    }

    /// A settled seat has been sent only a part of what brings it to `after`, and to the end of
    /// `pass`.
    pub(super) fn lag(
        &mut self,
        id: SubscriberId,
        rest: Bytes,
        after: Position,
        pass: Option<u32>,
    ) {
        let seat = &mut self.seats[id];
        if let Seat::Settled(Settled { place, told, .. }) = *seat {
            let lagging = Lagging { place, rest, after, pass, told, sent: self.now };
            *seat = Seat::Lagging(Box::new(lagging));
        }
    }

    /// Lets so many seats end, each after what it is owed.
    pub(super) fn end(&mut self, count: usize) {
        let (mut left, all) = (count, self.seats.bound());
        for _ in 0..all {
            if left == 0 {
                return;
            }
            self.ended = (self.ended + 1) % all;
            left -= usize::from(self.end_seat(SubscriberId::from_index(self.ended)));
        }
    }

    fn end_seat(&mut self, id: SubscriberId) -> bool {
        if self.seats.get(id).and_then(Seat::place).is_none() {
            return false;
        }
        self.unsettle(id);
        if let Some(Seat::Streaming(streaming)) = self.seats.get(id) {
            self.shared.state().end_one(streaming.frames.subscription.membership.id);
        }
        self.queue.push_back(Turn::Seat(id));
        true
    }
}

/// The group for a subscription that has caught up, by the name that it will have if it is new; and
/// where the subscription stands if that is further than the group. `None` if it has not caught up,
/// or has to end.
fn find_group(
    shared: &Shared,
    notice: DispatcherId,
    groups: &Groups,
    frames: &mut Frames,
) -> Option<(GroupId, Option<Box<Position>>)> {
    let Membership { id, cursor, .. } = &mut frames.subscription.membership;
    // Declared before the lock, and so dropped after it.
    let (has_all, _waiter);
    let mut state = shared.state();
    (has_all, _waiter) = state.has_caught_up(*id, cursor);
    if !has_all {
        return None;
    }
    state.notices[notice].settle();
    let Some(known) = groups.find(&cursor.interest, frames.format) else {
        state.become_group(*id, notice, groups.next_id());
        return Some((groups.next_id(), None));
    };
    let waits = groups.get(known).is_some_and(|group| state.is_waiting(group.membership.id));
    Some((known, (!waits).then(|| Box::new(cursor.position))))
}

/// A subscription of its own for a seat that has all up to `position`.
fn go_on(shared: &Arc<Shared>, notice: DispatcherId, group: &Group, position: Position) -> Frames {
    let mut state = shared.state();
    let ends = state.notices[notice].unsettle();
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
    Subscription::going_on(membership).into_frames(group.format)
}
