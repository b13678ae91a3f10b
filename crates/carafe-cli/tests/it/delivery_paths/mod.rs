//! What every stream does, over each delivery path and protocol: the same checks for all.

mod hub;

use std::time::Duration;

use carafe_http::auth::Signer;
use carafe_protocol::{Received, ReceivedEvent};
use serde_json::{Value, json};

use self::hub::{DeliveryPath, Hub, Settings};

/// One test for each check.
macro_rules! over {
    ($name:ident, $via:expr, $($check:ident)*) => {
        mod $name {
            use super::DeliveryPath;
            $(#[test]
            fn $check() {
                super::hub::over($via, concat!(stringify!($name), "::", stringify!($check)), super::$check);
            })*
        }
    };
}

/// All checks, over one delivery path.
macro_rules! checks {
    ($name:ident, $via:expr $(, $more:ident)*) => {
        over!($name, $via,
            begins_with_retry_and_the_position_in_one_block
            delivers_events_in_order_with_all_their_fields
            merges_topics_and_patterns_each_event_once
            resumes_after_the_id_in_the_header_before_the_one_in_the_query
            begins_with_all_history_or_the_last_events
            begins_with_the_newest_event_of_each_topic
            wraps_events_if_an_envelope_is_requested
            reports_that_history_is_trimmed
            reports_that_an_id_is_of_another_log
            sends_comments_in_place_of_its_own_events_if_requested
            shows_no_private_events_without_a_token_and_skips_them
            sends_heartbeats_while_idle
            sends_the_heartbeats_that_the_client_requests
            delivers_large_events_and_many_at_once
            replays_from_the_log_and_continues_live
            ends_in_order_after_all_that_was_published
            ends_when_its_token_is_revoked
            ends_after_the_last_end_of_its_topics_live_and_from_history
            $($more)*
        );
    };
}

checks!(shard, DeliveryPath::Shard);
checks!(http_1_0, DeliveryPath::Http10, disconnects_stalled_clients_and_frees_their_places);
checks!(http_2, DeliveryPath::Http2, disconnects_stalled_clients_and_frees_their_places);
checks!(tls_http_1_1, DeliveryPath::TlsHttp11, disconnects_stalled_clients_and_frees_their_places);
checks!(tls_aes_128, DeliveryPath::TlsAes128);
checks!(tls_chacha_20, DeliveryPath::TlsChaCha20);
checks!(tls_1_2, DeliveryPath::Tls12, disconnects_stalled_clients_and_frees_their_places);
checks!(tls_http_2, DeliveryPath::TlsHttp2, disconnects_stalled_clients_and_frees_their_places);
checks!(in_process, DeliveryPath::InProcess);

fn begins_with_retry_and_the_position_in_one_block(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let mut stream = hub.open("/events/a", &[]);
    let lines: Vec<_> = (0..5).map(|_| stream.line().unwrap()).collect();
    let wait: u64 = lines[0].strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1500..=2500).contains(&wait), "{wait}");
    let position = lines[3].strip_prefix("id: ").unwrap();
    assert!(position.ends_with("-0-00000000"), "{position}");
    let data = format!("data: {{\"position\":\"{position}\"}}");
    assert_eq!((&*lines[1], &*lines[2], &*lines[4]), ("event: carafe.position", &*data, ""));
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(stream.header(name), Some(value), "{name}");
    }
}

fn delivers_events_in_order_with_all_their_fields(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let mut stream = hub.open("/events/a", &[]);
    assert_eq!(stream.event().event_type, "carafe.position");
    for number in 0..5 {
        let data = format!("{number}\nsecond line");
        let id = hub.publish(&format!("/events/a?event=brewed&retry={}", 7000 + number), &data);
        assert_eq!(stream.next(), Some(Received::Retry(Duration::from_millis(7000 + number))));
        let event = ReceivedEvent { event_type: "brewed".into(), data, last_event_id: id };
        assert_eq!(stream.next(), Some(Received::Event(event)));
    }
}

fn merges_topics_and_patterns_each_event_once(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let mut stream = hub.open("/events?topic=orders/1&pattern=orders/*&pattern=*/1", &[]);
    stream.event();
    for target in
        ["orders/1", "orders/2", "payments/2", "payments/1", "both?topic=orders/3&topic=a/1"]
    {
        hub.publish(&format!("/events/{target}"), target);
    }
    assert_eq!(
        stream.data(4),
        ["orders/1", "orders/2", "payments/1", "both?topic=orders/3&topic=a/1"]
    );
    hub.publish("/events/orders/end", "end");
    assert_eq!(stream.data(1), ["end"]);
}

/// Numbers as events of the topic `a`.
fn numbers(hub: &Hub, count: usize) -> Vec<String> {
    (1..=count).map(|number| hub.publish("/events/a", &number.to_string())).collect()
}

fn resumes_after_the_id_in_the_header_before_the_one_in_the_query(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let ids = numbers(&hub, 5);
    let query = format!("/events/a?last_event_id={}", ids[1]);
    let header = format!("Last-Event-ID: {}", ids[3]);
    for (target, headers, expected) in [
        (&*query, &[][..], &["3", "4", "5"][..]),
        (&query, &[&*header], &["5"]),
        ("/events/a", &[&*header], &["5"]),
        ("/events/a?earliest", &[&*header], &["5"]),
    ] {
        let mut stream = hub.open(target, headers);
        let position = stream.event();
        assert_eq!(position.event_type, "carafe.position", "and no gap");
        assert!(position.last_event_id == ids[1] || position.last_event_id == ids[3]);
        assert_eq!(stream.data(expected.len()), expected, "{target} {headers:?}");
    }
}

fn begins_with_all_history_or_the_last_events(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let ids = numbers(&hub, 5);
    assert_eq!(hub.open("/events/a?earliest", &[]).data(5), ["1", "2", "3", "4", "5"]);
    assert_eq!(
        hub.open("/events/a?last_event_id=earliest", &[]).data(5),
        ["1", "2", "3", "4", "5"]
    );
    assert_eq!(hub.open("/events/a?last=100", &[]).data(5), ["1", "2", "3", "4", "5"]);
    assert_eq!(hub.open("/events/a?last=2", &[]).data(2), ["4", "5"]);
    assert_eq!(
        hub.open("/events/a", &[]).event().last_event_id,
        ids[4],
        "without a start, it is the tail"
    );
}

fn begins_with_the_newest_event_of_each_topic(via: DeliveryPath) {
    let hub = via.hub(Settings { ring_bytes: 4 << 10, ..Settings::default() });
    for round in 0..2 {
        for number in 0..30 {
            hub.publish(&format!("/events/state/{number}"), &format!("{round}/{number}"));
        }
    }
    let mut stream = hub.open("/events?pattern=state/:number&latest", &[]);
    let expected: Vec<_> = (0..30).map(|number| format!("1/{number}")).collect();
    assert_eq!(stream.data(30), expected);
    hub.publish("/events/state/7", "live");
    assert_eq!(stream.data(1), ["live"]);
    hub.drain();
    assert!(stream.next().is_none() && stream.has_ended_in_order());
}

fn wraps_events_if_an_envelope_is_requested(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let mut plain = hub.open("/events/orders/1", &[]);
    let mut enveloped = hub.open("/events/orders/1?envelope=json", &[]);
    plain.event();
    enveloped.event();
    let id = hub.publish("/events/orders/1?event=brewed&topic=orders/latest", "x\ny");
    let event = enveloped.event();
    assert_eq!((&*event.event_type, &event.last_event_id), ("message", &id));
    let mut envelope: Value = serde_json::from_str(&event.data).unwrap();
    assert!(envelope["time"].take().is_string());
    let expected = json!({
        "topic": "orders/1", "alternates": ["orders/latest"], "id": id, "time": null, "type": "brewed", "data": "x\ny",
    });
    assert_eq!(envelope, expected);
    assert_eq!(
        plain.event(),
        ReceivedEvent { event_type: "brewed".into(), data: "x\ny".into(), last_event_id: id }
    );
}

fn reports_that_history_is_trimmed(via: DeliveryPath) {
    let hub = via.hub(Settings { history_events: 3, ..Settings::default() });
    let ids = numbers(&hub, 5);
    let mut stream = hub.open("/events/a", &[&format!("Last-Event-ID: {}", ids[0])]);
    let gap = stream.event();
    assert_eq!((&*gap.event_type, &gap.last_event_id), ("carafe.gap", &ids[1]));
    let data: Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!(data, json!({ "requested": ids[0], "oldest": ids[2], "reason": "trimmed" }));
    assert_eq!(stream.event().event_type, "carafe.position");
    assert_eq!(stream.data(3), ["3", "4", "5"]);
    hub.publish("/events/a", "6");
    assert_eq!(stream.data(1), ["6"]);
    let mut at_the_edge = hub.open("/events/a", &[&format!("Last-Event-ID: {}", ids[2])]);
    assert_eq!(at_the_edge.event().event_type, "carafe.position", "nothing is missing");
    assert_eq!(at_the_edge.data(3), ["4", "5", "6"]);
}

fn reports_that_an_id_is_of_another_log(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let ids = numbers(&hub, 1);
    let mut wanted = vec![];
    for (target, foreign, replays) in [
        ("/events/a", "42", false),
        ("/events/a", "garbage \u{2615}", false),
        ("/events/a", "000000000000-1-00000000", true),
        ("/events/a?on_gap=earliest", "42", true),
        ("/events/a?on_gap=live", "000000000000-1-00000000", false),
    ] {
        let mut stream = hub.open(target, &[&format!("Last-Event-ID: {foreign}")]);
        let gap = stream.event();
        let data: Value = serde_json::from_str(&gap.data).unwrap();
        assert_eq!(data, json!({ "requested": foreign, "oldest": ids[0], "reason": "foreign" }));
        assert_eq!(stream.event().event_type, "carafe.position");
        wanted.push((stream, replays));
    }
    hub.publish("/events/a", "2");
    for (mut stream, replays) in wanted {
        assert_eq!(stream.event().data, if replays { "1" } else { "2" });
    }
}

fn sends_comments_in_place_of_its_own_events_if_requested(via: DeliveryPath) {
    let hub = via.hub(Settings { heartbeat: Duration::from_millis(50), ..Settings::default() });
    let id = hub.publish("/events/b", "not for it");
    let mut stream = hub.open("/events/a?control=comments", &["Last-Event-ID: 0"]);
    assert!(matches!(stream.next(), Some(Received::Retry(_))));
    let mut comments = vec![];
    while comments.len() < 3 {
        let Some(Received::Comment(text)) = stream.next() else { panic!("an event") };
        comments.push(text);
    }
    assert!(comments[0].starts_with("carafe.gap {\"requested\":\"0\""), "{comments:?}");
    assert_eq!(comments[1], format!("carafe.position {{\"position\":\"{id}\"}}"));
    assert_eq!(comments[2], "", "a heartbeat");
    let id = hub.publish("/events/a", "x");
    let event = std::iter::from_fn(|| stream.next())
        .find(|received| !matches!(received, Received::Comment(_)));
    let expected =
        ReceivedEvent { event_type: "message".into(), data: "x".into(), last_event_id: id };
    assert_eq!(event, Some(Received::Event(expected)));
}

/// The position moves over them, so that a client that resumes does not request them again.
fn shows_no_private_events_without_a_token_and_skips_them(via: DeliveryPath) {
    let hub = via.hub(Settings { heartbeat: Duration::from_millis(50), ..Settings::default() });
    let secret = hub.publish("/events/a?private", "secret, before");
    let mut stream = hub.open("/events/a?earliest", &[]);
    assert_eq!(stream.event().event_type, "carafe.position");
    assert_eq!(stream.event().last_event_id, secret, "where a heartbeat would be");
    let secret = hub.publish("/events/a?private", "secret, live");
    assert_eq!(stream.event().last_event_id, secret);
    hub.publish("/events/a", "open");
    let open = stream.event();
    assert_eq!((&*open.event_type, &*open.data), ("message", "open"));
}

/// The position if it has moved, and a comment otherwise.
fn sends_heartbeats_while_idle(via: DeliveryPath) {
    let hub = via.hub(Settings { heartbeat: Duration::from_millis(50), ..Settings::default() });
    let mut stream = hub.open("/events/quiet", &[]);
    stream.event();
    for _ in 0..3 {
        assert_eq!(stream.next(), Some(Received::Comment(String::new())));
    }
    let id = hub.publish("/events/busy", "not for it");
    let position = stream.event();
    assert_eq!((&*position.event_type, position.last_event_id), ("carafe.position", id));
    assert_eq!(
        stream.next(),
        Some(Received::Comment(String::new())),
        "the same position is sent once"
    );
    let id = hub.publish("/events/quiet", "for it");
    assert_eq!(stream.event().last_event_id, id);
}

/// The hub's own interval is far longer.
fn sends_the_heartbeats_that_the_client_requests(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let mut comments = hub.open("/events/quiet?heartbeat=1ms", &[]);
    let mut events = hub.open("/events/quiet?heartbeat=event:200ms&control=comments", &[]);
    comments.event();
    for _ in 0..2 {
        assert_eq!(comments.next(), Some(Received::Comment(String::new())));
    }
    let first = events.event();
    assert_eq!(first.event_type, "carafe.heartbeat");
    assert_eq!(first.data, format!("{{\"position\":\"{}\"}}", first.last_event_id));
    assert_eq!(events.event(), first, "each states the position");
    let id = hub.publish("/events/busy", "not for it");
    let moved = std::iter::repeat_with(|| events.event()).find(|event| *event != first).unwrap();
    assert_eq!((&*moved.event_type, moved.last_event_id), ("carafe.heartbeat", id));
}

fn delivers_large_events_and_many_at_once(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let mut stream = hub.open("/events/a", &[]);
    stream.event();
    let large = "x".repeat(700 << 10);
    hub.publish("/events/a", &large);
    assert!(stream.data(1) == [large]);
    let many: Vec<_> = (0..2000).map(|number| number.to_string()).collect();
    hub.publish_batch("a", &many);
    assert!(stream.data(2000) == many);
}

/// The ring holds only a few of them.
fn replays_from_the_log_and_continues_live(via: DeliveryPath) {
    let hub = via.hub(Settings { ring_bytes: 4 << 10, ..Settings::default() });
    let stored: Vec<_> = (0..3000).map(|number| number.to_string()).collect();
    hub.publish_batch("a", &stored);
    let mut stream = hub.open("/events/a?earliest", &[]);
    assert!(stream.data(3000) == stored);
    hub.publish("/events/a", "live");
    assert_eq!(stream.data(1), ["live"]);
    hub.publish_batch("a", &stored);
    assert!(stream.data(3000) == stored);
}

fn ends_in_order_after_all_that_was_published(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let mut streams = [hub.open("/events/a", &[]), hub.open("/events/b", &[])];
    streams.iter_mut().for_each(|stream| drop(stream.event()));
    let ids = numbers(&hub, 20);
    hub.drain();
    let [mut owed, mut nothing] = streams;
    let seen: Vec<_> = ids.iter().map(|_| owed.event().last_event_id).collect();
    assert_eq!(seen, ids);
    for stream in [&mut owed, &mut nothing] {
        assert_eq!(stream.next(), None);
        assert!(stream.has_ended_in_order());
    }
}

fn ends_after_the_last_end_of_its_topics_live_and_from_history(via: DeliveryPath) {
    let hub = via.hub(Settings::default());
    let mut of_a = hub.open("/events/a?control=comments", &[]);
    let mut of_both = hub.open("/events?topic=a&topic=b", &[]);
    let mut of_pattern = hub.open("/events?pattern=:all&envelope=json", &[]);
    let first = hub.publish("/events/a", "first");
    let end = hub.publish("/events/a?end=failed&reason=no%20beans", "last");
    let data = json!({"topic": "a", "outcome": "failed", "reason": "no beans", "position": end});
    assert_eq!(of_a.data(2), ["first", "last"]);
    let Some(Received::Comment(comment)) = of_a.next() else { panic!("no comment") };
    let json = comment.strip_prefix("carafe.end ").unwrap();
    assert_eq!(serde_json::from_str::<Value>(json).unwrap(), data);
    assert_eq!(of_a.next(), None);
    assert!(of_a.has_ended_in_order());
    let is_end = |event: &ReceivedEvent| event.event_type == "carafe.end";
    for stream in [&mut of_both, &mut of_pattern] {
        let told = std::iter::repeat_with(|| stream.event()).find(is_end).unwrap();
        assert_eq!(told.last_event_id, end);
        assert_eq!(serde_json::from_str::<Value>(&told.data).unwrap(), data);
    }
    let last = hub.publish("/events/b?end=done", "");
    assert_eq!(of_both.event().last_event_id, last);
    assert_eq!(of_both.next(), None);
    assert!(of_both.has_ended_in_order());
    let mut late = hub.open(&format!("/events/a?last_event_id={first}"), &[]);
    assert_eq!(late.data(1), ["last"]);
    assert!(is_end(&late.event()));
    assert_eq!(late.next(), None);
    assert!(late.has_ended_in_order());
    let mut of_tail = hub.open("/events/a", &[]);
    of_tail.event();
    assert!(is_end(&of_tail.event()));
    assert_eq!(of_tail.next(), None);
    hub.publish("/events/c", "goes on");
    assert!(
        std::iter::repeat_with(|| of_pattern.event()).any(|event| event.data.contains("goes on"))
    );
}

fn ends_when_its_token_is_revoked(via: DeliveryPath) {
    let secret = "a secret of more than thirty-two bytes";
    let hub = via.hub(Settings { secret: Some(secret), ..Settings::default() });
    let bearer = |claims: Value| {
        let token = Signer::secret(secret).unwrap().sign(&claims).unwrap();
        format!("Authorization: Bearer {token}")
    };
    let of = |subject| bearer(json!({"sub": subject, "exp": 4_000_000_000_u64}));
    let mut anonymous = hub.open("/events/a", &[]);
    let [mut ann, mut other, mut bob] =
        ["ann", "ann", "bob"].map(|subject| hub.open("/events/a", &[&of(subject)]));
    hub.publish("/events/a", "before");
    for stream in [&mut ann, &mut other, &mut bob, &mut anonymous] {
        assert_eq!(stream.data(1), ["before"]);
    }
    let admin = bearer(json!({"revoke": true, "exp": 4_000_000_000_u64}));
    let headers = [&*admin, "Content-Type: application/json"];
    let revoked = hub.post("/revocations", &headers, r#"{"subject":"ann"}"#);
    assert_eq!(revoked["subject"], "ann", "{revoked}");
    for stream in [&mut ann, &mut other] {
        assert_eq!(stream.event().event_type, "carafe.expired");
        assert_eq!(stream.next(), None);
        assert!(stream.has_ended_in_order());
    }
    hub.publish("/events/a", "after");
    for stream in [&mut bob, &mut anonymous] {
        assert_eq!(stream.data(1), ["after"]);
    }
}

fn disconnects_stalled_clients_and_frees_their_places(via: DeliveryPath) {
    let hub =
        via.hub(Settings { write_timeout: Duration::from_millis(500), ..Settings::default() });
    let metrics = hub.metrics();
    let (mut stalled, mut reading) = (hub.open("/events/a", &[]), hub.open("/events/b", &[]));
    let id = stalled.event().last_event_id;
    stalled.stop();
    let (large, many) = ("x".repeat(700 << 10), 16);
    for _ in 0..many {
        hub.publish("/events/a", &large);
    }
    let path = if via.uses_a_shard() { "shard" } else { "hyper" };
    metrics.wait_for(
        &format!("carafe_streams_closed_total{{path=\"{path}\",reason=\"stalled\"}}"),
        1.0,
    );
    assert_eq!((metrics.get("carafe_subscriptions"), metrics.limited("write-timeout")), (1.0, 1.0));
    hub.publish("/events/b", "still here");
    assert_eq!(reading.data(1), ["still here"]);
    stalled.resume();
    while stalled.next().is_some() {}
    assert!(!stalled.has_ended_in_order());
    let mut resumed = hub.open("/events/a", &[&format!("Last-Event-ID: {id}")]);
    assert!(resumed.data(many).iter().all(|data| *data == large));
}
