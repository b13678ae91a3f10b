//! Encodes the index of a sealed segment as an index file.

use std::io;

use crate::codec::{Put, length};
use crate::disk::format::header::{Header, put_position};
use crate::disk::format::index::{MAGIC, Ordinal, Summary, marked_length, version};
use crate::disk::format::pieces::{Pieces, Sink};
use crate::disk::format::record::checksum;
use crate::disk::index::active::{ActiveIndex, TopicId};
use crate::disk::index::postings::Postings;
use crate::disk::pace::Pace;

/// Encodes the first `summary.entries` entries of the index.
pub(crate) fn encode_index<'a>(
    index: &ActiveIndex,
    header: &Header,
    summary: Summary,
    pace: &'a Pace<'a>,
    sink: &'a mut Sink<'a>,
) -> io::Result<()> {
    let tables = Tables::of(index, summary.entries, pace);
    let mut out = Pieces::new(header.salt, pace, sink);
    out.put(&tables.head(header, summary))?;
    put_rows(&mut out, index, summary.entries, pace)?;
    for (hash, ordinal) in tables.topic_keys.iter().chain(&tables.ids) {
        out.put_words([(hash >> 32) as u32, *hash as u32, *ordinal])?;
    }
    tables.put_topics(&mut out)?;
    for topic in &tables.topics {
        for ordinal in index.topics.list(topic.id, summary.entries) {
            pace.step();
            out.put_words([ordinal])?;
        }
    }
    for topic in &tables.topics {
        pace.step();
        out.put(topic.name.as_bytes())?;
    }
    out.put(&tables.control)?;
    out.finish()
}

/// The tables that are sorted.
struct Tables<'a> {
    topic_keys: Vec<(u64, Ordinal)>,
    ids: Vec<(u64, Ordinal)>,
    topics: Vec<NamedTopic<'a>>,
    control: Vec<u8>,
}

struct NamedTopic<'a> {
    name: &'a str,
    id: TopicId,
    entries: u32,
}

impl<'a> Tables<'a> {
    fn of(index: &'a ActiveIndex, entries: Ordinal, pace: &Pace<'_>) -> Self {
        let mut topics = Vec::with_capacity(index.topics.lists() as usize);
        for id in 0..index.topics.lists() {
            pace.step();
            let Some(name) = index.name(id) else { continue };
            let entries = index.topics.list(id, entries).len();
            topics.push(NamedTopic { name: name.as_str(), id, entries });
        }
        topics.sort_unstable_by(|one, other| {
            pace.step();
            one.name.cmp(other.name)
        });
        Self {
            topic_keys: sorted_by_hash(&index.topic_keys, entries, pace),
            ids: sorted_by_hash(&index.ids, entries, pace),
            topics,
            control: index.control(),
        }
    }

    /// The head of the file, with a checksum of its own.
    fn head(&self, header: &Header, summary: Summary) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put_u32(version(header));
        put_position(&mut out, summary.first);
        put_position(&mut out, summary.last);
        out.put_u32(summary.entries);
        out.put_u64(summary.newest);
        out.put_u32(length(self.topic_keys.len()));
        out.put_u32(length(self.ids.len()));
        out.put_u32(length(self.topics.len()));
        out.put_u32(self.topics.iter().map(|topic| topic.entries).sum());
        out.put_u32(length(self.topics.iter().map(|topic| topic.name.len()).sum()));
        if header.kinds {
            out.put_u32(length(self.control.len()));
        }
        let sum = checksum(header.salt, &out);
        out.put_u32(sum);
        out
    }

    /// Writes the places of the name and of the entries of each topic.
    fn put_topics(&self, out: &mut Pieces<'_>) -> io::Result<()> {
        let (mut name, mut entry) = (0, 0);
        for topic in &self.topics {
            let size = length(topic.name.len());
            out.put_words([name, size, entry, topic.entries])?;
            name += size;
            entry += topic.entries;
        }
        Ok(())
    }
}

fn put_rows(
    out: &mut Pieces<'_>,
    index: &ActiveIndex,
    entries: Ordinal,
    pace: &Pace<'_>,
) -> io::Result<()> {
    for ordinal in 0..entries {
        pace.step();
        let (row, within) = (index.row(ordinal), index.offset_within(ordinal));
        out.put_words([within as u32, row.at, marked_length(&row)])?;
        if index.is_wide() {
            out.put_words([(within >> 32) as u32])?;
        }
    }
    Ok(())
}

fn sorted_by_hash(keys: &Postings, entries: Ordinal, pace: &Pace<'_>) -> Vec<(u64, Ordinal)> {
    let mut all = Vec::with_capacity(keys.lists() as usize);
    for key in keys.all(entries) {
        pace.step();
        all.push(key);
    }
    all.sort_unstable_by(|one, other| {
        pace.step();
        one.cmp(other)
    });
    all
}
