//! The subscriptions of one feed, in four bytes for each.

use crate::ids::{FeedSlot, MAX_IDS, SubscriptionId};
use crate::paged_table::TableKey;

/// The subscriptions of a feed. Most feeds have one: they belong to topics of a single user.
#[derive(Default)]
pub(crate) enum FeedSubscribers {
    #[default]
    None,
    /// One subscription, in slot 0.
    One(SubscriptionId),
    Many(Box<Slots>),
}

/// Subscriptions by slot. A plain list of numbers instead of a table, since a topic may have a
/// million subscriptions, and a subscription a hundred feeds.
pub(crate) struct Slots {
    /// The number of a subscription; or, with the bit [`FREE`], the next free slot.
    slots: Vec<u32>,
    /// The first free slot; `NO_SLOT` if there is none.
    first_free: u32,
    used: usize,
}

/// Marks a free slot.
const FREE: u32 = 1 << 31;

/// Larger than any slot.
const NO_SLOT: u32 = MAX_IDS;

impl FeedSubscribers {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(slots) => slots.used == 0,
        }
    }

    /// Adds a subscription, and returns its slot.
    pub(crate) fn insert(&mut self, subscription: SubscriptionId) -> FeedSlot {
        match self {
            Self::None => {
                *self = Self::One(subscription);
                FeedSlot::from_index(0)
            }
            Self::One(first) => {
                let mut slots = Slots { slots: Vec::new(), first_free: NO_SLOT, used: 0 };
                // Gets slot 0, the one that `One` has given out.
                slots.insert(*first);
                let slot = slots.insert(subscription);
                *self = Self::Many(Box::new(slots));
                slot
            }
            Self::Many(slots) => slots.insert(subscription),
        }
    }

    pub(crate) fn remove(&mut self, slot: FeedSlot) {
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            // Stays `Many`, even with one left: slots that were given out keep their numbers.
            Self::Many(slots) => slots.remove(slot),
        }
    }

    pub(crate) fn for_each(&self, mut each: impl FnMut(SubscriptionId)) {
        match self {
            Self::None => {}
            Self::One(subscription) => each(*subscription),
            Self::Many(slots) => slots.used().for_each(each),
        }
    }
}

impl Slots {
    fn insert(&mut self, subscription: SubscriptionId) -> FeedSlot {
        self.used += 1;
        // A subscription's number is below `MAX_IDS`, so it does not have the bit `FREE`.
        let number = subscription.index() as u32;
        if self.first_free == NO_SLOT {
            self.slots.push(number);
            return FeedSlot::from_index(self.slots.len() - 1);
        }
        let slot = self.first_free as usize;
        self.first_free = std::mem::replace(&mut self.slots[slot], number) & !FREE;
        FeedSlot::from_index(slot)
    }

    fn remove(&mut self, slot: FeedSlot) {
        // The free slots form a list within the vector: freeing allocates nothing.
        self.slots[slot.index()] = FREE | self.first_free;
        self.first_free = slot.index() as u32;
        self.used -= 1;
    }

    fn used(&self) -> impl Iterator<Item = SubscriptionId> {
        let used = self.slots.iter().filter(|slot| **slot & FREE == 0);
        used.map(|number| SubscriptionId::from_index(*number as usize))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// Adds a subscription, or removes one.
    fn step() -> impl Strategy<Value = Option<Index>> {
        prop_oneof![3 => Just(None), 2 => any::<Index>().prop_map(Some)]
    }

    proptest! {
        #[test]
        fn each_subscription_is_listed_until_it_is_removed(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let (mut subscribers, mut model) = (FeedSubscribers::default(), HashMap::new());
            for (subscription, step) in (0..).map(SubscriptionId::from_index).zip(steps) {
                match step {
                    None => {
                        let slot = subscribers.insert(subscription);
                        let replaced = model.insert(slot, subscription);
                        prop_assert_eq!(replaced, None, "a slot in use is reused");
                    }
                    Some(_) if model.is_empty() => {}
                    Some(at) => {
                        let slot = *model.keys().nth(at.index(model.len())).unwrap();
                        subscribers.remove(slot);
                        model.remove(&slot);
                    }
                }
                let mut listed = Vec::new();
                let mut expected = Vec::from_iter(model.values().copied());
                subscribers.for_each(|subscription| listed.push(subscription));
                listed.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(
                    (subscribers.is_empty(), listed),
                    (expected.is_empty(), expected)
                );
            }
        }
    }
}
