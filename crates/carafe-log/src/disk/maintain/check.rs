//! `carafe log verify`, `repair`, `restore` and `stat`: a log is looked at and mended while no hub
//! has it open.

use std::io;
use std::path::Path;
use std::sync::Arc;

use carafe_protocol::Position;

use crate::disk::format::clean_mark::clean_mark;
use crate::disk::format::scan::Rest;
use crate::disk::index::encode::encode_index;
use crate::disk::maintain::open;
use crate::disk::options::OpenError;
use crate::disk::segment::file::{Scanned, Segment};
use crate::disk::segment::files;
use crate::disk::segment::sealed::Sealed;
use crate::disk::storage::{Folder, FolderLock, Storage, read_whole};

/// A log that is looked at from outside.
pub struct OfflineLog {
    pub(crate) storage: Arc<dyn Storage>,
    // `None` on a storage of a test.
    _lock: Option<FolderLock>,
}

/// What a log has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Files with entries.
    pub segments: usize,
    /// Entries in them.
    pub entries: u64,
    /// Bytes of all files of the log.
    pub bytes: u64,
    /// The position of the oldest entry, and of the newest.
    pub span: Option<(Position, Position)>,
}

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
    /// Whether entries are lost with it.
    pub loses_entries: bool,
}

/// How far a look at a log has come: segments done, and how many there are.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// A segment as it was found.
pub(crate) enum Found {
    Whole(Segment, Box<Scanned>),
    /// It ends with what a crash left of a commit.
    Torn(Segment, Box<Scanned>),
    /// It was only being made when the machine stopped.
    Unused,
    Damaged(Finding),
}

impl OfflineLog {
    /// Takes hold of the log in a folder.
    ///
    /// # Errors
    /// When the folder is not there, or a process has it open.
    pub fn lock(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let failed = |error| OpenError::Folder { path: path.to_owned(), error };
        if !path.is_dir() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        let (folder, lock) = Folder::lock(path).map_err(failed)?;
        Ok(Self { storage: Arc::new(folder), _lock: Some(lock) })
    }

    /// Takes a log on any storage.
    #[must_use]
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self { storage, _lock: None }
    }

    /// Reads every byte, and tells what is not as it was written. A torn end is none of that.
    ///
    /// # Errors
    /// When the disk cannot be read, or a file is of another version.
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

    /// Tells the log that it comes from a backup: it begins a new generation after its newest
    /// entry, whose position is the answer. Entries that came later are known as lost from then on,
    /// and their offsets are not taken for new ones.
    ///
    /// # Errors
    /// When the disk cannot be read or written, there is no log, or it is damaged.
    pub fn restore(&self) -> Result<Position, OpenError> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no log in this folder");
        Ok(open::restore(&*self.storage)?.ok_or_else(none)?)
    }

    /// Tells what the log has, by its indexes where there are some.
    ///
    /// # Errors
    /// When the disk cannot be read, or the log is damaged.
    pub fn stat(&self) -> Result<Stat, OpenError> {
        let storage = &*self.storage;
        let mut stat = Stat { segments: 0, entries: 0, bytes: 0, span: None };
        for name in files::segments(storage)? {
            let Some(segment) = Segment::open(storage, name)? else { continue };
            let summary = match Sealed::summary(storage, &segment)? {
                Some((summary, _)) => summary,
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

    /// A sealed segment's index must be what its entries give.
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
        let expected = encode_index(&scanned.index, &segment.header, scanned.summary);
        let what = "it is not the index of its segment; it will be made again".into();
        Ok((bytes != expected).then_some(Finding { file, what, loses_entries: false }))
    }
}

pub(crate) fn missing_before(segment: &Segment, previous: Option<Position>) -> Option<Finding> {
    let known = previous.is_none_or(|previous| open::follows(previous, &segment.header));
    let what = "entries between it and the segment before are missing".into();
    (!known).then(|| Finding { file: segment.name.clone(), what, loses_entries: true })
}
