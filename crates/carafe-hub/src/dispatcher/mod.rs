//! The way out for many subscribers whose bytes one driver writes: what each is sent next, without
//! I/O and clock.
//!
//! Subscribers who ask for the same and have all that came share a [`Group`]: one cursor, and the
//! bytes from there to the tail, joined once. A pass takes them to each seat. Whoever takes less
//! than that lags: what it has begun is finished first, then it catches up from the ring. If the
//! ring does not reach back so far, it becomes a subscription of its own, which reads the log,
//! until it has caught up.

mod beats;
mod behind;
mod group;
mod notice;
mod passes;
mod run;
mod seat;
mod seats;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use carafe_protocol::{HEARTBEAT, Position};

use self::behind::Reading;
use self::group::Groups;
pub(crate) use self::notice::Notice;
use self::seat::{End, Seat, Streaming, Woken};
use crate::frame::Frame;
use crate::hub::Shared;
use crate::ids::{DispatcherId, GroupId, SubscriberId};
use crate::paged_table::PagedTable;
use crate::{Client, Format, Frames};

/// A moment by the driver's clock, in whatever it counts. After the last comes the first again.
pub type Tick = u32;

/// Takes the bytes of the subscribers to their clients.
pub trait Sink {
    /// Writes as many of `bytes` as this subscriber's client takes now.
    fn write(&mut self, seat: SubscriberId, bytes: &[u8]) -> Written;

    /// All was written to this subscriber, the end of its stream too, or `failed` to be read. The
    /// dispatcher has forgotten it.
    fn ended(&mut self, seat: SubscriberId, failed: bool);

    /// Whose subscriber it is, if that is known: asked when it has to read the log for itself
    /// again.
    fn client(&self, seat: SubscriberId) -> Option<Client> {
        let _ = seat;
        None
    }
}

/// What became of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// So many were taken. If that is not all, the driver calls [`Dispatcher::writable`] when there
    /// is room again.
    Bytes(usize),
    /// The client is gone. The dispatcher forgets the subscriber.
    Gone,
}

/// Subscribers whose bytes one driver writes, each frame as a chunk of HTTP/1.1.
///
/// The driver calls [`collect_wakes`](Self::collect_wakes) after the bell, and [`serve_next`](Self::serve_next) for as long as
/// there is something to do.
pub struct Dispatcher {
    shared: Arc<Shared>,
    notice: DispatcherId,
    woken: Arc<Woken>,
    seats: PagedTable<SubscriberId, Seat>,
    groups: Groups,
    queue: VecDeque<Turn>,
    now: Tick,
    /// The last position that was told in a heartbeat's place.
    position: Option<(Format, Position, Bytes)>,
    heartbeat: Bytes,
    /// Kept, so that looking does not allocate.
    touched: Vec<GroupId>,
    called: Vec<Turn>,
    /// Groups that the ring has left behind, for which the log is being read.
    behind: HashMap<GroupId, Reading>,
    /// Where to go on looking for seats that are to end.
    ended: usize,
}

/// Who is served next.
#[derive(Clone, Copy)]
enum Turn {
    Group(GroupId),
    Seat(SubscriberId),
}

impl Dispatcher {
    pub(crate) fn new(shared: Arc<Shared>, bell: Waker) -> Self {
        let notice = shared.state().notices.insert(Notice::new(bell.clone()));
        Self {
            shared,
            notice,
            woken: Woken::new(bell),
            seats: PagedTable::new(),
            groups: Groups::new(),
            queue: VecDeque::new(),
            now: 0,
            position: None,
            heartbeat: Frame::chunked(HEARTBEAT).chunk().clone(),
            touched: Vec::new(),
            called: Vec::new(),
            behind: HashMap::new(),
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

    /// Takes a subscription in.
    pub fn add(&mut self, frames: Frames) -> SubscriberId {
        let id = self.seats.vacant_key();
        let waker = self.woken.waker(Turn::Seat(id));
        let (rest, end, sent) = (Bytes::new(), End::Open, self.now);
        let streaming = Streaming { frames, waker, rest, end, sent, went_on: None };
        self.seats.insert(Seat::Streaming(Box::new(streaming)));
        self.queue.push_back(Turn::Seat(id));
        id
    }

    /// The subscriber's client has gone.
    pub fn remove(&mut self, seat: SubscriberId) {
        let place = self.seats.get(seat).and_then(Seat::place);
        let left = self.seats.try_remove(seat);
        if let Some(place) = place {
            self.shared.state().notices[self.notice].unsettle();
            self.take_out(place);
        }
        drop(left);
    }

    /// The subscriber's client takes bytes again.
    pub fn writable(&mut self, seat: SubscriberId) {
        if self.seats.get(seat).is_some_and(|seat| seat.blocked_since().is_some()) {
            self.queue.push_back(Turn::Seat(seat));
        }
    }

    /// The subscriber's time is over: its stream ends with `carafe.expired` after what was begun,
    /// and after a gap that it has to be told.
    pub fn expire(&mut self, seat: SubscriberId) {
        self.unsettle(seat);
        if let Some(Seat::Streaming(streaming)) = self.seats.get_mut(seat)
            && streaming.end == End::Open
        {
            streaming.end = End::Expired;
            self.queue.push_back(Turn::Seat(seat));
        }
    }

    /// Since when the subscriber's client has not taken what it is sent; `None` if it takes it.
    #[must_use]
    pub fn blocked_since(&self, seat: SubscriberId) -> Option<Tick> {
        self.seats.get(seat)?.blocked_since()
    }

    /// Sets the time.
    pub fn set_time(&mut self, now: Tick) {
        self.now = now;
    }

    /// Looks at what has come since it last looked.
    pub fn collect_wakes(&mut self) {
        let (mut touched, mut called) =
            (std::mem::take(&mut self.touched), std::mem::take(&mut self.called));
        let to_end = self.shared.state().notices[self.notice].take(&mut touched);
        self.woken.take(&mut called);
        touched.drain(..).for_each(|group| self.touch(group));
        self.queue.extend(called.drain(..));
        (self.touched, self.called) = (touched, called);
        self.end(to_end);
    }

    /// Sends some subscribers what they lack; `false` if there is nothing to be sent.
    pub fn serve_next(&mut self, sink: &mut impl Sink) -> bool {
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

impl Drop for Dispatcher {
    fn drop(&mut self) {
        // Groups leave the hub before nobody looks after them any more.
        self.seats.clear();
        self.groups = Groups::new();
        let notice = self.shared.state().notices.remove(self.notice);
        drop(notice);
    }
}
