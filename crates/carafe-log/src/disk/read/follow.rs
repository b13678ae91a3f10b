//! Following the log from its newest entries on.

use std::sync::Arc;

use carafe_protocol::Position;

use crate::disk::read::part::SegmentReader;
use crate::disk::state::DiskShared;
use crate::disk::view::{Place, View};
use crate::{Entry, Followed, Follower, ReadError};

impl DiskShared {
    /// Registers a follower, and reads the newest entries up to now.
    pub(crate) fn follow(&self, recent: usize, follower: Follower) -> Followed {
        // Registered before the newest entries are read: it receives what is appended meanwhile.
        let view = self.change(|state| {
            state.followers.push(follower);
            state.view()
        });
        let (after, recent) = self.recent(&view, recent).unwrap_or_else(|error| {
            tracing::warn!(%error, "the newest entries cannot be read into the ring");
            (view.tail, Vec::new())
        });
        Followed { after, recent }
    }

    /// The newest entries, of about `bytes` bytes at most, and the position before them.
    fn recent(&self, view: &View, bytes: usize) -> Result<(Position, Vec<Arc<Entry>>), ReadError> {
        let mut room = bytes;
        let (mut after, mut entries) = newest_of(&view.active(), &mut room)?;
        let header = view.segment.header;
        if after == header.previous
            // Entries on both sides of a hole must not be in the ring: readers there would not
            // notice the hole.
            && !header.after_hole
            && let Some(sealed) = view.sealed.back()
        {
            let part = self.part(view, &Place::Sealed(Arc::clone(sealed)))?;
            let (further, mut older) = newest_of(&part, &mut room)?;
            older.append(&mut entries);
            (after, entries) = (further, older);
        }
        Ok((after, entries))
    }
}

fn newest_of(
    part: &SegmentReader,
    room: &mut usize,
) -> Result<(Position, Vec<Arc<Entry>>), ReadError> {
    let first = part.first_within(room)?;
    let entries = part.run(first..part.entries())?.into_iter().map(Arc::new).collect();
    Ok((part.before(first)?, entries))
}
