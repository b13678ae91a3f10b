//! What a dispatcher has to look at, from where the hub's lock is held.

use std::task::Waker;

use crate::ids::GroupId;

/// What came for a dispatcher since it last looked.
pub(crate) struct Notice {
    bell: Waker,
    /// The bell was rung since the dispatcher last looked.
    rung: bool,
    /// Groups that waited, and for which there is something.
    touched: Vec<GroupId>,
    /// Seats whose subscription is the one of their group.
    settled: usize,
    /// How many of those are to end.
    to_end: usize,
}

impl Notice {
    pub(super) fn new(bell: Waker) -> Self {
        Self { bell, rung: false, touched: Vec::new(), settled: 0, to_end: 0 }
    }

    /// There is something for a group; whom to wake for it.
    pub(crate) fn touch(&mut self, group: GroupId) -> Option<Waker> {
        self.touched.push(group);
        self.ring()
    }

    /// How many seats have settled.
    pub(crate) fn settled(&self) -> usize {
        self.settled
    }

    /// One more seat has settled.
    pub(super) fn settle(&mut self) {
        self.settled += 1;
    }

    /// One is not settled any more; whether it has to end, as all that are left have.
    pub(super) fn unsettle(&mut self) -> bool {
        self.settled -= 1;
        let ends = self.to_end > self.settled;
        self.to_end -= usize::from(ends);
        ends
    }

    /// Lets up to `count` seats end; how many there are, and whom to wake.
    pub(crate) fn end(&mut self, count: usize) -> (usize, Option<Waker>) {
        let more = count.min(self.settled.saturating_sub(self.to_end));
        self.to_end += more;
        (more, if more > 0 { self.ring() } else { None })
    }

    /// The groups that were touched, and how many seats are to end.
    pub(super) fn take(&mut self, touched: &mut Vec<GroupId>) -> usize {
        self.rung = false;
        touched.append(&mut self.touched);
        std::mem::take(&mut self.to_end)
    }

    fn ring(&mut self) -> Option<Waker> {
        let silent = !std::mem::replace(&mut self.rung, true);
        silent.then(|| self.bell.clone())
    }
}
