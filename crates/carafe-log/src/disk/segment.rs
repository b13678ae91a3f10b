//! A segment: a file of commits, each written at once and synced before the next.
//!
//! The file begins with a header:
//!
//! | field | bytes |
//! | --- | --- |
//! | `CARAFELG` | 8 |
//! | version: 1; 2 if entries between the segment before and this one are lost, and a repair says so | 4 |
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
use std::time::SystemTime;

use carafe_protocol::{Generation, Offset, Position};
use memchr::memmem;

use super::codec::{Put, Take, length};
use super::record::{self, checksum};
use super::storage::StorageFile;
use crate::Entry;

pub(crate) const MAGIC: &[u8; 8] = b"CARAFELG";
/// The highest version that this program knows.
pub(crate) const VERSION: u32 = AFTER_HOLE;
const CONTIGUOUS: u32 = 1;
const AFTER_HOLE: u32 = 2;
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
    /// Entries between the segment before and this one are lost, and known to be.
    pub(crate) after_hole: bool,
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
        out.put_u32(if self.after_hole { AFTER_HOLE } else { CONTIGUOUS });
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
        let after_hole = match take.u32().ok_or(damaged)? {
            CONTIGUOUS => false,
            AFTER_HOLE => true,
            // A header that is only half there.
            0 => return Err(damaged),
            other => return Err(BadHeader::Version(other)),
        };
        let header = take_header(&mut take, after_hole).ok_or(damaged)?;
        let sum = checksum(0, &bytes[..HEADER - 4]);
        if take.u32() == Some(sum) { Ok(header) } else { Err(damaged) }
    }
}

fn take_header(take: &mut Take<'_>, after_hole: bool) -> Option<Header> {
    Some(Header {
        salt: take.u32()?,
        generation: Generation::new(take.u64()?),
        previous: take_position(take)?,
        after_hole,
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

/// A segment's content, of which only a part is in memory.
pub(crate) struct Content<'a> {
    file: &'a dyn StorageFile,
    header: Header,
    size: usize,
    /// What was read last, and from where.
    window: Vec<u8>,
    from: usize,
}

/// Where the good commits of a segment end, and what follows there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) end: End,
    /// Where the last of them begins; the header, if there is none.
    pub(crate) last: u32,
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

/// How much of a segment is read at once, if a commit has no more.
const WINDOW: usize = 256 << 10;

impl<'a> Content<'a> {
    pub(crate) fn new(file: &'a dyn StorageFile, header: Header) -> io::Result<Self> {
        let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
        Ok(Self { file, header, size, window: Vec::new(), from: 0 })
    }

    /// Reads the commits in order, hands each of their entries over, and looks at what follows.
    pub(crate) fn scan(&mut self, mut each: impl FnMut(Entry, Row)) -> io::Result<Scan> {
        let header = self.header;
        let (mut end, mut begin) = (End::of_empty(&header), 0);
        let mut last = header.previous.offset;
        while let Some((records, next)) = self.commit_at(end.at as usize, Some(end.commit))? {
            let at = next.at - length(records.len());
            let Some(entries) = entries(&header, records, at, last) else { break };
            last = entries.last().map_or(last, |(_, row)| row.offset);
            entries.into_iter().for_each(|(entry, row)| each(entry, row));
            (begin, end) = (end.at, next);
        }
        Ok(Scan { end, last: begin, rest: self.rest(end.at as usize)? })
    }

    /// All good commits: runs of such that follow each other, and what stands after the last.
    /// Unlike a scan, it goes on after damage. Hands each commit's entries over, with the number of
    /// its run.
    pub(crate) fn runs(
        &mut self,
        mut each: impl FnMut(usize, &[Entry]),
    ) -> io::Result<(Vec<Run>, Rest)> {
        let header = self.header;
        let (mut runs, mut follows) = (Vec::<Run>::new(), Some(End::of_empty(&header)));
        let (mut at, mut last) = (HEADER, header.previous.offset);
        loop {
            let commit =
                self.commit_at(at, follows.map(|end| end.commit))?.and_then(|(records, end)| {
                    let first = end.at - length(records.len());
                    Some((
                        entries(&header, records, first, last)
                            .filter(|entries| !entries.is_empty())?,
                        end,
                    ))
                });
            let Some((entries, end)) = commit else {
                // Directly after a good commit, it may be the end.
                let Some(next) = self.next_commit(at + usize::from(follows.is_none()))? else {
                    break;
                };
                (at, follows) = (next, None);
                continue;
            };
            let entries: Vec<_> = entries.into_iter().map(|(entry, _)| entry).collect();
            if follows.is_none() || runs.is_empty() {
                runs.push(Run::beginning(at, &entries));
            }
            let number = runs.len() - 1;
            runs[number].take(&entries, end);
            each(number, &entries);
            last = entries.last().map_or(last, Entry::offset);
            (at, follows) = (end.at as usize, Some(end));
        }
        let end = runs.last().map_or(HEADER, |run| run.end.at as usize);
        Ok((runs, self.rest(end)?))
    }

    /// Where the next commit begins whose checksum is right.
    fn next_commit(&mut self, mut at: usize) -> io::Result<Option<usize>> {
        while at < self.size {
            let count = WINDOW.min(self.size - at);
            let Some(bytes) = self.bytes(at, count)? else { break };
            let marks: Vec<_> = memmem::find_iter(bytes, COMMIT).collect();
            for mark in marks {
                if self.commit_at(at + mark, None)?.is_some() {
                    return Ok(Some(at + mark));
                }
            }
            let is_last = at + count == self.size;
            // A mark may begin in one part and end in the next.
            at += if is_last { count } else { count - (COMMIT.len() - 1) };
        }
        Ok(None)
    }

    /// These bytes; `None` if there are not so many.
    fn bytes(&mut self, at: usize, count: usize) -> io::Result<Option<&[u8]>> {
        if self.size.checked_sub(at).is_none_or(|left| left < count) {
            return Ok(None);
        }
        let is_there = self.from <= at && at + count <= self.from + self.window.len();
        if !is_there {
            self.window.resize(count.max(WINDOW).min(self.size - at), 0);
            self.from = at;
            self.file.read_at(at as u64, &mut self.window)?;
        }
        Ok(Some(&self.window[at - self.from..][..count]))
    }

    /// The records of a good commit, and where it ends.
    fn commit_at(&mut self, at: usize, follows: Option<u32>) -> io::Result<Option<(&[u8], End)>> {
        let salt = self.header.salt;
        let Some(head) = self.bytes(at, COMMIT_HEAD)?.and_then(CommitHead::decode) else {
            return Ok(None);
        };
        if follows.is_some_and(|follows| head.previous != follows) {
            return Ok(None);
        }
        let size = head.size as usize;
        let Some(bytes) = self.bytes(at, COMMIT_HEAD + size)? else { return Ok(None) };
        let (coded, records) = (&bytes[..COMMIT_HEAD - 4], &bytes[COMMIT_HEAD..]);
        let good = checksum(checksum(salt, coded), records) == head.sum;
        let end = End { at: length(at + COMMIT_HEAD + size), commit: head.commit };
        Ok(good.then_some((records, end)))
    }

    /// A commit is written only when all before it are synced: one that is good proves that what is
    /// not good was.
    fn rest(&mut self, end: usize) -> io::Result<Rest> {
        if self.next_commit(end)?.is_some() {
            return Ok(Rest::Damage);
        }
        let mut at = end;
        while at < self.size {
            let count = WINDOW.min(self.size - at);
            let Some(bytes) = self.bytes(at, count)? else { break };
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(Rest::Torn);
            }
            at += count;
        }
        Ok(Rest::Nothing)
    }
}

/// Good commits that follow each other, with damage before and after them, or the segment's ends.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Where the first one begins.
    pub(crate) at: usize,
    pub(crate) end: End,
    pub(crate) first: (Position, SystemTime),
    pub(crate) last: (Position, SystemTime),
    pub(crate) entries: u64,
}

impl Run {
    /// Of entries that are not empty.
    fn beginning(at: usize, entries: &[Entry]) -> Self {
        let first = (entries[0].position, entries[0].time);
        Self { at, end: End { at: length(at), commit: 0 }, first, last: first, entries: 0 }
    }

    fn take(&mut self, entries: &[Entry], end: End) {
        self.end = end;
        self.entries += entries.len() as u64;
        self.last = entries.last().map_or(self.last, |entry| (entry.position, entry.time));
    }
}

/// What the head of a commit says.
struct CommitHead {
    size: u32,
    previous: u32,
    commit: u32,
    sum: u32,
}

impl CommitHead {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        if take.bytes(COMMIT.len())? != COMMIT {
            return None;
        }
        let (size, _, previous) = (take.u32()?, take.u32()?, take.u32()?);
        Some(Self { size, previous, commit: take.u32()?, sum: take.u32()? })
    }
}

/// The entries of a commit; `None` if one is damaged, or does not lie beyond the one before.
fn entries(
    header: &Header,
    records: &[u8],
    mut at: u32,
    mut last: Offset,
) -> Option<Vec<(Entry, Row)>> {
    let mut entries = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (record, next) = rest.split_at_checked(record::record_length(rest)?)?;
        let entry = record::decode(record, header.salt, header.generation)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Publication;
    use carafe_protocol::Topic;

    /// A file in memory.
    struct Bytes(Vec<u8>);

    impl StorageFile for Bytes {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
            let at = usize::try_from(at).unwrap();
            bytes.copy_from_slice(&self.0[at..at + bytes.len()]);
            Ok(())
        }

        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            unimplemented!("is only read")
        }

        fn allocate(&self, _: u64) -> io::Result<()> {
            unimplemented!("is only read")
        }

        fn truncate(&self, _: u64) -> io::Result<()> {
            unimplemented!("is only read")
        }

        fn sync(&self) -> io::Result<()> {
            unimplemented!("is only read")
        }
    }

    const GENERATION: Generation = Generation::new(7);

    fn header() -> Header {
        let previous = Position { generation: GENERATION, offset: 0, nonce: 0 };
        Header { salt: 5, generation: GENERATION, previous, after_hole: false }
    }

    fn commit(offset: Offset, size: usize, end: End) -> Commit {
        let position = Position { generation: GENERATION, offset, nonce: 1 };
        let publication = Publication::new(Topic::new("a").unwrap(), "x".repeat(size));
        Commit::encode(
            &[Arc::new(Entry { position, time: std::time::UNIX_EPOCH, publication })],
            &header(),
            end,
        )
    }

    /// A segment of such commits, and where each ends.
    fn segment(sizes: &[usize]) -> (Vec<u8>, Vec<End>) {
        let (mut bytes, mut ends) = (header().encode(), vec![End::of_empty(&header())]);
        for (number, size) in sizes.iter().enumerate() {
            let commit = commit(number as Offset + 1, *size, ends[number]);
            bytes.extend_from_slice(&commit.bytes);
            ends.push(commit.end);
        }
        (bytes, ends)
    }

    /// The offsets that are found, and how the scan ends.
    fn scan(bytes: Vec<u8>) -> (Vec<Offset>, Scan) {
        let (file, mut offsets) = (Bytes(bytes), Vec::new());
        let mut content = Content::new(&file, header()).unwrap();
        let scan = content.scan(|entry, _| offsets.push(entry.offset())).unwrap();
        (offsets, scan)
    }

    /// Of all sizes beside a window's.
    const SIZES: [usize; 7] = [1, WINDOW - 100, 3, WINDOW, WINDOW / 2, 2 * WINDOW + 1, 70];

    #[test]
    fn commits_are_found_wherever_windows_end() {
        for room in [0, 1, WINDOW, 3 * WINDOW] {
            let (mut bytes, ends) = segment(&SIZES);
            bytes.resize(bytes.len() + room, 0);
            let (offsets, Scan { end, rest, .. }) = scan(bytes);
            assert!(offsets.iter().copied().eq(1..=SIZES.len() as Offset), "{offsets:?}");
            assert_eq!((end, rest), (*ends.last().unwrap(), Rest::Nothing));
        }
    }

    #[test]
    fn a_flipped_byte_is_damage_if_a_good_commit_follows_and_torn_if_none_does() {
        let (bytes, ends) = segment(&SIZES);
        for damaged in 0..SIZES.len() {
            let mut bytes = bytes.clone();
            bytes[ends[damaged + 1].at as usize - 1] ^= 1;
            bytes.resize(bytes.len() + WINDOW, 0);
            let (offsets, Scan { end, rest, .. }) = scan(bytes);
            assert_eq!((offsets.len(), end), (damaged, ends[damaged]));
            let is_last = damaged == SIZES.len() - 1;
            assert_eq!(rest, if is_last { Rest::Torn } else { Rest::Damage }, "{damaged}");
        }
    }

    #[test]
    fn a_good_commit_is_found_whose_mark_lies_across_the_end_of_a_window() {
        for before in WINDOW - 5..WINDOW + 5 {
            let mut bytes = header().encode();
            bytes.resize(HEADER + before, 1);
            let end = End { at: length(bytes.len()), commit: 3 };
            bytes.extend_from_slice(&commit(1, 10, end).bytes);
            assert_eq!(scan(bytes).1.rest, Rest::Damage, "{before}");
        }
    }

    #[test]
    fn what_stands_far_behind_zeros_is_seen() {
        let mut bytes = segment(&[1]).0;
        bytes.resize(3 * WINDOW, 0);
        bytes.push(1);
        assert_eq!(scan(bytes).1.rest, Rest::Torn);
    }
}
