//! Topics that begin with `carafe/`: the hub's own.

use std::task::Waker;

use carafe_hub::{
    Access, Format, Grant, Hub, HubLimits, PublishError, Sink, Start, Subscribe, SubscribeError,
    SubscriberId, Written,
};
use carafe_log::{MemoryLimits, MemoryLog, Publication};
use carafe_protocol::TopicMatcher;

use crate::fixture::{FORMATS, Rig, at_once, exact, no_ring, publication, subscribe, topic};
use crate::listener::{EventFields, Item, Listener, Polled};

const NOTES: &str = "carafe/notes";

/// What the hub publishes to itself.
fn note() -> Publication {
    publication(NOTES, "secret").with_hub(true)
}

/// Requests of subscribers that may see everything, and for everything, by patterns.
fn requests(start: &Start) -> Vec<Subscribe> {
    let pattern = TopicMatcher::parse("carafe/:name").unwrap();
    let some = Access::to(Grant::to([pattern.clone()])).with_public(true);
    vec![
        Subscribe::to_everything().with_access(Access::all()).from(start.clone()),
        Subscribe::to_everything().with_access(some.clone()).from(start.clone()),
        Subscribe::to_everything().from(start.clone()),
        Subscribe::to_all([pattern.clone(), exact("open")]).with_access(some).from(start.clone()),
        Subscribe::to_all([pattern, exact("open")]).with_access(Access::all()).from(start.clone()),
    ]
}

#[test]
fn nobody_subscribes_or_publishes_to_a_reserved_topic_by_name() {
    let rig = Rig::roomy();
    let granted = [Access::all(), Access::to(Grant::to([exact(NOTES)])), Access::public()];
    for access in granted {
        assert!(!access.grant().covers(&topic(NOTES)));
        let refused = subscribe(&rig.hub, Subscribe::to(exact(NOTES)).with_access(access)).err();
        assert_eq!(refused, Some(SubscribeError::NotGranted(topic(NOTES))));
    }
    for forged in [publication(NOTES, "x"), publication("a", "x").with_alternates([topic(NOTES)])] {
        let refused = at_once(rig.hub.publish(forged)).err();
        assert_eq!(refused, Some(PublishError::ReservedTopic(topic(NOTES))));
    }
}

#[test]
fn notes_of_the_hub_reach_no_subscriber_live_or_from_history() {
    for private in [false, true] {
        for limits in [HubLimits::default(), no_ring()] {
            for start in [Start::Tail, Start::Earliest, Start::Last(10)] {
                check_hidden(private, &limits, &start);
            }
        }
    }
}

fn check_hidden(private: bool, limits: &HubLimits, start: &Start) {
    let rig = Rig::new(MemoryLimits::default(), limits.clone());
    let publish = || {
        at_once(rig.hub.publish(note().with_private(private))).unwrap();
        rig.publish("open", "seen");
    };
    publish();
    for request in requests(start) {
        for format in FORMATS {
            let mut listener = rig.listen_in(format, request.clone());
            publish();
            let data: Vec<_> = events(&mut listener).map(|event| event.data).collect();
            assert!(!data.is_empty() && data.iter().all(|data| data == "seen"), "{data:?}");
        }
    }
}

/// The events that the subscriber receives without waiting.
fn events(listener: &mut Listener) -> impl Iterator<Item = EventFields> {
    let polled = std::iter::from_fn(|| match listener.poll() {
        Polled::Items(items) => Some(items),
        Polled::Waiting | Polled::Ended => None,
    });
    polled.flatten().filter_map(|item| match item {
        Item::Event(event) => Some(event),
        Item::Position(_) | Item::Gap(_) => None,
    })
}

/// Clients that take everything.
#[derive(Default)]
struct Clients(Vec<u8>);

impl Sink for Clients {
    fn write(&mut self, _: SubscriberId, bytes: &[u8], _: u32) -> Written {
        self.0.extend_from_slice(bytes);
        Written::Bytes(bytes.len())
    }

    fn ended(&mut self, _: SubscriberId, _: bool) {}
}

#[test]
fn notes_of_the_hub_are_in_no_broadcast() {
    let hub = Hub::new(MemoryLog::default());
    let mut dispatcher = hub.dispatcher(Waker::noop().clone());
    for request in requests(&Start::Tail) {
        dispatcher.add(subscribe(&hub, request).unwrap().into_frames(Format::Enveloped));
    }
    let mut clients = Clients::default();
    while dispatcher.serve_next(&mut clients) {}
    at_once(hub.publish(note())).unwrap();
    at_once(hub.publish(publication("open", "seen"))).unwrap();
    dispatcher.collect_wakes();
    while dispatcher.serve_next(&mut clients) {}
    let sent = String::from_utf8(clients.0).unwrap();
    assert_eq!(sent.matches("seen").count(), 5, "{sent}");
    assert!(!sent.contains("secret") && !sent.contains(NOTES), "{sent}");
}
