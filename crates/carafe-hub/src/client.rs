//! Identifies clients among which the hub shares its resources fairly.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU64;
use std::sync::LazyLock;

/// Identifies a client, so that no client uses up what all share: permits to read the log, and
/// complex patterns.
///
/// It is a hash whose key is drawn when the process starts, so no client can choose an identity
/// that collides with another's.
///
/// ```
/// use std::net::Ipv4Addr;
///
/// use carafe_hub::{Client, Subscribe};
///
/// let request = Subscribe::to_everything().by(Client::of(Ipv4Addr::LOCALHOST));
/// # drop(request);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(NonZeroU64);

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Client {
    /// The client with this identity, such as its address or the subject of its token.
    pub fn of(identity: impl Hash) -> Self {
        // Never zero, so that `Option<Client>` takes no more memory. A collision would share a
        // budget between two clients, and nothing else.
        Self(NonZeroU64::new(KEY.hash_one(identity)).unwrap_or(NonZeroU64::MAX))
    }
}
