//! The offsets of entries, which follow from the sequence that the engine gives their commit.

use carafe_log::Commit;
use carafe_protocol::Offset;

/// The offset of the first publication of a commit. The others follow it. Publications that no node
/// stores leave a hole.
///
/// ```
/// assert_eq!(carafe_cluster::first_offset(2), 131_072);
/// ```
#[must_use]
pub fn first_offset(sequence: u64) -> Offset {
    sequence << Commit::OFFSET_BITS
}

/// The sequence of the commit that the entry at an offset is part of.
///
/// ```
/// assert_eq!(carafe_cluster::sequence_of(131_072 + 7), 2);
/// ```
#[must_use]
pub fn sequence_of(offset: Offset) -> u64 {
    offset >> Commit::OFFSET_BITS
}

/// The offset behind which a log begins whose first commit has this sequence.
///
/// ```
/// assert_eq!(carafe_cluster::offset_before(1), 0);
/// assert_eq!(carafe_cluster::offset_before(2), 131_071);
/// ```
#[must_use]
pub fn offset_before(sequence: u64) -> Offset {
    if sequence <= 1 { 0 } else { first_offset(sequence) - 1 }
}
