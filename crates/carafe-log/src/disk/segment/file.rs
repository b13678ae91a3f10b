//! The file of one segment: creating, opening and reading it.

use std::io;
use std::sync::Arc;

use crate::disk::format::commit::{CommitEnd, Row};
use crate::disk::format::control;
use crate::disk::format::header::{BadHeader, HEADER, Header};
use crate::disk::format::index::{Summary, milliseconds};
use crate::disk::format::record;
use crate::disk::format::scan::{Content, Rest, Scan};
use crate::disk::index::active::ActiveIndex;
use crate::disk::index::file::unreadable;
use crate::disk::options::OpenError;
use crate::disk::segment::files;
use crate::disk::storage::{Storage, StorageFile, not_full};
use crate::{Entry, ReadError};

/// The maximum number of bytes of neighbouring records that are read at once.
const RUN: u32 = 64 << 10;

/// The maximum number of bytes between two records that are read along with them.
const BETWEEN: u32 = 4 << 10;

/// The result of reading a whole segment.
pub(crate) struct Scanned {
    pub(crate) end: CommitEnd,
    /// The place of the last commit.
    pub(crate) last: u32,
    pub(crate) rest: Rest,
    pub(crate) index: ActiveIndex,
    pub(crate) summary: Summary,
    /// The control entries, as an index file has them.
    pub(crate) control: Vec<Entry>,
}

/// The file and the header of a segment.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) header: Header,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn StorageFile>,
}

impl Segment {
    /// Creates a segment durably. The name is durable only after the sync of the directory.
    pub(crate) fn create(storage: &dyn Storage, header: Header, size: u32) -> io::Result<Self> {
        let name = header.name();
        let file = storage.create(&name)?;
        // Allocated at once, so that commits need no metadata on the disk: `fdatasync` then writes
        // data only.
        file.allocate(u64::from(size))?;
        file.write_at(0, &header.encode())?;
        file.sync()?;
        storage.sync().map_err(not_full)?;
        Ok(Self { header, name, file })
    }

    /// Replaces a segment without entries, in one step, by one with another header.
    pub(crate) fn replace(storage: &dyn Storage, header: Header, size: u32) -> io::Result<Self> {
        let name = header.name();
        let unfinished = format!("{name}{}", files::UNFINISHED);
        let file = storage.create(&unfinished)?;
        file.allocate(u64::from(size))?;
        file.write_at(0, &header.encode())?;
        file.sync()?;
        storage.rename(&unfinished, &name)?;
        storage.sync().map_err(not_full)?;
        Ok(Self { header, name, file })
    }

    /// Opens a segment. `None` if the machine stopped while the segment was created.
    pub(crate) fn open(storage: &dyn Storage, name: String) -> Result<Option<Self>, OpenError> {
        let file = storage.open(&name)?;
        // A file shorter than a header is decoded as what it is, and fails there.
        let mut bytes = vec![0; HEADER.min(usize::try_from(file.size()?).unwrap_or(HEADER))];
        file.read_at(0, &mut bytes)?;
        match Header::decode(&bytes) {
            Ok(header) if header.name() == name => Ok(Some(Self { header, name, file })),
            Err(BadHeader::Version(version)) => Err(OpenError::Version { file: name, version }),
            // Both checks: a header that was synced and is damaged since must not pass for one that
            // was never written.
            _ if files::is_begun_segment(&*file)? && is_unused(&*file)? => Ok(None),
            _ => Err(OpenError::Damaged(format!("the header of {name} is not what was written"))),
        }
    }

    pub(crate) fn index_name(&self) -> String {
        index_name(&self.name)
    }

    pub(crate) fn filter_name(&self) -> String {
        filter_name(&self.name)
    }

    /// Reads the whole segment and makes its index.
    pub(crate) fn scan(&self) -> io::Result<Scanned> {
        let previous = self.header.previous;
        let (index, mut control) = (ActiveIndex::new(&self.header), Vec::new());
        let mut summary = Summary { first: previous, last: previous, entries: 0, newest: 0 };
        let Scan { end, last, rest } =
            Content::new(&*self.file, self.header)?.scan(|entry, row| {
                if summary.entries == 0 {
                    summary.first = entry.position;
                }
                summary.last = entry.position;
                summary.entries += 1;
                summary.newest = summary.newest.max(milliseconds(entry.time));
                index.push(&entry, row);
                control.extend(control::of(&entry));
            })?;
        Ok(Scanned { end, last, rest, index, summary, control })
    }

    /// Writes the last commit again and syncs it. After a crash, the last commit may be in the page
    /// cache and not on the disk: it was written and not synced, or its sync failed. A second sync
    /// alone would write nothing then, since the operating system regards the page as clean. All
    /// earlier commits were synced.
    pub(crate) fn make_durable(&self, scan: &Scanned) -> io::Result<()> {
        let mut bytes = vec![0; (scan.end.at - scan.last) as usize];
        self.file.read_at(u64::from(scan.last), &mut bytes)?;
        self.file.write_at(u64::from(scan.last), &bytes)?;
        self.file.sync()
    }

    /// Reads a sealed segment, which ends with its last commit.
    pub(crate) fn scan_whole(&self) -> Result<Scanned, OpenError> {
        let scan = self.scan()?;
        if scan.rest != Rest::Nothing {
            let (name, at) = (&self.name, scan.end.at);
            return Err(OpenError::Damaged(format!(
                "{name} is not what was written from byte {at} on"
            )));
        }
        Ok(scan)
    }

    /// Reads records in order, until `each` returns `false`. Neighbouring records are read at once.
    pub(crate) fn entries(
        &self,
        rows: &[Row],
        mut each: impl FnMut(Entry) -> bool,
    ) -> Result<(), ReadError> {
        // Reading the bytes between two near records costs less than another system call.
        let neighbours = |one: &Row, next: &Row| {
            next.at.checked_sub(one.at + one.length).is_some_and(|between| between <= BETWEEN)
        };
        for run in rows.chunk_by(neighbours) {
            let mut rest = run;
            while let Some(first) = rest.first() {
                // Rows are sorted by their place, so the difference is not negative.
                let fits = |row: &Row| row.at + row.length - first.at <= RUN;
                let count = rest.iter().take_while(|row| fits(row)).count().max(1);
                let (now, later) = rest.split_at(count);
                if !self.read_run(now, &mut each)? {
                    return Ok(());
                }
                rest = later;
            }
        }
        Ok(())
    }

    fn read_run(
        &self,
        rows: &[Row],
        each: &mut impl FnMut(Entry) -> bool,
    ) -> Result<bool, ReadError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(true) };
        let mut bytes = vec![0; (last.at + last.length - first.at) as usize];
        self.file.read_at(u64::from(first.at), &mut bytes).map_err(unreadable)?;
        for row in rows {
            // In bounds: the buffer reaches to the end of the last row, and the rows are in order.
            let record = &bytes[(row.at - first.at) as usize..][..row.length as usize];
            let entry = record::decode(record, self.header.salt, self.header.generation);
            let entry = entry
                // The checksum covers the record, not its place: an index that names another record
                // is noticed here.
                .filter(|entry| entry.offset() == row.offset)
                .ok_or_else(|| self.damaged(*row))?;
            if !each(entry) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn entry(&self, row: Row) -> Result<Entry, ReadError> {
        let mut found = None;
        self.entries(&[row], |entry| {
            found = Some(entry);
            false
        })?;
        found.ok_or_else(|| self.damaged(row))
    }

    fn damaged(&self, row: Row) -> ReadError {
        ReadError::Damaged(format!("entry {} in {} is not what was written", row.offset, self.name))
    }
}

pub(crate) fn index_name(segment: &str) -> String {
    format!("{}.index", files::number(segment))
}

pub(crate) fn filter_name(segment: &str) -> String {
    format!("{}.filter", files::number(segment))
}

/// Whether only zeros follow the header. Commits are written only after the header was synced, so a
/// segment with an invalid header and commits is damaged.
fn is_unused(file: &dyn StorageFile) -> io::Result<bool> {
    let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size];
    file.read_at(0, &mut bytes)?;
    Ok(bytes.iter().skip(HEADER).all(|byte| *byte == 0))
}
