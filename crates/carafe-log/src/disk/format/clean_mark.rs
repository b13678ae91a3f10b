//! The clean mark: a small file that says that the log was closed in order, and where it ends.

use std::io;

use carafe_protocol::Position;

use crate::codec::{Put, Take};
use crate::disk::format::commit::CommitEnd;
use crate::disk::format::header::{put_position, take_position};
use crate::disk::format::record::checksum;
use crate::disk::storage::{Storage, read_whole};

pub(crate) const CLEAN: &str = "clean";
const CLEAN_NEW: &str = "clean.new";
pub(crate) const CLEAN_MAGIC: &[u8; 8] = b"CARAFEOK";

/// Writes the mark. It says that the log ends here: any other end found later is damage and not a
/// torn commit.
pub(crate) fn write_clean_mark(
    storage: &dyn Storage,
    tail: Position,
    end: CommitEnd,
) -> io::Result<()> {
    let mut mark = CLEAN_MAGIC.to_vec();
    put_position(&mut mark, tail);
    mark.put_u32(end.at);
    mark.put_u32(end.commit);
    let sum = checksum(0, &mark);
    mark.put_u32(sum);
    // Files of these names that the log wrote were removed when it was opened. So this file belongs
    // to someone else, and must not be replaced.
    if let Some(name) =
        storage.list()?.iter().find(|name| [CLEAN, CLEAN_NEW].contains(&name.as_str()))
    {
        return Err(io::Error::other(format!("the log has not written the file `{name}`")));
    }
    let file = storage.create(CLEAN_NEW)?;
    file.write_at(0, &mark)?;
    file.sync()?;
    storage.rename(CLEAN_NEW, CLEAN)?;
    storage.sync()
}

/// Removes the mark durably, if there is one.
pub(crate) fn remove_clean_mark(storage: &dyn Storage) -> io::Result<()> {
    if is_marked(storage)? {
        storage.remove(CLEAN)?;
        storage.sync()?;
    }
    Ok(())
}

fn is_marked(storage: &dyn Storage) -> io::Result<bool> {
    Ok(storage.list()?.iter().any(|name| name == CLEAN))
}

pub(crate) fn clean_mark(storage: &dyn Storage) -> io::Result<Option<(Position, CommitEnd)>> {
    if !is_marked(storage)? {
        return Ok(None);
    }
    let mark = decode_mark(&read_whole(&*storage.open(CLEAN)?)?);
    if mark.is_none() {
        tracing::warn!("the clean mark cannot be read; the log is opened without it");
    }
    Ok(mark)
}

fn decode_mark(bytes: &[u8]) -> Option<(Position, CommitEnd)> {
    let mut take = Take(bytes);
    if take.bytes(8)? != CLEAN_MAGIC {
        return None;
    }
    let position = take_position(&mut take)?;
    let end = CommitEnd { at: take.u32()?, commit: take.u32()? };
    (take.u32()? == checksum(0, &bytes[..bytes.len() - 4]) && take.0.is_empty())
        .then_some((position, end))
}
