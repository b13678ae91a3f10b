//! Segments on disk: one that is written no more, and what all have in common.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use carafe_protocol::Offset;

use super::active::ActiveIndex;
use super::derived;
use super::files;
use super::filter::{Filter, Kind};
use super::index::{Counts, SUMMARY, Summary, hash, milliseconds};
use super::options::OpenError;
use super::part::{PartIndex, unreadable};
use super::record;
use super::segment::{BadHeader, Content, End, HEADER, Header, Rest, Row, Scan};
use super::storage::{Storage, StorageFile};
use super::writer::not_full;
use crate::wanted::Wanted;
use crate::{Entry, ReadError};

/// The most bytes of neighbouring records that are read at once.
const RUN: u32 = 64 << 10;

/// The most bytes that are read along between two records.
const BETWEEN: u32 = 4 << 10;

/// What reading a whole segment gives.
pub(crate) struct Scanned {
    pub(crate) end: End,
    /// Where the last commit begins.
    pub(crate) last: u32,
    pub(crate) rest: Rest,
    pub(crate) index: ActiveIndex,
    pub(crate) summary: Summary,
}

/// A segment's file and header.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) header: Header,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn StorageFile>,
}

impl Segment {
    /// Makes a new one, durably.
    pub(crate) fn create(storage: &dyn Storage, header: Header, size: u32) -> io::Result<Self> {
        let name = header.name();
        let file = storage.create(&name)?;
        file.allocate(u64::from(size))?;
        file.write_at(0, &header.encode())?;
        file.sync()?;
        storage.sync().map_err(not_full)?;
        Ok(Self { header, name, file })
    }

    /// Opens one that is there; `None` if it was being made when the machine stopped.
    pub(crate) fn open(storage: &dyn Storage, name: String) -> Result<Option<Self>, OpenError> {
        let file = storage.open(&name)?;
        let mut bytes = vec![0; HEADER.min(usize::try_from(file.size()?).unwrap_or(HEADER))];
        file.read_at(0, &mut bytes)?;
        match Header::decode(&bytes) {
            Ok(header) if header.name() == name => Ok(Some(Self { header, name, file })),
            Err(BadHeader::Version(version)) => Err(OpenError::Version { file: name, version }),
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

    /// Reads it to its end and makes its index.
    pub(crate) fn scan(&self) -> io::Result<Scanned> {
        let previous = self.header.previous;
        let index = ActiveIndex::new(&self.header);
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
            })?;
        Ok(Scanned { end, last, rest, index, summary })
    }

    /// Writes the last commit again and syncs it. A commit that is there may have been written and
    /// not synced, or its sync may have failed: then the operating system takes what it holds in
    /// memory for what is on the disk, and another sync alone writes nothing. All commits before it
    /// were synced.
    pub(crate) fn make_durable(&self, scan: &Scanned) -> io::Result<()> {
        let mut bytes = vec![0; (scan.end.at - scan.last) as usize];
        self.file.read_at(u64::from(scan.last), &mut bytes)?;
        self.file.write_at(u64::from(scan.last), &bytes)?;
        self.file.sync()
    }

    /// Reads one that is sealed: it ends with its last commit.
    fn scan_whole(&self) -> Result<Scanned, OpenError> {
        let scan = self.scan()?;
        if scan.rest != Rest::Nothing {
            let (name, at) = (&self.name, scan.end.at);
            return Err(OpenError::Damaged(format!(
                "{name} is not what was written from byte {at} on"
            )));
        }
        Ok(scan)
    }

    /// Reads records, in their order; each run of near neighbours at once.
    pub(crate) fn entries(
        &self,
        rows: &[Row],
        mut each: impl FnMut(Entry) -> bool,
    ) -> Result<(), ReadError> {
        // To read what lies between them costs less than another call.
        let neighbours = |one: &Row, next: &Row| {
            next.at.checked_sub(one.at + one.length).is_some_and(|between| between <= BETWEEN)
        };
        for run in rows.chunk_by(neighbours) {
            let mut rest = run;
            while let Some(first) = rest.first() {
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
            let record = &bytes[(row.at - first.at) as usize..][..row.length as usize];
            let entry = record::decode(record, self.header.salt, self.header.generation);
            let entry = entry
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

    /// The first of these entries that is the one.
    pub(crate) fn first_of(
        &self,
        rows: &[Row],
        is_it: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Entry>, ReadError> {
        let mut found = None;
        self.entries(rows, |entry| {
            found = Some(entry).filter(&is_it);
            found.is_none()
        })?;
        Ok(found)
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

/// Whether nothing follows where the header would be. Commits are written only after the header was
/// synced.
fn is_unused(file: &dyn StorageFile) -> io::Result<bool> {
    let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; size];
    file.read_at(0, &mut bytes)?;
    Ok(bytes.iter().skip(HEADER).all(|byte| *byte == 0))
}

/// A segment that is written no more.
pub(crate) struct Sealed {
    pub(crate) segment: Segment,
    pub(crate) summary: Summary,
    /// Entries that others than the hub published.
    pub(crate) published: u32,
    /// The bytes of all its files.
    pub(crate) bytes: u64,
    /// Its index, until that is in a file.
    index: ArcSwapOption<ActiveIndex>,
    filter: OnceLock<Filter>,
    /// Whether the index file was read whole once, and is good.
    checked: AtomicBool,
    // Held while the index is made again, so that this is done once.
    again: Mutex<()>,
    /// History was trimmed up to its end: its files are being removed.
    gone: AtomicBool,
}

impl Sealed {
    /// Cuts the file off after its last commit: it will be written no more. Its index stays in
    /// memory until it is [settled](Self::settle).
    pub(crate) fn freeze(
        segment: Segment,
        end: u32,
        index: Arc<ActiveIndex>,
        summary: Summary,
    ) -> io::Result<Self> {
        segment.file.truncate(u64::from(end))?;
        let bytes = u64::from(end) + index.file_bytes();
        let of_hub = index.of_hub();
        Ok(Self::new(segment, summary, of_hub, bytes, Some(index)))
    }

    fn new(
        segment: Segment,
        summary: Summary,
        of_hub: u32,
        bytes: u64,
        index: Option<Arc<ActiveIndex>>,
    ) -> Self {
        Self {
            segment,
            summary,
            published: summary.entries.saturating_sub(of_hub),
            bytes,
            index: ArcSwapOption::new(index),
            filter: OnceLock::new(),
            checked: AtomicBool::new(false),
            again: Mutex::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// Writes index and filter, and gives back the index, which is not needed in memory any more.
    /// Neither is synced: a crash that loses them costs making the index again.
    pub(crate) fn settle(&self, storage: &dyn Storage) -> io::Result<Option<Arc<ActiveIndex>>> {
        let Some(index) = self.index.load_full() else { return Ok(None) };
        if !self.is_gone() {
            derived::write_index(storage, &self.segment, &index, self.summary)?;
            let filter = self.filter.get_or_init(|| Filter::of(&index));
            derived::write_filter(storage, &self.segment, filter)?;
        }
        self.index.store(None);
        self.leave_nothing(storage)?;
        Ok(Some(index))
    }

    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.index.load().is_none()
    }

    /// Opens one whose index is there. Without an index, or with a damaged one, it is read whole
    /// and indexed again.
    pub(crate) fn open(storage: &dyn Storage, segment: Segment) -> Result<Self, OpenError> {
        let Some((summary, index_bytes)) = Self::summary(storage, &segment)? else {
            return Self::open_again(storage, segment);
        };
        let Some(filter) = derived::read_filter(storage, &segment)? else {
            return Self::open_again(storage, segment);
        };
        let bytes = segment.file.size()? + index_bytes + filter.len() as u64;
        let sealed = Self::new(segment, summary, filter.of_hub(), bytes, None);
        sealed.filter.get_or_init(|| filter);
        Ok(sealed)
    }

    fn open_again(storage: &dyn Storage, segment: Segment) -> Result<Self, OpenError> {
        let scan = segment.scan_whole()?;
        let sealed = Self::freeze(segment, scan.end.at, Arc::new(scan.index), scan.summary)?;
        sealed.settle(storage)?;
        Ok(sealed)
    }

    /// What its index says of it, and how large that is; nothing if there is none, or it is
    /// damaged.
    pub(crate) fn summary(
        storage: &dyn Storage,
        segment: &Segment,
    ) -> io::Result<Option<(Summary, u64)>> {
        let file = match storage.open(&segment.index_name()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let size = file.size()?;
        let mut bytes = vec![0; SUMMARY.min(usize::try_from(size).unwrap_or(SUMMARY))];
        file.read_at(0, &mut bytes)?;
        Ok(Counts::decode(&bytes, &segment.header).map(|counts| (counts.summary, size)))
    }

    /// Whether it may have an entry of this hash, which `hash` makes with its salt.
    pub(crate) fn may_have(&self, kind: Kind, texts: &[&str]) -> bool {
        let hash = hash(texts, self.segment.header.salt);
        match &*self.index.load() {
            Some(index) => index.has(kind, hash),
            None => self.filter.get().is_none_or(|filter| filter.may_have(kind, hash)),
        }
    }

    /// Whether one of these topics may be among its entries'. Patterns may always match.
    pub(crate) fn may_have_any_of(&self, wanted: &Wanted) -> bool {
        let mut topics = wanted.topics();
        topics
            .as_mut()
            .is_none_or(|topics| topics.any(|topic| self.may_have(Kind::Topic, &[topic.as_str()])))
    }

    /// Its index: in memory, or in its file. One that is lost or damaged is made again, once,
    /// whoever asks for it.
    pub(crate) fn index(&self, storage: &dyn Storage) -> Result<PartIndex, ReadError> {
        if let Some(index) = self.index.load_full() {
            return Ok(PartIndex::Memory(index, self.summary.entries));
        }
        if let Some(index) = self.open_index(storage)? {
            return Ok(index);
        }
        let _again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = self.open_index(storage)? {
            return Ok(index);
        }
        if !self.is_gone() {
            self.index_again(storage)?;
            self.leave_nothing(storage).map_err(unreadable)?;
        }
        if self.is_gone() {
            let (after, start) = (self.segment.header.previous.offset, self.summary.last);
            return Err(ReadError::Trimmed { after, start });
        }
        let lost =
            || ReadError::Damaged(format!("the index of {} cannot be kept", self.segment.name));
        self.open_index(storage)?.ok_or_else(lost)
    }

    fn index_again(&self, storage: &dyn Storage) -> Result<(), ReadError> {
        tracing::warn!(
            segment = self.segment.name,
            "its index is lost or damaged; making it again"
        );
        let scan =
            self.segment.scan_whole().map_err(|error| ReadError::Damaged(error.to_string()))?;
        derived::write_index(storage, &self.segment, &scan.index, scan.summary).map_err(unreadable)
    }

    /// `None` if it is lost or damaged.
    fn open_index(&self, storage: &dyn Storage) -> Result<Option<PartIndex>, ReadError> {
        let index = derived::open_index(storage, &self.segment, &self.checked);
        Ok(index.map_err(unreadable)?.map(PartIndex::File))
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Removes what was written while the segment was being removed.
    fn leave_nothing(&self, storage: &dyn Storage) -> io::Result<()> {
        if self.is_gone() { derived::remove(storage, &self.segment) } else { Ok(()) }
    }

    /// Removes index and filter of a segment that was removed. Who still reads it goes on, or is
    /// told that it is trimmed.
    pub(crate) fn remove_derived(&self, storage: &dyn Storage) -> io::Result<()> {
        self.gone.store(true, Ordering::Release);
        derived::remove(storage, &self.segment)
    }

    pub(crate) fn last_offset(&self) -> Offset {
        self.summary.last.offset
    }
}
