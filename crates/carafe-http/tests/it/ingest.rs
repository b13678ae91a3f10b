//! Streaming ingest: bodies that stay open, without sockets and with paused time.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use carafe_http::{BodyBudget, Options, PublishRate, Rights, router};
use carafe_hub::{Access, Delivery, Grant, Hub, Start, Subscribe, Subscription};
use carafe_log::{Entry, IdempotencyKey, Log, MemoryLimits, MemoryLog, Outcome, Publication};
use carafe_protocol::{EventType, Topic, TopicMatcher};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use crate::slow_log::SlowLog;

pub(crate) const STREAM: &str = "text/event-stream";
const NDJSON: &str = "application/x-ndjson";
const TEXT: &str = "text/plain";
const SECOND: Duration = Duration::from_secs(1);

/// A hub that everybody may publish to.
pub(crate) struct Place {
    pub(crate) hub: Hub,
    app: Router,
}

impl Place {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut Options)) -> Self {
        Self::on(MemoryLog::default(), set)
    }

    pub(crate) fn on(log: impl Log + 'static, set: impl FnOnce(&mut Options)) -> Self {
        let hub = Hub::new(log);
        let mut options = Options::default();
        options.anonymous = Rights::all();
        set(&mut options);
        Self { app: router(hub.clone(), options), hub }
    }

    /// Sends a whole body.
    async fn send(&self, target: &str, kind: &str, body: impl Into<Body>) -> Answer {
        ask(self.app.clone(), request(target, kind, body.into())).await
    }

    /// Opens a request whose body is sent piece by piece.
    pub(crate) fn open(&self, target: &str, kind: &str) -> Open {
        self.open_by(|body| request(target, kind, body))
    }

    fn open_by(&self, request: impl FnOnce(Body) -> Request<Body>) -> Open {
        let (sender, body) = open_body();
        Open { sender: Some(sender), answer: tokio::spawn(ask(self.app.clone(), request(body))) }
    }

    /// A subscription to everything that is stored from the start.
    pub(crate) async fn everything(&self) -> Subscription {
        let request = Subscribe::to_everything().from(Start::Earliest).with_access(Access::all());
        self.hub.subscribe(request).await.unwrap()
    }

    /// All events that are stored now.
    async fn stored(&self) -> Vec<Publication> {
        let (mut subscription, mut entries) = (self.everything().await, Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(delivery)) =
            std::pin::Pin::new(&mut subscription).poll_next(&mut cx)
        {
            if let Delivery::Entry(entry) = delivery {
                entries.push(entry.publication.clone());
            }
        }
        entries
    }

    async fn data(&self) -> Vec<String> {
        self.stored().await.iter().map(|it| it.data().to_owned()).collect()
    }
}

fn request(target: &str, kind: &str, body: Body) -> Request<Body> {
    Request::post(target).header("content-type", kind).body(body).unwrap()
}

type Piece = Result<Bytes, io::Error>;

fn open_body() -> (mpsc::UnboundedSender<Piece>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let pieces = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|piece: Piece| (piece, receiver))
    });
    (sender, Body::from_stream(pieces))
}

#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    connection: Option<String>,
    kind: String,
    body: Value,
}

async fn ask(app: Router, request: Request<Body>) -> Answer {
    let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let header = |name| parts.headers.get(name).map(|it| it.to_str().unwrap().to_owned());
    Answer {
        status: parts.status.as_u16(),
        connection: header("connection"),
        kind: header("content-type").unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap(),
    }
}

impl Answer {
    #[track_caller]
    fn is(&self, status: u16, stored: u64, repeated: u64) -> &Value {
        let counts = (self.body["stored"].as_u64(), self.body["repeated"].as_u64());
        assert_eq!((self.status, counts), (status, (Some(stored), Some(repeated))), "{self:?}");
        &self.body
    }

    /// Checks that it is a problem of this kind, and that the connection is closed after it.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, problem: &str, stored: u64) -> String {
        self.is(status, stored, 0);
        assert_eq!(self.body["type"], format!("urn:carafe:problem:{problem}"), "{self:?}");
        assert_eq!(
            (&*self.kind, self.connection.as_deref()),
            ("application/problem+json", Some("close"))
        );
        self.body["detail"].as_str().unwrap().to_owned()
    }
}

/// A request whose body is open.
pub(crate) struct Open {
    sender: Option<mpsc::UnboundedSender<Piece>>,
    pub(crate) answer: JoinHandle<Answer>,
}

impl Open {
    #[track_caller]
    pub(crate) fn send(&self, piece: impl Into<Bytes>) {
        self.sender.as_ref().unwrap().send(Ok(piece.into())).unwrap();
    }

    pub(crate) fn breaks(&self) {
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        self.sender.as_ref().unwrap().send(Err(broken)).unwrap();
    }

    pub(crate) async fn end(mut self) -> Answer {
        self.sender = None;
        self.answer.await.unwrap()
    }

    /// The answer, although the body is open.
    async fn early(self) -> Answer {
        self.answer.await.unwrap()
    }
}

pub(crate) async fn next_data(subscription: &mut Subscription) -> String {
    loop {
        if let Some(Delivery::Entry(entry)) = subscription.next().await {
            return Arc::<Entry>::clone(&entry).data().to_owned();
        }
    }
}

fn event(data: &str) -> Publication {
    Publication::new(Topic::new("a").unwrap(), data)
}

fn typed(data: &str, event_type: &str) -> Publication {
    event(data).with_type(EventType::new(event_type).unwrap())
}

fn keyed(publication: Publication, key: &str) -> Publication {
    publication.with_key(IdempotencyKey::new(key).unwrap())
}

/// Sends a body in all splits into two pieces, and byte by byte: the stored events are always
/// these.
async fn check(target: &str, kind: &str, body: &str, expected: &[Publication]) {
    let body = body.as_bytes();
    for cut in 0..=body.len() {
        let pieces = if cut == 0 {
            body.chunks(1).map(Bytes::copy_from_slice).collect()
        } else {
            vec![Bytes::copy_from_slice(&body[..cut]), Bytes::copy_from_slice(&body[cut..])]
        };
        let place = Place::new();
        let pieces = stream::iter(pieces.into_iter().map(Ok::<_, io::Error>));
        let answer = place.send(target, kind, Body::from_stream(pieces)).await;
        answer.is(if expected.is_empty() { 200 } else { 201 }, expected.len() as u64, 0);
        assert_eq!(place.stored().await, expected, "{target} {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_is_stored_as_the_standard_says_however_it_is_split() {
    let body = "\u{feff}: hello\nid: 1\ndata: one\n\nevent: brewed\r\ndata: t\u{e9}a\r\ndata\r\n\r\nevent: message\r\
                data:three\r\r\rid: 4\nretry: 4000\ndata: x\ndata: y\n\nevent: lost\n\ndata: \u{feff}\n\ndata: unfinished\n";
    let expected = [
        keyed(event("one"), "1"),
        typed("t\u{e9}a\n", "brewed"),
        event("three"),
        keyed(event("x\ny").with_retry(4 * SECOND), "4"),
        event("\u{feff}"),
    ];
    check("/events/a", STREAM, body, &expected).await;
}

#[tokio::test(start_paused = true)]
async fn each_line_of_ndjson_is_an_event_however_it_is_split() {
    let body = "\u{feff}{\"data\":\"one\",\"type\":\"brewed\",\"id\":\"1\"}\r\n\n  \n{\"data\":{\"b\": 1}}\n\
                {\"data\":\"three\",\"event\":\"drunk\",\"private\":true}\n{\"data\":\"last\"}";
    let expected = [
        keyed(typed("one", "brewed"), "1"),
        event("{\"b\":1}"),
        typed("three", "drunk").with_private(true),
        event("last"),
    ];
    check("/events/a", NDJSON, body, &expected).await;
}

#[tokio::test(start_paused = true)]
async fn each_line_of_plain_text_is_an_event_however_it_is_split() {
    let body = "\u{feff}one\r\n\n t\u{e9}a \rx\nlast";
    let expected = ["one", "", " t\u{e9}a \rx", "last"].map(event);
    check("/events/a?split=lines", TEXT, body, &expected).await;
    check("/events/a?split=lines", "", "a\n", &[event("a")]).await;
    check("/events/a?split=lines", TEXT, "", &[]).await;
}

#[tokio::test(start_paused = true)]
async fn lines_name_their_own_topics_with_stream() {
    let body =
        "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"b\",\"alternates\":[\"a\"],\"data\":2}\n";
    let (a, b) = (Topic::new("a").unwrap(), Topic::new("b").unwrap());
    let second = Publication::new(b, "2").with_alternates([a]);
    check("/events?stream", NDJSON, body, &[event("1"), second]).await;
}

#[tokio::test(start_paused = true)]
async fn the_query_holds_for_all_events() {
    let place = Place::new();
    let target = "/events/a?topic=b&private&event=token&split=lines";
    place.send(target, TEXT, "x\ny").await.is(201, 2, 0);
    let of_query =
        |data| typed(data, "token").with_alternates([Topic::new("b").unwrap()]).with_private(true);
    assert_eq!(place.stored().await, [of_query("x"), of_query("y")]);
    let place = Place::new();
    place
        .send("/events?stream&private", NDJSON, "{\"topic\":\"a\",\"data\":1}")
        .await
        .is(201, 1, 0);
    assert_eq!(place.stored().await, [event("1").with_private(true)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_delivered_when_its_last_byte_has_arrived() {
    for (target, kind, pieces) in [
        ("/events/a", STREAM, ["data: first\n", "\n", "data: second\r\r", "data: third\n\n"]),
        (
            "/events/a",
            NDJSON,
            ["{\"data\":", "\"first\"}\n", "{\"data\":\"second\"}\n", "{\"data\":\"third\"}"],
        ),
        ("/events/a?split=lines", TEXT, ["fir", "st\n", "second\r\n", "third"]),
    ] {
        let place = Place::new();
        let mut reader = place.everything().await;
        let request = place.open(target, kind);
        request.send(pieces[0]);
        request.send(pieces[1]);
        assert_eq!(next_data(&mut reader).await, "first", "{kind}");
        request.send(pieces[2]);
        assert_eq!(next_data(&mut reader).await, "second", "{kind}");
        request.send(pieces[3]);
        let answer = request.end().await;
        let last = place.hub.position().to_string();
        assert_eq!(answer.is(201, 3, 0)["last"], last);
        assert_eq!((answer.connection, &*answer.kind), (None, "application/json"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_leaves_what_has_arrived_and_no_part_of_an_event() {
    for (target, kind, body) in [
        ("/events/a", STREAM, "data: whole\n\ndata: part\n"),
        ("/events/a", NDJSON, "{\"data\":\"whole\"}\n{\"data\":\"part\"}"),
        ("/events/a?split=lines", TEXT, "whole\npart"),
    ] {
        let place = Place::new();
        let request = place.open(target, kind);
        request.send(body);
        request.breaks();
        request.end().await.refuses(400, "body-broken", 1);
        assert_eq!(place.data().await, ["whole"], "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_has_stored_what_has_arrived() {
    let place = Place::new();
    let mut reader = place.everything().await;
    let request = place.open("/events/a", STREAM);
    request.send("data: first\n\ndata: part\n");
    assert_eq!(next_data(&mut reader).await, "first");
    request.send("\ndata: last\n\n");
    // The handler is dropped at the moment at which it has read that.
    tokio::task::yield_now().await;
    request.answer.abort();
    assert!(request.answer.await.unwrap_err().is_cancelled());
    assert_eq!([next_data(&mut reader).await, next_data(&mut reader).await], ["part", "last"]);
}

/// Lets everything run that does not wait for time.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn events_that_arrive_during_an_append_are_appended_together_and_in_order() {
    let log = SlowLog::new();
    let place = Place::on(log.clone(), |_| {});
    let request = place.open("/events/a?split=lines", TEXT);
    request.send("0\n");
    settle().await;
    (1..=500).for_each(|number| request.send(format!("{number}\n")));
    settle().await;
    assert_eq!(log.batches(), [1], "one append at a time");
    log.let_go(1);
    settle().await;
    assert_eq!(log.batches(), [1, 500]);
    // More than a batch takes.
    (501..=2500).for_each(|number| request.send(format!("{number}\n")));
    settle().await;
    log.let_go(1);
    settle().await;
    let third = log.batches()[2];
    assert!((500..=1000).contains(&third), "{third}");
    // The next one is decoded meanwhile.
    log.let_go(1);
    settle().await;
    let fourth = log.batches()[3];
    assert!((500..=1000).contains(&fourth), "{fourth}");
    log.let_go(10);
    request.end().await.is(201, 2501, 0);
    let expected: Vec<_> = (0..=2500).map(|number| number.to_string()).collect();
    assert_eq!(place.data().await, expected);
}

/// The client has left, and the log is slow: what has arrived is appended by and by.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_the_log_is_slow_has_stored_what_has_arrived() {
    let log = SlowLog::new();
    let place = Place::on(log.clone(), |_| {});
    let request = place.open("/events/a?on_abort=fail", STREAM);
    request.send("data: 1\n\n");
    settle().await;
    request.send("data: 2\n\ndata: 3\n\ndata: part");
    settle().await;
    request.answer.abort();
    settle().await;
    assert!(place.data().await.is_empty());
    log.let_go(2);
    settle().await;
    assert_eq!(
        (place.data().await, end_of(&place)),
        (vec!["1".into(), "2".into(), "3".into()], None)
    );
    log.let_go(1);
    settle().await;
    assert_eq!((log.batches(), end_of(&place)), (vec![1, 2, 1], Some(Outcome::Failed)));
}

/// What has arrived is stored by a task, which a runtime that shuts down drops at once.
#[test]
fn a_runtime_that_shuts_down_drops_a_request_whose_events_are_not_stored() {
    let log = SlowLog::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let place = Place::on(log.clone(), |_| {});
        let request = place.open("/events/a?on_abort=end", STREAM);
        request.send("data: 1\n\ndata: 2\n\n");
        settle().await;
        assert_eq!(log.batches(), [2]);
    });
    drop(runtime);
    assert_eq!(log.batches(), [2], "nothing is tried again");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_busy_makes_the_producer_wait_for_a_while() {
    let log = SlowLog::new();
    let place = Place::on(log.clone(), |_| {});
    log.let_go(1000);
    log.is_busy(10);
    place.send("/events/a?split=lines", TEXT, "1\n2\n").await.is(201, 2, 0);
    log.is_busy(usize::MAX);
    let start = Instant::now();
    let answer = place.send("/events/a?split=lines", TEXT, "3\n").await;
    answer.refuses(503, "unavailable", 0);
    assert_eq!(start.elapsed().as_secs(), 4, "49 pauses of a tenth of a second");
    assert_eq!(place.data().await, ["1", "2"]);
}

/// No wait for the disk counts as the client's silence.
#[tokio::test(start_paused = true)]
async fn a_slow_log_holds_the_producer_back_and_does_not_time_it_out() {
    let log = SlowLog::new();
    let budget = BodyBudget::default();
    let place = Place::on(log.clone(), |options| options.body_budget = budget.clone());
    let request = place.open("/events/a?split=lines", TEXT);
    let line = format!("{}\n", "x".repeat(10_000));
    for _ in 0..1000 {
        request.send(line.clone());
    }
    sleep(100 * SECOND).await;
    assert!(budget.take_peak() < 1 << 20, "the rest is not read");
    log.let_go(1000);
    settle().await;
    sleep(29 * SECOND).await;
    request.end().await.is(201, 1000, 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_sent_twice_is_stored_once_and_an_inherited_id_is_no_key() {
    let place = Place::new();
    let body = "id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\nid: 1\ndata: d\n\n";
    let answer = place.send("/events/a", STREAM, body).await;
    answer.is(201, 3, 1);
    assert_eq!(place.data().await, ["a", "b", "c"]);
    let again = place
        .send("/events/a", NDJSON, "{\"id\":\"2\",\"data\":1}\n{\"id\":\"1\",\"data\":1}")
        .await;
    let last = again.is(200, 0, 2)["last"].clone();
    assert_eq!(last, answer.body["last"], "both ends are the event with the key 1");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_named_with_its_number_and_what_was_stored_before() {
    let long = "x".repeat(65);
    let lines = "/events/a?split=lines";
    for (target, kind, body, status, problem, place) in [
        (
            "/events/a",
            NDJSON,
            "{\"data\":1}\n\n{\"data\":2}\nno JSON\n{\"data\":3}",
            400,
            "bad-line",
            ("line", 4),
        ),
        (
            "/events/a",
            NDJSON,
            "{\"data\":1}\n{\"data\":2}\n{\"data\":3,\"topic\":\"a\"}\n",
            400,
            "bad-line",
            ("line", 3),
        ),
        (
            "/events?stream",
            NDJSON,
            "{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a\",\"data\":2}\n{\"data\":3}\n",
            400,
            "bad-line",
            ("line", 3),
        ),
        (
            "/events/a",
            NDJSON,
            "{\"data\":1}\n{\"data\":2}\n{\"data\":3,\"id\":\"\"}\n",
            400,
            "bad-id",
            ("line", 3),
        ),
        (
            "/events/a",
            NDJSON,
            &format!("{{\"data\":1}}\n{{\"data\":2}}\n{{\"data\":\"{long}\"}}\n"),
            413,
            "too-large",
            ("line", 3),
        ),
        (
            "/events/a",
            STREAM,
            &format!("data: 1\n\n:\n\ndata: 2\n\ndata: {long}\n\n"),
            413,
            "too-large",
            ("event", 3),
        ),
        (
            "/events/a",
            STREAM,
            &format!("data: 1\n\ndata: 2\n\ndata: {}", "x".repeat(9 << 10)),
            413,
            "too-large",
            ("event", 3),
        ),
        (
            "/events/a",
            STREAM,
            "data: 1\n\ndata: 2\n\nid: \u{1}\ndata: 3\n\ndata: 4\n\n",
            400,
            "bad-id",
            ("event", 3),
        ),
        (
            "/events/a",
            STREAM,
            "data: 1\n\ndata: 2\n\nevent: carafe.end\ndata: 3\n\ndata: 4\n\n",
            400,
            "bad-event-type",
            ("event", 3),
        ),
        (lines, TEXT, &format!("1\n2\n{long}\n"), 413, "too-large", ("line", 3)),
        (lines, TEXT, &format!("1\n2\n{}", "x".repeat(9 << 10)), 413, "too-large", ("line", 3)),
    ] {
        let place_of = |value: &Value| value[place.0].as_u64();
        let hub = Place::with(|options| options.event_bytes = 64);
        let request = hub.open(target, kind);
        request.send(body.to_owned());
        let answer = request.early().await;
        let detail = answer.refuses(status, problem, 2);
        assert_eq!(place_of(&answer.body), Some(place.1), "{body} {answer:?}");
        assert!(detail.starts_with(&format!("{} {}: ", place.0, place.1)), "{detail}");
        assert!(detail.ends_with("; 2 events before that are stored"), "{detail}");
        assert_eq!(hub.data().await, ["1", "2"], "{body}");
        assert_eq!(answer.body["last"], hub.hub.position().to_string());
    }
    let place = Place::new();
    let answer = place.send(lines, TEXT, &b"1\n2\n\xff\n"[..]).await;
    answer.refuses(400, "bad-utf-8", 2);
    assert_eq!(answer.body["line"], 3);
}

/// The log takes a batch as a whole or not at all.
#[tokio::test(start_paused = true)]
async fn an_event_that_the_log_rejects_takes_none_of_those_before_it_along() {
    let log = MemoryLog::new(MemoryLimits::default().with_bytes(4000));
    let place = Place::on(log, |_| {});
    let body = format!("1\n2\n3\n4\n5\n{}\n7\n", "x".repeat(4000));
    let answer = place.send("/events/a?split=lines", TEXT, body).await;
    answer.refuses(413, "too-large", 5);
    assert_eq!(answer.body["line"], 6);
    assert_eq!(place.data().await, ["1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn rights_are_checked_before_the_body_is_read_and_for_each_line() {
    let place = Place::with(|options| {
        let grant = Grant::to([TopicMatcher::parse("a/*").unwrap()]);
        options.anonymous = Rights::none().with_publish(grant);
    });
    for (target, kind) in
        [("/events/b", STREAM), ("/events/a/1?topic=b", NDJSON), ("/events/b?split=lines", TEXT)]
    {
        let answer = place.open(target, kind).early().await;
        assert_eq!((answer.status, answer.body.get("stored")), (403, None), "{answer:?}");
    }
    let request = place.open("/events?stream", NDJSON);
    request.send("{\"topic\":\"a/1\",\"data\":1}\n{\"topic\":\"b\",\"data\":2}\n");
    let answer = request.early().await;
    answer.refuses(403, "forbidden", 1);
    assert_eq!(answer.body["line"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_makes_no_sense_is_rejected() {
    let place = Place::new();
    for (target, kind, status) in [
        ("/events", STREAM, 415),
        ("/events?split=lines", TEXT, 415),
        ("/events?stream", STREAM, 415),
        ("/events/a?stream", TEXT, 400),
        ("/events?stream", TEXT, 400),
        ("/events/a?split=words", TEXT, 400),
        ("/events/a?split=lines", NDJSON, 400),
        ("/events/a?split=lines", STREAM, 400),
        ("/events/a?id=7", STREAM, 400),
        ("/events/a?retry=1000", NDJSON, 400),
        ("/events?stream&splti=lines", NDJSON, 400),
    ] {
        let answer = place.send(target, kind, "data: 1\n\n").await;
        assert_eq!(answer.status, status, "{target} {answer:?}");
        assert_eq!(answer.kind, "application/problem+json");
    }
    assert!(place.data().await.is_empty());
    place.send("/events/a?stream", STREAM, "data: 1\n\n").await.is(201, 1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_stream_is_stored_whole_or_not_at_all() {
    let place = Place::new();
    let body = "{\"topic\":\"a\",\"data\":1}\nno JSON\n";
    let answer = place.send("/events", NDJSON, body).await;
    assert_eq!((answer.status, answer.body.get("stored")), (400, None), "{answer:?}");
    assert!(place.data().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_request_and_any_sign_of_life_keeps_it() {
    for (target, kind, sign) in [
        ("/events/a", STREAM, ":\n"),
        ("/events/a", NDJSON, "\n"),
        ("/events/a?split=lines", TEXT, "still"),
    ] {
        let place = Place::with(|options| options.body_timeout = 10 * SECOND);
        let request = place.open(target, kind);
        for _ in 0..20 {
            sleep(9 * SECOND).await;
            request.send(sign);
        }
        // Neither an empty piece nor silence is a sign.
        sleep(9 * SECOND).await;
        request.send("");
        let (start, answer) = (Instant::now(), request.early().await);
        assert_eq!(start.elapsed(), SECOND, "{kind}");
        let detail = answer.refuses(408, "body-timeout", 0);
        assert!(detail.contains("sent nothing for too long") && detail.contains("--body-timeout"));
    }
}

/// Each byte is a sign of life, but none keeps the memory of a large event for ever.
#[tokio::test(start_paused = true)]
async fn a_large_event_has_to_arrive_within_the_body_timeout() {
    for (target, kind, begin) in [
        ("/events/a", STREAM, "data: "),
        ("/events/a", NDJSON, "{\"data\":\""),
        ("/events/a?split=lines", TEXT, ""),
    ] {
        let place = Place::with(|options| options.body_timeout = 10 * SECOND);
        let request = place.open(target, kind);
        request.send(format!("{begin}{}", "x".repeat(2000)));
        let start = Instant::now();
        let answer = loop {
            if request.answer.is_finished() {
                break request.early().await;
            }
            let _ = request.sender.as_ref().unwrap().send(Ok("x".into()));
            sleep(SECOND).await;
        };
        assert!((10..=11).contains(&start.elapsed().as_secs()), "{kind} {:?}", start.elapsed());
        assert!(answer.refuses(408, "body-timeout", 0).contains("an event did not arrive"));
    }
    // One after the other is fine.
    let place = Place::with(|options| options.body_timeout = 10 * SECOND);
    let request = place.open("/events/a?split=lines", TEXT);
    for _ in 0..10 {
        request.send(format!("{}\n{}", "x".repeat(2000), "y".repeat(2000)));
        sleep(9 * SECOND).await;
    }
    request.end().await.is(201, 11, 0);
}

fn from_one_client(mut request: Request<Body>) -> Request<Body> {
    let peer: std::net::SocketAddr = "192.0.2.1:1".parse().unwrap();
    request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
    request
}

#[tokio::test(start_paused = true)]
async fn a_producer_over_its_rate_waits_and_is_not_refused() {
    let place = Place::with(|options| {
        options.publish_rate = PublishRate::new("2/s".parse().ok());
        options.body_timeout = 10 * SECOND;
    });
    let request =
        place.open_by(|body| from_one_client(request("/events/a?split=lines", TEXT, body)));
    let start = Instant::now();
    request.send("x\n".repeat(62));
    request.end().await.is(201, 62, 0);
    assert_eq!(start.elapsed().as_secs(), 30, "a burst of two, and then two a second");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_rate_that_is_longer_than_the_body_timeout_is_refused() {
    let place = Place::with(|options| options.publish_rate = PublishRate::new("2/h".parse().ok()));
    let request =
        place.open_by(|body| from_one_client(request("/events/a?split=lines", TEXT, body)));
    request.send("x\n".repeat(4));
    let answer = request.early().await;
    answer.refuses(429, "too-fast", 2);
    assert_eq!(answer.body["line"], 3);
}

/// It may wait for hours, and other requests need memory meanwhile.
#[tokio::test(start_paused = true)]
async fn an_event_that_waits_for_the_rate_holds_memory_of_the_budget() {
    let budget = BodyBudget::default();
    let place = Place::with(|options| {
        options.body_budget = budget.clone();
        options.publish_rate = PublishRate::new("2/h".parse().ok());
        options.body_timeout = 3600 * SECOND;
    });
    let request =
        place.open_by(|body| from_one_client(request("/events/a?split=lines", TEXT, body)));
    request.send(format!("{}\n", "x".repeat(20_000)).repeat(3));
    // The time stands still for as long as this task is ready.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let _ = budget.take_peak();
    assert!(budget.take_peak() >= 20_000, "what is held now is the least that the peak can be");
    drop(request);
}

/// The body is far larger than the memory for all bodies.
#[tokio::test(start_paused = true)]
async fn an_endless_body_takes_a_bounded_amount_of_memory() {
    let budget = BodyBudget::new(256 << 10);
    let place = Place::with(|options| options.body_budget = budget.clone());
    for (target, kind, piece) in [
        ("/events/a", STREAM, format!("data: {}\n\n", "x".repeat(100)).repeat(100)),
        ("/events/a", NDJSON, "{\"data\":1}\n".repeat(500)),
        ("/events/a?split=lines", TEXT, format!("{}\n", "x".repeat(20_000))),
    ] {
        let pieces = stream::iter((0..400).map(move |_| Ok::<_, io::Error>(piece.clone())));
        let answer = place.send(target, kind, Body::from_stream(pieces)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let peak = budget.take_peak();
        assert!(peak <= 128 << 10, "half of it is for one client, in any case: {peak}");
        assert_eq!(budget.take_peak(), 0, "all of it is given back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_may_be_open_at_once() {
    let budget = BodyBudget::default();
    let place = Place::with(|options| options.body_budget = budget.clone());
    let requests: Vec<_> = (0..1000)
        .map(|number| {
            let target = format!("/events/{number}");
            place.open_by(|body| from_one_client(request(&target, STREAM, body)))
        })
        .collect();
    requests.iter().for_each(|request| request.send("data: x\n\n"));
    let mut reader = place.everything().await;
    for _ in 0..1000 {
        next_data(&mut reader).await;
    }
    assert!(budget.take_peak() < 8 << 20);
    for request in requests {
        request.end().await.is(201, 1, 0);
    }
    let _ = budget.take_peak();
    assert_eq!(budget.take_peak(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_open_than_there_is_memory_for() {
    let place = Place::with(|options| options.body_budget = BodyBudget::new(16 << 10));
    let open: Vec<_> = (0..14).map(|_| place.open("/events/a", STREAM)).collect();
    tokio::task::yield_now().await;
    let answer = place.open("/events/a", STREAM).early().await;
    assert_eq!((answer.status, answer.body.get("stored")), (503, None), "{answer:?}");
    drop(open);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_shuts_down_answers_with_what_was_stored() {
    let place = Place::new();
    let mut reader = place.everything().await;
    let requests = [place.open("/events/a", STREAM), place.open("/events/a?split=lines", TEXT)];
    requests[0].send("data: first\n\ndata: part\n");
    assert_eq!(next_data(&mut reader).await, "first");
    requests[1].send("second\npart");
    assert_eq!(next_data(&mut reader).await, "second");
    let _drain = place.hub.drain();
    for request in requests {
        let detail = request.early().await.refuses(503, "unavailable", 1);
        assert!(detail.contains("shutting down"), "{detail}");
    }
}

#[tokio::test(start_paused = true)]
async fn rights_that_end_end_the_request() {
    let place = Place::new();
    let rights = Rights::all().with_expiry(SystemTime::now() + 60 * SECOND);
    let request = place.open_by(|body| {
        let mut request = request("/events/a", STREAM, body);
        request.extensions_mut().insert(rights);
        request
    });
    request.send("data: first\n\n");
    let start = Instant::now();
    let signs = async {
        loop {
            sleep(SECOND).await;
            let _ = request.sender.as_ref().unwrap().send(Ok(":\n".into()));
            if request.answer.is_finished() {
                break;
            }
        }
    };
    signs.await;
    assert!((59..=62).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    request.early().await.refuses(403, "forbidden", 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_hub_is_no_silence() {
    let place = Place::with(|options| {
        options.publish_rate = PublishRate::new("1/m".parse().ok());
        options.body_timeout = 90 * SECOND;
    });
    let request =
        place.open_by(|body| from_one_client(request("/events/a?split=lines", TEXT, body)));
    request.send("1\n2\n3\n");
    // The third is stored after two minutes. From then on the client may be silent again.
    sleep(200 * SECOND).await;
    request.send("4\n");
    request.end().await.is(201, 4, 0);
}

#[tokio::test(start_paused = true)]
async fn a_compressed_body_is_rejected() {
    let place = Place::new();
    let mut request = request("/events/a", STREAM, Body::from("x"));
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(ask(place.app.clone(), request).await.status, 415);
}

pub(crate) fn end_of(place: &Place) -> Option<Outcome> {
    place.hub.topic_state(&Topic::new("a").unwrap()).end.map(|end| end.outcome)
}

/// How a request ends, and whether its client is there then.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Breaks,
    Leaves,
    FallsSilent,
    Completes,
    IsWrong,
    IsDrained,
}

#[tokio::test(start_paused = true)]
async fn on_abort_ends_the_topic_of_a_producer_that_is_gone_and_of_no_other() {
    use Ending::{Breaks, Completes, FallsSilent, IsDrained, IsWrong, Leaves};
    for (query, outcome) in [
        ("", None),
        ("&on_abort=keep", None),
        ("&on_abort=end", Some(Outcome::Done)),
        ("&on_abort=fail", Some(Outcome::Failed)),
    ] {
        for ending in [Breaks, Leaves, FallsSilent, Completes, IsWrong, IsDrained] {
            let place = Place::new();
            let mut reader = place.everything().await;
            let request = place.open(&format!("/events/a?topic=b{query}"), NDJSON);
            request.send("{\"data\":1}\n{\"data\":");
            assert_eq!(next_data(&mut reader).await, "1");
            match ending {
                Breaks => request.breaks(),
                Leaves => request.answer.abort(),
                FallsSilent => {}
                Completes => request.send("2}"),
                IsWrong => request.send("}\n"),
                IsDrained => drop(place.hub.drain()),
            }
            if !matches!(ending, FallsSilent | IsWrong | IsDrained) {
                drop(request.sender);
            }
            let _ = request.answer.await;
            // What was spawned when the client left.
            sleep(SECOND).await;
            let expected = outcome.filter(|_| matches!(ending, Breaks | Leaves | FallsSilent));
            assert_eq!(end_of(&place), expected, "{query} {ending:?}");
        }
    }
}

/// The hub may notice only late that the first connection is gone.
#[tokio::test(start_paused = true)]
async fn on_abort_leaves_a_topic_to_a_producer_that_has_come_back() {
    let place = Place::new();
    let mut reader = place.everything().await;
    let first = place.open("/events/a?on_abort=fail", STREAM);
    first.send("data: 1\n\n");
    assert_eq!(next_data(&mut reader).await, "1");
    let second = place.open("/events/a?on_abort=fail", STREAM);
    second.send("data: 2\n\n");
    assert_eq!(next_data(&mut reader).await, "2");
    first.breaks();
    first.end().await.refuses(400, "body-broken", 1);
    assert_eq!(end_of(&place), None);
    second.breaks();
    second.end().await.refuses(400, "body-broken", 1);
    assert_eq!(end_of(&place), Some(Outcome::Failed));
}

#[tokio::test(start_paused = true)]
async fn on_abort_needs_a_topic_and_a_known_value() {
    let place = Place::new();
    for (target, kind) in [
        ("/events/a?on_abort=explode", STREAM),
        ("/events?stream&on_abort=end", NDJSON),
        ("/events/a?on_abort=end", TEXT),
    ] {
        let answer = place.send(target, kind, "").await;
        assert_eq!((answer.status, &*answer.kind), (400, "application/problem+json"), "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_asked_to_stop_gets_its_answer_at_once() {
    let place = Place::new();
    let (topic, mut reader) = (Topic::new("a").unwrap(), place.everything().await);
    let request = place.open("/events/a?on_abort=fail", STREAM);
    request.send("data: first\n\ndata: part\n");
    assert_eq!(next_data(&mut reader).await, "first");
    // Another topic is none of its business.
    place.hub.stop(Topic::new("b").unwrap()).await.unwrap();
    request.send("\n");
    assert_eq!(next_data(&mut reader).await, "part");
    let stop = Publication::stop(topic.clone()).with_data("enough");
    let position = place.hub.publish(stop).await.unwrap().position.to_string();
    let answer = request.early().await;
    let expected = json!({"topic": "a", "reason": "enough", "position": position});
    assert_eq!(answer.is(201, 2, 0)["stop"], expected);
    assert_eq!(answer.connection.as_deref(), Some("close"));
    // Also if it comes later, until the topic ends.
    let answer = place.open("/events/a", STREAM).early().await;
    assert_eq!(answer.is(200, 0, 0)["stop"], expected);
    assert_eq!(end_of(&place), None);
    place.hub.end(topic, Outcome::Cancelled).await.unwrap();
    place.send("/events/a", STREAM, "").await.is(200, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_an_ended_topic_is_refused_and_one_that_is_known_is_not() {
    let place = Place::new();
    let body = "id: 1\ndata: 1\n\nid: 2\ndata: 2\n\n";
    place.send("/events/a", STREAM, body).await.is(201, 2, 0);
    place.hub.end(Topic::new("a").unwrap(), Outcome::Done).await.unwrap();
    place.send("/events/a", STREAM, body).await.is(200, 0, 2);
    // The log rejects them as one batch, and the answer names the event all the same.
    let request = place.open("/events/a", STREAM);
    request.send(format!("{body}id: 3\ndata: 3\n\n"));
    let answer = request.early().await;
    assert_eq!(answer.is(409, 0, 2)["event"], 3);
    let request = place.open("/events?stream", NDJSON);
    request.send("{\"topic\":\"b\",\"data\":1}\n{\"topic\":\"a\",\"data\":2}\n{\"topic\":\"b\",\"data\":3}\n");
    assert_eq!(request.early().await.is(409, 1, 0)["line"], 2);
}

#[tokio::test(start_paused = true)]
async fn end_ends_the_topic_after_a_complete_body_only() {
    let place = Place::new();
    let request = place.open("/events/a?end=cancelled&reason=enough", STREAM);
    request.send("data: 1\n\n");
    request.end().await.is(201, 1, 0);
    assert_eq!(end_of(&place), Some(Outcome::Cancelled));
    // Another outcome than the topic has.
    let answer = place.send("/events/a?end=done", STREAM, "").await;
    answer.refuses(409, "topic-ended", 0);
    assert_eq!(answer.body["outcome"], "cancelled");
    let place = Place::new();
    let request = place.open("/events/a?end=done", NDJSON);
    request.send("{\"data\":1}\nno JSON\n");
    request.early().await.refuses(400, "bad-line", 1);
    let request = place.open("/events/a?end=done", NDJSON);
    request.send("{\"data\":2}\n");
    request.breaks();
    request.end().await.refuses(400, "body-broken", 1);
    assert_eq!(end_of(&place), None);
    let answer = place.send("/events/a?topic=b&end=done", STREAM, "").await;
    assert_eq!(answer.status, 400, "an end is of one topic");
    let answer = place.send("/events?stream&end=done", NDJSON, "").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test(start_paused = true)]
async fn reopen_begins_a_new_life_with_the_first_event() {
    let (place, topic) = (Place::new(), Topic::new("a").unwrap());
    place.send("/events/a?end=done", STREAM, "data: 1\n\n").await.is(201, 1, 0);
    place.send("/events/a?reopen&end=done", STREAM, "data: 2\n\ndata: 3\n\n").await.is(201, 2, 0);
    assert_eq!(end_of(&place), Some(Outcome::Done));
    place.send("/events/a?reopen", STREAM, "data: 4\n\n").await.is(201, 1, 0);
    assert_eq!(end_of(&place), None);
    // What was asked of the old life does not stop the new one.
    place.hub.stop(topic.clone()).await.unwrap();
    place.send("/events/a?reopen", STREAM, "data: 5\n\n").await.is(201, 1, 0);
    assert_eq!(place.hub.topic_state(&topic).stop, None);
    assert_eq!(place.data().await, ["1", "2", "3", "4", "5"]);
    let place = Place::with(|options| {
        let all = Grant::to([TopicMatcher::parse("*").unwrap()]);
        options.anonymous = Rights::none().with_publish(all);
    });
    let answer = place.send("/events/a?reopen", STREAM, "data: 1\n\n").await;
    assert_eq!(answer.status, 403, "it needs a grant");
}

/// What `HEAD` says of the position and the key of the newest event.
async fn state(place: &Place, target: &str) -> (u16, Option<String>, Option<String>) {
    let request = Request::head(target).body(Body::empty()).unwrap();
    let answer = place.app.clone().oneshot(request).await.unwrap();
    let header = |name| answer.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
    (answer.status().as_u16(), header("carafe-last-position"), header("carafe-last-key"))
}

#[tokio::test(start_paused = true)]
async fn a_producer_learns_the_last_position_and_key_of_its_topic() {
    let place = Place::new();
    assert_eq!(state(&place, "/events/a").await, (200, None, None));
    let body = "id: k 1\u{e9}%\ndata: one\n\ndata: two\n\n";
    let answer = place.send("/events/a?private", STREAM, body).await;
    let last = answer.body["last"].as_str().map(str::to_owned);
    // Of another topic, and of this one as an alternate: keys belong to the canonical topic.
    place.send("/events/b", STREAM, "id: 2\ndata: x\n\n").await.is(201, 1, 0);
    let key = Some("k%201%C3%A9%25".to_owned());
    assert_eq!(state(&place, "/events/a").await, (200, last.clone(), key.clone()));
    assert_eq!(state(&place, "/events?topic=a").await, (200, last, key.clone()));
    assert_eq!(state(&place, "/events?topic=a&topic=b").await, (200, None, None));
    assert_eq!(state(&place, "/events").await, (200, None, None));
    let answer = place.send("/events/b?topic=a", STREAM, "id: 3\ndata: y\n\n").await;
    let last = answer.body["last"].as_str().map(str::to_owned);
    assert_eq!(state(&place, "/events/a").await, (200, last, key));
}

#[tokio::test(start_paused = true)]
async fn who_may_publish_to_a_topic_learns_its_state_and_who_reads_what_they_may_see() {
    let grant = |text: &str| Grant::to([TopicMatcher::parse(text).unwrap()]);
    let place = Place::with(|options| {
        options.anonymous = Rights::none().with_publish(grant("a/*"));
    });
    place.send("/events/a/1?private", STREAM, "id: 1\ndata: x\n\n").await.is(201, 1, 0);
    let key = Some("1".to_owned());
    assert_eq!(state(&place, "/events/a/1").await.2, key);
    assert_eq!(state(&place, "/events/b").await, (403, None, None));
    // A reader of public events does not learn of a private one.
    let place = Place::with(|options| options.anonymous = Rights::subscribe());
    let event = keyed(event("x"), "1");
    place.hub.publish(event.clone().with_private(true)).await.unwrap();
    assert_eq!(state(&place, "/events/a").await, (200, None, None));
    place.hub.publish(keyed(event, "2").with_private(false)).await.unwrap();
    assert_eq!(state(&place, "/events/a").await.2, Some("2".to_owned()));
}

/// Random bodies of fragments that matter, in random pieces.
#[tokio::test(start_paused = true)]
async fn any_split_of_any_body_stores_the_same_events() {
    const BLOCKS: &[&str] = &[
        "data: a",
        "data:b",
        "data",
        "id: 1",
        "id: 2",
        "id",
        "event: x",
        ": c",
        "retry: 1000",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\u{feff}",
        "\u{e9}",
        " ",
    ];
    const JSON: &[&str] = &[
        "{\"data\":1}\n",
        "{\"data\":\"\u{e9}\"}\r\n",
        "{\"data\":1,\"id\":\"1\"}\n",
        "\n",
        " ",
        "\u{feff}",
        "{\"data\":",
        "2}\n",
        "\r",
    ];
    const LINES: &[&str] = &["a", "\u{e9}", "\n", "\r", "\r\n", "\u{feff}", " ", "\n\n"];
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut stored_any = 0;
    for round in 0..300 {
        let (target, kind, fragments) = match round % 3 {
            0 => ("/events/a", STREAM, BLOCKS),
            1 => ("/events/a", NDJSON, JSON),
            _ => ("/events/a?split=lines", TEXT, LINES),
        };
        let body: String =
            (0..random.below(24)).map(|_| fragments[random.below(fragments.len())]).collect();
        let (whole, split) = (Place::new(), Place::new());
        let expected = whole.send(target, kind, body.clone()).await;
        let pieces: Vec<_> = pieces(body.as_bytes(), &mut random)
            .into_iter()
            .map(|piece| Ok::<_, io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        let answer = split.send(target, kind, Body::from_stream(stream::iter(pieces))).await;
        let shown = |answer: &Answer| {
            let mut body = answer.body.clone();
            body["last"] = json!(body["last"].is_string());
            (answer.status, body)
        };
        assert_eq!(shown(&answer), shown(&expected), "{body:?}");
        let stored = split.stored().await;
        assert_eq!(stored, whole.stored().await, "{body:?}");
        stored_any += usize::from(!stored.is_empty());
    }
    assert!(stored_any > 100, "{stored_any}");
}

fn pieces<'a>(mut body: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !body.is_empty() {
        let (piece, rest) = body.split_at(1 + random.below(body.len().min(7)));
        pieces.push(piece);
        body = rest;
    }
    pieces
}

/// xorshift64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
