//! A segment: a file of commits, each written at once and synced before the next.
//!
//! The file begins with a header:
//!
//! | field | bytes |
//! | --- | --- |
//! | `CARAFELG` | 8 |
//! | version | 4 |
//! | salt, random: seeds all checksums of the file | 4 |
//! | generation of its entries | 8 |
//! | the position before its first entry: generation, offset, nonce | 8, 8, 4 |
//! | CRC32C of the header up to here | 4 |
//!
//! Then commits follow, each with a head:
//!
//! | field | bytes |
//! | --- | --- |
//! | `CMIT` | 4 |
//! | length of its records | 4 |
//! | number of its records | 4 |
//! | the number of the commit before, the salt for the first | 4 |
//! | its own number, random | 4 |
//! | CRC32C of the head up to here and of the records, seeded with the salt | 4 |
//!
//! Zeros follow, up to the size that was allocated.

use std::io;
use std::sync::Arc;

use carafe_protocol::{Generation, Offset, Position};
use memchr::memmem;

use super::codec::{Put, Take, length};
use super::record::{self, checksum};
use super::storage::StorageFile;
use crate::Entry;

const MAGIC: &[u8; 8] = b"CARAFELG";
const VERSION: u32 = 1;
pub(crate) const HEADER: usize = 48;

const COMMIT: &[u8; 4] = b"CMIT";
const COMMIT_HEAD: usize = 24;

/// What a segment's first bytes say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: u32,
    pub(crate) generation: Generation,
    /// The position before its first entry.
    pub(crate) previous: Position,
}

/// Why a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Written by another version of the program.
    Version(u32),
    Damaged,
}

impl Header {
    pub(crate) fn name(&self) -> String {
        format!("{:020}.segment", self.previous.offset + 1)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.put_u32(VERSION);
        out.put_u32(self.salt);
        out.put_u64(self.generation.get());
        put_position(&mut out, self.previous);
        let sum = checksum(0, &out);
        out.put_u32(sum);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let damaged = BadHeader::Damaged;
        let mut take = Take(bytes);
        if take.bytes(MAGIC.len()) != Some(MAGIC) {
            return Err(damaged);
        }
        match take.u32().ok_or(damaged)? {
            VERSION => {}
            // A header that is only half there.
            0 => return Err(damaged),
            other => return Err(BadHeader::Version(other)),
        }
        let header = take_header(&mut take).ok_or(damaged)?;
        let sum = checksum(0, &bytes[..HEADER - 4]);
        if take.u32() == Some(sum) { Ok(header) } else { Err(damaged) }
    }
}

fn take_header(take: &mut Take<'_>) -> Option<Header> {
    Some(Header {
        salt: take.u32()?,
        generation: Generation::new(take.u64()?),
        previous: take_position(take)?,
    })
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: Position) {
    out.put_u64(position.generation.get());
    out.put_u64(position.offset);
    out.put_u32(position.nonce);
}

pub(crate) fn take_position(take: &mut Take<'_>) -> Option<Position> {
    let generation = Generation::new(take.u64()?);
    Some(Position { generation, offset: take.u64()?, nonce: take.u32()? })
}

/// Where a record stands in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) offset: Offset,
    pub(crate) at: u32,
    pub(crate) length: u32,
    /// Not every subscriber may see it.
    pub(crate) private: bool,
}

impl Row {
    fn of(entry: &Entry, at: u32, length: u32) -> Self {
        Self { offset: entry.offset(), at, length, private: entry.publication.is_private() }
    }
}

/// Where the next commit goes, and which number it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) at: u32,
    pub(crate) commit: u32,
}

impl End {
    /// Of a segment without commits.
    pub(crate) fn of_empty(header: &Header) -> Self {
        Self { at: length(HEADER), commit: header.salt }
    }
}

/// A commit, ready to be written.
pub(crate) struct Commit {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: Vec<Row>,
    pub(crate) end: End,
}

impl Commit {
    /// Encodes entries to stand at `end` of a segment.
    pub(crate) fn encode(entries: &[Arc<Entry>], header: &Header, end: End) -> Self {
        let mut bytes = vec![0; COMMIT_HEAD];
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            let start = bytes.len();
            record::encode(entry, header.salt, &mut bytes);
            let at = end.at + length(start);
            rows.push(Row::of(entry, at, length(bytes.len() - start)));
        }
        let commit = rand::random();
        let mut head = COMMIT.to_vec();
        head.put_u32(length(bytes.len() - COMMIT_HEAD));
        head.put_u32(length(entries.len()));
        head.put_u32(end.commit);
        head.put_u32(commit);
        let sum = checksum(checksum(header.salt, &head), &bytes[COMMIT_HEAD..]);
        head.put_u32(sum);
        bytes[..COMMIT_HEAD].copy_from_slice(&head);
        let end = End { at: end.at + length(bytes.len()), commit };
        Self { bytes, rows, end }
    }
}

/// The whole content of a segment.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: Header,
}

/// Where the good commits of a segment end, and what follows there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) end: End,
    pub(crate) rest: Rest,
}

/// What stands after the last good commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Zeros, or nothing.
    Nothing,
    /// A commit that was being written when the machine stopped: nobody was told that it is there.
    Torn,
    /// Something that later commits prove to have been synced.
    Damage,
}

impl Content {
    pub(crate) fn read(file: &dyn StorageFile, header: Header) -> io::Result<Self> {
        let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; size];
        file.read_at(0, &mut bytes)?;
        Ok(Self { bytes, header })
    }

    /// Reads the commits in order, hands each of their entries over, and looks at what follows.
    pub(crate) fn scan(&self, mut each: impl FnMut(Entry, Row)) -> Scan {
        let mut end = End::of_empty(&self.header);
        let mut last = self.header.previous.offset;
        while let Some((records, next)) = self.commit_at(end.at as usize, Some(end.commit)) {
            let at = next.at - length(records.len());
            let Some(entries) = self.entries(records, at, last) else { break };
            last = entries.last().map_or(last, |(_, row)| row.offset);
            entries.into_iter().for_each(|(entry, row)| each(entry, row));
            end = next;
        }
        Scan { end, rest: self.rest(end.at as usize) }
    }

    /// The records of a good commit, and where it ends.
    fn commit_at(&self, at: usize, follows: Option<u32>) -> Option<(&[u8], End)> {
        let bytes = self.bytes.get(at..)?;
        let mut take = Take(bytes);
        if take.bytes(4)? != COMMIT {
            return None;
        }
        let (size, _, previous, commit) = (take.u32()?, take.u32()?, take.u32()?, take.u32()?);
        let sum = take.u32()?;
        let records = take.bytes(size as usize)?;
        let good = follows.is_none_or(|follows| previous == follows)
            && checksum(checksum(self.header.salt, &bytes[..COMMIT_HEAD - 4]), records) == sum;
        let end = End { at: length(at + COMMIT_HEAD + records.len()), commit };
        good.then_some((records, end))
    }

    /// The entries of a commit; `None` if one is damaged, or does not lie beyond the one before.
    fn entries(&self, records: &[u8], mut at: u32, mut last: Offset) -> Option<Vec<(Entry, Row)>> {
        let mut entries = Vec::new();
        let mut rest = records;
        while !rest.is_empty() {
            let (record, next) = rest.split_at_checked(record::record_length(rest)?)?;
            let entry = record::decode(record, self.header.salt, self.header.generation)?;
            if entry.offset() <= last {
                return None;
            }
            last = entry.offset();
            let row = Row::of(&entry, at, length(record.len()));
            entries.push((entry, row));
            at += length(record.len());
            rest = next;
        }
        Some(entries)
    }

    /// A commit is written only when all before it are synced: one that is good proves that what is not good was.
    fn rest(&self, end: usize) -> Rest {
        let rest = self.bytes.get(end..).unwrap_or_default();
        if rest.iter().all(|byte| *byte == 0) {
            return Rest::Nothing;
        }
        let good = |at: usize| self.commit_at(end + at, None).is_some();
        let proof = memmem::find_iter(rest, COMMIT).any(good);
        if proof { Rest::Damage } else { Rest::Torn }
    }
}
