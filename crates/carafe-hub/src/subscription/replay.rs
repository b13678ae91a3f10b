//! Reads the log for a subscription that the ring does not reach back to.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use carafe_log::{Block, BlockLimit, Entry, ReadError};
use carafe_protocol::{Offset, Position, TopicMatcher};

use crate::client::Client;
use crate::inner::HubInner;

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
pub(super) struct ReplayBlock {
    pub(super) entries: VecDeque<Arc<Entry>>,
    /// The block covers the log up to this position.
    pub(super) up_to: Position,
}

impl From<Block> for ReplayBlock {
    fn from(block: Block) -> Self {
        Self { entries: block.entries.into(), up_to: block.up_to }
    }
}

/// Reads a block of the log when the client gets a permit.
pub(crate) fn read_block(
    hub: Arc<HubInner>,
    client: Option<Client>,
    after: Offset,
    matchers: Vec<TopicMatcher>,
) -> Pending<Result<Block, ReadError>> {
    Box::pin(async move {
        // Given back when the block is read, not when it is delivered: a slow client holds a block,
        // and no permit.
        let _permit = hub.replay_permits.acquire(client).await;
        hub.log.read(after, matchers, BLOCK_LIMIT).await
    })
}
