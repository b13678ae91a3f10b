//! A sealed segment, with its index and filter. It is shared by the writer, the indexer and the
//! readers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use carafe_protocol::{Offset, Topic};

use crate::disk::format::filter::{Filter, HashKind, Probe};
use crate::disk::format::index::{Counts, Summary, hash, head_size};
use crate::disk::index::active::ActiveIndex;
use crate::disk::index::file::{IndexFile, SegmentIndex, unreadable};
use crate::disk::options::OpenError;
use crate::disk::pace::Pace;
use crate::disk::read::hidden::ErasedEntries;
use crate::disk::segment::derived;
use crate::disk::segment::file::Segment;
use crate::disk::segment::hashed_texts::HashedTexts;
use crate::disk::storage::{Storage, StorageFile};
use crate::wanted::Wanted;
use crate::{Entry, ReadError};

type Head = (Counts, Arc<dyn StorageFile>);

/// A segment that is no longer written.
pub(crate) struct Sealed {
    pub(crate) segment: Segment,
    pub(crate) summary: Summary,
    /// The number of entries that clients published, and not the hub itself.
    pub(crate) published: u32,
    /// The size of all its files in bytes.
    pub(crate) bytes: u64,
    /// The index in memory, until it is written to a file.
    index: ArcSwapOption<ActiveIndex>,
    filter: OnceLock<Filter>,
    pub(crate) erased: ErasedEntries,
    /// Whether the whole index file was read once and is valid.
    checked: AtomicBool,
    // Held while the index is made again, so that only one reader does this. A leaf in the lock
    // order.
    again: Mutex<()>,
    /// Whether the segment was trimmed or written again: its index and filter are being removed.
    gone: AtomicBool,
    /// The same segment with all its entries, written again without the content of some.
    rewritten: OnceLock<Arc<Self>>,
}

impl Sealed {
    /// Seals a segment: truncates the file after its last commit. The index stays in memory until
    /// [`settle`](Self::settle).
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
            erased: ErasedEntries::default(),
            checked: AtomicBool::new(false),
            again: Mutex::default(),
            gone: AtomicBool::new(false),
            rewritten: OnceLock::new(),
        }
    }

    /// Writes the index and the filter, and returns the index, which is no longer needed in memory.
    /// Neither file is synced: if a crash loses them, they are made again.
    pub(crate) fn settle(
        &self,
        storage: &dyn Storage,
        pace: &Pace<'_>,
    ) -> io::Result<Option<Arc<ActiveIndex>>> {
        let Some(index) = self.index.load_full() else { return Ok(None) };
        if !self.is_gone() {
            derived::write_index(storage, &self.segment, &index, self.summary, pace)?;
            let filter = self.filter.get_or_init(|| Filter::of(&index, pace));
            derived::write_filter(storage, &self.segment, filter, pace)?;
        }
        // Before the segment counts as settled: it may be written again from then on, and the files
        // of that have the same names.
        self.leave_nothing(storage)?;
        self.index.store(None);
        Ok(Some(index))
    }

    /// Whether the index is in a file.
    pub(crate) fn is_settled(&self) -> bool {
        self.index.load().is_none()
    }

    /// Opens a sealed segment. Returns its control entries, too. If its index or filter is lost or
    /// damaged, reads the whole segment and makes them again.
    pub(crate) fn open(
        storage: &dyn Storage,
        segment: Segment,
    ) -> Result<(Self, Vec<Entry>), OpenError> {
        let Some((counts, file)) = Self::head(storage, &segment)? else {
            return Self::open_again(storage, segment);
        };
        let index_bytes = file.size()?;
        let control = match counts.control {
            0 => Some(Vec::new()),
            // The file is not synced: it may be shorter than its head says.
            _ => match IndexFile::open(file, segment.header)? {
                Some(index) => index.control()?,
                None => None,
            },
        };
        let Some(control) = control else { return Self::open_again(storage, segment) };
        let Some(filter) = derived::read_filter(storage, &segment)? else {
            return Self::open_again(storage, segment);
        };
        let bytes = segment.file.size()? + index_bytes + filter.len() as u64;
        let sealed = Self::new(segment, counts.summary, filter.of_hub(), bytes, None);
        sealed.filter.get_or_init(|| filter);
        Ok((sealed, control))
    }

    fn open_again(
        storage: &dyn Storage,
        segment: Segment,
    ) -> Result<(Self, Vec<Entry>), OpenError> {
        let scan = segment.scan_whole()?;
        let sealed = Self::freeze(segment, scan.end.at, Arc::new(scan.index), scan.summary)?;
        sealed.settle(storage, &Pace::urgent())?;
        Ok((sealed, scan.control))
    }

    /// The summary from the index file. `None` if it is lost or damaged.
    pub(crate) fn summary(storage: &dyn Storage, segment: &Segment) -> io::Result<Option<Summary>> {
        Ok(Self::head(storage, segment)?.map(|(counts, _)| counts.summary))
    }

    /// The head of the index file, and the file. `None` if it is lost or damaged.
    fn head(storage: &dyn Storage, segment: &Segment) -> io::Result<Option<Head>> {
        let file = match storage.open(&segment.index_name()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; head_size(&segment.header).min(size)];
        file.read_at(0, &mut bytes)?;
        Ok(Counts::decode(&bytes, &segment.header).map(|counts| (counts, file)))
    }

    /// Whether an entry may have this hash. `hash` uses the salt of the segment.
    pub(crate) fn may_have(&self, kind: HashKind, texts: &[&str]) -> bool {
        let hash = hash(texts, self.segment.header.salt);
        match &*self.index.load() {
            Some(index) => index.has(kind, hash),
            None => self.filter.get().is_none_or(|filter| filter.may_have(&Probe::new(kind, hash))),
        }
    }

    /// The indexes of the texts that an entry may have.
    pub(crate) fn which_it_may_have(&self, texts: &mut HashedTexts) -> Vec<usize> {
        let (kind, hashes, probes) = texts.hashed(self.segment.header.salt);
        match (&*self.index.load(), self.filter.get()) {
            (Some(index), _) => {
                (0..hashes.len()).filter(|at| index.has(kind, hashes[*at])).collect()
            }
            (None, Some(filter)) => filter.which_it_may_have(probes),
            (None, None) => (0..hashes.len()).collect(),
        }
    }

    /// Whether an entry may have one of these topics. Patterns may always match.
    pub(crate) fn may_have_any_of(&self, wanted: &Wanted) -> bool {
        let mut topics = wanted.topics();
        topics.as_mut().is_none_or(|topics| topics.any(|topic| self.may_have_topic(topic)))
    }

    pub(crate) fn may_have_topic(&self, topic: &Topic) -> bool {
        self.may_have(HashKind::Topic, &[topic.as_str()])
    }

    /// The index, in memory or in a file. If the file is lost or damaged, it is made again once,
    /// however many readers request it.
    pub(crate) fn index(&self, storage: &dyn Storage) -> Result<SegmentIndex, ReadError> {
        if let Some(index) = self.index.load_full() {
            return Ok(SegmentIndex::Memory(index, self.summary.entries));
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
            || ReadError::Damaged(format!("the index of {} cannot be written", self.segment.name));
        self.open_index(storage)?.ok_or_else(lost)
    }

    /// The segment that has replaced this one. Its entries have the same numbers.
    pub(crate) fn rewritten(&self) -> Option<Arc<Self>> {
        self.rewritten.get().cloned()
    }

    /// Lets readers use another segment from now on, which was written in place of this one.
    pub(crate) fn give_way_to(&self, new: &Arc<Self>) {
        // The lock keeps a reader from writing an index of the old file after this.
        let _again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.rewritten.set(Arc::clone(new));
        self.gone.store(true, Ordering::Release);
    }

    fn index_again(&self, storage: &dyn Storage) -> Result<(), ReadError> {
        tracing::warn!(
            segment = self.segment.name,
            "the index is lost or damaged; making it again"
        );
        let scan = self.segment.scan_whole().map_err(unscannable)?;
        derived::write_index(storage, &self.segment, &scan.index, scan.summary, &Pace::urgent())
            .map_err(unreadable)
    }

    /// `None` if the index file is lost or damaged, or may be that of the segment that has replaced
    /// this one: it has the same name, and its rows do not fit the open file. The segment gives way
    /// before its index is removed, so to ask after the file is open is enough.
    fn open_index(&self, storage: &dyn Storage) -> Result<Option<SegmentIndex>, ReadError> {
        let index = derived::open_index(storage, &self.segment, &self.checked);
        let index = index.map_err(unreadable)?.filter(|_| self.rewritten.get().is_none());
        Ok(index.map(SegmentIndex::File))
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Removes derived files that were written while the segment was being removed. The writer sets
    /// `gone` before it removes them, and this check follows a write, so that one of the two always
    /// removes the file.
    fn leave_nothing(&self, storage: &dyn Storage) -> io::Result<()> {
        if self.is_gone() { derived::remove(storage, &self.segment) } else { Ok(()) }
    }

    /// Removes the index and the filter of a trimmed segment. A reader with an open index
    /// continues; another one gets [`ReadError::Trimmed`].
    ///
    /// The `Release` store pairs with the `Acquire` load in `is_gone`: see `leave_nothing`.
    pub(crate) fn remove_derived(&self, storage: &dyn Storage) -> io::Result<()> {
        self.gone.store(true, Ordering::Release);
        derived::remove(storage, &self.segment)
    }

    pub(crate) fn last_offset(&self) -> Offset {
        self.summary.last.offset
    }
}

/// Why the segment cannot be read to make its index again. A read that fails may succeed later: it
/// is no damage.
fn unscannable(error: OpenError) -> ReadError {
    match error {
        OpenError::Disk(error) => unreadable(error),
        OpenError::Damaged(what) => ReadError::Damaged(what),
        error => ReadError::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use carafe_protocol::{Generation, Position};

    use super::*;
    use crate::disk::format::header::Header;
    use crate::disk::storage::Folder;

    #[test]
    fn a_segment_that_cannot_be_read_for_its_index_keeps_the_error_of_the_operating_system() {
        let error = unscannable(io::Error::from(io::ErrorKind::TimedOut).into());
        let disk = error.source().unwrap();
        let source = disk.source().and_then(|source| source.downcast_ref::<io::Error>()).unwrap();
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
        assert_eq!(unscannable(OpenError::Damaged("a".into())), ReadError::Damaged("a".into()));
    }

    /// A disk on which a segment is trimmed. It notes whether the segment was settled when one of
    /// its files was removed.
    struct Trimming {
        folder: Folder,
        sealed: OnceLock<Arc<Sealed>>,
        was_settled: Mutex<Vec<bool>>,
    }

    impl Storage for Trimming {
        fn list(&self) -> io::Result<Vec<String>> {
            self.folder.list()
        }

        fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
            self.folder.create(name)
        }

        fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
            self.folder.open(name)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.folder.rename(from, to)?;
            if to.ends_with(".filter") {
                self.sealed.get().unwrap().gone.store(true, Ordering::Release);
            }
            Ok(())
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            let is_settled = self.sealed.get().unwrap().is_settled();
            self.was_settled.lock().unwrap().push(is_settled);
            self.folder.remove(name)
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Else the rewriter could take it, and lose the files of what it has written.
    #[test]
    fn a_segment_is_not_settled_while_its_files_are_being_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, _lock) = Folder::lock(folder.path()).unwrap();
        let disk = Trimming { folder, sealed: OnceLock::new(), was_settled: Mutex::default() };
        let previous = Position { generation: Generation::new(7), offset: 0, nonce: 0 };
        let header = Header::new(1, previous.generation, previous);
        let segment = Segment::create(&disk, header, 4096).unwrap();
        let summary = Summary { first: previous, last: previous, entries: 0, newest: 0 };
        let index = Arc::new(ActiveIndex::new(&header));
        let sealed = Arc::new(Sealed::freeze(segment, 48, index, summary).unwrap());
        disk.sealed.set(Arc::clone(&sealed)).ok();
        sealed.settle(&disk, &Pace::urgent()).unwrap();
        assert_eq!(*disk.was_settled.lock().unwrap(), [false, false], "index and filter");
        assert!(sealed.is_settled());
    }
}
