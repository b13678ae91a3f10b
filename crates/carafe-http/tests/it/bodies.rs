//! Which bodies are read, when, and how much of them is in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response, StatusCode};
use carafe_http::{BodyBudget, Mercure, Options, PublishRate, Rights, router};
use carafe_hub::{Grant, Hub};
use carafe_log::MemoryLog;
use carafe_protocol::TopicMatcher;
use http_body::{Frame, SizeHint};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const TEXT: (&str, &str) = ("content-type", "text/plain");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const MERCURE: &str = "/.well-known/mercure";

/// A body in pieces that declares its length, and counts how often it is polled. At its end it
/// stays pending, or ends.
struct Pieces {
    left: Vec<&'static str>,
    declared: Option<u64>,
    ends: bool,
    asked: Arc<AtomicUsize>,
}

impl Pieces {
    fn new(pieces: &[&'static str]) -> Self {
        let left = pieces.iter().rev().copied().collect();
        Self { left, declared: None, ends: false, asked: Arc::default() }
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.left.pop() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece))))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn hub(options: Options) -> Router {
    router(Hub::new(MemoryLog::default()), options)
}

/// Clients without a token may publish to these topics, and subscribe to nothing.
fn publishing_to(topics: &str, options: Options) -> Options {
    let grant = Grant::to([TopicMatcher::parse(topics).unwrap()]);
    {
        let mut options = options;
        options.anonymous = Rights::none().with_publish(grant);
        options.mercure = Some(Mercure::default());
        options
    }
}

fn post(target: &str, header: (&str, &str), body: Pieces) -> Request<Body> {
    Request::post(target).header(header.0, header.1).body(Body::new(body)).unwrap()
}

async fn ask(hub: &Router, request: Request<Body>) -> Response<Body> {
    hub.clone().oneshot(request).await.unwrap()
}

async fn text(answer: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_publisher_without_rights_is_rejected_before_the_body_is_requested() {
    let mut options = Options::default();
    options.mercure = Some(Mercure::default());
    let hub = hub(options);
    for (target, header) in
        [("/events/a", TEXT), ("/events", NDJSON), ("/events?topic=a", FORM), (MERCURE, FORM)]
    {
        let body = Pieces::new(&["topic=a&data=x"]);
        let asked = Arc::clone(&body.asked);
        let answer = ask(&hub, post(target, header, body)).await;
        assert!(matches!(answer.status().as_u16(), 401 | 403), "{target}: {}", answer.status());
        assert_eq!(asked.load(Ordering::SeqCst), 0, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_without_rights_is_rejected_before_the_body_of_a_query_is_requested() {
    let mut mercure = Mercure::default();
    mercure.public_url = Some("https://hub.example".parse().unwrap());
    let hub = hub({
        let mut options = Options::default();
        options.anonymous = Rights::none();
        options.mercure = Some(mercure);
        options
    });
    let body = Pieces::new(&["match=a"]);
    let asked = Arc::clone(&body.asked);
    let request = Request::builder().method("QUERY").uri(MERCURE).body(Body::new(body)).unwrap();
    let answer = ask(&hub, request).await;
    assert_eq!((answer.status(), asked.load(Ordering::SeqCst)), (StatusCode::UNAUTHORIZED, 0));
}

#[tokio::test(start_paused = true)]
async fn a_line_that_may_not_be_published_is_rejected_before_the_next_has_arrived() {
    let hub = hub(publishing_to("a/*", Options::default()));
    let pieces = ["{\"topic\":\"a/1\",\"data\":1}\n{\"topic\":\"b\",", "\"data\":2}\n"];
    let answer = ask(&hub, post("/events", NDJSON, Pieces::new(&pieces))).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let text = text(answer).await;
    assert!(
        text.contains("\"line\":2") && text.contains("nothing of the batch was stored"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_is_refused_before_it_has_ended() {
    let hub = hub(publishing_to("*", {
        let mut options = Options::default();
        options.event_bytes = 1 << 10;
        options
    }));
    const ZEROS: &str = "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,\
                         0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,";
    let mut pieces = vec!["{\"topic\":\"a\",\"data\":["];
    pieces.extend([ZEROS; 1 << 10]);
    let answer = ask(&hub, post("/events", NDJSON, Pieces::new(&pieces))).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let text = text(answer).await;
    assert!(text.contains("line 1: more than the 71680 bytes"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_body_declared_too_large_is_rejected_before_it_is_requested() {
    let hub = hub(publishing_to("*", {
        let mut options = Options::default();
        options.event_bytes = 100;
        options.batch_bytes = 100;
        options
    }));
    for (target, header, declared) in
        [("/events/a", TEXT, 101), ("/events", NDJSON, 101), (MERCURE, FORM, 301 + (64 << 10))]
    {
        let body = Pieces { declared: Some(declared), ..Pieces::new(&["x"]) };
        let asked = Arc::clone(&body.asked);
        let answer = ask(&hub, post(target, header, body)).await;
        assert_eq!(
            (answer.status(), asked.load(Ordering::SeqCst)),
            (StatusCode::PAYLOAD_TOO_LARGE, 0),
            "{target}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_over_its_rate_is_rejected_before_the_batch_is_requested() {
    let rate = PublishRate::new("1/h".parse().ok());
    let mut options = Options::default();
    options.publish_rate = rate;
    options.body_timeout = Duration::from_secs(1);
    let hub = hub(publishing_to("*", options));
    let line = "{\"topic\":\"a\",\"data\":1}";
    let body = Pieces { ends: true, ..Pieces::new(&[line]) };
    assert_eq!(ask(&hub, from(post("/events", NDJSON, body))).await.status(), StatusCode::CREATED);
    let body = Pieces::new(&[line]);
    let asked = Arc::clone(&body.asked);
    let answer = ask(&hub, from(post("/events", NDJSON, body))).await;
    assert_eq!((answer.status(), asked.load(Ordering::SeqCst)), (StatusCode::TOO_MANY_REQUESTS, 0));
}

/// The same request from one client.
fn from(mut request: Request<Body>) -> Request<Body> {
    let peer: std::net::SocketAddr = "192.0.2.1:1".parse().unwrap();
    request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
    request
}

/// With five events an hour: how many events of a batch are charged though none is stored.
async fn taken_off_by(pieces: &[&'static str], ends: bool, expected: Option<u16>) -> usize {
    const LINE: &str = "{\"topic\":\"a\",\"data\":1}\n";
    let rate = PublishRate::new("5/h".parse().ok());
    let mut options = Options::default();
    options.publish_rate = rate;
    options.body_timeout = Duration::from_secs(1);
    let hub = hub(publishing_to("a", options));
    let body = Pieces { ends, ..Pieces::new(pieces) };
    let answer = ask(&hub, from(post("/events", NDJSON, body)));
    match expected {
        Some(status) => assert_eq!(answer.await.status(), status),
        None => {
            assert!(
                timeout(Duration::from_millis(500), answer).await.is_err(),
                "it waits for more"
            );
        }
    }
    let mut left = 0;
    loop {
        let body = Pieces { ends: true, ..Pieces::new(&[LINE]) };
        match ask(&hub, from(post("/events", NDJSON, body))).await.status() {
            StatusCode::CREATED => left += 1,
            status => {
                assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                return 5 - left;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_were_read_of_a_batch_that_fails_count_for_the_publish_rate() {
    let good = "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a\",\"data\":2}\n";
    for (last, ends, status, expected) in [
        ("no JSON\n", true, Some(400), 3),
        ("{\"topic\":\"b\",\"data\":3}\n", true, Some(403), 3),
        ("a line that does not end", false, Some(408), 2),
        ("the client leaves", false, None, 2),
    ] {
        assert_eq!(taken_off_by(&[good, last], ends, status).await, expected, "{last}");
    }
    assert_eq!(taken_off_by(&["a line that does not end"], false, Some(408)).await, 1);
    assert_eq!(taken_off_by(&["\n\n\n"], true, Some(400)).await, 1, "a batch without events");
    assert_eq!(
        taken_off_by(&[good, good, good], true, Some(413)).await,
        5,
        "more than may come at once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_what_is_too_large_names_the_option_that_sets_the_limit() {
    let long: &'static str = Box::leak("x".repeat(101).into_boxed_str());
    let line: &'static str =
        Box::leak(format!("{{\"topic\":\"a\",\"data\":\"{long}\"}}\n").into_boxed_str());
    let form: &'static str = Box::leak(format!("topic=a&data={long}").into_boxed_str());
    let small = |event_bytes, batch_bytes| {
        let mut options = Options::default();
        options.event_bytes = event_bytes;
        options.batch_bytes = batch_bytes;
        options
    };
    for (target, header, body, options, option) in [
        ("/events/a", TEXT, long, small(100, 1000), "--event-bytes"),
        ("/events", NDJSON, line, small(100, 1000), "--event-bytes"),
        (MERCURE, FORM, form, small(100, 1000), "--event-bytes"),
        ("/events", NDJSON, line, small(1000, 100), "--batch-bytes"),
    ] {
        let hub = hub(publishing_to("*", options));
        let body = Pieces { ends: true, ..Pieces::new(&[body]) };
        let answer = ask(&hub, post(target, header, body)).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE, "{target}");
        let text = text(answer).await;
        assert!(text.contains(&format!("or raise {option}")), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn above_the_budget_a_body_waits_unread_and_is_then_rejected_for_now() {
    let mut options = Options::default();
    options.body_budget = BodyBudget::new(16 << 10);
    let hub = hub(publishing_to("*", options));
    // Two bodies that never end hold everything that is not reserved for small ones.
    let open = |declared| {
        let body = Pieces { declared: Some(declared), ..Pieces::new(&["x"]) };
        let hub = hub.clone();
        tokio::spawn(async move { ask(&hub, post("/events/a", TEXT, body)).await.status() })
    };
    let holders = [8 << 10, 6 << 10].map(open);
    tokio::task::yield_now().await;
    let small = Pieces { declared: Some(1), ends: true, ..Pieces::new(&["x"]) };
    assert_eq!(ask(&hub, post("/events/a", TEXT, small)).await.status(), StatusCode::CREATED);
    let body = Pieces { declared: Some(2 << 10), ends: true, ..Pieces::new(&["x"]) };
    let asked = Arc::clone(&body.asked);
    let answer = ask(&hub, post("/events/a", TEXT, body)).await;
    assert_eq!(
        (answer.status(), asked.load(Ordering::SeqCst)),
        (StatusCode::SERVICE_UNAVAILABLE, 0)
    );
    assert_eq!(answer.headers()["retry-after"], "1");
    // A later one has its turn when those have reached the body timeout.
    sleep(Duration::from_secs(22)).await;
    let body = Pieces { declared: Some(2 << 10), ends: true, ..Pieces::new(&["x"]) };
    assert_eq!(ask(&hub, post("/events/a", TEXT, body)).await.status(), StatusCode::CREATED);
    for holder in holders {
        assert_eq!(holder.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_gives_its_room_back() {
    let mut options = Options::default();
    options.body_budget = BodyBudget::new(2 << 10);
    let hub = hub(publishing_to("*", options));
    for _ in 0..3 {
        let body = Pieces { declared: Some(1 << 10), ..Pieces::new(&["x"]) };
        let left = timeout(Duration::from_secs(1), ask(&hub, post("/events/a", TEXT, body))).await;
        assert!(left.is_err(), "it waits for the rest of its body");
    }
    let body = Pieces { declared: Some(1 << 10), ends: true, ..Pieces::new(&["x"]) };
    assert_eq!(ask(&hub, post("/events/a", TEXT, body)).await.status(), StatusCode::CREATED);
}

/// Very many small events take far more memory than their text.
#[tokio::test(start_paused = true)]
async fn a_batch_counts_as_what_its_events_take() {
    let mut options = Options::default();
    options.body_budget = BodyBudget::new(64 << 10);
    let hub = hub(publishing_to("*", options));
    let lines = ["{\"topic\":\"a\",\"data\":\"\"}\n"; 1000];
    let body = Pieces { declared: Some(24_000), ..Pieces::new(&lines) };
    let answer = ask(&hub, post("/events", NDJSON, body)).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(text(answer).await.contains("publish smaller batches"));
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_batch_counts_until_the_client_has_taken_it() {
    let mut options = Options::default();
    options.body_budget = BodyBudget::new(256 << 10);
    let hub = hub(publishing_to("*", options));
    let batch =
        || Pieces { ends: true, ..Pieces::new(&["{\"topic\":\"a\",\"data\":\"\"}\n"; 400]) };
    let mut untaken = Vec::new();
    let refused = loop {
        let answer = ask(&hub, post("/events", NDJSON, batch())).await;
        match answer.status() {
            StatusCode::CREATED => untaken.push(answer),
            status => break status,
        }
    };
    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
    assert!((5..20).contains(&untaken.len()), "{}", untaken.len());
    drop(untaken);
    assert_eq!(ask(&hub, post("/events", NDJSON, batch())).await.status(), StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_at_the_start_of_a_batch_is_passed_over() {
    let hub = hub(publishing_to("*", Options::default()));
    let line = "{\"topic\":\"a\",\"data\":1}\n";
    for pieces in
        [&["\u{feff}{\"topic\":\"a\",\"data\":1}"][..], &["\u{feff}", line], &["\u{feff}\n", line]]
    {
        let body = Pieces { ends: true, ..Pieces::new(pieces) };
        assert_eq!(
            ask(&hub, post("/events", NDJSON, body)).await.status(),
            StatusCode::CREATED,
            "{pieces:?}"
        );
    }
    for pieces in [&[line, "\u{feff}", line][..], &["\u{feff}\u{feff}", line]] {
        let body = Pieces { ends: true, ..Pieces::new(pieces) };
        let answer = ask(&hub, post("/events", NDJSON, body)).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{pieces:?}");
    }
    let body = Pieces { ends: true, ..Pieces::new(&["\u{feff}"]) };
    assert!(
        text(ask(&hub, post("/events", NDJSON, body)).await).await.contains("the batch is empty")
    );
}

/// Otherwise the connection would be reset, and the client would not see the response.
#[tokio::test(start_paused = true)]
async fn the_rest_of_a_rejected_body_is_read_unless_the_client_waits_for_100_continue() {
    let hub = hub(Options::default());
    let refused = async |expect: bool| {
        let body = Pieces::new(&["x"; 5]);
        let asked = Arc::clone(&body.asked);
        let mut request = post("/events/a", TEXT, body);
        if expect {
            request.headers_mut().insert("expect", "100-continue".parse().unwrap());
        }
        assert_eq!(ask(&hub, request).await.status(), StatusCode::FORBIDDEN);
        sleep(Duration::from_secs(10)).await;
        asked.load(Ordering::SeqCst)
    };
    let (read, waiting) = (refused(false).await, refused(true).await);
    assert!(read > 5 && waiting == 0, "{read} {waiting}");
}
