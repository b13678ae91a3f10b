//! The delivery state of one subscriber of a dispatcher.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use carafe_protocol::{Offset, Position};
use futures_core::Stream;

use super::sink::Tick;
use crate::frame::Frame;
use crate::ids::GroupId;
use crate::recent_erasures::{ErasureStamp, RecentErasures, TopicBits};
use crate::subscription::frames::Frames;

/// The end of a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How a subscriber is served.
pub(super) enum DeliveryState {
    /// The subscriber has everything that its group was sent.
    InGroup(InGroup),
    /// The subscriber's client takes less than there is. It is still a member of its group.
    CatchingUp(Box<CatchingUp>),
    /// The subscriber has a subscription of its own: it replays history, or has something to report
    /// that others have not.
    Replaying(Box<Replaying>),
}

/// A subscriber that has everything its group was sent.
pub(super) struct InGroup {
    pub(super) place: GroupPlace,
    /// The number of the last broadcast that the subscriber was sent.
    pub(super) broadcast: u32,
    /// When the subscriber was last sent something that the group was not.
    pub(super) sent: Tick,
    /// The last position that the subscriber was sent, if that is after the group's.
    pub(super) last_sent: Offset,
    /// The subscriber joined while the group had not been sent entries that the subscriber already
    /// has. It has everything up to this position.
    pub(super) ahead_to: Option<Box<Position>>,
}

/// A subscriber's place in its group.
#[derive(Clone, Copy)]
pub(super) struct GroupPlace {
    pub(super) group: GroupId,
    pub(super) at: u32,
}

/// A subscriber whose client takes less than there is.
pub(super) struct CatchingUp {
    pub(super) place: GroupPlace,
    pub(super) rest: Rest,
    /// The position of the subscriber after the rest, or a later one if it waits with its group.
    pub(super) resume_after: Position,
    /// The number of the group's last broadcast, if the subscriber has everything up to it. Then it
    /// misses nothing while the group waits.
    pub(super) broadcast: Option<u32>,
    pub(super) last_sent: Offset,
    /// When the client last took something.
    pub(super) sent: Tick,
}

/// The rest of a chunk that was partly written. It has to be finished before anything else.
#[derive(Default)]
pub(super) struct Rest {
    pub(super) bytes: Bytes,
    /// The topics of the events in the chunk.
    topics: TopicBits,
    /// The number of events that are sent when the rest is written.
    pub(super) events: u32,
    /// When the events were collected.
    erasures: ErasureStamp,
}

impl Rest {
    pub(super) fn new(
        bytes: Bytes,
        events: u32,
        topics: TopicBits,
        erasures: ErasureStamp,
    ) -> Self {
        Self { bytes, topics, events, erasures }
    }

    /// The rest of what the hub itself reports.
    pub(super) fn report(bytes: Bytes) -> Self {
        Self { bytes, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn advance(&mut self, written: usize) {
        self.bytes.advance(written);
    }

    /// Whether one of its events may have been erased since they were collected.
    pub(super) fn may_be_erased(&self, recent: &RecentErasures) -> bool {
        !self.is_empty() && recent.may_have_erased(self.topics, self.erasures)
    }
}

/// A subscriber with a subscription of its own.
pub(super) struct Replaying {
    pub(super) frames: Frames,
    /// Gives the subscriber a turn.
    pub(super) waker: Waker,
    pub(super) rest: Rest,
    pub(super) phase: ReplayPhase,
    pub(super) sent: Tick,
    /// If the subscriber was in a group before.
    pub(super) left_group: Option<LeftGroup>,
}

/// Where a subscriber left its group.
#[derive(Clone, Copy)]
pub(super) struct LeftGroup {
    /// The position after which it continued.
    pub(super) resumed_after: Offset,
    /// The last position that its client had been sent by then.
    pub(super) last_sent: Offset,
}

/// How far a stream is from its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplayPhase {
    Open,
    /// The stream's time is over. It ends when it has reported a gap, if it has one.
    Expiring,
    /// The stream ends when the rest is written.
    Finishing,
}

impl Replaying {
    /// Takes the next bytes of the subscription; `false` if there are none now.
    pub(super) fn take_next(&mut self) -> bool {
        if self.phase == ReplayPhase::Expiring && self.frames.may_expire() {
            let expired = chunk(&self.frames.expired());
            self.finish(&expired);
            return true;
        }
        // Before the events are collected.
        let stamp = self.frames.subscription.registration.hub.erasures.stamp();
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(&mut self.frames).poll_next(&mut cx) {
            Poll::Ready(Some(block)) => {
                let (events, topics) = (self.frames.take_events(), self.frames.take_topics());
                self.rest = Rest::new(chunk(&block), events, topics, stamp);
            }
            Poll::Ready(None) => self.finish(&[]),
            Poll::Pending => return false,
        }
        true
    }

    /// Takes the answer of the log while the client takes nothing, so that the subscription returns
    /// its permit to read the log.
    pub(super) fn poll_log(&mut self) {
        // Pending or not, there is nothing to do: the waker gives the subscriber a turn.
        let _ = self.frames.subscription.poll_log(&mut Context::from_waker(&self.waker));
    }

    /// The last position that the client was sent.
    pub(super) fn last_sent(&self) -> Offset {
        let last_sent = self.frames.subscription.last_sent.offset;
        match self.left_group {
            Some(left) if last_sent == left.resumed_after => left.last_sent,
            _ => last_sent,
        }
    }

    fn finish(&mut self, chunk: &[u8]) {
        self.phase = ReplayPhase::Finishing;
        self.rest = Rest::report([chunk, LAST_CHUNK].concat().into());
    }
}

fn chunk(block: &[u8]) -> Bytes {
    Frame::chunked(block).chunk().clone()
}

impl DeliveryState {
    /// The place of the subscriber in its group.
    pub(super) fn place(&self) -> Option<GroupPlace> {
        match self {
            Self::InGroup(state) => Some(state.place),
            Self::CatchingUp(state) => Some(state.place),
            Self::Replaying(_) => None,
        }
    }

    pub(super) fn set_place(&mut self, place: GroupPlace) {
        match self {
            Self::InGroup(state) => state.place = place,
            Self::CatchingUp(state) => state.place = place,
            Self::Replaying(_) => {}
        }
    }

    /// The rest that has to be written before anything else, and when the client last took
    /// something.
    pub(super) fn rest_mut(&mut self) -> Option<(&mut Rest, &mut Tick)> {
        match self {
            Self::InGroup(_) => None,
            Self::CatchingUp(state) => Some((&mut state.rest, &mut state.sent)),
            Self::Replaying(state) => Some((&mut state.rest, &mut state.sent)),
        }
    }

    /// Since when the client has not taken what it is sent.
    pub(super) fn blocked_since(&self) -> Option<Tick> {
        match self {
            Self::InGroup(_) => None,
            Self::CatchingUp(state) => (!state.rest.is_empty()).then_some(state.sent),
            Self::Replaying(state) => (!state.rest.is_empty()).then_some(state.sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::{Broadcast, Group};
    use super::*;

    /// A dispatcher may have a million subscribers, and nearly as many groups: a byte here is a
    /// megabyte there. A change that needs more raises the bound knowingly.
    #[test]
    fn a_subscriber_and_its_group_take_no_more_memory_than_now() {
        let sizes = [
            size_of::<DeliveryState>(),
            size_of::<CatchingUp>(),
            size_of::<Replaying>(),
            size_of::<Group>(),
            size_of::<Broadcast>(),
        ];
        let bounds = [40, 104, 272, 128, 80];
        assert!(sizes.iter().zip(bounds).all(|(size, bound)| *size <= bound), "{sizes:?}");
    }
}
