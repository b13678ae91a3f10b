//! How what comes is taken to all seats of a group.

use std::sync::Arc;

use bytes::Bytes;
use carafe_protocol::{Offset, Position};
use smallvec::SmallVec;

use super::group::Pass;
use super::run::{Next, Run, next};
use super::seat::{Place, Seat};
use super::{Dispatcher, Sink, Turn, Written};
use crate::hub::{State, Waiter};
use crate::ids::{GroupId, SubscriberId};
use crate::membership::Membership;
use crate::subscription::CHUNK;

/// How many seats of a group are sent something before others have their turn.
const SLICE: usize = 64;

impl Dispatcher {
    pub(super) fn serve_group(&mut self, id: GroupId, sink: &mut impl Sink) {
        if self.groups.pass(id).is_none() && !self.begin(id) {
            return;
        }
        let Some((bytes, from)) = self.groups.pass(id).map(|pass| (pass.bytes.clone(), pass.from))
        else {
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

    /// Begins a pass of this group, if there is something for it.
    fn begin(&mut self, id: GroupId) -> bool {
        if self.is_behind(id) {
            self.read_on(id);
        } else {
            self.begin_passes(id);
        }
        self.groups.pass(id).is_some()
    }

    /// Begins a pass of this group, and of others that are next: the lock is taken once for all of
    /// them.
    fn begin_passes(&mut self, id: GroupId) {
        let next = self.queue.iter().take(SLICE).filter_map(|turn| match turn {
            Turn::Group(next) => Some(*next),
            Turn::Seat(_) => None,
        });
        let ids: SmallVec<[GroupId; SLICE]> = std::iter::once(id).chain(next).collect();
        let shared = Arc::clone(&self.shared);
        let mut found: SmallVec<[(GroupId, Next); SLICE]> = SmallVec::new();
        let mut state = shared.state();
        for id in ids {
            if self.groups.pass(id).is_none() && !self.is_behind(id) {
                found.extend(self.next_of_group(&mut state, id).map(|next| (id, next)));
            }
        }
        drop(state);
        // Joined without the lock.
        found.into_iter().for_each(|(id, next)| self.begin_with(id, next));
    }

    /// What there is for a group, which waits if that is all.
    fn next_of_group(&mut self, state: &mut State, id: GroupId) -> Option<Next> {
        let group = self.groups.get_mut(id)?;
        let Membership { id: subscriber, cursor, .. } = &mut group.membership;
        let (caught_up_to, _) = state.caught_up_to(*subscriber);
        caught_up_to.into_iter().for_each(|position| cursor.advance(position));
        let next = next(
            &self.shared,
            state,
            &cursor.interest,
            cursor.position,
            group.format,
            Offset::MAX,
            CHUNK,
        );
        if matches!(&next, Next::Nothing | Next::Run(Run { more: false, .. })) {
            state.wait(*subscriber, Waiter::Group(self.notice, id));
        }
        if matches!(&next, Next::Nothing) {
            cursor.advance(state.core.tail());
        }
        Some(next)
    }

    fn begin_with(&mut self, id: GroupId, next: Next) {
        match next {
            Next::Run(run) => {
                self.begin_pass(id, run.bytes(), run.up_to, run.up_to.offset, run.more);
            }
            Next::Hidden(position) => {
                let Some(group) = self.groups.get_mut(id) else { return };
                group.membership.cursor.position = position;
                self.queue.push_back(Turn::Group(id));
            }
            Next::Behind => self.read_on(id),
            Next::Over => self.dissolve(id),
            Next::Nothing => {
                let Some(group) = self.groups.get_mut(id) else { return };
                (group.queued, group.touched) = (false, false);
            }
        }
    }

    /// Begins to take bytes to all seats of a group, of which the last entry is `told`; they stand
    /// at `up_to` then.
    pub(super) fn begin_pass(
        &mut self,
        id: GroupId,
        bytes: Bytes,
        up_to: Position,
        told: Offset,
        more: bool,
    ) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let from = std::mem::replace(&mut group.membership.cursor.position, up_to);
        (group.told, group.sent) = (told, self.now);
        let left = group.seats.len();
        self.groups.begin(id, Pass { bytes, from, left, more });
    }

    fn next_of_pass(&mut self, id: GroupId) -> Option<SubscriberId> {
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
    fn pass_to(&mut self, id: SubscriberId, from: Position, bytes: &Bytes, sink: &mut impl Sink) {
        let seat = match self.seats.get_mut(id) {
            Some(Seat::Settled(seat)) => seat,
            Some(Seat::Lagging(_)) => return self.pass_by(id, from),
            _ => return,
        };
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
                let (after, pass) = (group.membership.cursor.position, Some(group.number));
                self.lag(id, bytes.slice(written..), after, pass);
            }
            Written::Gone => self.remove(id),
        }
    }

    /// A pass begins where the group has waited to. So has a seat that lags and had all before; now
    /// it lacks this pass.
    fn pass_by(&mut self, id: SubscriberId, from: Position) {
        let Some(Seat::Lagging(seat)) = self.seats.get_mut(id) else { return };
        let Some(group) = self.groups.get(seat.place.group) else { return };
        if seat.pass.take_if(|pass| *pass != group.number).is_some()
            && from.offset > seat.after.offset
        {
            seat.after = from;
        }
    }

    /// Sends a seat that of a pass which it has not yet.
    fn pass_to_early(&mut self, id: SubscriberId, sink: &mut impl Sink) {
        let Some(Seat::Settled(seat)) = self.seats.get_mut(id) else { return };
        let Some(group) = self.groups.get(seat.place.group) else { return };
        seat.pass = group.number;
        let up_to = group.membership.cursor.position;
        let Some(since) = seat.since.take_if(|since| since.offset < up_to.offset) else { return };
        self.lag(id, Bytes::new(), *since, None);
        self.serve_seat(id, sink);
    }

    /// All its seats become subscriptions of their own.
    pub(super) fn dissolve(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(id) else { return };
        for seat in group.seats.clone() {
            self.unsettle(seat);
            self.queue.push_back(Turn::Seat(seat));
        }
    }

    /// Takes a seat out of its group, and forgets a group without seats.
    pub(super) fn take_out(&mut self, place: Place) {
        let Some(group) = self.groups.get_mut(place.group) else { return };
        let moved = group.take_out(place.at);
        if group.seats.is_empty() {
            self.behind.remove(&place.group);
            drop(self.groups.remove(place.group));
        } else if let Some(moved) = moved {
            self.seats[moved].move_to(place);
        }
    }
}
