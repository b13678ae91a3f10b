//! A commit: the entries that are written and synced at once. Its records follow its head.

use std::sync::Arc;

use carafe_protocol::Offset;

use crate::Entry;
use crate::codec::{Put, Take, length};
use crate::disk::format::header::{HEADER, Header};
use crate::disk::format::record::{self, checksum};

pub(crate) const COMMIT: &[u8; 4] = b"CMIT";
pub(crate) const COMMIT_HEAD: usize = 24;

/// The place of a record in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) offset: Offset,
    pub(crate) at: u32,
    pub(crate) length: u32,
    /// Only subscribers with access to private events may see the entry.
    pub(crate) private: bool,
    /// Whether the entry [counts](crate::Publication::counts) as an event for readers.
    pub(crate) counts: bool,
}

impl Row {
    pub(crate) fn of(entry: &Entry, header: &Header, at: u32, length: u32) -> Self {
        let (private, counts) = (entry.publication.is_private(), entry.publication.counts());
        // An older program has written events only, and knows no mark for others.
        let counts = counts || !header.kinds;
        Self { offset: entry.offset(), at, length, private, counts }
    }
}

/// The end of the commits of a segment: the place of the next commit, and the number of the last
/// one. A commit names the number of the commit before it, so that an old commit that was left in
/// the file is not read as the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitEnd {
    pub(crate) at: u32,
    pub(crate) commit: u32,
}

impl CommitEnd {
    /// The end of a segment without commits.
    pub(crate) fn of_empty(header: &Header) -> Self {
        Self { at: length(HEADER), commit: header.salt }
    }
}

/// An encoded commit.
pub(crate) struct Commit {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: Vec<Row>,
    pub(crate) end: CommitEnd,
}

impl Commit {
    /// Encodes entries as the commit at `end` of a segment.
    pub(crate) fn encode(entries: &[Arc<Entry>], header: &Header, end: CommitEnd) -> Self {
        // The head is filled in last: its checksum covers the records.
        let mut bytes = vec![0; COMMIT_HEAD];
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            let start = bytes.len();
            record::encode(entry, header.salt, &mut bytes);
            let at = end.at + length(start);
            rows.push(Row::of(entry, header, at, length(bytes.len() - start)));
        }
        // Drawn, not counted: no old commit in the file, and none that a publisher forges, can name
        // it.
        let commit = rand::random();
        let mut head = COMMIT.to_vec();
        head.put_u32(length(bytes.len() - COMMIT_HEAD));
        head.put_u32(length(entries.len()));
        head.put_u32(end.commit);
        head.put_u32(commit);
        let sum = checksum(checksum(header.salt, &head), &bytes[COMMIT_HEAD..]);
        head.put_u32(sum);
        bytes[..COMMIT_HEAD].copy_from_slice(&head);
        let end = CommitEnd { at: end.at + length(bytes.len()), commit };
        Self { bytes, rows, end }
    }
}

/// The head of a commit.
pub(crate) struct CommitHead {
    pub(crate) size: u32,
    pub(crate) previous: u32,
    pub(crate) commit: u32,
    pub(crate) sum: u32,
}

impl CommitHead {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        if take.bytes(COMMIT.len())? != COMMIT {
            return None;
        }
        let (size, _, previous) = (take.u32()?, take.u32()?, take.u32()?);
        Some(Self { size, previous, commit: take.u32()?, sum: take.u32()? })
    }
}
