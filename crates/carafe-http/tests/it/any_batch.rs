//! Properties of any batch; the fuzz target runs them, too.

use axum::body::Body;
use axum::http::Request;
use carafe_log::{IdempotencyKey, Publication};
use carafe_protocol::{EventType, Topic};
use serde_json::{Map, Value};

use crate::asking::{Answer, BATCH_BYTES, EVENT_BYTES, Place};

/// A batch is stored whole and in order, as its lines say, or not at all. Returns whether it
/// was.
pub(crate) fn any_batch_is_stored_whole_or_not_at_all(input: &[u8]) -> bool {
    let place = Place::new();
    let answer = publish(&place, input);
    let stored: Vec<_> = place.stored().iter().map(|entry| entry.publication.clone()).collect();
    let refused = !matches!(answer.status, 200 | 201);
    if refused {
        names_the_line(&answer, input);
        assert_eq!(stored, [], "{answer:?}");
        return false;
    }
    assert!(input.len() <= BATCH_BYTES);
    let text = std::str::from_utf8(input).expect("nothing else is taken");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').filter(|line| !line.trim().is_empty());
    let expected: Vec<_> =
        lines.map(|line| publication(line).unwrap_or_else(|| panic!("{line:?}"))).collect();
    let fresh = without_repeated(&expected);
    assert_eq!(in_one_form(&stored), in_one_form(&fresh));
    let ids = answer.json()["ids"].as_array().map(Vec::len);
    assert_eq!((answer.status, ids), (201, Some(expected.len())), "{answer:?}");
    again(&place, input, &expected);
    true
}

fn publish(place: &Place, batch: &[u8]) -> Answer {
    let request = Request::post("/events")
        .header("content-type", "application/x-ndjson")
        .body(Body::from(batch.to_vec()));
    place.ask(request.expect("it is a request"))
}

/// The line that a problem names exists and is not empty.
fn names_the_line(answer: &Answer, input: &[u8]) {
    let Some(line) = answer.refuses()["line"].as_u64() else { return };
    let lines: Vec<_> = input.split(|byte| *byte == b'\n').collect();
    let named = usize::try_from(line).ok().and_then(|line| lines.get(line.checked_sub(1)?));
    assert!(named.is_some_and(|line| !line.trim_ascii().is_empty()), "{answer:?}");
}

/// The publication that a line describes.
fn publication(line: &str) -> Option<Publication> {
    let known = ["topic", "alternates", "data", "event", "type", "id", "retry", "private"];
    let value: Value = serde_json::from_str(line).ok()?;
    let line = value.as_object()?;
    if line.keys().any(|key| !known.contains(&key.as_str())) {
        return None;
    }
    // Two names of one field.
    if line.contains_key("event") && line.contains_key("type") {
        return None;
    }
    let data = match line.get("data")? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if data.len() > EVENT_BYTES {
        return None;
    }
    let topic = |value: &Value| Topic::new(value.as_str()?).ok();
    let alternates = line
        .get("alternates")
        .map_or(Some(Vec::new()), |value| value.as_array()?.iter().map(topic).collect())?;
    let mut expected =
        Publication::new(topic(line.get("topic")?)?, data).with_alternates(alternates);
    if let Some(event_type) = present(line, "event").or(present(line, "type")) {
        expected = expected.with_type(EventType::new(event_type.as_str()?).ok()?);
    }
    if let Some(id) = present(line, "id") {
        expected = expected.with_key(IdempotencyKey::new(id.as_str()?).ok()?);
    }
    if let Some(retry) = present(line, "retry") {
        expected = expected.with_retry(crate::asking::retry(retry.as_u64()?));
    }
    Some(expected.with_private(line.get("private").map_or(Some(false), Value::as_bool)?))
}

/// A value that is not a string is stored as JSON with its fields in the written order, which
/// is that of the trees here.
fn in_one_form(all: &[Publication]) -> Vec<Publication> {
    all.iter().map(of_tree).collect()
}

fn of_tree(publication: &Publication) -> Publication {
    let event = publication.event();
    let data = event.data().unwrap_or_default();
    let tree =
        serde_json::from_str(data).ok().filter(|tree: &Value| tree.is_array() || tree.is_object());
    let data = tree.map_or_else(|| data.to_owned(), |tree| tree.to_string());
    let same = Publication::new(publication.topic().clone(), data)
        .with_alternates(publication.topics().skip(1).cloned())
        .with_private(publication.is_private());
    let same = event.event_type().cloned().into_iter().fold(same, Publication::with_type);
    let same = event.retry_time().into_iter().fold(same, Publication::with_retry);
    publication.key().cloned().into_iter().fold(same, Publication::with_key)
}

/// A field that may be absent or `null`.
fn present<'a>(line: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    line.get(name).filter(|value| !value.is_null())
}

fn name(publication: &Publication) -> Option<(&Topic, &IdempotencyKey)> {
    publication.key().map(|key| (publication.topic(), key))
}

/// The first publication with the same key and topic.
fn without_repeated(all: &[Publication]) -> Vec<Publication> {
    let is_first = |place: usize| {
        let name = name(&all[place]);
        name.is_none() || all[..place].iter().all(|before| self::name(before) != name)
    };
    (0..all.len()).filter(|place| is_first(*place)).map(|place| all[place].clone()).collect()
}

/// The same batch again stores only the publications without a key.
fn again(place: &Place, input: &[u8], expected: &[Publication]) {
    let before = place.stored().len();
    let answer = publish(place, input);
    let fresh = expected.iter().filter(|publication| publication.key().is_none()).count();
    assert_eq!(answer.status, if fresh > 0 { 201 } else { 200 }, "{answer:?}");
    assert_eq!(place.stored().len(), before + fresh);
}
