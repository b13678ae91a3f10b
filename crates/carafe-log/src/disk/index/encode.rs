//! Encodes the index of a sealed segment as an index file.

use crate::disk::format::codec::{Put, length};
use crate::disk::format::header::{Header, put_position};
use crate::disk::format::index::{KEY, MAGIC, Ordinal, PRIVATE, ROW, Summary, TOPIC, VERSION};
use crate::disk::format::record::checksum;
use crate::disk::index::active::ActiveIndex;
use crate::disk::index::postings::Postings;

/// Encodes the first `summary.entries` entries of the index.
pub(crate) fn encode_index(index: &ActiveIndex, header: &Header, summary: Summary) -> Vec<u8> {
    let sections = Sections::of(index, summary.entries);
    let mut out = MAGIC.to_vec();
    out.put_u32(VERSION);
    put_position(&mut out, summary.first);
    put_position(&mut out, summary.last);
    out.put_u32(summary.entries);
    out.put_u64(summary.newest);
    out.put_u32(length(sections.topic_keys.len() / KEY));
    out.put_u32(length(sections.ids.len() / KEY));
    out.put_u32(length(sections.topics.len() / TOPIC));
    out.put_u32(length(sections.ordinals.len()));
    out.put_u32(length(sections.names.len()));
    let sum = checksum(header.salt, &out);
    out.put_u32(sum);
    for word in sections.words() {
        out.put_u32(*word);
    }
    out.extend_from_slice(&sections.names);
    let sum = checksum(header.salt, &out);
    out.put_u32(sum);
    out
}

/// The tables of the file, in order.
#[derive(Default)]
struct Sections {
    rows: Vec<u32>,
    topic_keys: Vec<u32>,
    ids: Vec<u32>,
    topics: Vec<u32>,
    ordinals: Vec<u32>,
    names: Vec<u8>,
}

impl Sections {
    fn of(index: &ActiveIndex, entries: Ordinal) -> Self {
        let mut sections = Self::default();
        sections.rows.reserve_exact(entries as usize * ROW);
        for ordinal in 0..entries {
            let (row, offset) = (index.row(ordinal), index.offset_within(ordinal));
            sections.rows.extend([
                offset,
                row.at,
                row.length | if row.private { PRIVATE } else { 0 },
            ]);
        }
        sections.topic_keys = sorted_by_hash(&index.topic_keys, entries);
        sections.ids = sorted_by_hash(&index.ids, entries);
        let mut sorted: Vec<_> = (0..index.topics.lists())
            .filter_map(|id| Some((index.name(id)?.as_str(), id)))
            .collect();
        sorted.sort_unstable();
        for (name, id) in sorted {
            let list = index.topics.list(id, entries);
            let places =
                [sections.names.len(), name.len(), sections.ordinals.len(), list.len() as usize];
            sections.topics.extend(places.map(length));
            sections.names.extend_from_slice(name.as_bytes());
            sections.ordinals.extend(list);
        }
        sections
    }

    fn words(&self) -> impl Iterator<Item = &u32> {
        self.rows
            .iter()
            .chain(&self.topic_keys)
            .chain(&self.ids)
            .chain(&self.topics)
            .chain(&self.ordinals)
    }
}

fn sorted_by_hash(keys: &Postings, entries: Ordinal) -> Vec<u32> {
    let mut keys: Vec<_> = keys.all(entries).collect();
    keys.sort_unstable();
    keys.into_iter()
        .flat_map(|(hash, ordinal)| [(hash >> 32) as u32, hash as u32, ordinal])
        .collect()
}
