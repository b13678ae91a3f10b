//! For how long the engine has differed from what a node has read.

use std::time::Duration;

use tokio::time::Instant;

use crate::place::Divergence;

/// What comparisons have found so far. One alone proves nothing.
#[derive(Default)]
pub(crate) struct Suspicion(Option<(Divergence, Instant)>);

impl Suspicion {
    /// A comparison has found no difference.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// A comparison has found a difference. Returns whether it is certain: it was found before,
    /// and for long enough if a server may report it that leads no more.
    pub(crate) fn confirm(&mut self, why: Divergence, believe_after: Duration) -> bool {
        let now = Instant::now();
        let (before, since) = *self.0.get_or_insert((why, now));
        if std::mem::discriminant(&before) != std::mem::discriminant(&why) {
            self.0 = Some((why, now));
            return false;
        }
        let patience = if why.may_pass() { believe_after } else { Duration::ZERO };
        now > since && now - since >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Divergence = Divergence::LostTail { applied: 7, last: 5 };
    const OVERTAKEN: Divergence = Divergence::Overtaken { applied: 7, first: 9 };

    #[tokio::test(start_paused = true)]
    async fn what_a_server_may_say_that_leads_no_more_has_to_last() {
        let (mut suspicion, second) = (Suspicion::default(), Duration::from_secs(1));
        let mut confirm = async |why, wait: Duration| {
            tokio::time::sleep(wait).await;
            suspicion.confirm(why, 15 * second)
        };
        assert!(!confirm(LOST, second).await);
        assert!(!confirm(LOST, 14 * second).await);
        assert!(!confirm(OVERTAKEN, second).await, "another difference begins anew");
        assert!(confirm(OVERTAKEN, second).await);
        assert!(!confirm(LOST, second).await);
        assert!(confirm(LOST, 15 * second).await);
        suspicion.clear();
        assert!(!suspicion.confirm(LOST, 15 * second));
    }
}
