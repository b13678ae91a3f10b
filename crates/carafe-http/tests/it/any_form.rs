//! Properties of any form of Mercure, in a body and in a query; the fuzz target runs them, too.

use axum::body::Body;
use axum::http::Request;
use carafe_log::{ExternalId, Publication};
use carafe_protocol::{EventType, Topic};

use crate::asking::{EVENT_BYTES, Place, all, pairs};

/// An update is stored as its form says and answered with its ID, or rejected. Returns whether
/// it was stored.
pub(crate) fn any_form_is_stored_or_refused(input: &[u8]) -> bool {
    any_query_has_an_answer(input);
    let place = Place::new();
    let answer = place.ask(
        Request::post("/.well-known/mercure")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(input.to_vec()))
            .expect("it is a request"),
    );
    let stored = place.stored();
    let expected = std::str::from_utf8(input).ok().and_then(pairs).and_then(|pairs| update(&pairs));
    let Some(expected) = expected else {
        answer.refuses();
        assert!(stored.is_empty(), "{stored:?}");
        return false;
    };
    assert_eq!(answer.status, 200, "{answer:?}");
    let [entry] = &stored[..] else { panic!("{stored:?}") };
    let id = ExternalId::new(&answer.body).expect("an ID is in order");
    assert!(
        expected.external_id().is_some_and(|own| *own == id)
            || id.as_str().starts_with("urn:uuid:"),
        "{id}"
    );
    assert_eq!(entry.publication, expected.with_external_id(id));
    true
}

/// The publication that a form describes by the rules of the protocol: the first value that is
/// not empty counts.
fn update(pairs: &[(String, String)]) -> Option<Publication> {
    let filled = |name: &str| all(pairs, name).into_iter().find(|value| !value.is_empty());
    let topics: Vec<_> =
        all(pairs, "topic").into_iter().map(Topic::new).collect::<Result<_, _>>().ok()?;
    let (first, alternates) = topics.split_first()?;
    let data = all(pairs, "data").first().copied().unwrap_or_default();
    if data.len() > EVENT_BYTES || alternates.len() >= 1000 {
        return None;
    }
    let mut update =
        Publication::new(first.clone(), data).with_alternates(alternates.iter().cloned());
    if let Some(id) = filled("id") {
        if id == "earliest" || id.starts_with('#') {
            return None;
        }
        update = update.with_external_id(ExternalId::new(id).ok()?);
    }
    if let Some(event_type) = filled("type") {
        let event_type = EventType::new(event_type).ok()?;
        if event_type.as_str().starts_with("carafe.") {
            return None;
        }
        update = update.with_type(event_type);
    }
    if let Some(retry) = filled("retry") {
        let digits = retry.bytes().all(|byte| byte.is_ascii_digit());
        let retry: u64 = retry.parse().ok().filter(|_| digits)?;
        if retry > 0 {
            update = update.with_retry(crate::asking::retry(retry));
        }
    }
    Some(update.with_private(pairs.iter().any(|(name, _)| name == "private")))
}

/// Subscribing with the form opens a stream, or fails with a problem that says what to do.
fn any_query_has_an_answer(input: &[u8]) {
    let target = [b"/.well-known/mercure?", input].concat();
    let Ok(request) = Request::get(target).body(Body::empty()) else { return };
    let query = request.uri().query().map(str::to_owned).unwrap_or_default();
    let answer = Place::new().ask(request);
    if answer.status != 200 {
        answer.refuses();
        return;
    }
    assert!(
        answer.headers["content-type"] == "text/event-stream" && answer.body.starts_with(':'),
        "{answer:?}"
    );
    assert!(pairs(&query).is_some_and(|pairs| !all(&pairs, "topic").is_empty()), "{query}");
}
