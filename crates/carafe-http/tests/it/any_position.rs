//! Properties of any last event ID; the fuzz target runs them, too.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use carafe_protocol::{Decoder, Position, Received, ReceivedEvent};
use serde_json::{Value, json};

use crate::asking::{Answer, Place};

/// How a stream with a last event ID starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// As if there were no ID.
    Nothing,
    AllHistory,
    /// After the event with the ID.
    ItsEvent,
    /// With a gap: no event of this hub has the ID.
    Gap,
}

/// An ID is a position of this hub, or is reported as a gap. In inputs, `$1` to `$3` stand for
/// the positions of the events, and `$g` for the generation of the log. `None` if no request can
/// have the ID.
pub(crate) fn any_last_event_id_is_found_or_reported(input: &[u8]) -> Option<Came> {
    let place = Place::new();
    let ids = [1, 2, 3].map(|number| publish(&place, number));
    let bytes = with_positions(input, &ids);
    let header = HeaderValue::from_bytes(&bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string(), text, "a position has one spelling");
    }
    let came = begins(&ask(&place, "/events/a", &header), &text, &ids);
    let query = format!("/events/a?last_event_id={}", escaped(&text));
    let by_query = place.ask(Request::get(query).body(Body::empty()).expect("it is escaped"));
    assert_eq!(begins(&by_query, &text, &ids), came, "in the query as in the header");
    mercure_says_whether_it_is_known(&place, &header, &text, &ids);
    Some(came)
}

fn publish(place: &Place, number: u32) -> String {
    let request = Request::post("/events/a").body(Body::from(number.to_string()));
    let answer = place.ask(request.expect("it is a request"));
    answer.json()["id"].as_str().expect("it is stored").into()
}

fn with_positions(input: &[u8], ids: &[String]) -> Vec<u8> {
    let generation = ids[0].split('-').next().unwrap_or_default();
    let mut parts = input.split(|byte| *byte == b'$');
    let mut bytes = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (name, rest) = part.split_at(part.len().min(1));
        match name {
            b"1" | b"2" | b"3" => {
                bytes.extend_from_slice(ids[usize::from(name[0] - b'1')].as_bytes());
            }
            b"g" => bytes.extend_from_slice(generation.as_bytes()),
            _ => bytes.extend([b"$", name].concat()),
        }
        bytes.extend_from_slice(rest);
    }
    bytes
}

fn ask(place: &Place, target: &str, id: &HeaderValue) -> Answer {
    let request = Request::get(target).header("last-event-id", id).body(Body::empty());
    place.ask(request.expect("it is a request"))
}

/// Checks the start of the stream.
fn begins(answer: &Answer, text: &str, ids: &[String]) -> Came {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut events = events(answer).into_iter().peekable();
    let gap = events.next_if(|event| event.event_type == "carafe.gap");
    let position = events.next().expect("it begins with its position");
    let data = format!("{{\"position\":\"{}\"}}", position.last_event_id);
    assert_eq!((&*position.event_type, &*position.data), ("carafe.position", &*data));
    let shown: Vec<_> = events.map(|event| event.data).collect();
    match (text, ids.iter().position(|id| id == text)) {
        ("", _) => check(Came::Nothing, gap.is_none() && shown.is_empty()),
        ("earliest", _) => check(Came::AllHistory, gap.is_none() && shown == ["1", "2", "3"]),
        (_, Some(place)) => check(
            Came::ItsEvent,
            gap.is_none()
                && position.last_event_id == text
                && shown == ["1", "2", "3"][place + 1..],
        ),
        // Before the first event.
        (_, None) if gap.is_none() => {
            let stated: Position = text.parse().expect("it is a position");
            let known: Position = ids[2].parse().expect("it is a position");
            let before = (stated.offset, stated.nonce) == (0, 0) && shown == ["1", "2", "3"];
            check(Came::ItsEvent, stated.generation == known.generation && before)
        }
        _ => {
            let stated =
                gap.map(|gap| serde_json::from_str::<Value>(&gap.data).expect("it is JSON"));
            let (reason, expected) = if is_beyond(text, &ids[2]) {
                ("lost", &[][..])
            } else if text.parse::<Position>().is_err() {
                ("foreign", &[][..])
            } else {
                ("foreign", &["1", "2", "3"][..])
            };
            let gap = json!({ "requested": text, "oldest": ids[0], "reason": reason });
            assert_eq!(stated, Some(gap));
            check(Came::Gap, shown == expected)
        }
    }
}

/// Whether the ID is of this hub's generation, and beyond its newest event.
fn is_beyond(text: &str, newest: &str) -> bool {
    let newest: Position = newest.parse().expect("it is a position");
    let beyond =
        |stated: Position| stated.generation == newest.generation && stated.offset > newest.offset;
    text.parse().is_ok_and(beyond)
}

#[track_caller]
fn check(came: Came, as_it_should: bool) -> Came {
    assert!(as_it_should, "{came:?}");
    came
}

fn events(answer: &Answer) -> Vec<ReceivedEvent> {
    let (mut decoder, mut rest) = (Decoder::new(), answer.body.as_bytes());
    let mut events = Vec::new();
    while let Ok(Some(received)) = decoder.decode(&mut rest) {
        if let Received::Event(event) = received {
            events.push(event);
        }
    }
    events
}

/// In Mercure, the response header repeats a known ID, and says `earliest` for any other.
fn mercure_says_whether_it_is_known(
    place: &Place,
    header: &HeaderValue,
    text: &str,
    ids: &[String],
) {
    let answer = ask(place, "/.well-known/mercure?topic=a", header);
    assert_eq!(answer.status, 200, "{answer:?}");
    let stated = answer.headers.get("last-event-id").map(HeaderValue::as_bytes);
    let known = ids.iter().any(|id| id == text);
    let expected = if known { text } else { "earliest" };
    assert_eq!(stated, Some(expected.as_bytes()).filter(|_| !text.is_empty()), "{answer:?}");
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
