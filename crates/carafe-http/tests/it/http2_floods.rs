//! HTTP/2 clients that send needless frames get ENHANCE_YOUR_CALM, and their connection ends.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Request;
use carafe_http::{Options, metrics_router, router, serve};
use carafe_hub::Hub;
use carafe_log::{MemoryLog, Publication};
use carafe_protocol::Topic;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower::ServiceExt;

const PATIENCE: Duration = Duration::from_secs(30);

/// Frames of a flood, well over what a client may send at once.
const FRAMES: usize = 20_000;

const GOAWAY: u8 = 7;
const PING: u8 = 6;
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 0xb];

async fn hub() -> (Hub, Options, SocketAddr) {
    let (hub, options) = (Hub::new(MemoryLog::default()), Options::default());
    let server = options.server();
    let app = router(hub.clone(), options.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = hub.clone();
    tokio::spawn(
        async move { serve(listener, app, &served, server, std::future::pending()).await },
    );
    (hub, options, address)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

async fn connect(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    socket.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    socket
}

/// The frames that the client receives until the connection ends.
async fn frames_until_the_end(mut socket: impl AsyncReadExt + Unpin) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut head = [0; 9];
    while socket.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).await.unwrap();
        frames.push((head[3], payload));
    }
    frames
}

async fn limited(options: &Options, hub: &Hub) -> bool {
    let request = Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
    let answer = metrics_router(options, hub.clone()).oneshot(request).await.unwrap();
    let content = answer.into_body().collect().await.unwrap().to_bytes();
    str::from_utf8(&content).unwrap().contains("carafe_limited_total{limit=\"http2-frames\"} 1\n")
}

/// The frames of a flooded connection, which must end with GOAWAY.
async fn flood(kind: u8, payload: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (hub, options, address) = hub().await;
    let (read, mut write) = connect(address).await.into_split();
    let flood = frame(kind, 0, u32::from(kind == 2), payload).repeat(FRAMES);
    // The connection may end before the flood is sent completely.
    let writing = tokio::spawn(async move {
        let _ = write.write_all(&flood).await;
        write
    });
    let frames = timeout(PATIENCE, frames_until_the_end(read)).await.unwrap();
    let (last, content) = frames.last().expect("it was sent something");
    assert_eq!((*last, &content[4..8]), (GOAWAY, &ENHANCE_YOUR_CALM[..]), "{kind}");
    assert!(limited(&options, &hub).await, "{kind}");
    drop(timeout(PATIENCE, writing).await.unwrap());
    frames
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_connection_after_a_bounded_number_of_answers() {
    let frames = flood(PING, &[0; 8]).await;
    let pongs = frames.iter().filter(|(kind, _)| *kind == PING).count();
    assert!(pongs < FRAMES / 4, "{pongs} were answered");
}

#[tokio::test]
async fn floods_of_settings_priorities_window_updates_and_unknown_frames_end_the_connection() {
    const INITIAL_WINDOW: [u8; 6] = [0, 4, 0, 0, 0x40, 0];
    for (kind, payload) in [
        (2, &[0, 0, 0, 0, 1][..]),
        (4, &[]),
        (4, &INITIAL_WINDOW),
        (8, &[0, 0, 0, 1]),
        (16, &[0, 0, 0, 1, b'u']),
        (0xfa, &[]),
    ] {
        flood(kind, payload).await;
    }
}

#[tokio::test]
async fn a_client_with_many_streams_that_reads_and_pings_is_served_on() {
    const STREAMS: usize = 50;
    const EVENTS: usize = 100;
    let (hub, options, address) = hub().await;
    let socket = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    // Each event explains WINDOW_UPDATE frames.
    let builder = builder.initial_window_size(400).initial_connection_window_size(1000);
    let (mut client, mut connection) =
        builder.handshake::<_, axum::body::Bytes>(socket).await.unwrap();
    let mut ping_pong = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let request = Request::get("http://hub.example/events/a").body(()).unwrap();
        client = client.ready().await.unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        streams.push(tokio::spawn(async move {
            let mut body = answer.await.unwrap().into_body();
            let mut read = String::new();
            while !read.contains(&format!("data: {EVENTS}\n")) {
                let data = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                read += str::from_utf8(&data).unwrap();
            }
        }));
    }
    timeout(PATIENCE, async {
        while hub.subscriptions() < STREAMS {
            tokio::task::yield_now().await;
        }
        for number in 1..=EVENTS {
            hub.publish(Publication::new(Topic::new("a").unwrap(), number.to_string()))
                .await
                .unwrap();
            ping_pong.ping(h2::Ping::opaque()).await.unwrap();
        }
        for stream in streams {
            stream.await.unwrap();
        }
    })
    .await
    .unwrap();
    assert!(!limited(&options, &hub).await);
}
