//! Logs of a given size, made quickly.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_log::{AppendAt, DiskLog, DiskOptions, Entry, Publication, Read};
use carafe_protocol::Position;
use futures_executor::block_on;

use crate::outcome::Outcome;

/// Bytes of one batch, about.
const BATCH: usize = 8 << 20;

/// A log that is being filled with entries that were ordered before. For those no key is looked up,
/// so that filling costs the same whatever a publication costs.
pub(crate) struct Filling {
    pub(crate) log: DiskLog,
    next: Position,
}

impl Filling {
    pub(crate) fn open(folder: &Path, options: DiskOptions) -> Outcome<Self> {
        let log = DiskLog::open(folder, options)?;
        let next = log.span().tail;
        Ok(Self { log, next })
    }

    /// Appends all of them, in batches.
    pub(crate) fn append(
        &mut self,
        publications: impl IntoIterator<Item = Publication>,
    ) -> Outcome {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let time = now();
        for publication in publications {
            bytes += publication.weight();
            self.next.offset += 1;
            self.next.nonce = 1;
            batch.push(Entry { position: self.next, time, publication });
            if bytes >= BATCH {
                block_on(self.log.append_at(std::mem::take(&mut batch)))?;
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            block_on(self.log.append_at(batch))?;
        }
        Ok(())
    }
}

/// In the whole milliseconds that entries have.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
