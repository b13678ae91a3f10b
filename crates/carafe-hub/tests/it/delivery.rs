//! Which events a subscription delivers, and which it does not.

use carafe_hub::{Access, Format, Grant, Hub, HubLimits, PublishError, Start, Subscribe};
use carafe_log::{AppendError, IdempotencyKey, MemoryLimits, Publication};
use carafe_protocol::TopicMatcher;
use futures_util::{FutureExt, StreamExt};

use crate::fixture::{
    FORMATS, Rig, at_once, data, event_type, exact, no_ring, pattern, publication, publish,
    subscribe, topic,
};
use crate::listener::{Item, Listener, Polled};

fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any())
}

fn keyed(to: &str, key: &str) -> Publication {
    publication(to, key).with_key(IdempotencyKey::new(key).unwrap())
}

#[test]
fn an_event_with_several_topics_is_delivered_once_to_a_subscription_to_several() {
    for format in FORMATS {
        let rig = Rig::roomy();
        let several =
            [exact("a"), exact("b"), pattern(":name"), TopicMatcher::any(), pattern("(a|b)")];
        let mut live = rig.listen_in(format, Subscribe::to_all(several.clone()));
        let to_all = publication("a", "once").with_alternates(["b", "c/d", "a"].map(topic));
        publish(&rig.hub, to_all);
        rig.publish("b", "and then");
        assert_eq!(data(&live.receive()), ["once", "and then"]);
        let replayed =
            rig.listen_in(format, Subscribe::to_all(several).from(Start::Earliest)).receive();
        assert_eq!(data(&replayed), ["once", "and then"]);
    }
}

#[test]
fn an_envelope_names_no_topic_of_a_private_event_that_its_reader_may_not_see() {
    let to = |granted: &[&str]| Access::to(Grant::to(granted.iter().map(|text| exact(text))));
    let cases: [(&[&str], Access, &[&str]); 8] = [
        (&["ann"], to(&["ann"]), &["ann"]),
        (&["bob"], to(&["bob"]), &["bob"]),
        (&["bob", "x"], to(&["bob"]).with_public(true), &["bob"]),
        (&["bob"], to(&["bob"]).with_public(true), &["bob"]),
        (&["ann"], to(&["ann", "bob"]), &["ann"]),
        (&["cyd"], to(&["ann"]).with_public(true), &["ann"]),
        (&["ann"], Access::all(), &["ann", "bob", "cyd"]),
        (&[], to(&["ann", "cyd"]), &["ann", "cyd"]),
    ];
    let rings = [no_ring(), HubLimits::default()];
    for (limits, (asked, access, named)) in
        rings.iter().flat_map(|ring| cases.iter().map(move |case| (ring, case)))
    {
        let rig = Rig::new(MemoryLimits::default(), limits.clone());
        let asks = match asked[..] {
            [] => Subscribe::to_everything(),
            _ => Subscribe::to_all(asked.iter().map(|text| exact(text))),
        };
        let asks = asks.from(Start::Earliest).with_access(access.clone());
        publish(
            &rig.hub,
            publication("ann", "1").with_alternates(["bob", "cyd"].map(topic)).with_private(true),
        );
        rig.publish("other", "2");
        let received = rig.listen_in(Some(Format::Enveloped), asks).receive();
        let Item::Event(said) = &received[1] else { panic!("{received:?}") };
        assert_eq!(said.topics.as_deref().unwrap(), *named, "to a subscription to {asked:?}");
    }
}

#[test]
fn an_event_reaches_a_subscription_to_an_alternate_topic() {
    for limits in [no_ring(), Default::default()] {
        let rig = Rig::new(MemoryLimits::default(), limits);
        let mut listener = rig.listen(Subscribe::to_all([exact("b"), pattern("c/:d")]));
        publish(&rig.hub, publication("a", "1").with_alternates([topic("b")]));
        publish(&rig.hub, publication("a", "2").with_alternates([topic("x"), topic("c/d")]));
        publish(&rig.hub, publication("a", "3"));
        assert_eq!(data(&listener.receive()), ["1", "2"]);
    }
}

#[test]
fn a_subscription_to_nothing_receives_nothing() {
    let rig = Rig::roomy();
    let mut listener = rig.listen(Subscribe::to_all([]).from(Start::Earliest));
    rig.count("a", 3);
    assert_eq!(listener.receive().len(), 1, "the position");
}

#[test]
fn private_events_are_skipped_where_they_are_not_granted() {
    for (format, limits) in FORMATS.into_iter().zip([no_ring(), Default::default(), no_ring()]) {
        let rig = Rig::new(MemoryLimits::default(), limits);
        let mut public = rig.listen_in(format, everything());
        let mut private = rig.listen_in(format, everything().with_access(Access::all()));
        rig.publish("a", "1");
        publish(&rig.hub, publication("a", "secret").with_private(true));
        rig.publish("a", "2");
        assert_eq!(data(&public.receive()), ["1", "2"]);
        assert_eq!(data(&private.receive()), ["1", "secret", "2"]);
    }
}

#[test]
fn reserved_types_are_rejected_with_their_whole_batch() {
    let rig = Rig::roomy();
    let mut listener = rig.listen(everything());
    for reserved in ["carafe.", "carafe.position", "carafe.gap", "carafe.anything"] {
        let forged = publication("a", "").with_type(event_type(reserved));
        let batch = vec![publication("a", "good"), forged, publication("a", "good")];
        let refused = at_once(rig.hub.publish_all(batch));
        assert_eq!(refused, Err(PublishError::ReservedType(reserved.to_owned())));
    }
    for allowed in ["carafe", "Carafe.gap", "x.carafe.gap"] {
        publish(&rig.hub, publication("a", allowed).with_type(event_type(allowed)));
    }
    assert_eq!(data(&listener.receive()), ["carafe", "Carafe.gap", "x.carafe.gap"]);
}

#[test]
fn an_event_that_the_log_rejects_is_not_delivered() {
    let rig = Rig::new(MemoryLimits::default().with_bytes(100), no_ring());
    let mut listener = rig.listen(everything());
    let refused = at_once(rig.hub.publish(publication("a", &"x".repeat(100))));
    assert!(
        matches!(refused, Err(PublishError::Append(AppendError::TooLarge { .. }))),
        "{refused:?}"
    );
    assert_eq!(listener.receive().len(), 1, "the position");
}

#[test]
fn a_repeated_idempotency_key_delivers_nothing_new() {
    let rig = Rig::roomy();
    let mut listener = rig.listen(everything());
    let first = publish(&rig.hub, keyed("a", "k"));
    assert_eq!(data(&listener.receive()), ["k"]);
    let woken = listener.wakes();
    let again = at_once(rig.hub.publish(keyed("a", "k"))).unwrap();
    assert_eq!((again.position, again.repeated), (first, true));
    assert_eq!((listener.wakes(), listener.poll()), (woken, Polled::Waiting));
    publish(&rig.hub, keyed("b", "k"));
    assert_eq!(listener.receive().len(), 1, "a key is valid within its topic");
}

#[test]
fn an_empty_batch_is_published_as_nothing() {
    let rig = Rig::roomy();
    assert_eq!(at_once(rig.hub.publish_all(Vec::new())), Ok(Vec::new()));
    assert_eq!(rig.hub.position(), rig.span().start);
}

#[test]
fn clones_are_the_same_hub() {
    let rig = Rig::roomy();
    let other: Hub = rig.hub.clone();
    let mut listener = rig.listen(everything());
    let published = publish(&other, publication("a", "from the clone"));
    assert_eq!(data(&listener.receive()), ["from the clone"]);
    assert_eq!((rig.hub.position(), other.subscriptions()), (published, 1));
    let _drain = other.drain();
    assert!(rig.hub.is_draining());
}

#[test]
fn a_stream_outlives_the_handles_to_its_hub() {
    let Rig { hub, log } = Rig::roomy();
    let mut listener = Listener::new(subscribe(&hub, everything()).unwrap(), None);
    publish(&hub, publication("a", "last words"));
    drop((hub, log));
    assert_eq!(data(&listener.receive()), ["last words"]);
}

#[test]
fn a_waiting_subscriber_is_woken_once_and_only_by_what_it_requested() {
    let rig = Rig::roomy();
    let mut listener =
        rig.listen(Subscribe::to_all([exact("a"), pattern("a/*"), TopicMatcher::any()]));
    let mut other = rig.listen(Subscribe::to(topic("b")));
    listener.receive();
    other.receive();
    rig.count("a", 5);
    assert_eq!((listener.wakes(), other.wakes()), (1, 0));
    listener.receive();
    rig.publish("b", "");
    assert_eq!((listener.wakes(), other.wakes()), (2, 1));
}

#[test]
fn waiting_frames_are_joined_up_to_about_64_kib() {
    for limits in [no_ring(), Default::default()] {
        let rig = Rig::new(MemoryLimits::default(), limits);
        let kib = "x".repeat(1 << 10);
        for _ in 0..200 {
            rig.publish("a", &kib);
        }
        let subscription = subscribe(&rig.hub, everything().from(Start::Earliest)).unwrap();
        let chunks = subscription.into_frames(Format::Plain).take(4).collect::<Vec<_>>();
        let sizes: Vec<_> =
            chunks.now_or_never().unwrap().iter().map(|chunk| chunk.len() >> 10).collect();
        assert!(sizes[..3].iter().all(|kib| (64..66).contains(kib)), "{sizes:?}");
        assert!((8..32).contains(&sizes[3]), "the rest: {sizes:?}");
    }
}

#[test]
fn a_position_sent_between_two_chunks_skips_nothing() {
    for limits in [no_ring(), Default::default()] {
        let rig = Rig::new(MemoryLimits::default(), limits);
        let mut listener = rig.listen_in(Some(Format::Plain), Subscribe::to(topic("a")));
        for data in (0..200).map(|n| format!("{n:01000}")) {
            rig.publish("b", "between");
            rig.publish("a", &data);
        }
        let Polled::Items(mut received) = listener.poll() else { panic!() };
        assert!(received.len() < 100, "there is more to come");
        assert_eq!(listener.position_if_moved(), None);
        received.extend(listener.receive());
        let numbers: Vec<usize> =
            data(&received).into_iter().map(|data| data.parse().unwrap()).collect();
        assert!(numbers.into_iter().eq(0..200));
    }
}

#[test]
fn a_frame_larger_than_a_chunk_is_sent_whole() {
    let rig = Rig::roomy();
    let mut listener = rig.listen_in(Some(Format::Plain), everything());
    let large = "x".repeat(200 << 10);
    listener.receive();
    rig.publish("a", &large);
    rig.publish("a", "small");
    assert_eq!(data(&listener.receive()), [&large, "small"]);
}

#[test]
fn every_format_has_the_same_events() {
    let rig = Rig::roomy();
    let mut listeners = FORMATS.map(|format| rig.listen_in(format, everything()));
    let event = publication("a", " two\nlines\r\nand\rmore\n").with_alternates([topic("b")]);
    publish(&rig.hub, event.with_type(event_type("t")));
    let said = listeners.each_mut().map(|listener| match listener.receive().pop() {
        Some(Item::Event(said)) => said,
        nothing => panic!("{nothing:?}"),
    });
    let [entry, plain, enveloped] = said;
    assert_eq!(enveloped, entry);
    assert_eq!(plain.data, " two\nlines\nand\nmore\n", "line breaks are LF to clients");
    assert_eq!((plain.position, plain.event_type), (entry.position, Some("t".to_owned())));
}

#[test]
fn a_subscriber_of_a_quiet_topic_is_served_from_the_ring_when_it_is_woken() {
    let rig = Rig::keeping(1000);
    let mut listener = rig.listen(Subscribe::to(topic("quiet")));
    listener.receive();
    rig.count("busy", 10);
    rig.publish("quiet", "newest");
    assert_eq!(data(&listener.receive()), ["newest"]);
    assert_eq!(rig.log.reads(), 0, "it had everything up to the event that is in the ring");
}

#[test]
fn the_last_events_are_counted_by_what_the_subscriber_may_see() {
    let rig = Rig::roomy();
    rig.count("a", 2);
    publish(&rig.hub, publication("a", "secret").with_private(true));
    assert_eq!(data(&rig.listen(everything().from(Start::Last(2))).receive()), ["0", "1"]);
}

#[test]
fn very_many_hidden_events_are_skipped() {
    for format in FORMATS {
        let rig = Rig::roomy();
        let mut listener = rig.listen_in(format, Subscribe::to(topic("a")));
        listener.receive();
        for number in 0..1000 {
            publish(&rig.hub, publication("a", &number.to_string()).with_private(true));
        }
        assert_eq!(listener.receive(), []);
        for number in 0..1000 {
            publish(&rig.hub, publication("a", &number.to_string()).with_private(true));
        }
        rig.publish("a", "shown");
        assert_eq!(data(&listener.receive()), ["shown"]);
        assert_eq!(rig.log.reads(), 0);
    }
}

#[test]
fn a_log_that_returns_too_few_positions_is_an_error_and_no_panic() {
    let rig = Rig::roomy();
    rig.log.return_too_few_positions();
    let one = at_once(rig.hub.publish(publication("a", "one")));
    assert!(matches!(one, Err(PublishError::WrongCount { published: 1, returned: 0 })), "{one:?}");
    let two = vec![publication("a", "two"), publication("a", "three")];
    let two = at_once(rig.hub.publish_all(two));
    assert!(matches!(two, Err(PublishError::WrongCount { published: 2, returned: 1 })), "{two:?}");
}
