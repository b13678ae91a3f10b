//! The write timeout of streams that hyper delivers: over sockets and in real time, since the
//! kernel and hyper are involved.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use carafe_http::{Options, metrics_router, router, serve};
use carafe_hub::Hub;
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::Topic;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http_body_util::BodyExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

const PATIENCE: Duration = Duration::from_secs(30);

/// Serves a hub with a short write timeout. hyper notices a stall when it has more to send: a
/// heartbeat, at the latest.
async fn hub() -> (Hub, Options, SocketAddr) {
    let (hub, mut options) = (Hub::new(MemoryLog::default()), Options::default());
    options.heartbeat = Duration::from_millis(50);
    let mut server = options.server();
    server.shards.write_timeout = Duration::from_millis(300);
    let app = router(hub.clone(), options.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = hub.clone();
    tokio::spawn(
        async move { serve(listener, app, &served, server, std::future::pending()).await },
    );
    (hub, options, address)
}

async fn publish(hub: &Hub, topic: &str, data: &str) {
    hub.publish(Publication::new(Topic::new(topic).unwrap(), data)).await.unwrap();
}

/// An HTTP/2 connection with a large window, whose streams have small ones.
async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let builder = builder.initial_window_size(1000).initial_connection_window_size(1 << 20);
    let (client, connection) = builder.handshake(socket).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn open(client: &mut SendRequest<Bytes>, target: &str) -> RecvStream {
    let request = Request::get(format!("http://hub.example{target}")).body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    answer.await.unwrap().into_body()
}

/// Reads until this text has come, and enlarges the window.
async fn read_until(stream: &mut RecvStream, wanted: &str) {
    let mut read = String::new();
    while !read.contains(wanted) {
        let data = timeout(PATIENCE, stream.data()).await.unwrap().unwrap().unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        read += std::str::from_utf8(&data).unwrap();
    }
}

async fn exported(options: &Options, hub: &Hub) -> String {
    let request = Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
    let answer = metrics_router(options, hub.clone()).oneshot(request).await.unwrap();
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

async fn wait_for_subscriptions(hub: &Hub, subscriptions: usize) {
    let reached = async {
        while hub.subscriptions() != subscriptions {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test]
async fn a_stalled_http_2_stream_is_reset_and_others_on_its_connection_continue() {
    let (hub, options, address) = hub().await;
    let mut client = connect(address).await;
    let (mut stalled, mut reading) =
        (open(&mut client, "/events/a").await, open(&mut client, "/events/b").await);
    wait_for_subscriptions(&hub, 2).await;
    for topic in ["a", "b"] {
        publish(&hub, topic, &"x".repeat(3000)).await;
        publish(&hub, topic, "last").await;
    }
    read_until(&mut reading, "data: last\n").await;
    wait_for_subscriptions(&hub, 1).await;
    let exported = exported(&options, &hub).await;
    for metric in [
        "carafe_streams{path=\"hyper\",reason=\"http2\"} 1\n",
        "carafe_streams_closed_total{path=\"hyper\",reason=\"stalled\"} 1\n",
        "carafe_limited_total{limit=\"write-timeout\"} 1\n",
    ] {
        assert!(exported.contains(metric), "{metric} in {exported}");
    }
    // As many bytes as the window has, and no more.
    let mut taken = 0;
    let ended = loop {
        match timeout(PATIENCE, stalled.data()).await.unwrap().expect("it does not end in order") {
            Ok(data) => taken += data.len(),
            Err(error) => break error,
        }
    };
    assert_eq!((taken, ended.reason()), (1000, Some(Reason::CANCEL)), "{ended}");
    publish(&hub, "b", "and on").await;
    read_until(&mut reading, "data: and on\n").await;
    assert_eq!(hub.subscriptions(), 1);
}

/// It does not read for longer than the write timeout, but nothing waits to be sent.
#[tokio::test]
async fn a_stream_that_has_room_for_all_that_is_sent_is_not_cut() {
    let (hub, options, address) = hub().await;
    let mut client = connect(address).await;
    let mut quiet = open(&mut client, "/events/a").await;
    let mut stalled = open(&mut client, "/events/b").await;
    // Meanwhile, the timeout of another stream elapses three times.
    for _ in 0..3 {
        wait_for_subscriptions(&hub, 2).await;
        publish(&hub, "b", &"x".repeat(3000)).await;
        wait_for_subscriptions(&hub, 1).await;
        stalled = open(&mut client, "/events/b").await;
    }
    wait_for_subscriptions(&hub, 2).await;
    drop(stalled);
    publish(&hub, "a", "still here").await;
    read_until(&mut quiet, "data: still here\n").await;
    let exported = exported(&options, &hub).await;
    assert!(exported.contains("carafe_limited_total{limit=\"write-timeout\"} 3\n"), "{exported}");
}
