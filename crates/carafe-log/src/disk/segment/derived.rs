//! The files that are derived from a segment and can be made again: its index and its filter.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::format::filter::Filter;
use crate::disk::format::index::Summary;
use crate::disk::format::pieces::Sink;
use crate::disk::index::active::ActiveIndex;
use crate::disk::index::encode::encode_index;
use crate::disk::index::file::IndexFile;
use crate::disk::pace::Pace;
use crate::disk::segment::file::Segment;
use crate::disk::segment::files;
use crate::disk::storage::{Storage, StorageFile};

/// Writes a derived file. Only one thread at a time writes a file: the one that opens the log, the
/// indexer, or a reader that holds the lock of the segment for making its index again.
fn write(
    storage: &dyn Storage,
    name: &str,
    encode: impl FnOnce(&mut Sink<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = format!("{name}{}", files::UNFINISHED);
    let written = storage.create(&unfinished).and_then(|file| {
        let mut at = 0;
        encode(&mut |piece| {
            file.write_at(at, piece)?;
            at += piece.len() as u64;
            Ok(())
        })
    });
    written.and_then(|()| storage.rename(&unfinished, name)).inspect_err(|_| {
        // If this fails, the file is removed when the log is opened.
        let _ = storage.remove(&unfinished);
    })
}

pub(crate) fn write_index(
    storage: &dyn Storage,
    segment: &Segment,
    index: &ActiveIndex,
    summary: Summary,
    pace: &Pace<'_>,
) -> io::Result<()> {
    write(storage, &segment.index_name(), |sink| {
        encode_index(index, &segment.header, summary, pace, sink)
    })
}

pub(crate) fn write_filter(
    storage: &dyn Storage,
    segment: &Segment,
    filter: &Filter,
    pace: &Pace<'_>,
) -> io::Result<()> {
    write(storage, &segment.filter_name(), |sink| filter.encode(&segment.header, pace, sink))
}

fn open(storage: &dyn Storage, name: &str) -> io::Result<Option<std::sync::Arc<dyn StorageFile>>> {
    match storage.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// Opens an index file. `None` if it is lost or damaged. Sets `checked` once the whole file was
/// read and is valid. `Relaxed`: the flag guards no other data, and checking twice is harmless.
pub(crate) fn open_index(
    storage: &dyn Storage,
    segment: &Segment,
    checked: &AtomicBool,
) -> io::Result<Option<IndexFile>> {
    let Some(file) = open(storage, &segment.index_name())? else { return Ok(None) };
    let Some(index) = IndexFile::open(file, segment.header)? else { return Ok(None) };
    let is_good = checked.load(Ordering::Relaxed) || index.is_good()?;
    checked.store(is_good, Ordering::Relaxed);
    Ok(is_good.then_some(index))
}

/// Reads the filter. A lost or damaged filter is made again from the index. `None` if the index is
/// lost or damaged, too.
pub(crate) fn read_filter(storage: &dyn Storage, segment: &Segment) -> io::Result<Option<Filter>> {
    if let Some(file) = open(storage, &segment.filter_name())?
        && let Some(filter) = Filter::read(&*file, &segment.header)?
    {
        return Ok(Some(filter));
    }
    let Some(index) = open_index(storage, segment, &AtomicBool::new(false))? else {
        return Ok(None);
    };
    let filter = Filter::of_file(&index, segment.header.salt)?;
    if let Err(error) = write_filter(storage, segment, &filter, &Pace::urgent()) {
        tracing::warn!(
            %error,
            segment = segment.name,
            "the filter cannot be written; it is made again at the next start"
        );
    }
    Ok(Some(filter))
}

pub(crate) fn remove(storage: &dyn Storage, segment: &Segment) -> io::Result<()> {
    for name in [segment.index_name(), segment.filter_name()] {
        match storage.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
