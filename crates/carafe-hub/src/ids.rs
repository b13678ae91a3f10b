//! The identifiers that the hub gives out: keys of its tables, each with a type of its own.
//!
//! An identifier is reused after its value was removed from the table.

use std::fmt;
use std::num::NonZeroU32;

use crate::paged_table::TableKey;

/// Defines a key of a [`PagedTable`](crate::paged_table::PagedTable).
macro_rules! table_key {
    ($(#[$doc:meta])* $visibility:vis struct $name:ident;) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility struct $name(NonZeroU32);

        impl TableKey for $name {
            fn try_from_index(index: usize) -> Option<Self> {
                number(index).map(Self)
            }

            #[inline]
            fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.index().fmt(f)
            }
        }
    };
}

table_key! {
    /// Identifies a subscriber of a [`Dispatcher`](crate::Dispatcher). It is reused after the
    /// subscriber was removed.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::task::Waker;
    /// use carafe_hub::{Format, Hub, SubscriberId};
    /// use carafe_log::MemoryLog;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::new(MemoryLog::default());
    /// let mut dispatcher = hub.dispatcher(Waker::noop().clone());
    /// // The driver keeps what it knows of a client under the ID of its subscriber.
    /// let mut clients: BTreeMap<SubscriberId, &str> = BTreeMap::new();
    /// let subscriber = dispatcher.add(hub.subscribe("orders").await?.into_frames(Format::Plain));
    /// clients.insert(subscriber, "192.0.2.1");
    /// # Ok(()) }
    /// ```
    pub struct SubscriberId;
}

table_key! {
    /// Identifies a subscription of the hub: one stream, or one group of a dispatcher.
    pub(crate) struct SubscriptionId;
}

table_key! {
    /// Identifies a group of a dispatcher.
    pub(crate) struct GroupId;
}

table_key! {
    /// Identifies a dispatcher of the hub.
    pub(crate) struct DispatcherId;
}

table_key! {
    /// Identifies a broadcast of a dispatcher.
    pub(crate) struct BroadcastId;
}

table_key! {
    /// Identifies a feed.
    pub(crate) struct FeedId;
}

table_key! {
    /// Identifies the slot of a subscription in the subscriber list of a feed.
    pub(crate) struct FeedSlot;
}

/// One more than the largest index of an identifier. The bit above is free for flags, and the
/// number itself can mean "none".
pub(crate) const MAX_IDS: u32 = (1 << 31) - 1;

/// Keys start at 1, so that an optional key takes no more memory than a key.
fn number(index: usize) -> Option<NonZeroU32> {
    let index = u32::try_from(index).ok().filter(|index| *index < MAX_IDS)?;
    NonZeroU32::new(index + 1)
}
