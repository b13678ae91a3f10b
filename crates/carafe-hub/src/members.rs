//! Who wants what a feed has.

use crate::ids::{FeedSlot, MAX_IDS, SubscriptionId};
use crate::paged_table::TableKey;

/// The members of a feed. Most feeds have one: topics of one user's own.
#[derive(Default)]
pub(crate) enum Members {
    #[default]
    None,
    /// Under the name 0.
    One(SubscriptionId),
    Many(Box<Places>),
}

/// Members by their names, four bytes for each.
pub(crate) struct Places {
    /// Who has the place; or, with the highest bit, that it is free, and the next that is.
    places: Vec<u32>,
    /// The first that is free; `END` if none is.
    free: u32,
    taken: usize,
}

/// Says that a place is free.
const FREE: u32 = 1 << 31;

/// No place: there are never so many.
const END: u32 = MAX_IDS;

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(members) => members.taken == 0,
        }
    }

    /// Adds a member, and names its place.
    pub(crate) fn insert(&mut self, subscriber: SubscriptionId) -> FeedSlot {
        match self {
            Self::None => {
                *self = Self::One(subscriber);
                FeedSlot::from_index(0)
            }
            Self::One(first) => {
                let mut members = Places { places: Vec::new(), free: END, taken: 0 };
                members.insert(*first);
                let name = members.insert(subscriber);
                *self = Self::Many(Box::new(members));
                name
            }
            Self::Many(members) => members.insert(subscriber),
        }
    }

    pub(crate) fn remove(&mut self, member: FeedSlot) {
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            Self::Many(members) => members.remove(member),
        }
    }

    pub(crate) fn for_each(&self, mut each: impl FnMut(SubscriptionId)) {
        match self {
            Self::None => {}
            Self::One(member) => each(*member),
            Self::Many(members) => members.taken().for_each(each),
        }
    }
}

impl Places {
    fn insert(&mut self, subscriber: SubscriptionId) -> FeedSlot {
        self.taken += 1;
        if self.free == END {
            self.places.push(subscriber.index() as u32);
            return FeedSlot::from_index(self.places.len() - 1);
        }
        let slot = self.free as usize;
        self.free = std::mem::replace(&mut self.places[slot], subscriber.index() as u32) & !FREE;
        FeedSlot::from_index(slot)
    }

    fn remove(&mut self, member: FeedSlot) {
        self.places[member.index()] = FREE | self.free;
        self.free = member.index() as u32;
        self.taken -= 1;
    }

    fn taken(&self) -> impl Iterator<Item = SubscriptionId> {
        let taken = self.places.iter().filter(|place| **place & FREE == 0);
        taken.map(|place| SubscriptionId::from_index(*place as usize))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// Lets a member in, or one out.
    fn step() -> impl Strategy<Value = Option<Index>> {
        prop_oneof![3 => Just(None), 2 => any::<Index>().prop_map(Some)]
    }

    proptest! {
        /// As a map does, however they come and go.
        #[test]
        fn each_member_is_told_until_it_leaves(steps in prop::collection::vec(step(), 0..200)) {
            let (mut members, mut model) = (Members::default(), HashMap::new());
            for (subscriber, step) in (0..).map(SubscriptionId::from_index).zip(steps) {
                match step {
                    None => {
                        let name = members.insert(subscriber);
                        prop_assert_eq!(model.insert(name, subscriber), None, "a name in use is given out");
                    }
                    Some(_) if model.is_empty() => {}
                    Some(at) => {
                        let name = *model.keys().nth(at.index(model.len())).unwrap();
                        members.remove(name);
                        model.remove(&name);
                    }
                }
                let (mut told, mut expected) = (Vec::new(), Vec::from_iter(model.values().copied()));
                members.for_each(|member| told.push(member));
                told.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!((members.is_empty(), told), (expected.is_empty(), expected));
            }
        }
    }
}
