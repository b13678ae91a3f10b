//! Reads all commits of a segment, and distinguishes a torn end from damage.

use std::io;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position};
use memchr::memmem;

use crate::Entry;
use crate::codec::length;
use crate::disk::format::commit::{COMMIT, COMMIT_HEAD, CommitEnd, CommitHead, Row};
use crate::disk::format::header::{HEADER, Header};
use crate::disk::format::record::{self, checksum};
use crate::disk::storage::StorageFile;

/// The content of a segment, read in windows, so that a scan takes little memory.
pub(crate) struct Content<'a> {
    file: &'a dyn StorageFile,
    header: Header,
    size: usize,
    /// The bytes that were read last, and their place.
    window: Vec<u8>,
    from: usize,
}

/// The end of the valid commits of a segment, and what follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) end: CommitEnd,
    /// The place of the last commit, or of the header if there is none.
    pub(crate) last: u32,
    pub(crate) rest: Rest,
}

/// What follows the last valid commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Zeros or nothing.
    Nothing,
    /// A commit that was not complete when the machine stopped. Its publishers received no
    /// acknowledgement.
    Torn,
    /// Bytes that were synced once, as a later valid commit proves, and are invalid now.
    Damage,
}

/// The number of bytes to read at once, unless a commit is larger.
const WINDOW: usize = 256 << 10;

impl<'a> Content<'a> {
    pub(crate) fn new(file: &'a dyn StorageFile, header: Header) -> io::Result<Self> {
        let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
        Ok(Self { file, header, size, window: Vec::new(), from: 0 })
    }

    /// Reads the commits in order, calls `each` for each entry, and determines what follows them.
    pub(crate) fn scan(&mut self, mut each: impl FnMut(Entry, Row)) -> io::Result<Scan> {
        self.commits(|entries| {
            entries.into_iter().for_each(|(entry, row)| each(entry, row));
            Ok(())
        })
    }

    /// Reads the commits in order, and determines what follows them. Ends with the first error of
    /// `each`, which is called with the entries of each commit.
    pub(crate) fn commits<E: From<io::Error>>(
        &mut self,
        mut each: impl FnMut(Vec<(Entry, Row)>) -> Result<(), E>,
    ) -> Result<Scan, E> {
        let header = self.header;
        let (mut end, mut begin) = (CommitEnd::of_empty(&header), 0);
        let mut last = header.previous.offset;
        while let Some((records, next)) = self.commit_at(end.at as usize, Some(end.commit))? {
            let at = next.at - length(records.len());
            // All of a commit or nothing: its records are decoded before any of them is passed on.
            let Some(entries) = entries(&header, records, at, last) else { break };
            last = entries.last().map_or(last, |(_, row)| row.offset);
            each(entries)?;
            (begin, end) = (end.at, next);
        }
        Ok(Scan { end, last: begin, rest: self.rest(end.at as usize)? })
    }

    /// Finds all valid commits, as runs of consecutive ones, and determines what follows the last
    /// one. Unlike [`scan`](Self::scan), it continues after damage. Calls `each` with the number of
    /// the run and the entries of each commit.
    pub(crate) fn runs(
        &mut self,
        mut each: impl FnMut(usize, &[Entry]),
    ) -> io::Result<(Vec<Run>, Rest)> {
        let header = self.header;
        let (mut runs, mut follows) = (Vec::<Run>::new(), Some(CommitEnd::of_empty(&header)));
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
                // After a valid commit, a commit at this very place may be valid without being the
                // next of the chain, so the search begins here. Otherwise it begins one byte later,
                // or it would find the same commit again.
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

    /// The place of the next commit with a valid checksum.
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
            // A mark may cross the end of the window.
            at += if is_last { count } else { count - (COMMIT.len() - 1) };
        }
        Ok(None)
    }

    /// The bytes at a place. `None` if the file has fewer.
    fn bytes(&mut self, at: usize, count: usize) -> io::Result<Option<&[u8]>> {
        if self.size.checked_sub(at).is_none_or(|left| left < count) {
            return Ok(None);
        }
        let is_there = self.from <= at && at + count <= self.from + self.window.len();
        if !is_there {
            // A commit larger than the window enlarges it once. Its size is bounded by the file,
            // whatever its head says.
            self.window.resize(count.max(WINDOW).min(self.size - at), 0);
            self.from = at;
            self.file.read_at(at as u64, &mut self.window)?;
        }
        Ok(Some(&self.window[at - self.from..][..count]))
    }

    /// The records of a valid commit, and its end.
    fn commit_at(
        &mut self,
        at: usize,
        follows: Option<u32>,
    ) -> io::Result<Option<(&[u8], CommitEnd)>> {
        let salt = self.header.salt;
        let Some(head) = self.bytes(at, COMMIT_HEAD)?.and_then(CommitHead::decode) else {
            return Ok(None);
        };
        // An old commit that was left behind the end of a file that is used again.
        if follows.is_some_and(|follows| head.previous != follows) {
            return Ok(None);
        }
        let size = head.size as usize;
        let Some(bytes) = self.bytes(at, COMMIT_HEAD + size)? else { return Ok(None) };
        // The checksum is the last field of the head, and covers all of the head before it.
        let (coded, records) = (&bytes[..COMMIT_HEAD - 4], &bytes[COMMIT_HEAD..]);
        let good = checksum(checksum(salt, coded), records) == head.sum;
        let end = CommitEnd { at: length(at + COMMIT_HEAD + size), commit: head.commit };
        Ok(good.then_some((records, end)))
    }

    /// What follows the valid commits. A commit is written only after all commits before it are
    /// synced. So a valid commit after an invalid one proves that the invalid one was synced.
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

/// A run of consecutive valid commits. Damage or an end of the segment is before and after it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The place of the first commit.
    pub(crate) at: usize,
    pub(crate) end: CommitEnd,
    pub(crate) first: (Position, SystemTime),
    pub(crate) last: (Position, SystemTime),
    pub(crate) entries: u64,
}

impl Run {
    /// A run that begins with these entries, of which there is at least one.
    fn beginning(at: usize, entries: &[Entry]) -> Self {
        let first = (entries[0].position, entries[0].time);
        Self { at, end: CommitEnd { at: length(at), commit: 0 }, first, last: first, entries: 0 }
    }

    fn take(&mut self, entries: &[Entry], end: CommitEnd) {
        self.end = end;
        self.entries += entries.len() as u64;
        self.last = entries.last().map_or(self.last, |entry| (entry.position, entry.time));
    }
}

/// The entries of a commit. `None` if a record is damaged, or an offset is not larger than the one
/// before.
fn entries(
    header: &Header,
    records: &[u8],
    mut at: u32,
    mut last: Offset,
) -> Option<Vec<(Entry, Row)>> {
    let mut entries = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        // A length beyond the commit is damage, not a panic.
        let (record, next) = rest.split_at_checked(record::record_length(rest)?)?;
        let entry = record::decode(record, header.salt, header.generation)?;
        if entry.offset() <= last {
            return None;
        }
        last = entry.offset();
        let row = Row::of(&entry, header, at, length(record.len()));
        entries.push((entry, row));
        at += length(record.len());
        rest = next;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use carafe_protocol::{Generation, Topic};

    use super::*;
    use crate::Publication;
    use crate::disk::format::commit::Commit;

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
        Header::new(5, GENERATION, previous)
    }

    fn commit(offset: Offset, size: usize, end: CommitEnd) -> Commit {
        let position = Position { generation: GENERATION, offset, nonce: 1 };
        let publication = Publication::new(Topic::new("a").unwrap(), "x".repeat(size));
        Commit::encode(
            &[Arc::new(Entry { position, time: std::time::UNIX_EPOCH, publication })],
            &header(),
            end,
        )
    }

    /// A segment of such commits, and where each ends.
    fn segment(sizes: &[usize]) -> (Vec<u8>, Vec<CommitEnd>) {
        let (mut bytes, mut ends) = (header().encode(), vec![CommitEnd::of_empty(&header())]);
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
            let end = CommitEnd { at: length(bytes.len()), commit: 3 };
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
