//! The names of the files of a log. Other files in its directory are left alone.

use std::io;

use crate::disk::format::clean_mark;
use crate::disk::format::filter;
use crate::disk::format::header;
use crate::disk::format::index;
use crate::disk::format::supplied_mark::{self, SuppliedMark};
use crate::disk::storage::{Storage, StorageFile};

/// The end of the name of a segment, after its number.
const SEGMENT: &str = ".segment";

/// The end of the name of a file that is being written.
pub(crate) const UNFINISHED: &str = ".new";

/// The end of the name of a backup that `carafe log repair` has made of a segment. From the second
/// backup on, a number follows.
pub(crate) const DAMAGED: &str = ".damaged";

/// The derived files: the end of the name, and the first bytes of the content.
const DERIVED: [(&str, &[u8; 8]); 2] = [(".index", index::MAGIC), (".filter", filter::MAGIC)];

/// The number of digits of the largest offset.
const DIGITS: usize = 20;

/// The role of a file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind<'a> {
    Segment,
    /// Derived from the segment with this number. It begins with `magic`.
    Derived {
        number: &'a str,
        magic: &'static [u8; 8],
    },
    /// Left over from a write that a crash or a full disk interrupted.
    Unfinished {
        magic: &'static [u8; 8],
    },
    /// The clean mark.
    Clean,
    /// The mark of what was supplied.
    Supplied,
    /// The lock file, or a backup of a repair.
    Kept,
}

/// The role of a file. `None` if the file does not belong to the log.
pub(crate) fn kind(name: &str) -> Option<FileKind<'_>> {
    if name == clean_mark::CLEAN {
        return Some(FileKind::Clean);
    }
    if name == supplied_mark::SUPPLIED {
        return Some(FileKind::Supplied);
    }
    let backup = name
        .split_once(DAMAGED)
        .filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    if name == "lock" || backup.is_some_and(|(name, _)| kind(name) == Some(FileKind::Segment)) {
        return Some(FileKind::Kept);
    }
    if let Some(name) = name.strip_suffix(UNFINISHED) {
        return match kind(name)? {
            FileKind::Clean => Some(FileKind::Unfinished { magic: clean_mark::CLEAN_MAGIC }),
            FileKind::Supplied => {
                Some(FileKind::Unfinished { magic: supplied_mark::SUPPLIED_MAGIC })
            }
            FileKind::Segment => Some(FileKind::Unfinished { magic: header::MAGIC }),
            FileKind::Derived { magic, .. } => Some(FileKind::Unfinished { magic }),
            _ => None,
        };
    }
    let (number, end) = name.split_at_checked(DIGITS)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if end == SEGMENT {
        return Some(FileKind::Segment);
    }
    let (_, magic) = DERIVED.into_iter().find(|(suffix, _)| *suffix == end)?;
    Some(FileKind::Derived { number, magic })
}

/// The number in the name of a segment.
pub(crate) fn number(segment: &str) -> &str {
    segment.strip_suffix(SEGMENT).unwrap_or(segment)
}

/// An unused name for a backup of a segment.
pub(crate) fn backup(storage: &dyn Storage, segment: &str) -> io::Result<String> {
    let names = storage.list()?;
    let numbered = (2..).map(|number: u32| format!("{segment}{DAMAGED}{number}"));
    let mut candidates = std::iter::once(format!("{segment}{DAMAGED}")).chain(numbered);
    Ok(candidates.find(|name| !names.contains(name)).expect("there are fewer files than numbers"))
}

/// The names of all backups, in order.
pub(crate) fn backups(storage: &dyn Storage) -> io::Result<Vec<String>> {
    names(storage, |name| kind(name) == Some(FileKind::Kept) && name.contains(DAMAGED))
}

/// The names of all segments, in order.
pub(crate) fn segments(storage: &dyn Storage) -> io::Result<Vec<String>> {
    names(storage, |name| kind(name) == Some(FileKind::Segment))
}

/// The names of some files, in order.
fn names(storage: &dyn Storage, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut names = storage.list()?;
    names.retain(|name| wanted(name));
    names.sort_unstable();
    Ok(names)
}

/// Whether the log may have begun to write this file: it begins with `magic`, or with a part of it
/// followed by zeros, as a crash leaves a file that was not synced.
pub(crate) fn begins_as(file: &dyn StorageFile, magic: &[u8; 8]) -> io::Result<bool> {
    let mut bytes = [0; 8];
    let count = usize::try_from(file.size()?).unwrap_or(usize::MAX).min(bytes.len());
    file.read_at(0, &mut bytes[..count])?;
    // An empty file counts: it was created, and nothing of it was written.
    let same = bytes.iter().zip(magic).take_while(|(byte, magic)| byte == magic).count();
    Ok(bytes[same..].iter().all(|byte| *byte == 0))
}

/// Removes files of the log that belong to no segment. Returns the names of files that are not the
/// log's.
pub(crate) fn tidy(storage: &dyn Storage, keeps: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let (mut foreign, mut removed) = (Vec::new(), false);
    for name in storage.list()? {
        let magic = match kind(&name) {
            Some(FileKind::Segment | FileKind::Kept) => continue,
            Some(FileKind::Supplied) if SuppliedMark::read(storage)?.is_some() => continue,
            Some(FileKind::Supplied) => Some(supplied_mark::SUPPLIED_MAGIC),
            Some(FileKind::Derived { number, .. }) if keeps(number) => continue,
            Some(FileKind::Clean) => Some(clean_mark::CLEAN_MAGIC),
            Some(FileKind::Derived { magic, .. } | FileKind::Unfinished { magic }) => Some(magic),
            None => None,
        };
        let is_own = match magic {
            Some(magic) => begins_as(&*storage.open(&name)?, magic)?,
            None => false,
        };
        // The name alone is not enough: a file that a user has put here is never removed.
        if is_own {
            storage.remove(&name)?;
            removed = true;
        } else {
            foreign.push(name);
        }
    }
    // The removal of the clean mark must be durable before a new commit is written: with the mark,
    // that commit would count as damage.
    if removed {
        storage.sync()?;
    }
    Ok(foreign)
}

/// Whether a file without a valid header may be a segment that was being created.
pub(crate) fn is_begun_segment(file: &dyn StorageFile) -> io::Result<bool> {
    begins_as(file, header::MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_log_gives_are_its_own() {
        let own = [
            "00000000000000000001.segment",
            "00000000000000000001.index",
            "clean",
            "clean.new",
            "supplied",
            "supplied.new",
            "lock",
        ];
        assert!(own.iter().all(|name| kind(name).is_some()));
        assert!(kind("00000000000000000001.index.new").is_some());
        assert!(kind("00000000000000000001.filter").is_some());
        assert!(kind("00000000000000000001.segment.damaged").is_some());
        let foreign = [
            "x.segment",
            "1.segment",
            "x.new",
            "notes.index",
            "+0000000000000000001.segment",
            "",
            "é",
        ];
        let more = ["0000000000000000001.segment.new", "000000000000000000001.segment", "lock.new"];
        assert!(foreign.iter().chain(&more).all(|name| kind(name).is_none()));
    }
}
