//! What a subscription receives: its feeds, and its access.

use std::hash::{Hash, Hasher};

use carafe_log::Entry;
use carafe_protocol::Topic;
use smallvec::SmallVec;

use crate::client::Client;
use crate::format::Format;
use crate::ids::{FeedId, FeedSlot};
use crate::visibility::InternedAccess;

/// What a subscription receives. Two with the same feeds and access are equal: they receive the
/// same entries.
pub(crate) struct Interest {
    /// Sorted by feed.
    pub(super) feeds: SmallVec<[(FeedId, FeedSlot); 2]>,
    pub(super) access: InternedAccess,
    /// The client in whose budget of complex patterns the subscription is.
    pub(super) client: Option<Client>,
}

impl Interest {
    /// Whether the subscription may see an entry that one of its matchers matches.
    pub(crate) fn shows(&self, entry: &Entry) -> bool {
        self.access.shows(&entry.publication)
    }

    /// Whether the subscription may see all entries of a topic, private ones too.
    pub(crate) fn covers_topic(&self, topic: &Topic) -> bool {
        self.access.covers_topic(topic)
    }

    /// Whether the subscription receives the entry in the frame that is shared by all others.
    pub(crate) fn shares_frame(&self, entry: &Entry, format: Format) -> bool {
        self.access.shares_frame(&entry.publication, format)
    }

    /// The client of the subscription, if known. A group's subscription has the client of its first
    /// member, or none.
    pub(crate) fn client(&self) -> Option<Client> {
        self.client
    }

    pub(super) fn feed_ids(&self) -> impl Iterator<Item = FeedId> {
        self.feeds.iter().map(|(feed, _)| *feed)
    }
}

impl PartialEq for Interest {
    fn eq(&self, other: &Self) -> bool {
        self.feed_ids().eq(other.feed_ids()) && self.access.id() == other.access.id()
    }
}

impl Hash for Interest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.feed_ids().for_each(|feed| feed.hash(state));
        self.access.id().hash(state);
    }
}
