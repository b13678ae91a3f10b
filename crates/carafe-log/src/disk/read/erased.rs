//! Finds out whether a segment has content that was erased.

use carafe_protocol::Topic;

use crate::disk::format::commit::Row;
use crate::disk::read::part::SegmentReader;
use crate::{Erasures, ReadError};

/// The number of entries of a topic that are looked at together.
const ENTRIES: usize = 4096;

/// Whether the segment has the content of an entry that an erasure covers. `may_have` rules out
/// topics that it does not have.
pub(crate) fn holds_erased(
    part: &SegmentReader,
    erasures: &Erasures,
    may_have: impl Fn(&Topic) -> bool,
) -> Result<bool, ReadError> {
    for (topic, erased) in erasures.topics().filter(|(topic, _)| may_have(topic)) {
        let ordinals = part.of_topic(topic)?;
        for ordinals in ordinals.chunks(ENTRIES) {
            let mut rows = part.rows(ordinals)?;
            let count = rows.len();
            rows.retain(|row| row.offset < erased.before);
            let is_last = rows.len() < count;
            if has_covered(part, &rows, erasures)? {
                return Ok(true);
            }
            if is_last {
                break;
            }
        }
    }
    for (offset, _) in erasures.ones() {
        if has_covered(part, &part.row_at(offset)?.into_iter().collect::<Vec<_>>(), erasures)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the content of one of these entries is there, and erased.
fn has_covered(part: &SegmentReader, rows: &[Row], erasures: &Erasures) -> Result<bool, ReadError> {
    let mut found = false;
    // As they are stored: `part` would hide what is erased.
    part.segment.entries(rows, |entry| {
        found = erasures.covers(&entry);
        !found
    })?;
    Ok(found)
}
