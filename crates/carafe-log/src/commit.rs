//! Commits: what several nodes that share a log put in order at once.
//!
//! The payload of formats 1 and 2, with little-endian numbers:
//!
//! | field | bytes |
//! | --- | --- |
//! | seed of the nonces | 4 |
//! | number of batches | 4 |
//! | for each batch: number of publications | 4 |
//! | and each publication: its head and its body, as records on disk have them | n |
//!
//! A message of format 2 also says when it was sent. It is not applied if it was stored much later.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_protocol::{Offset, Position};

use crate::Publication;
use crate::codec::{Put, Take, length};
use crate::publication_record::{Head, put_body, put_head, size_of};

/// What several nodes that share a log put in order at once: batches of one node, each of which is
/// stored as a whole or refused.
///
/// A node encodes the commit, an engine that all nodes read gives it its place, and each node
/// stores it by [`AppendAt::append_ordered`](crate::AppendAt::append_ordered). The publication with
/// the number `i`, counted from 0 over all batches, has the offset `first + i`, also where others
/// before it are not stored.
///
/// ```
/// use carafe_log::{Commit, Publication};
/// use carafe_protocol::Topic;
///
/// let batch = vec![Publication::new(Topic::new("orders")?, "espresso")];
/// let commit = Commit { seed: 7, batches: vec![batch] };
/// let payload = commit.encode();
/// assert_eq!(Commit::decode(&payload), Ok(commit));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// A random number. The nonces of the positions follow from it, so that all nodes have the
    /// same.
    pub seed: u32,
    /// The batches, in order.
    pub batches: Vec<Vec<Publication>>,
}

/// The bytes are no commit of a format that this version knows.
///
/// ```
/// use carafe_log::Commit;
///
/// let error = Commit::decode(b"espresso").unwrap_err();
/// assert!(error.to_string().starts_with("the bytes are no commit of format 2"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the bytes are no commit of format {format}: what follows byte {at} is not as it was written",
    format = Commit::FORMAT
)]
pub struct BadCommit {
    /// The number of bytes that are as expected.
    at: usize,
}

impl Commit {
    /// The format of a payload. Another format has a higher number.
    pub const FORMAT: u32 = 2;

    /// The size of a payload without batches, in bytes.
    pub const HEADER: usize = 8;

    /// How many low bits of an offset say which publication of its commit it is. The others are the
    /// sequence that the engine gave the commit.
    pub const OFFSET_BITS: u32 = 16;

    /// The maximum number of publications of a commit.
    pub const MAX_PUBLICATIONS: usize = 1 << Self::OFFSET_BITS;

    /// The number of bytes that a batch takes in a payload.
    #[must_use]
    pub fn size_of(batch: &[Publication]) -> usize {
        4 + batch.iter().map(size_of).sum::<usize>()
    }

    /// The number of publications.
    #[must_use]
    pub fn publications(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// The payload. It can be decoded if there are no more than
    /// [`MAX_PUBLICATIONS`](Self::MAX_PUBLICATIONS).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let batches: usize = self.batches.iter().map(|batch| Self::size_of(batch)).sum();
        let mut out = Vec::with_capacity(Self::HEADER + batches);
        out.put_u32(self.seed);
        out.put_u32(length(self.batches.len()));
        for batch in &self.batches {
            out.put_u32(length(batch.len()));
            for publication in batch {
                put_head(publication, &mut out);
                put_body(publication, &mut out);
            }
        }
        out
    }

    /// Decodes a payload.
    ///
    /// # Errors
    /// When it is damaged, or has too many publications.
    pub fn decode(payload: &[u8]) -> Result<Self, BadCommit> {
        let mut take = Take(payload);
        match take_commit(&mut take) {
            Some(commit) if take.0.is_empty() => Ok(commit),
            _ => Err(BadCommit { at: payload.len() - take.0.len() }),
        }
    }

    /// The nonce of the publication with this number, counted from 0 over all batches.
    ///
    /// No two publications of a commit have the same. The hash is part of the format: each node
    /// computes the same nonce.
    #[must_use]
    pub fn nonce(&self, index: usize) -> u32 {
        nonce(self.seed, index)
    }
}

/// A commit, and the place that it was given.
///
/// ```
/// use std::time::SystemTime;
///
/// use carafe_log::{Commit, OrderedCommit};
///
/// let commit = Commit { seed: 7, batches: Vec::new() };
/// let first = 42 << Commit::OFFSET_BITS;
/// let ordered = OrderedCommit { commit, first, time: SystemTime::now() };
/// # drop(ordered);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedCommit {
    /// The commit.
    pub commit: Commit,
    /// The offset of its first publication.
    pub first: Offset,
    /// The time of its entries, which is the same on all nodes. Logs keep whole milliseconds.
    pub time: SystemTime,
}

impl OrderedCommit {
    /// The highest offset that one of its publications may have. `None` if there is no such offset.
    pub(crate) fn last(&self) -> Option<Offset> {
        let publications = self.commit.publications().max(1) as Offset;
        // The number behind it exists, too: files are named after it.
        Some(self.first.checked_add(publications)? - 1)
    }
}

fn take_commit(take: &mut Take<'_>) -> Option<Commit> {
    let (seed, count) = (take.u32()?, take.u32()?);
    let mut room = Commit::MAX_PUBLICATIONS;
    // Nothing is allocated for what is not there: each batch and each publication takes some bytes,
    // and the first that is missing ends this.
    let batches = (0..count).map(|_| take_batch(take, &mut room)).collect::<Option<_>>()?;
    Some(Commit { seed, batches })
}

fn take_batch(take: &mut Take<'_>, room: &mut usize) -> Option<Vec<Publication>> {
    let count = take.u32()?;
    *room = room.checked_sub(count as usize)?;
    // What a log has noted of its entry is no part of a commit: this log decides by itself.
    let publication = |_| Some(Head::take(take)?.take_body(take)?.with_renewal(false));
    (0..count).map(publication).collect()
}

/// Adds a multiple of an odd number, and mixes the bits by steps that lose none ("lowbias32"): the
/// nonces of a commit differ, and say nothing of the seed at a glance.
pub(crate) fn nonce(seed: u32, index: usize) -> u32 {
    let mut mixed = seed.wrapping_add((index as u32).wrapping_mul(0x9e37_79b9));
    mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x7feb_352d);
    mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b);
    mixed ^ (mixed >> 16)
}

/// Whether a position stands between two commits and belongs to no entry. A node whose history
/// begins there gives it to its clients.
pub(crate) fn is_between_commits(position: Position) -> bool {
    let last = (1 << Commit::OFFSET_BITS) - 1;
    position.nonce == 0 && position.offset & last == last
}

/// A time in the whole milliseconds that entries have.
pub(crate) fn in_milliseconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // At most the time itself, which exists.
    UNIX_EPOCH
        + Duration::from_secs(since.as_secs())
        + Duration::from_millis(u64::from(since.subsec_millis()))
}
