//! Who wants what a feed has.

use crate::feeds::{MemberId, SubscriberId};
use crate::pages::Pages;

/// The members of a feed. Most feeds have one: topics of one user's own.
#[derive(Default)]
pub(crate) enum Members {
    #[default]
    None,
    /// Under the name 0.
    One(SubscriberId),
    Many(Box<Pages<SubscriberId>>),
}

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::One(_) => false,
            Self::Many(members) => members.is_empty(),
        }
    }

    /// Adds a member, and names its place.
    pub(crate) fn insert(&mut self, subscriber: SubscriberId) -> MemberId {
        match self {
            Self::None => {
                *self = Self::One(subscriber);
                0
            }
            Self::One(first) => {
                let mut members = Pages::new();
                members.insert(*first);
                let name = members.insert(subscriber);
                *self = Self::Many(Box::new(members));
                index(name)
            }
            Self::Many(members) => index(members.insert(subscriber)),
        }
    }

    pub(crate) fn remove(&mut self, member: MemberId) {
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            Self::Many(members) => drop(members.remove(member as usize)),
        }
    }

    pub(crate) fn for_each(&self, mut each: impl FnMut(SubscriberId)) {
        match self {
            Self::None => {}
            Self::One(member) => each(*member),
            Self::Many(members) => members.values().for_each(|member| each(*member)),
        }
    }
}

/// Such numbers count what lives at once, which memory bounds far below four billion.
pub(crate) fn index(key: usize) -> u32 {
    u32::try_from(key).expect("fewer than 2^32 of them fit in memory")
}
