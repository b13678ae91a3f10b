//! Events with their publishers' IDs.

use carafe_hub::{Access, Format, Grant, OnGap, Start, Subscribe, event_id};
use carafe_log::{ExternalId, Publication};
use carafe_protocol::{Position, TopicMatcher};
use futures_util::{FutureExt, StreamExt};

use crate::fixture::{EXTERNAL_IDS, Rig, at_once, publication, publish, subscribe, topic};

fn named(to: &str, id: &str) -> Publication {
    publication(to, id).with_external_id(ExternalId::new(id).unwrap())
}

#[track_caller]
fn check(rig: &Rig, id: &str, access: &Access, expected: Option<Position>) {
    assert_eq!(at_once(rig.hub.find_id(id, access, None)), Ok(expected), "{id} {access:?}");
}

#[test]
fn an_event_is_found_by_its_publishers_id_the_earliest_first() {
    let rig = Rig::roomy();
    let first = publish(&rig.hub, named("a", "urn:x"));
    publish(&rig.hub, named("a", "urn:x"));
    check(&rig, "urn:x", &Access::public(), Some(first));
    for unknown in ["", "urn:y", "a\nb", &"x".repeat(300)] {
        check(&rig, unknown, &Access::all(), None);
    }
}

#[test]
fn an_event_without_an_id_is_found_by_its_position() {
    let rig = Rig::keeping(2);
    let all = rig.count("a", 4);
    for (position, expected) in all.iter().zip([None, None, Some(all[2]), Some(all[3])]) {
        check(&rig, &position.to_string(), &Access::public(), expected);
    }
    let tail = all[3];
    for other in [
        Position { nonce: tail.nonce ^ 1, ..tail },
        Position { offset: tail.offset + 1, ..tail },
        Position { offset: 0, nonce: 0, ..tail },
    ] {
        check(&rig, &other.to_string(), &Access::all(), None);
    }
}

#[test]
fn an_event_that_may_not_be_seen_is_not_found() {
    let rig = Rig::roomy();
    let secret = publish(&rig.hub, named("a", "secret").with_private(true));
    let unnamed = publish(&rig.hub, publication("a", "").with_private(true));
    let of =
        |name: &str| Access::to(Grant::to([TopicMatcher::from(topic(name))])).with_public(true);
    for access in [Access::public(), of("b")] {
        check(&rig, "secret", &access, None);
        check(&rig, &unnamed.to_string(), &access, None);
    }
    check(&rig, "secret", &of("a"), Some(secret));
    check(&rig, &unnamed.to_string(), &of("a"), Some(unnamed));
}

#[test]
fn the_newest_event_is_the_newest_that_may_be_seen() {
    let rig = Rig::roomy();
    let newest = |access: &Access| {
        at_once(rig.hub.newest(access, None)).unwrap().map(|entry| event_id(&entry).to_string())
    };
    assert_eq!(newest(&Access::all()), None);
    publish(&rig.hub, named("a", "open"));
    publish(&rig.hub, named("a", "secret").with_private(true));
    assert_eq!(newest(&Access::all()).as_deref(), Some("secret"));
    assert_eq!(newest(&Access::public()).as_deref(), Some("open"));
    let unnamed = rig.publish("a", "");
    assert_eq!(newest(&Access::public()), Some(unnamed.to_string()));
}

#[test]
fn a_stream_in_an_adapters_format_has_what_its_encoder_writes() {
    let rig = Rig::keeping(2);
    for number in 0..4 {
        publish(&rig.hub, named("a", &format!("urn:{number}")));
    }
    let foreign = Start::AfterId("nowhere".into());
    let request = Subscribe::to(topic("a")).from(foreign).on_gap(OnGap::Earliest);
    let mut frames =
        subscribe(&rig.hub, request).unwrap().into_frames(Format::custom(&EXTERNAL_IDS));
    let chunk = frames.next().now_or_never().flatten().unwrap();
    let text = std::str::from_utf8(&chunk).unwrap();
    let oldest = rig.span().oldest.unwrap();
    let gap = format!(r#"{{"requested":"nowhere","oldest":"{oldest}","reason":"foreign"}}"#);
    let events = "data: urn:2\nid: urn:2\n\ndata: urn:3\nid: urn:3\n\n";
    assert_eq!(text, format!(": carafe.gap {gap}\n:\n{events}"));
}

#[test]
fn a_request_may_have_its_own_limit_of_matchers() {
    let rig = Rig::roomy();
    let many = || {
        Subscribe::to_all((0..1000).map(|number| TopicMatcher::from(topic(&number.to_string()))))
    };
    assert!(subscribe(&rig.hub, many()).is_err());
    assert!(subscribe(&rig.hub, many().with_limit(1000)).is_ok());
    assert!(subscribe(&rig.hub, many().with_limit(999)).is_err());
}
