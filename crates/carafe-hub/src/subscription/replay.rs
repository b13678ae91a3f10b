//! Reads the log for a subscription that the ring does not reach back to.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use carafe_log::{BlockLimit, Entry, ReadError};
use carafe_protocol::{Offset, Position, TopicMatcher};

use crate::client::Client;
use crate::inner::HubInner;
use crate::recent_erasures::{ErasureStamp, RecentErasures};

/// How much a subscription reads from the log at once.
pub(super) const BLOCK_LIMIT: BlockLimit = BlockLimit { entries: 256, bytes: 64 << 10 };

/// A question to the log that is not answered yet.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Whether a poll may start to read the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadLog {
    Allowed,
    /// The stream already has something to send, and may not be polled again for a long time. It
    /// would hold a permit meanwhile.
    NotNow,
}

/// What is left of a block that was read from the log.
pub(crate) struct ReplayBlock {
    pub(crate) entries: VecDeque<Arc<Entry>>,
    /// The block covers the log up to this position.
    pub(crate) up_to: Position,
    /// Erasures after this are not applied to the entries.
    erasures: ErasureStamp,
}

impl ReplayBlock {
    /// Leaves out what is after a position, which is one that the reader does not have yet.
    fn end_at(&mut self, position: Position) {
        if self.up_to.offset > position.offset {
            self.entries.retain(|entry| entry.offset() <= position.offset);
            self.up_to = position;
        }
    }

    /// Applies the erasures that have come since the block was read. If there were too many, it
    /// returns `false`, and the block has to be read again.
    pub(crate) fn apply_erasures(&mut self, recent: &RecentErasures) -> bool {
        recent.apply(&mut self.entries, &mut self.erasures)
    }
}

/// Reads a block of the log when the client gets a permit. It ends with the ring: the log may have
/// entries that it is about to pass on, and groups wait where the ring ends.
pub(crate) fn read_block(
    hub: Arc<HubInner>,
    client: Option<Client>,
    after: Offset,
    matchers: Vec<TopicMatcher>,
) -> Pending<Result<ReplayBlock, ReadError>> {
    Box::pin(async move {
        // Given back when the block is read, not when it is delivered: a slow client holds a block,
        // and no permit.
        let _permit = hub.replay_permits.acquire(client).await;
        // Before the log is asked: it applies the erasures up to here.
        let erasures = hub.erasures.stamp();
        let block = hub.log.read(after, matchers, BLOCK_LIMIT).await?;
        let mut block = ReplayBlock { entries: block.entries.into(), up_to: block.up_to, erasures };
        block.end_at(hub.state().core.tail());
        Ok(block)
    })
}
