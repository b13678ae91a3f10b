//! Event streams for one connection.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use carafe_http::{EventStream, Events, Gone, JsonError};
use carafe_protocol::{Event, EventId, EventType};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

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
