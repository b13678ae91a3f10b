//! Properties of any query of `/events`; the fuzz target runs them, too.

use axum::body::Body;
use axum::http::Request;
use carafe_log::{IdempotencyKey, Publication};
use carafe_protocol::{EventType, Topic, TopicPattern};

use crate::asking::{Place, all, retry, understood};

/// Which requests accept a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) published: bool,
    pub(crate) subscribed: bool,
}

const PUBLISHING: &[&str] =
    &["topic", "event", "id", "retry", "private", "split", "stream", "on_abort"];

const SUBSCRIBING: &[&str] = &[
    "topic",
    "pattern",
    "last_event_id",
    "earliest",
    "last",
    "envelope",
    "control",
    "on_gap",
    "heartbeat",
];

/// A query is accepted exactly if its parameters are understood, and then they have their effect.
/// Parameters that resemble none of the endpoint's are ignored. `None` if no request can have the
/// query.
pub(crate) fn any_query_is_understood_or_refused(input: &[u8]) -> Option<Judged> {
    let target = [b"/events?", input].concat();
    let get = Request::get(&*target).body(Body::empty()).ok()?;
    let post = Request::post(&*target).body(Body::from("data")).ok()?;
    let query = get.uri().query().unwrap_or_default().to_owned();
    let published = understood(&query, PUBLISHING);
    a_batch_has_no_query(&target, published.as_deref());
    Some(Judged {
        published: publishes(post, published.as_deref()),
        subscribed: subscribes(get, understood(&query, SUBSCRIBING).as_deref()),
    })
}

fn publishes(request: Request<Body>, published: Option<&[(String, String)]>) -> bool {
    let place = Place::new();
    let answer = place.ask(request);
    let expected = published.and_then(publication);
    let stored = place.stored();
    match &expected {
        Some(expected) => {
            assert_eq!(answer.status, 201, "{answer:?}");
            let [entry] = &stored[..] else { panic!("{stored:?}") };
            assert_eq!(entry.publication, *expected);
            // The line of an ingest request, or an event.
            let name = if has(published.unwrap_or_default(), "split") { "last" } else { "id" };
            assert_eq!(answer.json()[name], entry.position.to_string());
        }
        None => {
            answer.refuses();
            assert!(stored.is_empty(), "{stored:?}");
        }
    }
    expected.is_some()
}

/// A batch accepts no query: its lines say everything, and the query would be ignored silently.
fn a_batch_has_no_query(target: &[u8], pairs: Option<&[(String, String)]>) {
    let line = r#"{"topic":"a","data":"x"}"#;
    let batch =
        Request::post(target).header("content-type", "application/x-ndjson").body(Body::from(line));
    let place = Place::new();
    let answer = place.ask(batch.expect("it was a request before"));
    if pairs.is_some_and(<[_]>::is_empty) {
        assert_eq!(answer.status, 201, "{answer:?}");
    } else if !pairs.is_some_and(|pairs| has(pairs, "topic") || has(pairs, "stream")) {
        answer.refuses();
        assert!(place.stored().is_empty());
    }
}

fn has(pairs: &[(String, String)], name: &str) -> bool {
    pairs.iter().any(|(found, _)| found == name)
}

/// The publication that a query describes: of the whole body, or of its only line.
fn publication(pairs: &[(String, String)]) -> Option<Publication> {
    let topics: Vec<_> =
        all(pairs, "topic").into_iter().map(Topic::new).collect::<Result<_, _>>().ok()?;
    let (first, alternates) = topics.split_first()?;
    let mut expected =
        Publication::new(first.clone(), "data").with_alternates(alternates.iter().cloned());
    if let Some(event_type) = one(pairs, "event")? {
        let event_type = EventType::new(event_type).ok()?;
        if event_type.as_str().starts_with("carafe.") {
            return None;
        }
        expected = expected.with_type(event_type);
    }
    if let Some(key) = one(pairs, "id")? {
        expected = expected.with_key(IdempotencyKey::new(key).ok()?);
    }
    if let Some(milliseconds) = one(pairs, "retry")? {
        expected = expected.with_retry(retry(number(milliseconds)?));
    }
    let splits = match one(pairs, "split")? {
        None => false,
        Some("lines") => true,
        Some(_) => return None,
    };
    if flag(one(pairs, "stream")?)? && !splits {
        return None;
    }
    if splits && (has(pairs, "id") || has(pairs, "retry")) {
        return None;
    }
    let known = ["keep", "end", "fail"];
    if one(pairs, "on_abort")?.is_some_and(|it| !splits || !known.contains(&it)) {
        return None;
    }
    Some(expected.with_private(flag(one(pairs, "private")?)?))
}

fn subscribes(request: Request<Body>, pairs: Option<&[(String, String)]>) -> bool {
    let answer = Place::new().ask(request);
    let expected = pairs.is_some_and(|pairs| asks_for_a_stream(pairs).is_some());
    if expected {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.starts_with("retry: ") && answer.body.ends_with("\n\n"), "{answer:?}");
        let commented = pairs.is_some_and(|pairs| all(pairs, "control") == ["comments"]);
        let position =
            if commented { "\n: carafe.position {" } else { "\nevent: carafe.position\ndata: {" };
        assert!(answer.body.contains(position), "{answer:?}");
    } else {
        answer.refuses();
    }
    expected
}

fn asks_for_a_stream(pairs: &[(String, String)]) -> Option<()> {
    let (topics, patterns) = (all(pairs, "topic"), all(pairs, "pattern"));
    topics.iter().try_for_each(|text| Topic::new(text).map(drop)).ok()?;
    patterns.iter().try_for_each(|text| TopicPattern::new(text).map(drop)).ok()?;
    let mut distinct = [topics, patterns].concat();
    distinct.sort_unstable();
    distinct.dedup();
    // Whether two patterns are equivalent is not checked: few inputs are long enough.
    if distinct.len() > 100 {
        return None;
    }
    // If there is an ID, the other parameters for the start are not read.
    let id = all(pairs, "last_event_id").into_iter().rfind(|id| !id.is_empty());
    if id.is_none() && !flag(one(pairs, "earliest")?)? {
        one(pairs, "last")?.map_or(Some(0), number)?;
    }
    for (name, values) in [
        ("envelope", &["json"][..]),
        ("control", &["events", "comments"]),
        ("on_gap", &["live", "earliest"]),
    ] {
        one(pairs, name)?.is_none_or(|value| values.contains(&value)).then_some(())?;
    }
    one(pairs, "heartbeat")?.is_none_or(is_heartbeat).then_some(())
}

fn is_heartbeat(text: &str) -> bool {
    let interval = text.strip_prefix("event:").or_else(|| text.strip_prefix("comment:"));
    let interval = interval.unwrap_or(text);
    let number = interval.strip_suffix("ms").or_else(|| interval.strip_suffix(['s', 'm']));
    let is_number = |text: &str| {
        text.chars().all(|digit| digit.is_ascii_digit()) && text.chars().any(|digit| digit != '0')
    };
    ["event", "comment"].contains(&text) || number.is_some_and(is_number)
}

/// The outer `None` stands for a rejection.
fn one<'a>(pairs: &'a [(String, String)], name: &str) -> Option<Option<&'a str>> {
    match all(pairs, name)[..] {
        [] => Some(None),
        [value] => Some(Some(value)),
        _ => None,
    }
}

fn number(text: &str) -> Option<u64> {
    let mut number = (!text.is_empty()).then_some(0_u64)?;
    for digit in text.chars() {
        number = number.checked_mul(10)?.checked_add(digit.to_digit(10)?.into())?;
    }
    Some(number)
}

fn flag(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("false" | "0") => Some(false),
        Some("" | "true" | "1") => Some(true),
        Some(_) => None,
    }
}
