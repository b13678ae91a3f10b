//! What a log has erased and still stores: for `carafe log verify`.

use std::collections::HashMap;
use std::time::SystemTime;

use carafe_protocol::{Offset, Topic};

use crate::disk::format::scan::Content;
use crate::disk::maintain::check::{OfflineLog, Progress};
use crate::disk::options::OpenError;
use crate::disk::segment::file::Segment;
use crate::disk::segment::files;
use crate::{Entry, Erasures};

/// Erased entries whose content a log still stores, from [`OfflineLog::erased`].
///
/// ```no_run
/// use carafe_log::OfflineLog;
///
/// # fn main() -> Result<(), carafe_log::OpenError> {
/// let erased = OfflineLog::lock("/var/lib/carafe")?.erased(&mut |_, _| {})?;
/// println!("{} erased entries are still stored", erased.entries);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredErased {
    /// The number of entries.
    pub entries: u64,
    /// The time of the oldest erasure of one of them.
    pub since: Option<SystemTime>,
}

impl OfflineLog {
    /// Counts the erased entries whose content is still stored. A hub removes it within the time of
    /// its options. Damaged parts are left out: [`verify`](Self::verify) reports them.
    ///
    /// # Errors
    /// When the disk cannot be read, or a file has a newer version of the format.
    pub fn erased(&self, progress: Progress<'_>) -> Result<StoredErased, OpenError> {
        let segments = self.segments()?;
        let mut all = AllErasures::default();
        for segment in &segments {
            Content::new(&*segment.file, segment.header)?.scan(|entry, _| all.add(&entry))?;
        }
        let mut stored = StoredErased::default();
        for (done, segment) in segments.iter().enumerate() {
            progress(done, segments.len());
            if segment.header.previous.offset < all.erasures.newest() {
                Content::new(&*segment.file, segment.header)?
                    .scan(|entry, _| all.count(&entry, &mut stored))?;
            }
        }
        progress(segments.len(), segments.len());
        Ok(stored)
    }

    /// The names of the files that repairs have kept. They may have erased entries, which nothing
    /// removes from them.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn backups(&self) -> Result<Vec<String>, OpenError> {
        Ok(files::backups(&*self.storage)?)
    }

    /// The segments whose header is valid.
    fn segments(&self) -> Result<Vec<Segment>, OpenError> {
        let mut segments = Vec::new();
        for name in files::segments(&*self.storage)? {
            match Segment::open(&*self.storage, name) {
                Ok(segment) => segments.extend(segment),
                Err(OpenError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(segments)
    }
}

/// All erasures of a log, with the time of each.
#[derive(Default)]
struct AllErasures {
    erasures: Erasures,
    /// The offsets and times of the erasures that name a topic, in order.
    times: HashMap<Topic, Vec<(Offset, SystemTime)>>,
}

impl AllErasures {
    fn add(&mut self, entry: &Entry) {
        if self.erasures.add(entry) {
            let times = self.times.entry(entry.topic().clone()).or_default();
            times.push((entry.offset(), entry.time));
        }
    }

    fn count(&self, entry: &Entry, stored: &mut StoredErased) {
        if !self.erasures.covers(entry) {
            return;
        }
        stored.entries += 1;
        let times = entry.publication.topics().filter_map(|topic| self.times.get(topic)).flatten();
        let since = times.filter(|(at, _)| *at > entry.offset()).map(|(_, time)| *time);
        stored.since = stored.since.into_iter().chain(since).min();
    }
}
