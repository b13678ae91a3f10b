//! How many complex patterns each client has.

use std::collections::BTreeMap;

use crate::Client;
use crate::ids::FeedId;

/// The complex patterns of each client, of which it may have so many. One that it asks for several
/// times counts once.
pub(crate) struct Budgets {
    limit: usize,
    /// How often a client has asked for one. Those that have asked for none are not here.
    held: BTreeMap<(Client, FeedId), usize>,
    counts: BTreeMap<Client, usize>,
}

impl Budgets {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: BTreeMap::new(), counts: BTreeMap::new() }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the client may have this pattern; `None` is one that nobody has yet.
    pub(crate) fn has_room(&self, client: Client, feed: Option<FeedId>) -> bool {
        self.counts.get(&client).is_none_or(|count| *count < self.limit)
            || feed.is_some_and(|feed| self.held.contains_key(&(client, feed)))
    }

    pub(crate) fn take(&mut self, client: Client, feed: FeedId) {
        let held = self.held.entry((client, feed)).or_default();
        *held += 1;
        if *held == 1 {
            *self.counts.entry(client).or_default() += 1;
        }
    }

    pub(crate) fn give_back(&mut self, client: Client, feed: FeedId) {
        let Some(held) = self.held.get_mut(&(client, feed)) else { return };
        *held -= 1;
        if *held > 0 {
            return;
        }
        self.held.remove(&(client, feed));
        if let Some(count) = self.counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&client);
            }
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paged_table::TableKey;

    fn feed(number: usize) -> FeedId {
        FeedId::from_index(number)
    }

    #[test]
    fn each_client_has_so_many_patterns_however_often_it_asks_for_one() {
        let (one, other) = (Client::of("one"), Client::of("other"));
        let mut budgets = Budgets::new(2);
        for feed in [1, 1, 2].map(feed) {
            assert!(budgets.has_room(one, Some(feed)));
            budgets.take(one, feed);
        }
        assert!(!budgets.has_room(one, Some(feed(3))) && !budgets.has_room(one, None));
        assert!(budgets.has_room(one, Some(feed(1))), "it has that one");
        assert!(budgets.has_room(other, Some(feed(3))));
        budgets.give_back(one, feed(1));
        assert!(
            !budgets.has_room(one, Some(feed(3))),
            "another stream of it still asks for the first"
        );
        budgets.give_back(one, feed(1));
        assert!(budgets.has_room(one, Some(feed(3))));
        budgets.give_back(one, feed(2));
        assert!(budgets.is_empty());
    }
}
