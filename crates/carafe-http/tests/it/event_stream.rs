//! Event streams for one connection.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use carafe_http::{EventStream, Events, Gone, HandlerError, JsonError, LastEventId};
use carafe_protocol::{Event, EventId, EventType};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::stream_log::Lines;

fn body(stream: EventStream) -> Body {
    stream.into_response().into_body()
}

/// The next chunk; `None` at the end.
async fn chunk(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().into()).unwrap())
}

async fn all(stream: EventStream) -> String {
    let bytes = body(stream).collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_handler_pushes_and_its_return_ends_the_stream() {
    let stream = EventStream::new(async |events| {
        events.retry(Duration::from_secs(10)).await?;
        events.data(1).await?;
        events.comment("a break").await?;
        events.send(Event::new("two\nlines").with_type(EventType::from_static("t"))).await?;
        events.send(Event::new("x").with_id(EventId::new("7").unwrap())).await?;
        Ok(())
    });
    let expected = "retry: 10000\n\ndata: 1\n\n: a break\n\nevent: t\ndata: two\ndata: \
     lines\n\ndata: x\nid: 7\n\n";
    assert_eq!(all(stream).await, expected);
}

#[tokio::test(start_paused = true)]
async fn the_response_is_an_event_stream_that_is_not_stored_or_buffered() {
    let response = EventStream::new(async |_| Ok(())).into_response();
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "no-store, no-transform");
    assert_eq!(header("x-accel-buffering"), "no");
}

#[tokio::test(start_paused = true)]
async fn each_event_is_a_chunk_as_soon_as_it_is_sent() {
    let mut body = body(EventStream::new(async |events| {
        for number in 1..=2 {
            sleep(Duration::from_secs(1)).await;
            events.data(number).await?;
        }
        Ok(())
    }));
    let start = Instant::now();
    assert_eq!(chunk(&mut body).await.unwrap(), "data: 1\n\n");
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(chunk(&mut body).await.unwrap(), "data: 2\n\n");
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(chunk(&mut body).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_sent_only_after_an_interval_without_output() {
    let mut body = body(EventStream::new(async |events| {
        for pause in [14, 16] {
            sleep(Duration::from_secs(pause)).await;
            events.data(pause).await?;
        }
        pending().await
    }));
    let start = Instant::now();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let chunk = chunk(&mut body).await.unwrap();
        seen.push((start.elapsed().as_secs(), chunk));
    }
    let expected = [(14, "data: 14\n\n"), (29, ":\n"), (30, "data: 16\n\n"), (45, ":\n")];
    assert_eq!(seen, expected.map(|(second, chunk)| (second, chunk.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_can_be_set_and_left_out() {
    let quiet = || EventStream::new(async |_| pending().await);
    let start = Instant::now();
    let mut often = body(quiet().heartbeat(Some(Duration::from_secs(2))));
    assert_eq!(chunk(&mut often).await.unwrap(), ":\n");
    assert_eq!(start.elapsed().as_secs(), 2);
    let mut never = body(quiet().heartbeat(None));
    assert!(timeout(Duration::from_secs(86_400), chunk(&mut never)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_event_may_take_the_place_of_the_comment() {
    let alive = Event::new("{}").with_type(EventType::from_static("alive"));
    let quiet = EventStream::new(async |_| pending().await).heartbeat_event(&alive);
    let (start, mut body) = (Instant::now(), body(quiet));
    for seconds in [15, 30] {
        assert_eq!(chunk(&mut body).await.unwrap(), "event: alive\ndata: {}\n\n");
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_drops_the_handler() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Dropped(Arc::clone(&dropped));
    let mut body = body(EventStream::new(async move |events: Events| {
        let _guard = guard;
        events.data("before").await?;
        pending().await
    }));
    assert_eq!(chunk(&mut body).await.unwrap(), "data: before\n\n");
    assert!(!dropped.load(Ordering::Relaxed));
    drop(body);
    assert!(dropped.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn send_fails_once_the_client_has_left() {
    let (handed_over, kept) = oneshot::channel();
    let mut body = body(EventStream::new(async move |events: Events| {
        handed_over.send(events.clone()).unwrap();
        events.data("before").await?;
        pending().await
    }));
    assert_eq!(chunk(&mut body).await.unwrap(), "data: before\n\n");
    let kept = kept.await.unwrap();
    assert_eq!(kept.data("a clone sends to the same client").await, Ok(()));
    drop(body);
    kept.closed().await;
    assert_eq!(kept.data("too late").await, Err(Gone));
    assert!(matches!(kept.json(&1).await, Err(JsonError::Gone(Gone))));
}

#[tokio::test(start_paused = true)]
async fn the_handlers_return_ends_the_stream_although_clones_are_kept() {
    let (handed_over, kept) = oneshot::channel();
    let stream = EventStream::new(async move |events: Events| {
        handed_over.send(events.clone()).unwrap();
        events.data("last").await?;
        Ok(())
    });
    assert_eq!(all(stream).await, "data: last\n\n");
    assert_eq!(kept.await.unwrap().data("too late").await, Err(Gone));
}

#[tokio::test(start_paused = true)]
async fn send_waits_for_a_slow_client_and_loses_nothing() {
    const COUNT: usize = 1000;
    let (sent, mut count) = tokio::sync::watch::channel(0);
    let mut body = body(EventStream::new(async move |events: Events| {
        for number in 1..=COUNT {
            events.data(number).await?;
            sent.send(number).unwrap();
        }
        Ok(())
    }));
    let first = chunk(&mut body).await.unwrap();
    assert!(*count.borrow_and_update() < 100, "the handler ran {} events ahead", *count.borrow());
    let mut received = first;
    while let Some(chunk) = chunk(&mut body).await {
        received += &chunk;
    }
    let expected: String = (1..=COUNT).map(|number| format!("data: {number}\n\n")).collect();
    assert_eq!(received, expected);
}

#[tokio::test(start_paused = true)]
async fn json_is_sent_as_data_and_what_is_none_is_an_error() {
    let stream = EventStream::new(async |events| {
        events.json(&serde_json::json!({ "cup": ["a\nb"] })).await?;
        // JSON has no keys that are arrays.
        let impossible = std::collections::HashMap::from([(vec![1], 2)]);
        assert!(matches!(events.json(&impossible).await, Err(JsonError::Json(_))));
        Ok(())
    });
    assert_eq!(all(stream).await, "data: {\"cup\":[\"a\\nb\"]}\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_is_an_event_stream() {
    let events = futures_util::stream::iter(["a", "b"].map(Event::new));
    assert_eq!(all(EventStream::from_stream(events)).await, "data: a\n\ndata: b\n\n");
}

fn last(id: &str) -> LastEventId {
    LastEventId(Some(id.into()).filter(|id: &String| !id.is_empty()))
}

/// Counts to three, with the numbers as events.
fn three(last: LastEventId) -> EventStream {
    EventStream::resume_from(last, async |events, next| {
        events.comment("ready").await?;
        for number in next..3 {
            events.data(number).await?;
        }
        Ok(())
    })
}

const END: &str = "event: carafe.end\ndata: {\"outcome\":\"done\"}\nid: end\n\n";

#[tokio::test(start_paused = true)]
async fn a_stream_with_an_end_is_received_once_and_whole_over_several_connections() {
    let event = |number| format!("data: {number}\nid: {number}\n\n");
    for (id, first) in [("", 0), ("0", 1), ("1", 2), ("2", 3), ("7", 8)] {
        let rest: String = (first..3).map(event).collect();
        assert_eq!(all(three(last(id))).await, format!(": ready\n\n{rest}{END}"), "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_not_of_the_stream_starts_it_anew() {
    for id in ["undefined", "-1", "18446744073709551615", "99999999999999999999", "END"] {
        let stream = all(three(last(id))).await;
        assert!(stream.contains("data: 0\nid: 0\n"), "{id}: {stream}");
    }
}

#[tokio::test]
async fn a_client_that_has_a_whole_stream_is_told_to_stop() {
    let called = Arc::new(AtomicBool::new(false));
    let sees = Arc::clone(&called);
    let stream = EventStream::resume_from(last("end"), move |_, _| async move {
        sees.store(true, Ordering::Relaxed);
        Ok(())
    });
    let response = stream.heartbeat(None).on_error(|_| Event::new("")).into_response();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["cache-control"]),
        (204, &"no-store".parse().unwrap())
    );
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert!(!called.load(Ordering::Relaxed), "the handler does not run again");
}

#[tokio::test(start_paused = true)]
async fn the_ids_of_a_numbered_stream_are_in_order_whoever_sends() {
    let stream = EventStream::resume_from(LastEventId(None), async |events, _| {
        let senders = (0..8).map(|_| {
            let events = events.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    let own_id = EventId::new("own").unwrap();
                    events.send(Event::new("x").with_id(own_id)).await.unwrap();
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await?;
        }
        Ok(())
    });
    let expected: String = (0..400).map(|number| format!("data: x\nid: {number}\n\n")).collect();
    assert_eq!(all(stream).await, expected + END);
}

async fn failing(events: Events) -> Result<(), HandlerError> {
    events.data("before").await?;
    Err("the disk is full".into())
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_handler_is_sent_only_as_the_app_says() {
    assert_eq!(all(EventStream::new(failing)).await, "data: before\n\n");
    let failed = EventType::from_static("failed");
    let stream = EventStream::new(failing)
        .on_error(|error| Event::new(format!("sorry: {error}")).with_type(failed));
    let expected = "data: before\n\nevent: failed\ndata: sorry: the disk is full\n\n";
    assert_eq!(all(stream).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_an_end_that_fails_is_resumed() {
    let stream = |last| EventStream::resume_from(last, |events, _| failing(events));
    assert_eq!(all(stream(last(""))).await, "data: before\nid: 0\n\n");
    let stream = stream(last("0")).on_error(|_| Event::new("later"));
    assert_eq!(all(stream).await, "data: before\nid: 1\n\ndata: later\n\n");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_handler_is_logged_unless_its_client_has_left() {
    let lines = Lines::collect();
    all(EventStream::new(async |_| Err(Gone.into()))).await;
    all(EventStream::new(async |_| Err(JsonError::Gone(Gone).into()))).await;
    assert!(!lines.text().contains("WARN"), "{}", lines.text());
    all(EventStream::new(failing)).await;
    assert!(lines.text().contains("WARN") && lines.text().contains("the disk is full"));
}
