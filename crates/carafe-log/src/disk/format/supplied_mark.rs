//! The mark of a supplied log: a small file that says up to where everything was supplied. It is
//! needed where the newest of that has stored nothing.

use std::io;

use carafe_protocol::{Offset, Position};

use crate::codec::{Put, Take};
use crate::disk::format::header::{put_position, take_position};
use crate::disk::format::record::checksum;
use crate::disk::storage::{Storage, read_whole};

pub(crate) const SUPPLIED: &str = "supplied";
const SUPPLIED_NEW: &str = "supplied.new";
pub(crate) const SUPPLIED_MAGIC: &[u8; 8] = b"CARAFEUP";

/// Everything up to an offset was supplied while the log had this tail. A log with another tail
/// has lost entries since, or has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SuppliedMark {
    pub(crate) tail: Position,
    pub(crate) up_to: Offset,
}

impl SuppliedMark {
    /// Writes the mark in place of an older one. It is not synced: without it, what it says is only
    /// supplied again.
    pub(crate) fn write(self, storage: &dyn Storage) -> io::Result<()> {
        check_own(storage)?;
        let mut mark = SUPPLIED_MAGIC.to_vec();
        put_position(&mut mark, self.tail);
        mark.put_u64(self.up_to);
        let sum = checksum(0, &mark);
        mark.put_u32(sum);
        storage.create(SUPPLIED_NEW)?.write_at(0, &mark)?;
        storage.rename(SUPPLIED_NEW, SUPPLIED)
    }

    /// The mark, if there is one that a crash has not torn.
    pub(crate) fn read(storage: &dyn Storage) -> io::Result<Option<Self>> {
        if !storage.list()?.iter().any(|name| name == SUPPLIED) {
            return Ok(None);
        }
        Ok(Self::decode(&read_whole(&*storage.open(SUPPLIED)?)?))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        if take.bytes(8)? != SUPPLIED_MAGIC {
            return None;
        }
        let mark = Self { tail: take_position(&mut take)?, up_to: take.u64()? };
        (take.u32()? == checksum(0, &bytes[..bytes.len() - 4]) && take.0.is_empty()).then_some(mark)
    }
}

/// A file of this name that the log has not written is never replaced.
fn check_own(storage: &dyn Storage) -> io::Result<()> {
    for name in storage.list()? {
        // One that a crash has torn was removed when the log was opened.
        let is_meant = [SUPPLIED, SUPPLIED_NEW].contains(&name.as_str());
        if is_meant && !read_whole(&*storage.open(&name)?)?.starts_with(SUPPLIED_MAGIC) {
            return Err(io::Error::other(format!("the log has not written the file `{name}`")));
        }
    }
    Ok(())
}

/// Removes the mark durably, if there is one: the log is about to lose entries.
pub(crate) fn remove_supplied_mark(storage: &dyn Storage) -> io::Result<()> {
    if SuppliedMark::read(storage)?.is_some() {
        storage.remove(SUPPLIED)?;
        storage.sync()?;
    }
    Ok(())
}
