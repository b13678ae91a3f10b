//! The table of control entries in an index: what opening has to know of a segment without reading
//! it. It is the last table, and has the records of these entries, one after the other.

use crate::disk::format::header::Header;
use crate::disk::format::record;
use crate::{Entry, Kind};

/// Appends the record of the entry, if it is a control entry.
pub(crate) fn put(entry: &Entry, salt: u32, out: &mut Vec<u8>) {
    if let Some(entry) = of(entry) {
        record::encode(&entry, salt, out);
    }
}

/// The entry as the table has it: without its content. `None` if it says nothing of other entries.
pub(crate) fn of(entry: &Entry) -> Option<Entry> {
    let publication = &entry.publication;
    match publication.kind() {
        Kind::End(_) | Kind::Stop | Kind::Erase(_) => {}
        Kind::Event | Kind::Removed(_) if publication.reopens() || publication.renews() => {}
        Kind::Event | Kind::Removed(_) => return None,
    }
    // A reason or an event may be large. It is in the segment.
    Some(Entry { publication: publication.without_content(publication.kind()), ..*entry })
}

/// The entries of a table. `None` if it is damaged.
pub(crate) fn decode(table: &[u8], header: &Header) -> Option<Vec<Entry>> {
    let (mut entries, mut rest) = (Vec::new(), table);
    while !rest.is_empty() {
        let (record, next) = rest.split_at_checked(record::record_length(rest)?)?;
        entries.push(record::decode(record, header.salt, header.generation)?);
        rest = next;
    }
    Some(entries)
}
