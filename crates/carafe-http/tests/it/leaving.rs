//! Producers and subscribers that leave a node while others publish, or the engine is away.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::Request;
use carafe_http::{Mercure, Options, Rights, router};
use carafe_hub::Hub;
use carafe_log::{AppendError, Entry, Outcome, Publication, Read};
use carafe_protocol::{Generation, Position, Topic};
use tokio::time::sleep;
use tower::ServiceExt;

use crate::ingest::{Place, STREAM, end_of, next_data};
use crate::slow_log::SlowLog;

const GENERATION: Generation = Generation::new(7);

/// The log of a node, and what another one has stored after `offset`.
fn node(elsewhere: &[(&str, u64)]) -> SlowLog {
    let entry = |(topic, offset): &(&str, u64)| Entry {
        position: Position { generation: GENERATION, offset: *offset, nonce: 3 },
        time: SystemTime::now(),
        publication: Publication::new(Topic::new(topic).unwrap(), "of another node"),
    };
    let log = SlowLog::behind(GENERATION, Some(elsewhere.iter().map(entry).collect()));
    log.let_go(1000);
    log
}

/// Longer than anything is repeated.
async fn wait() {
    sleep(Duration::from_secs(60)).await;
}

/// The end of a topic whose producer breaks off after one event.
async fn end_after(log: &SlowLog) -> Option<Outcome> {
    let place = Place::on(log.clone(), |_| {});
    let mut reader = place.everything().await;
    let request = place.open("/events/a?on_abort=fail", STREAM);
    request.send("data: 1\n\n");
    assert_eq!(next_data(&mut reader).await, "1");
    request.breaks();
    request.end().await.refuses(400, "body-broken", 1);
    wait().await;
    end_of(&place)
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_its_producer_feeds_at_another_node_is_not_ended() {
    assert_eq!(end_after(&node(&[("a", 9)])).await, None);
    assert_eq!(end_after(&node(&[("b", 9)])).await, Some(Outcome::Failed));
    assert_eq!(end_after(&node(&[])).await, Some(Outcome::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_ended_when_the_engine_is_back_and_not_for_ever() {
    let log = node(&[]);
    log.fail_after(1, 5, &AppendError::Unavailable);
    assert_eq!(end_after(&log).await, Some(Outcome::Failed));
    let log = node(&[]);
    log.fail_after(1, usize::MAX, &AppendError::Unavailable);
    assert_eq!(end_after(&log).await, None);
    let attempts = log.batches().len();
    assert!((10..40).contains(&attempts), "{attempts}");
    let log = node(&[]);
    log.fail_after(1, usize::MAX, &AppendError::Full);
    assert_eq!(end_after(&log).await, None);
    assert_eq!(log.batches().len(), 2, "what does not pass is not repeated");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_catch_up_ends_no_topic() {
    let log = SlowLog::behind(GENERATION, None);
    log.let_go(1000);
    assert_eq!(end_after(&log).await, None);
    assert_eq!(log.batches().len(), 1, "nothing that another node may know better");
}

/// The end of a topic that another node has an event of. Its producer breaks off after two events,
/// of which the log fails to store the second.
async fn end_after_failure(failure: &AppendError) -> Option<Outcome> {
    let log = node(&[("a", 9)]);
    log.fail_after(1, 1, failure);
    let place = Place::on(log.clone(), |_| {});
    let mut reader = place.everything().await;
    let request = place.open("/events/a?on_abort=fail", STREAM);
    request.send("data: 1\n\n");
    assert_eq!(next_data(&mut reader).await, "1");
    log.hold();
    request.send("data: 2\n\n");
    sleep(Duration::from_millis(1)).await;
    request.answer.abort();
    sleep(Duration::from_millis(1)).await;
    log.let_go(1000);
    wait().await;
    end_of(&place)
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_ended_although_it_is_unknown_which_events_of_its_producer_are_stored() {
    // The engine has the second event, and did not say so.
    assert_eq!(end_after_failure(&AppendError::Unavailable).await, Some(Outcome::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_goes_on_elsewhere_is_not_ended_after_an_event_that_is_certainly_not_stored() {
    let refused = AppendError::Refused("maximum bytes exceeded".to_owned());
    assert_eq!(end_after_failure(&refused).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_of_mercure_that_leaves_while_the_engine_is_away_is_reported_later() {
    let log = node(&[]);
    let hub = Hub::new(log.clone());
    let mut options = Options::default();
    options.anonymous = Rights::all();
    let mut mercure = Mercure::default();
    mercure.subscriptions = true;
    options.mercure = Some(mercure);
    let request = Request::get("/.well-known/mercure?topic=a").body(Body::empty()).unwrap();
    let response = router(hub, options).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    log.fail_after(0, 5, &AppendError::Unavailable);
    drop(response);
    wait().await;
    let span = log.span();
    let reports: Vec<_> = (span.start.offset + 1..=span.tail.offset).collect();
    assert_eq!(reports.len(), 2, "that it is there, and that it has left");
    assert_eq!(log.batches().len(), 2 + 5);
}
