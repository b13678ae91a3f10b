//! Whether a log keeps what decides over publications.

use std::time::Duration;

use carafe_log::{BlockLimit, Read};
use carafe_protocol::TopicMatcher;

/// Whether a log has trimmed entries that are younger than the key window. `None` if that cannot be
/// told now.
pub(crate) async fn forgets_keys<L: Read>(log: &L, window: Duration) -> Option<bool> {
    let start = log.span().start;
    // The start of a log that has trimmed nothing is no entry, and has no nonce.
    if start.nonce == 0 {
        return Some(false);
    }
    let one = BlockLimit { entries: 1, bytes: 1 };
    let block = log.read(start.offset, vec![TopicMatcher::any()], one).await.ok()?;
    let oldest = block.entries.first()?.time;
    Some(log.clock().now().duration_since(oldest).unwrap_or_default() < window)
}
