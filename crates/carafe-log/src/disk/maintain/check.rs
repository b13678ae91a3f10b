//! Checking a log that no hub has open: `carafe log verify`, `restore` and `stat`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use carafe_protocol::Position;

use crate::disk::format::clean_mark::clean_mark;
use crate::disk::format::pieces::whole;
use crate::disk::format::scan::Rest;
use crate::disk::index::encode::encode_index;
use crate::disk::maintain::open;
use crate::disk::options::OpenError;
use crate::disk::pace::Pace;
use crate::disk::segment::file::{Scanned, Segment};
use crate::disk::segment::files;
use crate::disk::segment::sealed::Sealed;
use crate::disk::storage::{Folder, FolderLock, Storage, read_whole};

/// A log that is checked or repaired while no hub has it open.
///
/// ```no_run
/// use carafe_log::OfflineLog;
///
/// # fn main() -> Result<(), carafe_log::OpenError> {
/// let log = OfflineLog::lock("/var/lib/carafe")?;
/// for finding in log.verify(&mut |done, all| println!("{done} of {all}"))? {
///     println!("{}: {}", finding.file, finding.what);
/// }
/// # Ok(()) }
/// ```
pub struct OfflineLog {
    pub(crate) storage: Arc<dyn Storage>,
    // `None` with a storage of a test.
    _lock: Option<FolderLock>,
}

/// The size and the extent of a log, from [`OfflineLog::stat`].
///
/// ```no_run
/// use carafe_log::OfflineLog;
///
/// # fn main() -> Result<(), carafe_log::OpenError> {
/// let stat = OfflineLog::lock("/var/lib/carafe")?.stat()?;
/// println!("{} entries in {} bytes", stat.entries, stat.bytes);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// The number of segments.
    pub segments: usize,
    /// The number of entries in the segments.
    pub entries: u64,
    /// The size of all files of the log in bytes.
    pub bytes: u64,
    /// The positions of the oldest and the newest entry. `None` if there are no entries.
    pub span: Option<(Position, Position)>,
}

/// A file that does not have the content that the log wrote.
///
/// ```no_run
/// use carafe_log::{Finding, OfflineLog};
///
/// # fn main() -> Result<(), carafe_log::OpenError> {
/// let findings = OfflineLog::lock("/var/lib/carafe")?.verify(&mut |_, _| {})?;
/// let is_lost = |finding: &Finding| finding.loses_entries;
/// println!("{}", findings.iter().any(is_lost));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The name of the file.
    pub file: String,
    /// A description of the damage.
    pub what: String,
    /// Whether the damage loses entries.
    pub loses_entries: bool,
}

/// A function that is called with the number of segments that are done, and the number of all
/// segments.
///
/// ```
/// use carafe_log::Progress;
///
/// let mut print = |done: usize, all: usize| println!("{done} of {all}");
/// let progress: Progress<'_> = &mut print;
/// progress(1, 2);
/// ```
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// The state of a segment.
pub(crate) enum Found {
    Whole(Segment, Box<Scanned>),
    /// The segment ends with a torn commit, as a crash leaves it.
    Torn(Segment, Box<Scanned>),
    /// The machine stopped while the segment was created. It has no entries.
    Unused,
    Damaged(Finding),
}

impl OfflineLog {
    /// Opens and locks the log in a directory.
    ///
    /// # Errors
    /// When the directory does not exist, or another process has it open.
    pub fn lock(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let failed = |error| OpenError::Folder { path: path.to_owned(), error };
        if !path.is_dir() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        let (folder, lock) = Folder::lock(path).map_err(failed)?;
        Ok(Self { storage: Arc::new(folder), _lock: Some(lock) })
    }

    /// Opens a log on a storage.
    #[must_use]
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self { storage, _lock: None }
    }

    /// Reads the whole log and returns all damage. A torn end is not damage.
    ///
    /// # Errors
    /// When the disk cannot be read, or a file has a newer version of the format.
    pub fn verify(&self, progress: Progress<'_>) -> Result<Vec<Finding>, OpenError> {
        let (mut findings, mut previous) = (Vec::new(), None);
        let names = files::segments(&*self.storage)?;
        for (done, name) in names.iter().enumerate() {
            progress(done, names.len());
            match self.look_at(name, done + 1 == names.len())? {
                Found::Whole(segment, scanned) | Found::Torn(segment, scanned) => {
                    findings.extend(missing_before(&segment, previous));
                    findings.extend(self.look_at_index(&segment, &scanned)?);
                    previous = Some(scanned.summary.last);
                }
                Found::Unused => {}
                Found::Damaged(finding) => {
                    findings.push(finding);
                    previous = None;
                }
            }
        }
        progress(names.len(), names.len());
        Ok(findings)
    }

    /// Tells the log that it was restored from a backup. It begins a new generation after its
    /// newest entry, and returns the position of that entry. From then on, later entries are known
    /// to be lost, and their positions are not mistaken for those of new entries.
    ///
    /// # Errors
    /// When the disk cannot be read or written, there is no log, or it is damaged.
    pub fn restore(&self) -> Result<Position, OpenError> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no log in this folder");
        Ok(open::restore(&*self.storage)?.ok_or_else(none)?)
    }

    /// The size and the extent of the log, from its indexes if there are any.
    ///
    /// # Errors
    /// When the disk cannot be read, or the log is damaged.
    pub fn stat(&self) -> Result<Stat, OpenError> {
        let storage = &*self.storage;
        let mut stat = Stat { segments: 0, entries: 0, bytes: 0, span: None };
        for name in files::segments(storage)? {
            let Some(segment) = Segment::open(storage, name)? else { continue };
            let summary = match Sealed::summary(storage, &segment)? {
                Some(summary) => summary,
                None => segment.scan()?.summary,
            };
            stat.segments += 1;
            stat.entries += u64::from(summary.entries);
            if summary.entries > 0 {
                let oldest = stat.span.map_or(summary.first, |(oldest, _)| oldest);
                stat.span = Some((oldest, summary.last));
            }
        }
        for name in storage.list()?.into_iter().filter(|name| files::kind(name).is_some()) {
            stat.bytes += storage.open(&name)?.size()?;
        }
        Ok(stat)
    }

    pub(crate) fn look_at(&self, name: &str, newest: bool) -> Result<Found, OpenError> {
        let damaged = |what: String, loses_entries| {
            Found::Damaged(Finding { file: name.into(), what, loses_entries })
        };
        let segment = match Segment::open(&*self.storage, name.into()) {
            Ok(Some(segment)) => segment,
            Ok(None) if newest => return Ok(Found::Unused),
            Ok(None) => return Ok(damaged("it is empty, and others follow it".into(), true)),
            Err(OpenError::Damaged(what)) => return Ok(damaged(what, true)),
            Err(error) => return Err(error),
        };
        let scanned = Box::new(segment.scan()?);
        let mark = if newest { clean_mark(&*self.storage)? } else { None };
        let is_marked = mark.is_none_or(|mark| mark == (scanned.summary.last, scanned.end));
        Ok(match scanned.rest {
            Rest::Nothing if is_marked => Found::Whole(segment, scanned),
            Rest::Torn if newest && mark.is_none() => Found::Torn(segment, scanned),
            _ => {
                damaged(format!("it is not what was written from byte {} on", scanned.end.at), true)
            }
        })
    }

    /// Compares the index file of a segment with the index that its entries give.
    pub(crate) fn look_at_index(
        &self,
        segment: &Segment,
        scanned: &Scanned,
    ) -> io::Result<Option<Finding>> {
        let file = segment.index_name();
        if !self.storage.list()?.contains(&file) {
            return Ok(None);
        }
        let bytes = read_whole(&*self.storage.open(&file)?)?;
        let (index, pace) = (&scanned.index, Pace::urgent());
        let expected =
            whole(|sink| encode_index(index, &segment.header, scanned.summary, &pace, sink))?;
        let what = "it is not the index of its segment; it will be made again".into();
        Ok((bytes != expected).then_some(Finding { file, what, loses_entries: false }))
    }
}

pub(crate) fn missing_before(segment: &Segment, previous: Option<Position>) -> Option<Finding> {
    let known = previous.is_none_or(|previous| open::follows(previous, &segment.header));
    let what = "entries between it and the segment before are missing".into();
    (!known).then(|| Finding { file: segment.name.clone(), what, loses_entries: true })
}
