//! Hubs in apps with layers of their own, over real sockets: a socket is taken over only where
//! nothing is lost by it.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use bytes::Bytes;
use carafe::http::{Options, router};
use carafe::server::{ServerOptions, serve};
use carafe::{Hub, HubExt, MemoryLog, Publication, Topic};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tower_http::cors::CorsLayer;
use tower_http::trace::TraceLayer;

use crate::http::{Stream, connect, header};
use crate::process::eventually;

/// An app that is served in this process.
struct App {
    runtime: Runtime,
    address: SocketAddr,
}

impl App {
    /// Serves with what `serve` does for this hub's streams.
    fn serve(hub: &Hub, app: Router) -> Self {
        let hub = hub.clone();
        Self::start(|listener| async move {
            serve(listener, app, &hub, ServerOptions::default(), std::future::pending())
                .await
                .unwrap();
        })
    }

    fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl FnOnce(TcpListener) -> F,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener));
        Self { runtime, address }
    }

    fn open(&self, target: &str) -> Stream {
        Stream::open(self.address, target, &[])
    }

    fn publish(&self, hub: &Hub, topic: &str, data: &str) {
        let publication = Publication::new(Topic::new(topic).unwrap(), data);
        self.runtime.block_on(hub.publish(publication)).unwrap();
    }

    /// The stream gets what is published, and does not notice what its client says, which would end
    /// it if a shard had it.
    #[track_caller]
    fn check_streams_by_itself(&self, hub: &Hub, mut stream: Stream) {
        self.publish(hub, "a", "one");
        assert_eq!(stream.data(1), ["one"]);
        stream.socket().write_all(b"x").unwrap();
        self.publish(hub, "a", "two");
        assert_eq!(stream.data(1), ["two"]);
    }

    /// The stream gets what is published, and a shard has it.
    #[track_caller]
    fn check_is_taken(&self, hub: &Hub, mut stream: Stream) {
        self.publish(hub, "a", "one");
        assert_eq!(stream.data(1), ["one"]);
        stream.socket().write_all(b"x").unwrap();
        while stream.read_some(64).is_ok_and(|read| read > 0) {}
    }
}

fn hub() -> Hub {
    Hub::new(MemoryLog::default())
}

#[test]
fn layers_that_leave_the_answer_as_it_is_do_not_keep_a_shard_from_it() {
    let hub = hub();
    let named = from_fn(async |request: Request, next: Next| {
        let mut response = next.run(request).await;
        response.headers_mut().insert("barista", "Zoë".parse().unwrap());
        response
    });
    let layered = Router::new()
        .nest("/live", hub.router())
        .layer(CorsLayer::permissive())
        .layer(TraceLayer::new_for_http());
    let app = App::serve(&hub, layered.clone());
    app.check_is_taken(&hub, app.open("/live/events/a"));
    let app = App::serve(&hub, layered.layer(named));
    let stream = Stream::open(app.address, "/live/events/a", &["Origin: http://example.com"]);
    assert_eq!(header(&stream.head, "access-control-allow-origin"), Some("*"));
    app.publish(&hub, "a", "one");
    assert_eq!({ stream }.data(1), ["one"]);
}

/// Stands for what compresses.
async fn shout(request: Request, next: Next) -> Response {
    let (mut parts, body) = next.run(request).await.into_parts();
    parts.headers.insert("content-encoding", "shout".parse().unwrap());
    let body =
        body.map_frame(|frame| frame.map_data(|data| Bytes::from(data.to_ascii_uppercase())));
    Response::from_parts(parts, Body::new(body))
}

#[test]
fn a_layer_that_encodes_the_body_gets_it() {
    let hub = hub();
    let app = App::serve(&hub, hub.router().layer(from_fn(shout)));
    let mut stream = app.open("/events/a");
    app.publish(&hub, "a", "flat white");
    stream.socket().write_all(b"x").unwrap();
    app.publish(&hub, "a", "espresso");
    let mut seen = Vec::new();
    while !seen.contains(&"ESPRESSO".to_owned()) {
        // Names of fields have no capitals, so the decoder passes over all of it.
        assert!(stream.read_some(4096).unwrap() > 0);
        seen = stream
            .undecoded()
            .lines()
            .filter_map(|line| line.strip_prefix("DATA: "))
            .map(Into::into)
            .collect();
    }
    let events: Vec<_> = seen.into_iter().filter(|data| !data.starts_with('{')).collect();
    assert_eq!(events, ["FLAT WHITE", "ESPRESSO"], "beside the position");
}

#[test]
fn another_status_keeps_the_connection_with_hyper() {
    let hub = hub();
    let status = async |request: Request, next: Next| {
        let mut response = next.run(request).await;
        *response.status_mut() = axum::http::StatusCode::ACCEPTED;
        response
    };
    let app = App::serve(&hub, hub.router().layer(from_fn(status)));
    let mut socket = connect(app.address);
    socket.write_all(b"GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    app.check_streams_by_itself(&hub, Stream::answered_with(202, socket));
}

#[test]
fn under_axum_alone_a_stream_goes_by_itself() {
    let hub = hub();
    let routes = hub.router();
    let app = App::start(|listener| async move { axum::serve(listener, routes).await.unwrap() });
    let stream = app.open("/events/a");
    assert_eq!(header(&stream.head, "connection"), None);
    app.check_streams_by_itself(&hub, stream);
}

/// The shards are one hub's; the other's frames do not enter them.
#[test]
fn two_hubs_in_one_app_stream_each_its_own() {
    let (served, other) = (hub(), hub());
    let routes = Router::new().nest("/served", served.router()).nest("/other", other.router());
    let app = App::serve(&served, routes);
    let mut both = [app.open("/served/events/a"), app.open("/other/events/a")];
    app.publish(&served, "a", "of the served");
    app.publish(&other, "a", "of the other");
    assert_eq!(both.each_mut().map(|stream| stream.data(1)), [["of the served"], ["of the other"]]);
    app.check_is_taken(&served, app.open("/served/events/a"));
    app.check_streams_by_itself(&other, app.open("/other/events/a"));
}

/// Looks into the stream, drops it, and answers something else.
async fn drop_peeked(request: Request, next: Next) -> Response {
    if request.uri().path() != "/events/peeked" {
        return next.run(request).await;
    }
    let mut body = next.run(request).await.into_body();
    let peeked = body.frame().now_or_never();
    Response::new(Body::from(if peeked.is_none() { "nothing" } else { "something" }))
}

#[test]
fn a_stream_that_a_layer_dropped_is_not_the_next_answer_on_its_connection() {
    let hub = hub();
    let app = App::serve(&hub, hub.router().layer(from_fn(drop_peeked)));
    let mut socket = connect(app.address);
    socket.write_all(b"GET /events/peeked HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (head, _) = crate::http::read_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(hub.subscriptions(), 0, "it has left the hub");
    socket.write_all(b"GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let stream = Stream::answered(socket);
    app.publish(&hub, "peeked", "not for it");
    app.check_is_taken(&hub, stream);
}

/// Hands the body on from a task of its own, which begins before the head is out or after it.
async fn pump(request: Request, next: Next) -> Response {
    let late = request.uri().query() == Some("earliest");
    let (parts, mut body) = next.run(request).await.into_parts();
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if late {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while let Some(Ok(frame)) = body.frame().await {
            if sender.send(frame.into_data().unwrap()).await.is_err() {
                return;
            }
        }
    });
    let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
        let data = receiver.recv().await?;
        Some((Ok::<_, Infallible>(data), receiver))
    });
    Response::from_parts(parts, Body::from_stream(frames))
}

#[test]
fn a_layer_that_hands_the_body_on_from_another_task_does_not_wait_for_ever() {
    let hub = hub();
    let mut often = Options::default();
    often.heartbeat = Duration::from_millis(50);
    let app = App::serve(&hub, router(hub.clone(), often).layer(from_fn(pump)));
    for target in ["/events/a", "/events/a?earliest"] {
        let mut stream = app.open(target);
        assert_eq!(stream.next().unwrap().event_type, "carafe.position");
        app.publish(&hub, "a", target);
        assert!(std::iter::from_fn(|| stream.next()).any(|event| event.data == target));
    }
    let tasks = || app.runtime.metrics().num_alive_tasks();
    // The accept loop, and a helper for each shard.
    let idle = 1 + ServerOptions::default().shards.threads.get();
    eventually("no task of a stream is left", || tasks() == idle && hub.subscriptions() == 0);
}
