//! What `Hub::subscribe` accepts as a request.

use carafe_hub::{Delivery, HubLimits, SubscribeError, Subscription};
use carafe_log::MemoryLimits;
use carafe_protocol::BadPattern;
use futures_util::{FutureExt, StreamExt};

use crate::fixture::{Rig, at_once};

#[test]
fn a_text_subscribes_to_the_topic_or_pattern_that_it_is() {
    let rig = Rig::new(MemoryLimits::default(), HubLimits::default());
    let mut exact = at_once(rig.hub.subscribe("orders/1")).unwrap();
    let mut pattern = at_once(rig.hub.subscribe(String::from("orders/*"))).unwrap();
    rig.publish("orders/1", "one");
    rig.publish("orders/2", "two");
    assert_eq!(entries(&mut exact), ["one"]);
    assert_eq!(entries(&mut pattern), ["one", "two"]);
    let refused = at_once(rig.hub.subscribe("orders/(")).err();
    assert_eq!(refused, Some(SubscribeError::BadMatcher(BadPattern::Syntax.into())));
}

/// The data of the entries that the subscription delivers without waiting.
fn entries(subscription: &mut Subscription) -> Vec<String> {
    let ready = std::iter::from_fn(|| subscription.next().now_or_never().flatten());
    let data = |delivery| match delivery {
        Delivery::Entry(entry) => Some(entry.data().to_owned()),
        _ => None,
    };
    ready.filter_map(data).collect()
}
