//! Builds the filter of a segment from its index.

use std::io;

use crate::disk::format::filter::{Filter, HashKind};
use crate::disk::format::index::{hash, parts};
use crate::disk::index::active::ActiveIndex;
use crate::disk::index::file::IndexFile;
use crate::disk::pace::Pace;

/// The number of keys or topics that are read at once.
const ROWS: usize = 4096;

impl Filter {
    /// Builds the filter from an index in memory.
    pub(crate) fn of(index: &ActiveIndex, pace: &Pace<'_>) -> Self {
        let mut filter = Self::with_room_for(index.hashes()).with_of_hub(index.of_hub());
        for (kind, postings) in index.postings() {
            for list in 0..postings.lists() {
                pace.step();
                filter.add(kind, postings.hash(list));
            }
        }
        filter
    }

    /// Builds the filter from an index file. The file does not say which entries the hub published
    /// itself, so all entries count as published by others.
    pub(crate) fn of_file(file: &IndexFile, salt: u32) -> io::Result<Self> {
        let counts = file.counts();
        let mut filter = Self::with_room_for(counts.topic_keys + counts.ids + counts.topics);
        let (keys, ids) = (0..counts.topic_keys, counts.topic_keys..counts.topic_keys + counts.ids);
        for (kind, table) in [(HashKind::Key, keys), (HashKind::Id, ids)] {
            for part in parts(table, ROWS) {
                let keys = file.keys(part)?;
                keys.into_iter().for_each(|(hash, _)| filter.add(kind, hash));
            }
        }
        for part in parts(0..counts.topics, ROWS) {
            let topics = file.topics(part)?;
            let (Some(first), Some(last)) = (topics.first(), topics.last()) else { continue };
            let (start, names) = (first.name.start, file.names(first.name.start..last.name.end)?);
            for topic in &topics {
                let name = &names[topic.name.start - start..topic.name.end - start];
                let name = std::str::from_utf8(name).unwrap_or_default();
                filter.add(HashKind::Topic, hash(&[name], salt));
            }
        }
        Ok(filter)
    }
}
