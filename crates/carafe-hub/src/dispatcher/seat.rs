//! One subscriber of a dispatcher.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use carafe_protocol::{Offset, Position};
use futures_core::Stream;

use super::{Tick, Turn};
use crate::Frames;
use crate::frame::Frame;
use crate::ids::GroupId;

/// The end of a body in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How a subscriber is served.
pub(super) enum Seat {
    /// It has all that its group has.
    Settled(Settled),
    /// Its client takes less than there is.
    Lagging(Box<Lagging>),
    /// A subscription of its own: from history, or with something to say that others are not told.
    Streaming(Box<Streaming>),
}

pub(super) struct Settled {
    pub(super) place: Place,
    /// The last pass that it was in.
    pub(super) pass: u32,
    /// When it was last sent something that others were not.
    pub(super) sent: Tick,
    /// The position that it was told last, if that was after the group's last entry.
    pub(super) told: Offset,
    /// It came when the group had yet to be sent what it has already: up to here it has all.
    pub(super) since: Option<Box<Position>>,
}

/// A seat's place in its group.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) group: GroupId,
    pub(super) at: u32,
}

pub(super) struct Lagging {
    pub(super) place: Place,
    /// What has to be finished before anything else.
    pub(super) rest: Bytes,
    /// Where it stands after that, or further if it waits with its group.
    pub(super) after: Position,
    /// The last pass of its group, if it has all up to there: then nothing is missed for which the
    /// group waits.
    pub(super) pass: Option<u32>,
    pub(super) told: Offset,
    /// When it last took something.
    pub(super) sent: Tick,
}

pub(super) struct Streaming {
    pub(super) frames: Frames,
    pub(super) waker: Waker,
    pub(super) rest: Bytes,
    pub(super) end: End,
    pub(super) sent: Tick,
    /// Where it went on if it was settled before, and what its client had been told by then.
    pub(super) went_on: Option<(Offset, Offset)>,
}

impl Streaming {
    /// Takes what the subscription has to say; `false` if that is nothing now.
    pub(super) fn say_more(&mut self) -> bool {
        if self.end == End::Expired && self.frames.may_expire() {
            let expired = chunk(&self.frames.expired());
            self.rest = self.last(&expired);
            return true;
        }
        let mut cx = Context::from_waker(&self.waker);
        self.rest = match Pin::new(&mut self.frames).poll_next(&mut cx) {
            Poll::Ready(Some(block)) => chunk(&block),
            Poll::Ready(None) => self.last(&[]),
            Poll::Pending => return false,
        };
        true
    }

    /// Takes what the log answers, though it cannot be said yet: others wait for their turn to
    /// read.
    pub(super) fn read_on(&mut self) {
        let _ = self.frames.subscription.poll_log(&mut Context::from_waker(&self.waker));
    }

    fn last(&mut self, chunk: &[u8]) -> Bytes {
        self.end = End::Over;
        [chunk, LAST_CHUNK].concat().into()
    }

    /// The last position that the client was told.
    pub(super) fn told(&self) -> Offset {
        let told = self.frames.subscription.told.offset;
        match self.went_on {
            Some((from, before)) if told == from => before,
            _ => told,
        }
    }
}

fn chunk(block: &[u8]) -> Bytes {
    Frame::chunked(block).chunk().clone()
}

/// How far a stream is from its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It goes on.
    Open,
    /// Its time is over: it ends when it has all that there is.
    Expired,
    /// It ends when the rest is written.
    Over,
}

impl Seat {
    /// Where in a group it is.
    pub(super) fn place(&self) -> Option<Place> {
        match self {
            Self::Settled(seat) => Some(seat.place),
            Self::Lagging(seat) => Some(seat.place),
            Self::Streaming(_) => None,
        }
    }

    pub(super) fn move_to(&mut self, place: Place) {
        match self {
            Self::Settled(seat) => seat.place = place,
            Self::Lagging(seat) => seat.place = place,
            Self::Streaming(_) => {}
        }
    }

    /// What has to be written before anything else, and when some of it was.
    pub(super) fn rest_mut(&mut self) -> Option<(&mut Bytes, &mut Tick)> {
        match self {
            Self::Settled(_) => None,
            Self::Lagging(seat) => Some((&mut seat.rest, &mut seat.sent)),
            Self::Streaming(seat) => Some((&mut seat.rest, &mut seat.sent)),
        }
    }

    /// Since when its client has not taken what it is sent.
    pub(super) fn blocked_since(&self) -> Option<Tick> {
        match self {
            Self::Settled(_) => None,
            Self::Lagging(seat) => (!seat.rest.is_empty()).then_some(seat.sent),
            Self::Streaming(seat) => (!seat.rest.is_empty()).then_some(seat.sent),
        }
    }
}

/// Whose turn it is since what they waited for has come.
pub(super) struct Woken {
    turns: Mutex<Vec<Turn>>,
    bell: Waker,
}

impl Woken {
    pub(super) fn new(bell: Waker) -> Arc<Self> {
        Arc::new(Self { turns: Mutex::default(), bell })
    }

    pub(super) fn take(&self, into: &mut Vec<Turn>) {
        into.append(&mut self.turns.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What gives this turn. That of one who has left may be another's, which does no harm.
    pub(super) fn waker(self: &Arc<Self>, turn: Turn) -> Waker {
        Arc::new(TurnWaker { turn, woken: Arc::clone(self) }).into()
    }
}

struct TurnWaker {
    turn: Turn,
    woken: Arc<Woken>,
}

impl Wake for TurnWaker {
    fn wake(self: Arc<Self>) {
        let mut turns = self.woken.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.push(self.turn);
        let first = turns.len() == 1;
        drop(turns);
        if first {
            self.woken.bell.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::group::{Group, Pass};
    use super::*;

    /// A dispatcher may have a million seats, and nearly as many groups: a byte here is a megabyte
    /// there. Who must grow them raises the bound knowingly; who can shrink them lowers it.
    #[test]
    fn a_seat_and_its_group_take_no_more_memory_than_now() {
        let sizes = [
            size_of::<Seat>(),
            size_of::<Lagging>(),
            size_of::<Streaming>(),
            size_of::<Group>(),
            size_of::<Pass>(),
        ];
        let bounds = [40, 88, 256, 128, 72];
        assert!(sizes.iter().zip(bounds).all(|(size, bound)| *size <= bound), "{sizes:?}");
    }
}
