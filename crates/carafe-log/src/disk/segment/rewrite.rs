//! Writes a sealed segment again, without the content of some entries.
//!
//! All entries stay, and keep their positions: what is removed becomes a record without content. So
//! the positions that clients know stay valid, and the next segment still follows. The commits get
//! new numbers, since a commit names the one before it.

use std::io;
use std::sync::Arc;

use carafe_protocol::Offset;

use crate::Entry;
use crate::disk::format::commit::{Commit, CommitEnd};
use crate::disk::format::header::Header;
use crate::disk::format::index::{Summary, milliseconds};
use crate::disk::format::scan::{Content, Rest};
use crate::disk::index::active::ActiveIndex;
use crate::disk::segment::file::Segment;
use crate::disk::segment::files::UNFINISHED;
use crate::disk::segment::sealed::Sealed;
use crate::disk::storage::{Storage, StorageFile};

/// The number of bytes after which a copy is synced, so that no sync has much to write.
const SYNC: u32 = 1 << 20;

/// Why a segment could not be written again. Its old file is unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error("{0} is not what was written from byte {1} on; see `carafe log verify`")]
    Damaged(String, u32),
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The newest event of each compacted topic would have to be known.
    #[error(
        "the compacted topics are more than {limit}, which is as many as the log can compact: \
         compact fewer topics"
    )]
    TooManyTopics { limit: usize },
    /// The log is being closed.
    #[error("the log is being closed")]
    Closed,
}

/// The name of the file that is written, until it replaces the segment.
pub(crate) fn unfinished_name(segment: &Segment) -> String {
    format!("{}{UNFINISHED}", segment.name)
}

/// Writes and syncs a copy of a segment, each entry as `change` returns it. `pause` is called with
/// the number of bytes that were written, and returns whether to go on.
///
/// The copy has the name of the segment, and is not found under it until
/// its file is renamed.
pub(crate) fn rewrite(
    storage: &dyn Storage,
    old: &Segment,
    change: impl Fn(Entry) -> Entry,
    mut pause: impl FnMut(u32) -> bool,
) -> Result<Sealed, RewriteError> {
    let name = unfinished_name(old);
    let copied = storage.create(&name).map_err(Into::into).and_then(|file| {
        let mut copy = Copy::begin(file, old)?;
        let mut content = Content::new(&*old.file, old.header)?;
        let scan = content.commits(|entries| {
            let entries: Vec<_> =
                entries.into_iter().map(|(entry, _)| Arc::new(change(entry))).collect();
            copy.commit(&entries)?;
            if pause(copy.take_written()) { Ok(()) } else { Err(RewriteError::Closed) }
        })?;
        match scan.rest {
            Rest::Nothing => copy.finish(),
            _ => Err(RewriteError::Damaged(old.name.clone(), scan.end.at)),
        }
    });
    copied.inspect_err(|_| {
        // If this fails, the file is removed when the log is opened.
        let _ = storage.remove(&name);
    })
}

/// Writes and syncs a copy of a segment that ends with an offset. Returns whether it has an entry.
///
/// The copy is not found under the name of the segment until its file is renamed.
pub(crate) fn copy_up_to(
    storage: &dyn Storage,
    old: &Segment,
    to: Offset,
) -> Result<bool, RewriteError> {
    let mut copy = Copy::begin(storage.create(&unfinished_name(old))?, old)?;
    // What follows the commits does not matter: it is not copied.
    Content::new(&*old.file, old.header)?.commits(|entries| {
        let kept = entries.into_iter().filter(|(entry, _)| entry.offset() <= to);
        let kept: Vec<_> = kept.map(|(entry, _)| Arc::new(entry)).collect();
        if kept.is_empty() { Ok(()) } else { copy.commit(&kept) }
    })?;
    Ok(copy.finish()?.summary.entries > 0)
}

/// A copy that is being written.
struct Copy {
    segment: Segment,
    index: ActiveIndex,
    summary: Summary,
    end: CommitEnd,
    /// The place up to which the file is synced.
    synced: u32,
    /// The bytes since the last pause.
    written: u32,
}

impl Copy {
    fn begin(file: Arc<dyn StorageFile>, old: &Segment) -> io::Result<Self> {
        // An older program would take a record without content for damage.
        let header = Header { kinds: true, ..old.header };
        file.write_at(0, &header.encode())?;
        let previous = header.previous;
        let end = CommitEnd::of_empty(&header);
        Ok(Self {
            segment: Segment { header, name: old.name.clone(), file },
            index: ActiveIndex::new(&header),
            summary: Summary { first: previous, last: previous, entries: 0, newest: 0 },
            end,
            synced: 0,
            written: 0,
        })
    }

    /// Appends a commit.
    fn commit(&mut self, entries: &[Arc<Entry>]) -> io::Result<()> {
        let Segment { header, file, .. } = &self.segment;
        let commit = Commit::encode(entries, header, self.end);
        file.write_at(u64::from(self.end.at), &commit.bytes)?;
        for (entry, row) in entries.iter().zip(commit.rows) {
            self.index.push(entry, row);
            if self.summary.entries == 0 {
                self.summary.first = entry.position;
            }
            self.summary.last = entry.position;
            self.summary.entries += 1;
            self.summary.newest = self.summary.newest.max(milliseconds(entry.time));
        }
        self.written += commit.end.at - self.end.at;
        self.end = commit.end;
        if self.end.at - self.synced >= SYNC {
            file.sync()?;
            self.synced = self.end.at;
        }
        Ok(())
    }

    fn take_written(&mut self) -> u32 {
        std::mem::take(&mut self.written)
    }

    /// Syncs the file. Its content has to be durable before it takes the name of the segment.
    fn finish(self) -> Result<Sealed, RewriteError> {
        self.segment.file.sync()?;
        Ok(Sealed::freeze(self.segment, self.end.at, Arc::new(self.index), self.summary)?)
    }
}
