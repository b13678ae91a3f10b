//! The task that does what has to be done with revocations: it lets watchers learn of them, forgets
//! those that have ended, and stores again those whose entries the log is about to trim.

use std::sync::{Arc, Weak};
use std::time::Duration;

use carafe_hub::Hub;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::warn;

use crate::policy::revocations::record::Record;
use crate::policy::revocations::state::{Attached, State};

/// How often the keeper looks at a hub with revocations.
const PERIOD: Duration = Duration::from_secs(1);

/// Revocations that are stored again at once.
const BATCH: usize = 100;

/// At most so many are stored again in one look. A history that cannot keep all of them would be
/// filled with copies without end.
const IN_A_LOOK: usize = 10 * BATCH;

/// After so many looks in which it did not store all again that is due, the history cannot keep all
/// revocations.
const TOO_MANY_LOOKS: u32 = 60;

/// Runs until the state is dropped.
pub(super) async fn keep(state: Weak<State>, work: Arc<Notify>) {
    let (mut reviewed, mut unfinished) = (0, 0_u32);
    loop {
        let Some(state) = state.upgrade() else { return };
        // Read first: a change during the review leads to another one.
        let changes = *state.changes.borrow();
        if std::mem::replace(&mut reviewed, changes) != changes {
            state.watchers.review(|names| state.revokes(names)).await;
        }
        let is_used = state.is_used();
        if is_used {
            state.sweep();
            let is_done = store_again(&state).await;
            unfinished = if is_done { 0 } else { unfinished.saturating_add(1) };
            if unfinished == TOO_MANY_LOOKS {
                warn!(
                    "the history is too small for all revocations, which are stored again and \
                     again: raise --history-bytes, or lift some"
                );
            }
        }
        // The state is not held during the wait.
        drop(state);
        match is_used {
            // An error means that nobody has woken the keeper.
            true => drop(timeout(PERIOD, work.notified()).await),
            false => work.notified().await,
        }
    }
}

/// Stores revocations again that would be trimmed with their entries; `false` if more are due. Only
/// a log on disk is read again after a restart.
async fn store_again(state: &State) -> bool {
    let Some(Attached { hub, .. }) = state.attached.get() else { return true };
    if hub.disk_usage().is_none() {
        return true;
    }
    for _ in 0..IN_A_LOOK / BATCH {
        let Some(due) = due(state, hub) else { return true };
        let batch = due.iter().map(Record::publication).collect();
        if let Err(error) = hub.publish_all(batch).await {
            if !hub.is_draining() {
                warn!(%error, "cannot store revocations again; trying again in a second");
            }
            return true;
        }
    }
    due(state, hub).is_none()
}

fn due(state: &State, hub: &Hub) -> Option<Vec<Record>> {
    let (span, now) = (hub.log().span(), hub.log().clock().now());
    let due = state.table().to_store_again(&span, now, state.limits.history_age, BATCH);
    (!due.is_empty()).then_some(due)
}
