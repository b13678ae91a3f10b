//! Collects the frames that come next after a position in the ring.

use bytes::{Bytes, BytesMut};
use carafe_protocol::{Offset, Position};
use smallvec::SmallVec;

use super::groups::Group;
use crate::feeds::core::Step;
use crate::feeds::interest::Interest;
use crate::format::Format;
use crate::frame::Frame;
use crate::inner::{HubInner, Presence};
use crate::recent_erasures::TopicBits;
use crate::report;
use crate::state::HubState;
use crate::subscription::frames::CHUNK_BYTES;

/// Bytes that are joined for a single subscriber. There may be very many whose clients take little,
/// and each has a copy of its own.
const SINGLE_BYTES: usize = 8 << 10;

/// Frames that come next.
pub(super) struct RingRun {
    frames: SmallVec<[Frame; 1]>,
    /// The last entry of the frames.
    pub(super) up_to: Position,
    /// There is more in the ring.
    pub(super) more: bool,
    events: u32,
    /// One of the entries is the end of a topic.
    pub(super) has_end: bool,
}

/// What there is after a position.
pub(super) enum NextRun {
    Run(RingRun),
    Nothing,
    /// Up to this position there is nothing that is shown. There may be after it.
    Hidden(Position),
    /// The ring does not reach back so far: the log has to be read.
    Behind,
    /// The next entry is no longer shown, which is a gap for each subscriber.
    Gone,
}

/// Why a run ends.
#[derive(PartialEq, Eq)]
enum Stopped {
    CaughtUp,
    Full,
    Behind,
    Gone,
}

/// What the group lacks.
pub(super) fn next_of_group(hub: &HubInner, state: &mut HubState, group: &Group) -> NextRun {
    let after = group.cursor().position;
    let range = Range { after, until: Offset::MAX, max_bytes: CHUNK_BYTES };
    collect(hub, state, group.interest(), group.format(), &range)
}

/// What a member of the group at `position` lacks, up to the position of the group.
pub(super) fn next_of_member(hub: &HubInner, group: &Group, position: Position) -> NextRun {
    let until = group.cursor().position.offset;
    if position.offset >= until {
        return NextRun::Nothing;
    }
    let range = Range { after: position, until, max_bytes: SINGLE_BYTES };
    collect(hub, &mut hub.state(), group.interest(), group.format(), &range)
}

struct Range {
    after: Position,
    until: Offset,
    /// The last frame may exceed it.
    max_bytes: usize,
}

fn collect(
    hub: &HubInner,
    state: &mut HubState,
    interest: &Interest,
    format: Format,
    range: &Range,
) -> NextRun {
    let mut frames: SmallVec<[Frame; 1]> = SmallVec::new();
    let (mut up_to, mut bytes, mut events, mut has_end) = (range.after, 0, 0, false);
    let stopped = loop {
        if bytes >= range.max_bytes {
            break Stopped::Full;
        }
        let mut position = up_to;
        match state.core.step(interest, &mut position, Some(format)) {
            Step::CaughtUp => break Stopped::CaughtUp,
            Step::Hidden => {
                up_to = position;
                break Stopped::Full;
            }
            Step::Behind => break Stopped::Behind,
            Step::Entry(entry, _) if entry.offset() > range.until => break Stopped::CaughtUp,
            Step::Entry(entry, frame) => match hub.presence_under_lock(&entry) {
                Presence::Shown => {
                    up_to = position;
                    bytes += frame.len();
                    // Each has a byte at least, and a run has about `CHUNK_BYTES`.
                    events += report::events(&entry);
                    has_end |= report::is_end(&entry);
                    frames.push(frame);
                }
                // The lock is released before the next entry, as between hidden ones.
                Presence::Skipped => {
                    up_to = position;
                    break Stopped::Full;
                }
                Presence::Gone(_) => break Stopped::Gone,
            },
        }
    };
    match stopped {
        Stopped::CaughtUp if frames.is_empty() => NextRun::Nothing,
        Stopped::Full if frames.is_empty() => NextRun::Hidden(up_to),
        Stopped::Behind if frames.is_empty() => NextRun::Behind,
        Stopped::Gone if frames.is_empty() => NextRun::Gone,
        stopped => {
            let more = stopped != Stopped::CaughtUp;
            NextRun::Run(RingRun { frames, up_to, more, events, has_end })
        }
    }
}

impl RingRun {
    pub(super) fn bytes(&self) -> Bytes {
        concat(&self.frames)
    }

    /// The topics of the events.
    pub(super) fn topics(&self) -> TopicBits {
        topics_of(&self.frames)
    }

    /// The number of events.
    pub(super) fn events(&self) -> u32 {
        self.events
    }
}

/// The topics of the events in frames.
pub(super) fn topics_of(frames: &[Frame]) -> TopicBits {
    let mut topics = TopicBits::default();
    frames.iter().for_each(|frame| topics.add(frame.topics()));
    topics
}

/// Frames as one piece of bytes. A single frame is not copied.
pub(super) fn concat(frames: &[Frame]) -> Bytes {
    if let [frame] = frames {
        return frame.chunk().clone();
    }
    let mut joined = BytesMut::with_capacity(frames.iter().map(Frame::len).sum());
    frames.iter().for_each(|frame| joined.extend_from_slice(frame.chunk()));
    joined.freeze()
}
