//! Asks all streams of a shard whether they were revoked, some in each turn.

use carafe_hub::{SubscriberId, TableKey};

/// Streams that are asked in one turn: some tens of microseconds.
const ASKED_IN_A_TURN: u32 = 1024;

/// Streams that are let end in one turn. Each gets a subscription of its own, and a write.
const ENDED_IN_A_TURN: u32 = 64;

/// How far the streams have been asked.
#[derive(Default)]
pub(crate) struct Review {
    /// The index of the subscriber that is asked next.
    next: u32,
    /// How many indexes are left.
    left: u32,
    /// A bound above the indexes when the review began.
    bound: u32,
}

impl Review {
    /// Begins with all subscribers below the bound. What was left of an earlier review is part of
    /// this one. Streams that are added later are asked when they are.
    pub(crate) fn begin(&mut self, bound: u32) {
        (self.bound, self.left) = (bound, bound);
    }

    /// Asks the next streams, and ends those that were revoked; `true` if there are more to ask.
    pub(crate) fn ask(
        &mut self,
        is_revoked: impl Fn(SubscriberId) -> bool,
        mut end: impl FnMut(SubscriberId),
    ) -> bool {
        let mut ended = 0;
        for _ in 0..self.left.min(ASKED_IN_A_TURN) {
            // A later review may begin in the middle of the table.
            let at = if self.next < self.bound { self.next } else { 0 };
            self.next = at + 1;
            self.left -= 1;
            let subscriber = SubscriberId::from_index(at as usize);
            if is_revoked(subscriber) {
                end(subscriber);
                ended += 1;
            }
            if ended == ENDED_IN_A_TURN {
                break;
            }
        }
        self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The numbers of streams that each turn asks and ends, until a review is complete.
    fn turns(review: &mut Review, revoked: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<usize>) {
        let (asked, mut ended) = (RefCell::new(Vec::new()), Vec::new());
        let mut has_more = true;
        while has_more {
            let before = asked.borrow().len();
            let is_revoked = |subscriber: SubscriberId| {
                asked.borrow_mut().push(subscriber.index());
                revoked(subscriber.index())
            };
            has_more = review.ask(is_revoked, |subscriber| ended.push(subscriber.index()));
            assert!(asked.borrow().len() - before <= ASKED_IN_A_TURN as usize);
        }
        (asked.into_inner(), ended)
    }

    #[test]
    fn each_stream_is_asked_once_in_slices() {
        let mut review = Review::default();
        assert!(!review.ask(|_| true, |_| unreachable!("nothing has begun")));
        review.begin(5000);
        let (asked, ended) = turns(&mut review, |at| at % 7 == 0);
        assert!(asked.into_iter().eq(0..5000));
        assert!(ended.into_iter().eq((0..5000).step_by(7)));
    }

    #[test]
    fn a_turn_ends_few_streams() {
        let mut review = Review::default();
        review.begin(1000);
        let mut ended = 0;
        assert!(review.ask(|_| true, |_| ended += 1));
        assert_eq!(ended, ENDED_IN_A_TURN);
        assert_eq!(turns(&mut review, |_| true).1.len(), 1000 - ENDED_IN_A_TURN as usize);
    }

    #[test]
    fn a_review_that_begins_during_another_asks_all_streams() {
        let mut review = Review::default();
        review.begin(3000);
        assert!(review.ask(|_| false, |_| {}));
        review.begin(2000);
        let (mut asked, _) = turns(&mut review, |_| false);
        asked.sort_unstable();
        assert!(asked.into_iter().eq(0..2000));
    }
}
