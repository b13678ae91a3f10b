//! The table of control entries in an index: what opening has to know of a segment without reading
//! it. It is the last table, and has the records of these entries, one after the other.

use std::borrow::Cow;

use carafe_protocol::Offset;

use crate::disk::format::header::Header;
use crate::disk::format::record;
use crate::{Entry, Kind};

/// Appends the record of the entry, if it is a control entry.
pub(crate) fn put(entry: &Entry, salt: u32, out: &mut Vec<u8>) {
    if let Some(entry) = of(entry) {
        record::encode(&entry, salt, out);
    }
}

/// The entry as the table has it. `None` if it says nothing of other entries.
pub(crate) fn of(entry: &Entry) -> Option<Cow<'_, Entry>> {
    let publication = &entry.publication;
    match publication.kind() {
        Kind::End(_) | Kind::Stop | Kind::Erase(_) => Some(Cow::Borrowed(entry)),
        Kind::Event | Kind::Removed(_) if publication.reopens() => {
            // The event may be large. Its content is in the segment.
            let mut entry = entry.clone();
            entry.publication = entry.publication.with_data("");
            Some(Cow::Owned(entry))
        }
        Kind::Event | Kind::Removed(_) => None,
    }
}

/// The entries of a table. `None` if it is damaged.
pub(crate) fn decode(table: &[u8], header: &Header) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for_each(table, header, |entry| entries.push(entry))?;
    Some(entries)
}

/// The offsets of those entries of a table that are no events, in order. `None` if it is damaged.
pub(crate) fn offsets(table: &[u8], header: &Header) -> Option<Vec<Offset>> {
    let mut offsets = Vec::new();
    for_each(table, header, |entry| {
        if entry.publication.kind() != Kind::Event {
            offsets.push(entry.offset());
        }
    })?;
    Some(offsets)
}

fn for_each(table: &[u8], header: &Header, mut each: impl FnMut(Entry)) -> Option<()> {
    let mut rest = table;
    while !rest.is_empty() {
        let (record, next) = rest.split_at_checked(record::record_length(rest)?)?;
        each(record::decode(record, header.salt, header.generation)?);
        rest = next;
    }
    Some(())
}
