//! Reads the revocations that the log has stored before.

use std::sync::Arc;

use carafe_log::{BlockLimit, Entry, Read, ReadError};
use carafe_protocol::TopicMatcher;

use crate::policy::revocations::record::topic;

/// What is read at once.
const BLOCK: BlockLimit = BlockLimit { entries: 1000, bytes: 1 << 20 };

/// Passes on all entries of the topic up to the tail, some at a time. What is appended meanwhile
/// comes from following the log, so that starts before.
pub(super) async fn read(log: &dyn Read, take: impl Fn(&[Arc<Entry>])) -> Result<(), ReadError> {
    let (mut after, tail) = (log.span().start.offset, log.span().tail.offset);
    while after < tail {
        let wanted = vec![TopicMatcher::from(topic())];
        after = match log.read(after, wanted, BLOCK).await {
            Ok(block) => {
                take(&block.entries);
                block.up_to.offset
            }
            // Older ones were stored again, if they are in force.
            Err(ReadError::Trimmed { start, .. }) => start.offset.max(after + 1),
            Err(ReadError::Lost { up_to, .. }) => up_to.offset.max(after + 1),
            Err(error) => return Err(error),
        };
    }
    Ok(())
}
