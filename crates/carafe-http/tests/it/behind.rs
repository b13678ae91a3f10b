//! Requests at a node that has not read yet what another one has.

use std::time::SystemTime;

use axum::body::Body;
use axum::http::Request;
use carafe_log::{Entry, ExternalId, Publication};
use carafe_protocol::{Generation, Position, Topic};

use crate::asking::{Answer, Place};
use crate::slow_log::SlowLog;

const GENERATION: Generation = Generation::new(7);

/// The only event, which another node has stored.
fn seen() -> Entry {
    let topic = Topic::new("a").unwrap();
    let publication =
        Publication::new(topic, "seen").with_external_id(ExternalId::new("urn:1").unwrap());
    let position = Position { generation: GENERATION, offset: 1, nonce: 3 };
    Entry { position, time: SystemTime::now(), publication }
}

/// A node that gets the event when it catches up, or does not catch up.
fn node(catches_up: bool) -> Place {
    let log = SlowLog::behind(GENERATION, catches_up.then(|| vec![seen()]));
    log.let_go(10);
    Place::on(log)
}

fn ask(method: &str, target: &str, catches_up: bool) -> Answer {
    let request = Request::builder().method(method).uri(target).body(Body::empty()).unwrap();
    node(catches_up).ask(request)
}

fn mercure(id: &str) -> String {
    format!("/.well-known/mercure?topic=a&lastEventID={id}")
}

#[test]
fn a_client_that_knows_more_than_its_node_is_answered_when_that_has_caught_up() {
    let id = seen().position.to_string();
    let stream = ask("GET", &format!("/events/a?last_event_id={id}"), true);
    assert!(stream.body.contains(&id) && !stream.body.contains("carafe.gap"), "{stream:?}");
    let page = ask("GET", &format!("/events/a?format=json&last_event_id={id}"), true).json();
    assert_eq!((&page["next"], &page["up_to_date"]), (&id.clone().into(), &true.into()));
    assert!(page.get("gap").is_none(), "{page}");
    for id in ["urn:1", &id] {
        let updates = ask("GET", &mercure(id), true);
        assert_eq!(updates.headers["last-event-id"], *id, "{updates:?}");
    }
    let erased = ask("DELETE", &format!("/events/a?id={id}"), true);
    assert_eq!(erased.status, 200, "{erased:?}");
    let fed = ask("HEAD", "/events/a", true);
    assert_eq!(fed.headers["carafe-last-position"], *id, "a producer goes on there: {fed:?}");
    let first = ask("GET", "/events/a?absent=204", true);
    assert_eq!(first.status, 200, "{first:?}");
    let none = ask("GET", "/events/b?absent=204", true);
    assert_eq!(none.status, 204, "no node has an event of the topic: {none:?}");
}

#[test]
fn a_client_that_knows_more_than_its_node_is_told_to_come_back_if_that_does_not_catch_up() {
    let id = seen().position.to_string();
    let streams = [format!("/events/a?last_event_id={id}"), mercure("urn:1"), mercure(&id)];
    for target in streams {
        let later = ask("GET", &target, false);
        // `EventSource` connects again, with the same ID.
        assert_eq!(later.status, 200, "{later:?}");
        assert!(later.body.starts_with("retry: ") && !later.body.contains("id:"), "{later:?}");
        assert!(!later.headers.contains_key("last-event-id"), "{later:?}");
    }
    let page = format!("/events/a?format=json&last_event_id={id}");
    let erasure = format!("/events/a?id={id}");
    for (method, target) in [("GET", &*page), ("DELETE", &erasure), ("HEAD", "/events/a")] {
        let later = ask(method, target, false);
        assert_eq!((later.status, &later.headers["retry-after"]), (503, &"1".parse().unwrap()));
    }
    let unknown = ask("GET", "/events/b?absent=204", false);
    assert_eq!(unknown.status, 200, "it may be there: {unknown:?}");
}
