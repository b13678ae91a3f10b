//! Taking back the newest entries of a log that is supplied, or all of it: what ordered them has
//! lost them, or begins later than the log ends. They are supplied again, or others in their place.

use std::io;

use carafe_protocol::Offset;

use crate::disk::format::clean_mark::remove_clean_mark;
use crate::disk::format::supplied_mark::remove_supplied_mark;
use crate::disk::maintain::check::OfflineLog;
use crate::disk::maintain::open::{Checked, erases_after, segments_of};
use crate::disk::options::OpenError;
use crate::disk::segment::derived;
use crate::disk::segment::file::Segment;
use crate::disk::segment::files;
use crate::disk::segment::rewrite::{copy_up_to, unfinished_name};
use crate::disk::storage::Storage;

impl OfflineLog {
    /// Whether the log is one that is supplied, and so can be filled again when it is damaged.
    ///
    /// # Errors
    /// When the disk fails, or no segment can be read.
    pub fn is_supplied(&self) -> Result<bool, OpenError> {
        let storage = &*self.storage;
        Ok(is_supplied(storage, &files::segments(storage)?)? == Some(true))
    }

    /// Removes all entries of a log that is supplied, whatever their state is. The next time, it
    /// begins as a new log. If this is interrupted, the oldest entries may be left.
    ///
    /// # Errors
    /// When the disk fails, or the log is not one that is supplied.
    pub fn clear(&self) -> Result<(), OpenError> {
        let storage = &*self.storage;
        let names = files::segments(storage)?;
        check_supplied(storage, &names)?;
        remove_supplied_mark(storage)?;
        remove_segments(storage, &names)?;
        files::tidy(storage, |_| false)?;
        Ok(())
    }

    /// Removes the entries after an offset from a log that is supplied. If this is interrupted,
    /// some of them may be left.
    ///
    /// All entries are removed if an erasure is one of them: what it has erased has to be supplied
    /// again, too. A log that compacts topics has to be [cleared](Self::clear) for the same reason.
    ///
    /// # Errors
    /// When the disk fails, or the log is damaged or not one that is supplied.
    pub fn go_back(&self, to: Offset) -> Result<(), OpenError> {
        let storage = &*self.storage;
        check_supplied(storage, &files::segments(storage)?)?;
        let Some(log) = Checked::read(storage)? else { return Ok(()) };
        if erases_after(&log, to) {
            return self.clear();
        }
        remove_supplied_mark(storage)?;
        let mut kept = segments_of(&log);
        let begins_before = |(segment, _): &(Segment, _)| segment.header.previous.offset < to;
        let later = kept.split_off(kept.partition_point(begins_before));
        let later: Vec<_> = later.into_iter().map(|(segment, _)| segment.name).collect();
        remove_segments(storage, &later)?;
        match kept.last() {
            Some((newest, last)) if *last > to => cut(storage, newest, to),
            _ => Ok(()),
        }
    }
}

/// Checks that segments belong to a log that is supplied: no other log can get its entries again.
fn check_supplied(storage: &dyn Storage, names: &[String]) -> Result<(), OpenError> {
    match is_supplied(storage, names)? {
        Some(false) => Err(OpenError::OtherLog { expected: None, found: None }),
        Some(true) | None => Ok(()),
    }
}

/// Whether segments belong to a log that is supplied. `None` if none has been written to.
fn is_supplied(storage: &dyn Storage, names: &[String]) -> Result<Option<bool>, OpenError> {
    let mut damaged = None;
    for name in names.iter().rev() {
        match Segment::open(storage, name.clone()) {
            Ok(Some(segment)) => return Ok(Some(segment.header.supplied)),
            Ok(None) => {}
            Err(OpenError::Damaged(what)) => damaged = Some(OpenError::Damaged(what)),
            Err(error) => return Err(error),
        }
    }
    damaged.map_or(Ok(None), Err)
}

/// Removes segments, the newest first. So an undamaged log is left at any time.
fn remove_segments(storage: &dyn Storage, names: &[String]) -> io::Result<()> {
    // The mark would say that the last of them is missing.
    remove_clean_mark(storage)?;
    names.iter().rev().try_for_each(|name| {
        storage.remove(name)?;
        storage.sync()
    })
}

/// Removes the entries after an offset from the newest segment.
fn cut(storage: &dyn Storage, segment: &Segment, to: Offset) -> Result<(), OpenError> {
    let copied = copy_up_to(storage, segment, to).map_err(io::Error::other)?;
    // Its index and filter describe the longer segment. A crash may bring them back: those of the
    // newest segment are removed when the log is opened.
    derived::remove(storage, segment)?;
    if copied {
        storage.rename(&unfinished_name(segment), &segment.name)?;
    } else {
        storage.remove(&segment.name)?;
        storage.remove(&unfinished_name(segment))?;
    }
    Ok(storage.sync()?)
}
