//! The data that a token attaches to the subscriptions of its holder.

use std::sync::Arc;

use carafe_hub::Grant;
use carafe_protocol::Topic;
use serde_json::Value;

/// The payloads of a token, each with the selectors that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payloads(Vec<(Grant, Arc<Value>)>);

impl Payloads {
    /// One for all subscriptions.
    pub(crate) fn of_all(payload: Value) -> Self {
        Self(vec![(Grant::all(), payload.into())])
    }

    /// Adds one for the selectors that these matchers match.
    pub(crate) fn add(&mut self, selectors: Grant, payload: Value) {
        self.0.push((selectors, payload.into()));
    }

    /// The payload of a subscription: the first whose matchers match the text of its selector, as
    /// if that were a topic.
    pub(crate) fn of(&self, selector: &str) -> Option<Arc<Value>> {
        let topic = Topic::new(selector);
        let is_for = |selectors: &Grant| {
            selectors.is_all() || topic.as_ref().is_ok_and(|topic| selectors.covers(topic))
        };
        self.0
            .iter()
            .find(|(selectors, _)| is_for(selectors))
            .map(|(_, payload)| Arc::clone(payload))
    }
}

#[cfg(test)]
mod tests {
    use carafe_protocol::{TopicMatcher, TopicPattern};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_payload_whose_matchers_match_the_selector_is_taken() {
        let mut payloads = Payloads::default();
        let exact = TopicMatcher::Exact(Topic::new("https://example.com/a").unwrap());
        let pattern = TopicPattern::new("https://example.com/books/:id").unwrap();
        payloads.add(Grant::to([exact]), json!({"of": "a"}));
        payloads.add(Grant::to([TopicMatcher::from(pattern)]), json!({"of": "books"}));
        let of = |payloads: &Payloads, selector: &str| {
            payloads.of(selector).map(|payload| payload["of"].as_str().unwrap().to_owned())
        };
        assert_eq!(of(&payloads, "https://example.com/a").as_deref(), Some("a"));
        assert_eq!(of(&payloads, "https://example.com/books/:id").as_deref(), Some("books"));
        assert_eq!(of(&payloads, "*"), None);
        payloads.add(Grant::all(), json!({"of": "all"}));
        // The last is no topic.
        for other in ["*", "https://example.com/b", "a/../b"] {
            assert_eq!(of(&payloads, other).as_deref(), Some("all"), "{other}");
        }
    }
}
