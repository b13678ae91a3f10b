//! Signs of life for subscribers that were sent nothing for a while.

use bytes::Bytes;
use carafe_protocol::Position;

use super::seat::Seat;
use super::{Dispatcher, Sink, Tick, Written};
use crate::Format;
use crate::ids::SubscriberId;

impl Dispatcher {
    /// Sends a sign of life to a subscriber that was sent nothing for so long: the position if it
    /// has moved.
    pub fn send_heartbeat(&mut self, seat: SubscriberId, silence: Tick, sink: &mut impl Sink) {
        if self.silence(seat).is_none_or(|silent| silent < silence) {
            return;
        }
        if let Some(Seat::Streaming(streaming)) = self.seats.get_mut(seat)
            && streaming.frames.subscription.gives_up_waiting()
        {
            return streaming.waker.wake_by_ref();
        }
        let position = self.moved_to(seat);
        let bytes = match position {
            Some((format, position)) => self.position_chunk(format, position),
            None => self.heartbeat.clone(),
        };
        match sink.write(seat, &bytes) {
            Written::Bytes(written) => {
                let position = position.map(|(_, position)| position);
                self.has_beaten(seat, bytes.slice(written..), position);
            }
            Written::Gone => self.remove(seat),
        }
    }

    /// How long the subscriber was sent nothing; `None` if there is something that it has yet to
    /// take.
    fn silence(&self, seat: SubscriberId) -> Option<Tick> {
        let since = |sent| self.now.wrapping_sub(sent);
        match self.seats.get(seat)? {
            Seat::Settled(seat) => {
                Some(since(seat.sent).min(since(self.groups.get(seat.place.group)?.sent)))
            }
            Seat::Lagging(_) => None,
            Seat::Streaming(streaming) => streaming.rest.is_empty().then(|| since(streaming.sent)),
        }
    }

    /// The position up to which the subscriber has all, if it was not told that yet.
    fn moved_to(&self, seat: SubscriberId) -> Option<(Format, Position)> {
        let Seat::Settled(seat) = self.seats.get(seat)? else { return None };
        let group = self.groups.get(seat.place.group)?;
        // There, the position is a comment, as the heartbeat is.
        if !group.format.states_position()
            || seat.pass != group.number && self.groups.pass(seat.place.group).is_some()
        {
            return None;
        }
        let state = self.shared.state();
        let tail = state.core.tail();
        let moved = tail.offset > seat.told.max(group.told);
        (moved && state.is_waiting(group.membership.id)).then_some((group.format, tail))
    }

    /// All who are told the same position are sent the same bytes.
    fn position_chunk(&mut self, format: Format, position: Position) -> Bytes {
        match &self.position {
            Some((known, told, chunk)) if (*known, *told) == (format, position) => chunk.clone(),
            _ => {
                let chunk = format.position(position).chunk().clone();
                self.position = Some((format, position, chunk.clone()));
                chunk
            }
        }
    }

    fn has_beaten(&mut self, id: SubscriberId, rest: Bytes, position: Option<Position>) {
        match &mut self.seats[id] {
            Seat::Settled(seat) => {
                seat.sent = self.now;
                let stands = self.groups.position_of(seat);
                if let Some(position) = position {
                    seat.told = position.offset;
                }
                if !rest.is_empty() {
                    let pass = Some(seat.pass);
                    self.lag(id, rest, position.unwrap_or(stands), pass);
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
