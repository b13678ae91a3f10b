//! The task that does what has to be done with revocations: it lets watchers learn of them, forgets
//! those that have ended, and stores again those whose entries the log is about to trim.

use std::sync::{Arc, Weak};
use std::time::Duration;

use carafe_hub::Hub;
use carafe_log::{Refill, Span};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
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

/// Nodes that are filled with the same find the same due at the same moment. Each waits for some
/// time, up to this, and then stores what no other has stored.
const TURN: Duration = Duration::from_secs(10);

/// Runs until the state is dropped.
pub(super) async fn keep(state: Weak<State>, work: Arc<Notify>) {
    let (mut reviewed, mut unfinished, mut turn) = (0, 0_u32, None);
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
            let is_done = store_again(&state, &mut turn).await;
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
/// a log on disk is read again after a restart, and one that is filled from elsewhere.
async fn store_again(state: &State, turn: &mut Option<Instant>) -> bool {
    let Some(Attached { hub, .. }) = state.attached.get() else { return true };
    let is_filled_again = hub.log().refill().is_some();
    if hub.disk_usage().is_none() && !is_filled_again {
        return true;
    }
    let Some(mut next) = due(state, hub) else {
        *turn = None;
        return true;
    };
    if is_filled_again {
        let begin = || Instant::now() + TURN.mul_f64(rand::random());
        if Instant::now() < *turn.get_or_insert_with(begin) {
            return true;
        }
    }
    for _ in 0..IN_A_LOOK / BATCH {
        let batch = next.iter().map(Record::publication).collect();
        if let Err(error) = hub.publish_all(batch).await {
            if !hub.is_draining() {
                warn!(%error, "cannot store revocations again; trying again in a second");
            }
            return true;
        }
        match due(state, hub) {
            Some(rest) => next = rest,
            None => return true,
        }
    }
    false
}

fn due(state: &State, hub: &Hub) -> Option<Vec<Record>> {
    let (log, now) = (hub.log(), hub.log().clock().now());
    let is_on_disk = hub.disk_usage().is_some();
    let (span, age) = kept(log.span(), is_on_disk, state.limits.history_age, log.refill());
    let due = state.table().to_store_again(&span, now, age, BATCH);
    (!due.is_empty()).then_some(due)
}

/// The range of entries that a log has that starts again, and how long they are kept: as this log
/// keeps them, or for a shorter time as what it is filled from. A log in memory starts with
/// nothing, and is filled with all.
fn kept(
    mut span: Span,
    is_on_disk: bool,
    age: Option<Duration>,
    refill: Option<Refill>,
) -> (Span, Option<Duration>) {
    let Some(Refill { after, age: elsewhere }) = refill else { return (span, age) };
    let after = after.min(span.tail.offset);
    span.start.offset = if is_on_disk { span.start.offset.max(after) } else { after };
    let age = age.filter(|_| is_on_disk);
    (span, age.into_iter().chain(elsewhere).min())
}

#[cfg(test)]
mod tests {
    use carafe_protocol::{Generation, Position};

    use super::*;

    #[test]
    fn what_fills_a_log_counts_where_it_keeps_less() {
        let at = |offset| Position { generation: Generation::new(1), offset, nonce: 0 };
        let span = Span { start: at(10), oldest: None, tail: at(100) };
        let [hour, day] = [3600, 86_400].map(Duration::from_secs);
        let check_as = |is_on_disk, age, refill, start, kept_for| {
            let (span, age) = kept(span, is_on_disk, age, refill);
            assert_eq!((span.start.offset, span.tail, age), (start, at(100), kept_for));
        };
        let check = |age, refill, start, kept_for| check_as(true, age, refill, start, kept_for);
        check(Some(hour), None, 10, Some(hour));
        check(None, Some(Refill { after: 60, age: Some(day) }), 60, Some(day));
        check(Some(hour), Some(Refill { after: 5, age: Some(day) }), 10, Some(hour));
        check(Some(day), Some(Refill { after: 200, age: Some(hour) }), 100, Some(hour));
        check(None, Some(Refill { after: 0, age: None }), 10, None);
        check_as(false, Some(hour), Some(Refill { after: 5, age: Some(day) }), 5, Some(day));
    }
}
