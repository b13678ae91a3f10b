//! What all handles of a hub share: the log, the limits and the lock.
//!
//! The log calls [`HubInner::deliver`] from its own thread. Everything else runs on the task or
//! shard of a subscription.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use carafe_log::{Entry, Kind, Log, Removed};

use crate::client::Client;
use crate::compiler::Compiler;
use crate::counts::Counts;
use crate::feeds::core::Core;
use crate::gap::GapReason;
use crate::limits::HubLimits;
use crate::recent_erasures::RecentErasures;
use crate::retention::Retentions;
use crate::state::{HubState, Wakers};
use crate::subscription::cursor::Cursor;
use crate::subscription::replay_permits::ReplayPermits;
use crate::subscription::snapshot_room::SnapshotRoom;
use crate::subscription::subscribe::SubscribeError;
use crate::watches::Watches;

/// Searches for snapshots that run at once, and of these, those of one client. Others wait.
const SNAPSHOT_SEARCHES: usize = 8;
const SEARCHES_PER_CLIENT: usize = 2;

/// Entries that are added to the ring under one lock.
const PUSHED_AT_ONCE: usize = 32;

pub(crate) struct HubInner {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) limits: HubLimits,
    pub(crate) retentions: Retentions,
    pub(crate) erasures: RecentErasures,
    pub(crate) replay_permits: ReplayPermits,
    pub(crate) snapshot_room: SnapshotRoom,
    /// Permits to search for a snapshot, which takes memory for each topic that is found.
    pub(crate) snapshot_permits: ReplayPermits,
    pub(crate) compiler: Compiler,
    pub(crate) counts: Counts,
    pub(crate) watches: Watches,
    /// The hub's only lock for state, held for microseconds. While it is held:
    /// - the log is never called, since it calls the hub under locks of its own;
    /// - no other lock is taken. The permits and the woken list of a dispatcher have locks of their
    ///   own, which are never held together with this one;
    /// - no waker is called or dropped: either may end a task, whose subscription takes this lock.
    state: Mutex<HubState>,
}

impl HubInner {
    /// The shared part of a hub on this log, which the hub follows from now on.
    pub(crate) fn start(log: Arc<dyn Log>, limits: HubLimits) -> Arc<Self> {
        // Replaced by `HubState::start`: entries that are appended between here and `follow` move
        // the tail.
        let core = Core::new(limits.ring_bytes, limits.patterns(), log.span().tail);
        let inner = Arc::new(Self {
            retentions: Retentions::new(limits.retention.clone(), Arc::clone(&log)),
            erasures: RecentErasures::default(),
            replay_permits: ReplayPermits::new(limits.replays, limits.replays_per_client),
            snapshot_room: SnapshotRoom::new(limits.snapshot_bytes),
            snapshot_permits: ReplayPermits::new(SNAPSHOT_SEARCHES, SEARCHES_PER_CLIENT),
            compiler: Compiler::new(),
            counts: Counts::default(),
            watches: Watches::default(),
            state: Mutex::new(HubState::new(core)),
            log,
            limits,
        });
        // Weak: the log must not keep the hub alive.
        let follower = Arc::downgrade(&inner);
        let follower = move |entries: &[Arc<Entry>]| {
            if let Some(inner) = follower.upgrade() {
                inner.deliver(entries);
            }
        };
        let followed = inner.log.follow(inner.limits.ring_bytes, Box::new(follower));
        // The log may have called the follower meanwhile: `HubState::push` keeps such entries until
        // the start.
        inner.state().start(&followed, &inner.limits);
        inner
    }

    /// Takes the lock. A thread that panicked while it held the lock ends alone: the hub continues.
    pub(crate) fn state(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries that the log has made durable, some at a time, so that the lock is never held
    /// for long.
    ///
    /// The stamp of erasures moves last, when the ring has them, and before the log answers to who
    /// has erased. So what is taken from the ring is safe, whenever its stamp was read:
    /// - Before the move: the ring may lack the erasure, and the move shows that.
    /// - After it: the ring has the erasure.
    ///
    /// If the stamp moved first, events that are taken before the ring has the erasure would have
    /// its number, and nobody would look at them again. The log is safe in both orders: it applies
    /// an erasure before it calls this.
    fn deliver(&self, entries: &[Arc<Entry>]) {
        for entries in entries.chunks(PUSHED_AT_ONCE) {
            let wakers = self.push(entries);
            wakers.into_iter().for_each(Waker::wake);
            // After the wakers: a subscriber on another thread reads while this thread evicts. The
            // guard of each round is dropped before the next.
            while self.state().core.evict() {}
        }
        self.erasures.add(entries);
        self.watches.notify(entries);
    }

    fn push(&self, entries: &[Arc<Entry>]) -> Wakers {
        loop {
            let mut state = self.state();
            // Checked under the lock that pushes: a pattern that was added during the tests is
            // found by the next round. Each round tests a bounded number, so a flood of new
            // patterns delays entries but never holds the lock.
            let Some(untested) = state.core.untested(entries) else { return state.push(entries) };
            drop(state);
            let tested = untested.test();
            self.state().core.learn(tested);
        }
    }

    /// What a subscriber receives of an entry that its access shows. May ask the log, so it is not
    /// to be called under the hub's lock.
    pub(crate) fn presence(&self, entry: &Entry) -> Presence {
        self.presence_if(entry, |entry| self.retentions.has_expired(entry))
    }

    /// The same without the log. An entry that may be gone counts as gone: each subscriber asks on
    /// its own then.
    pub(crate) fn presence_under_lock(&self, entry: &Entry) -> Presence {
        self.presence_if(entry, |entry| self.retentions.may_have_expired(entry))
    }

    fn presence_if(&self, entry: &Entry, has_expired: impl Fn(&Entry) -> bool) -> Presence {
        match entry.publication.kind() {
            Kind::Erase(_) | Kind::Removed(Removed::Compacted) => Presence::Skipped,
            Kind::Removed(Removed::Erased) => Presence::Gone(GapReason::Erased),
            _ if has_expired(entry) => Presence::Gone(GapReason::Trimmed),
            _ => Presence::Shown,
        }
    }

    /// Lets a subscription that resumes within the ring be served from the ring, if its patterns
    /// are new and that takes few tests.
    pub(crate) async fn backfill(&self, cursor: &Cursor) {
        let mut next = self.state().core.backfill(&cursor.interest, cursor.position);
        while let Some(backfill) = next {
            let result = backfill.test();
            next = self.state().core.apply_backfill(result, &cursor.interest, cursor.position);
            if next.is_some() {
                yield_now().await;
            }
        }
    }

    /// Rejects more complex patterns than the client could ever use.
    pub(crate) fn check_complex(
        &self,
        count: usize,
        client: Option<Client>,
    ) -> Result<(), SubscribeError> {
        let HubLimits { complex_patterns, complex_patterns_per_client, .. } = self.limits;
        let of_client = client.map_or(usize::MAX, |_| complex_patterns_per_client);
        let limit = complex_patterns.min(of_client);
        if count > limit { Err(SubscribeError::TooComplex { limit }) } else { Ok(()) }
    }
}

/// What a subscriber receives of an entry.
pub(crate) enum Presence {
    Shown,
    /// Nothing, and it misses nothing.
    Skipped,
    /// A gap.
    Gone(GapReason),
}

/// Lets the other tasks of the thread run.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Wake};

    use carafe_log::{Erase, MemoryLog, Publication};
    use carafe_protocol::Topic;
    use futures_util::StreamExt;

    use super::*;
    use crate::hub::Hub;
    use crate::recent_erasures::{ErasureStamp, TopicBits};

    /// Reads the stamp when it is woken, as a shard does that reads the ring at once.
    struct StampWhenWoken(Arc<HubInner>, Mutex<Vec<ErasureStamp>>);

    impl Wake for StampWhenWoken {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0.erasures.stamp());
        }
    }

    #[tokio::test]
    async fn an_erasure_covers_what_is_taken_while_the_ring_lacks_it() {
        let (hub, topic) = (Hub::new(MemoryLog::default()), Topic::new("a").unwrap());
        let shard = Arc::new(StampWhenWoken(Arc::clone(&hub.inner), Mutex::default()));
        let waker = Waker::from(Arc::clone(&shard));
        let mut subscription = hub.subscribe("a").await.unwrap();
        let mut cx = Context::from_waker(&waker);
        // Where the stream begins.
        while subscription.poll_next_unpin(&mut cx).is_ready() {}

        let event = Publication::new(topic.clone(), "data");
        let mut batch = vec![event.clone(); PUSHED_AT_ONCE];
        batch.push(Publication::erase(topic, Erase::Before));
        hub.inner.log.append(batch).await.unwrap();
        let stamps = shard.1.lock().unwrap();
        assert_eq!(stamps.len(), 1);
        assert!(hub.inner.erasures.may_have_erased(TopicBits::of(&event), stamps[0]));
    }
}
