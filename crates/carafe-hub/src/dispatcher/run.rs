//! What comes next for who stands somewhere in the ring.

use bytes::{Bytes, BytesMut};
use carafe_protocol::{Offset, Position};
use smallvec::SmallVec;

use super::group::Group;
use crate::Format;
use crate::core::{Interest, Step};
use crate::frame::Frame;
use crate::hub::{Shared, State};

/// Bytes that are joined for one seat alone. There may be very many who take little, and each has
/// its own.
const ALONE: usize = 8 << 10;

/// Frames that come next, and where who has them stands.
pub(super) struct Run {
    frames: SmallVec<[Frame; 1]>,
    /// The last entry in it.
    pub(super) up_to: Position,
    /// There is more in the ring.
    pub(super) more: bool,
}

/// What there is after a position.
pub(super) enum Next {
    Run(Run),
    Nothing,
    /// Up to here there is nothing that is shown, and perhaps after it.
    Hidden(Position),
    /// The ring does not reach back so far: the log has to be read.
    Behind,
    /// An entry is not shown any more, which is a gap for each.
    Over,
}

/// What a seat of the group lacks that stands at `position`.
pub(super) fn lacks(shared: &Shared, group: &Group, position: Position) -> Next {
    let cursor = &group.membership.cursor;
    if position.offset >= cursor.position.offset {
        return Next::Nothing;
    }
    let until = cursor.position.offset;
    next(shared, &mut shared.state(), &cursor.interest, position, group.format, until, ALONE)
}

/// What the ring has between the two, at most about as many bytes.
pub(super) fn next(
    shared: &Shared,
    state: &mut State,
    interest: &Interest,
    after: Position,
    format: Format,
    until: Offset,
    most: usize,
) -> Next {
    let mut frames: SmallVec<[Frame; 1]> = SmallVec::new();
    let (mut up_to, mut bytes) = (after, 0);
    let stopped = loop {
        if bytes >= most {
            break Stopped::Full;
        }
        let mut position = up_to;
        match state.core.step(interest, &mut position, Some(format)) {
            Step::CaughtUp => break Stopped::AtEnd,
            Step::Hidden => {
                up_to = position;
                break Stopped::Full;
            }
            Step::Behind => break Stopped::Behind,
            Step::Entry(entry, _) if entry.offset() > until => break Stopped::AtEnd,
            Step::Entry(entry, _) if shared.retentions.is_over(&entry) => break Stopped::Over,
            Step::Entry(_, frame) => {
                up_to = position;
                bytes += frame.len();
                frames.push(frame);
            }
        }
    };
    match stopped {
        Stopped::AtEnd if frames.is_empty() => Next::Nothing,
        Stopped::Full if frames.is_empty() => Next::Hidden(up_to),
        Stopped::Behind if frames.is_empty() => Next::Behind,
        Stopped::Over if frames.is_empty() => Next::Over,
        stopped => Next::Run(Run { frames, up_to, more: stopped != Stopped::AtEnd }),
    }
}

/// Why a run has no more frames.
#[derive(PartialEq, Eq)]
enum Stopped {
    AtEnd,
    Full,
    Behind,
    Over,
}

impl Run {
    /// All of it.
    pub(super) fn bytes(&self) -> Bytes {
        join(&self.frames)
    }
}

/// Frames as one piece of bytes. One frame is not copied.
pub(super) fn join(frames: &[Frame]) -> Bytes {
    if let [frame] = frames {
        return frame.chunk().clone();
    }
    let mut joined = BytesMut::with_capacity(frames.iter().map(Frame::len).sum());
    frames.iter().for_each(|frame| joined.extend_from_slice(frame.chunk()));
    joined.freeze()
}
