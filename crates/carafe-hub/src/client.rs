//! Whom the hub shares fairly with.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU64;
use std::sync::LazyLock;

/// Tells clients from each other, so that none of them uses up what all share: turns to read the
/// log, and complex patterns.
///
/// It is a hash, whose key is drawn when the process starts: nobody can choose to be taken for
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(NonZeroU64);

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Client {
    /// The client that is known by this, such as its address, or the subject of its token.
    pub fn of(identity: impl Hash) -> Self {
        Self(NonZeroU64::new(KEY.hash_one(identity)).unwrap_or(NonZeroU64::MAX))
    }
}
