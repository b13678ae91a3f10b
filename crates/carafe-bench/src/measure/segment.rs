//! Where commits and records stand in a log's files, by the layout that `carafe-log` documents.

use std::fs;
use std::path::{Path, PathBuf};

use crate::outcome::Outcome;

const HEADER: usize = 48;
const COMMIT_HEAD: usize = 24;
const RECORD_HEAD: usize = 8;
/// Of the first topic's length in a record without a retry.
const TOPIC: usize = RECORD_HEAD + 1 + 1 + 4 + 8 + 8 + 4;

/// A segment's file, with its content.
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    bytes: Vec<u8>,
}

/// Something that stands in a segment.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) at: usize,
    pub(crate) length: usize,
}

/// The paths of a log's segments, the oldest first.
pub(crate) fn paths(log: &Path) -> Outcome<Vec<PathBuf>> {
    let files = fs::read_dir(log)?.map(|file| Ok(file?.path())).collect::<Outcome<Vec<_>>>()?;
    let is_segment =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "segment");
    let mut paths: Vec<_> = files.into_iter().filter(is_segment).collect();
    paths.sort_unstable();
    Ok(paths)
}

/// How many bytes the newest commit takes.
pub(crate) fn newest_commit_bytes(log: &Path) -> Outcome<usize> {
    let newest = paths(log)?.pop().ok_or("the log has no segment")?;
    let commit = Segment::read(newest)?.commits().last().ok_or("the log has no commit")?;
    Ok(commit.length)
}

impl Segment {
    pub(crate) fn read(path: PathBuf) -> Outcome<Self> {
        let bytes = fs::read(&path)?;
        if !bytes.starts_with(b"CARAFELG\x01\0\0\0") {
            return Err(format!("{} is of a layout unknown here", path.display()).into());
        }
        Ok(Self { path, bytes })
    }

    fn commits(&self) -> impl Iterator<Item = Place> {
        let commit_at = |at: usize| {
            let starts = self.bytes.get(at..)?.starts_with(b"CMIT");
            starts.then(|| Place { at, length: COMMIT_HEAD + self.number_at(at + 4) })
        };
        std::iter::successors(commit_at(HEADER), move |before| commit_at(before.at + before.length))
    }

    fn records(&self) -> impl Iterator<Item = Place> {
        self.commits().flat_map(move |commit| {
            let end = commit.at + commit.length;
            let record_at = move |at| {
                (at < end).then(|| Place { at, length: RECORD_HEAD + self.number_at(at) })
            };
            std::iter::successors(record_at(commit.at + COMMIT_HEAD), move |before| {
                record_at(before.at + before.length)
            })
        })
    }

    /// The records whose canonical topic this is.
    pub(crate) fn records_of(&self, topic: &str) -> Vec<Place> {
        let is_of = |record: &Place| {
            let at = record.at + TOPIC;
            self.bytes[at + 4..][..self.number_at(at)] == *topic.as_bytes()
        };
        self.records().filter(is_of).collect()
    }

    fn number_at(&self, at: usize) -> usize {
        let number = self.bytes[at..].first_chunk().copied().map(u32::from_le_bytes);
        number.unwrap_or_default() as usize
    }
}
