//! What has come for a dispatcher while it did not look, kept under the hub's lock.

use std::task::Waker;

use crate::ids::GroupId;

/// What has come for a dispatcher since it last looked.
pub(crate) struct DispatcherInbox {
    waker: Waker,
    /// The waker was called since the dispatcher last looked. So many entries wake it once.
    woken: bool,
    /// Groups that waited, and for which something has come.
    touched: Vec<GroupId>,
    /// Members of the dispatcher's groups.
    in_groups: usize,
    /// How many of the members have to end.
    to_end: usize,
}

impl DispatcherInbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, woken: false, touched: Vec::new(), in_groups: 0, to_end: 0 }
    }

    /// Something has come for a group. Returns the waker to call after the lock, if any.
    pub(crate) fn touch(&mut self, group: GroupId) -> Option<Waker> {
        self.touched.push(group);
        self.wake()
    }

    /// How many members the groups have.
    pub(crate) fn in_groups(&self) -> usize {
        self.in_groups
    }

    /// A subscriber has joined a group.
    pub(crate) fn add_member(&mut self) {
        self.in_groups += 1;
    }

    /// A subscriber has left its group; whether it has to end, since all that stay have to.
    pub(crate) fn remove_member(&mut self) -> bool {
        self.in_groups -= 1;
        // `to_end` counts members, not which ones: it never exceeds those that are there.
        let ends = self.to_end > self.in_groups;
        self.to_end -= usize::from(ends);
        ends
    }

    /// Lets up to `count` members end. Returns how many those are, and the waker to call after the
    /// lock, if any.
    pub(crate) fn end(&mut self, count: usize) -> (usize, Option<Waker>) {
        // Members that have to end already are not counted twice.
        let more = count.min(self.in_groups.saturating_sub(self.to_end));
        self.to_end += more;
        (more, if more > 0 { self.wake() } else { None })
    }

    /// Whether that is at most so much for which the dispatcher was woken.
    pub(crate) fn holds_at_most(&self, groups: usize, to_end: usize) -> bool {
        self.touched.len() <= groups && self.to_end <= to_end
    }

    /// Moves the touched groups to `touched`, and returns how many members have to end.
    pub(crate) fn collect(&mut self, touched: &mut Vec<GroupId>) -> usize {
        // Before the caller looks at the groups, and under the hub's lock: what comes from here on
        // wakes it again.
        self.woken = false;
        touched.append(&mut self.touched);
        std::mem::take(&mut self.to_end)
    }

    fn wake(&mut self) -> Option<Waker> {
        let is_first = !std::mem::replace(&mut self.woken, true);
        is_first.then(|| self.waker.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_have_to_end_count_for_how_much_there_is() {
        let mut inbox = DispatcherInbox::new(Waker::noop().clone());
        (0..3).for_each(|_| inbox.add_member());
        assert!(inbox.holds_at_most(0, 0));
        assert_eq!(inbox.end(2).0, 2);
        assert!(inbox.holds_at_most(0, 2));
        assert!(!inbox.holds_at_most(0, 1));
    }
}
