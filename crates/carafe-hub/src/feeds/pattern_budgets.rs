//! How many complex patterns each client uses, so that no client takes all that the hub allows.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::ids::FeedId;

/// The complex patterns of each client. A pattern that several subscriptions of a client request
/// counts once.
pub(crate) struct PatternBudgets {
    limit: usize,
    /// How many subscriptions of a client request a pattern. Clients without one have no entry.
    held: BTreeMap<(Client, FeedId), usize>,
    counts: BTreeMap<Client, usize>,
}

impl PatternBudgets {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: BTreeMap::new(), counts: BTreeMap::new() }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the client may use this pattern; `None` is a pattern without a feed.
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
        // A simple pattern or a topic: neither is in a budget.
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
    fn each_client_may_use_a_number_of_patterns_and_each_counts_once() {
        let (one, other) = (Client::of("one"), Client::of("other"));
        let mut budgets = PatternBudgets::new(2);
        for feed in [1, 1, 2].map(feed) {
            assert!(budgets.has_room(one, Some(feed)));
            budgets.take(one, feed);
        }
        assert!(!budgets.has_room(one, Some(feed(3))) && !budgets.has_room(one, None));
        assert!(budgets.has_room(one, Some(feed(1))), "it uses that one already");
        assert!(budgets.has_room(other, Some(feed(3))));
        budgets.give_back(one, feed(1));
        assert!(
            !budgets.has_room(one, Some(feed(3))),
            "another stream of it still requests the first"
        );
        budgets.give_back(one, feed(1));
        assert!(budgets.has_room(one, Some(feed(3))));
        budgets.give_back(one, feed(2));
        assert!(budgets.is_empty());
    }
}
