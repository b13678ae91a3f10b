//! Whose turn it is in a dispatcher.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use crate::ids::{GroupId, SubscriberId};

/// Who is served next.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    Group(GroupId),
    Subscriber(SubscriberId),
}

/// The turns of a dispatcher, first come, first served.
pub(super) struct Schedule {
    queue: VecDeque<Turn>,
    woken: Arc<WokenTurns>,
    /// Kept, so that collecting does not allocate.
    collected: Vec<Turn>,
}

/// Turns whose wakers were called, on any thread: the log has answered them.
struct WokenTurns {
    // Locked for one push or one append, and never together with the hub's lock.
    turns: Mutex<Vec<Turn>>,
    dispatcher: Waker,
}

struct TurnWaker {
    turn: Turn,
    woken: Arc<WokenTurns>,
}

impl Schedule {
    /// `dispatcher` is called when a turn was woken.
    pub(super) fn new(dispatcher: Waker) -> Self {
        let woken = Arc::new(WokenTurns { turns: Mutex::default(), dispatcher });
        Self { queue: VecDeque::new(), woken, collected: Vec::new() }
    }

    pub(super) fn push(&mut self, turn: Turn) {
        self.queue.push_back(turn);
    }

    pub(super) fn pop(&mut self) -> Option<Turn> {
        self.queue.pop_front()
    }

    /// The groups among the next turns.
    pub(super) fn next_groups(&self, turns: usize) -> impl Iterator<Item = GroupId> {
        self.queue.iter().take(turns).filter_map(|turn| match turn {
            Turn::Group(group) => Some(*group),
            Turn::Subscriber(_) => None,
        })
    }

    /// A waker that schedules this turn. The ID may belong to another subscriber or group by then,
    /// which gets a turn with nothing to do.
    pub(super) fn waker(&self, turn: Turn) -> Waker {
        Arc::new(TurnWaker { turn, woken: Arc::clone(&self.woken) }).into()
    }

    /// Schedules the turns that were woken.
    pub(super) fn collect_woken(&mut self) {
        let mut turns = self.woken.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // `append` moves the turns and leaves the other list its memory: a waker rarely allocates
        // under the lock.
        self.collected.append(&mut turns);
        drop(turns);
        self.queue.extend(self.collected.drain(..));
    }
}

impl Wake for TurnWaker {
    fn wake(self: Arc<Self>) {
        let mut turns = self.woken.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.push(self.turn);
        let is_first = turns.len() == 1;
        drop(turns);
        // The dispatcher has been called for the others, and has not collected them yet.
        if is_first {
            self.woken.dispatcher.wake_by_ref();
        }
    }
}
