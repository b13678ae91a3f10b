//! Groups that the ring has left behind: the log is read once for all their seats.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use carafe_log::{Block, Entry, ReadError};

use super::run::join;
use super::{Dispatcher, Turn};
use crate::frame::Frame;
use crate::ids::GroupId;
use crate::subscription::{Pending, read_log};

/// A block of the log that is being read.
pub(super) type Reading = Pending<Result<Block, ReadError>>;

impl Dispatcher {
    pub(super) fn is_behind(&self, id: GroupId) -> bool {
        self.behind.contains_key(&id)
    }

    /// Goes on reading for a group, and begins a pass with what was read.
    pub(super) fn read_on(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(id) else { return };
        let (shared, cursor) = (&self.shared, &group.membership.cursor);
        // What one client alone asks for is read for that client, and what several do, for none of
        // them.
        let client = cursor.interest.client().filter(|_| group.seats.len() == 1);
        let begin = || {
            let matchers = shared.state().core.matchers(&cursor.interest);
            read_log(Arc::clone(shared), client, cursor.position.offset, matchers)
        };
        let reading: &mut Reading = self.behind.entry(id).or_insert_with(begin);
        let waker = self.woken.waker(Turn::Group(id));
        if let Poll::Ready(read) = Pin::new(reading).poll(&mut Context::from_waker(&waker)) {
            self.behind.remove(&id);
            match read {
                Ok(block) => self.take_block(id, &block),
                // Each seat is told the gap, or that there is nothing to be read.
                Err(_) => self.dissolve(id),
            }
        }
    }

    fn take_block(&mut self, id: GroupId, block: &Block) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let interest = &group.membership.cursor.interest;
        let shown: Vec<&Arc<Entry>> =
            block.entries.iter().filter(|entry| interest.sees(entry)).collect();
        if shown.iter().any(|entry| self.shared.retentions.is_over(entry)) {
            return self.dissolve(id);
        }
        let Some(last) = shown.last() else {
            group.membership.cursor.position = block.up_to;
            return self.queue.push_back(Turn::Group(id));
        };
        let frames: Vec<Frame> =
            shown.iter().map(|entry| group.membership.encode(entry, group.format)).collect();
        self.begin_pass(id, join(&frames), block.up_to, last.offset(), true);
    }
}
