//! Streams end when a server shuts down gracefully.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use carafe_http::{EventStream, HubExt, ServerOptions, StreamDrain, serve};
use carafe_hub::Hub;
use carafe_log::MemoryLog;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A stream that sends an event and never ends by itself.
async fn endless() -> EventStream {
    EventStream::new(|events| async move {
        events.data("first").await?;
        std::future::pending().await
    })
}

/// One that always has events.
async fn flood() -> EventStream {
    EventStream::new(|events| async move {
        loop {
            events.data("more").await?;
        }
    })
}

fn app(hub: &Hub) -> Router {
    let app = Router::new().route("/endless", get(endless)).route("/flood", get(flood));
    app.nest("/live", hub.router())
}

/// A client that has received the beginning of a stream.
async fn client(address: SocketAddr, path: &str, begins: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut read = String::new();
    while !read.contains(begins) {
        let byte = timeout(PATIENCE, socket.read_u8()).await.expect(begins).unwrap();
        read.push(char::from(byte));
    }
    socket
}

async fn clients(address: SocketAddr) -> [TcpStream; 3] {
    [
        client(address, "/endless", "data: first\n\n").await,
        client(address, "/flood", "data: more\n\n").await,
        client(address, "/live/events/a", "event: carafe.position\n").await,
    ]
}

/// Each stream ends in order: the last chunk is the empty one.
async fn all_end(clients: [TcpStream; 3]) {
    for mut client in clients {
        let mut rest = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("the stream ends").unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n"), "{:?}", rest.escape_ascii().to_string());
    }
}

#[tokio::test]
async fn streams_end_when_axum_shuts_down_gracefully() {
    let hub = Hub::new(MemoryLog::default());
    let (listener, (stop, stopped)) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), oneshot::channel::<()>());
    let (address, drain) = (listener.local_addr().unwrap(), StreamDrain::of(&hub));
    let app = drain.attach(app(&hub));
    let signal = async { drop(stopped.await) };
    let serving = axum::serve(listener, app).with_graceful_shutdown(drain.after(signal));
    let served = tokio::spawn(async { serving.await });
    let clients = clients(address).await;
    stop.send(()).unwrap();
    all_end(clients).await;
    timeout(PATIENCE, served).await.expect("the server ends").unwrap().unwrap();
    assert_eq!(hub.subscriptions(), 0);
}

#[tokio::test]
async fn streams_of_handlers_end_when_the_server_drains() {
    let hub = Hub::new(MemoryLog::default());
    let (listener, (stop, stopped)) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), oneshot::channel::<()>());
    let (address, app, served) = (listener.local_addr().unwrap(), app(&hub), hub.clone());
    let mut options = ServerOptions::default();
    options.drain_timeout = PATIENCE;
    let signal = async { drop(stopped.await) };
    let served = tokio::spawn(async move { serve(listener, app, &served, options, signal).await });
    let clients = clients(address).await;
    stop.send(()).unwrap();
    all_end(clients).await;
    let served = timeout(PATIENCE, served).await.expect("the server ends").unwrap().unwrap();
    assert_eq!(served.cut, 0);
}
