//! Producers that end and reopen topics while the program is killed.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use carafe_http::auth::Signer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// What the names of these topics begin with.
pub(crate) const ENDING: &str = "ending/";

/// Topics of each producer, however slow the machine is. One of them is reopened.
pub(crate) const FEWEST: usize = 3;

/// The secret of the hub.
pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes";

/// Clients without a token may neither reopen nor erase a topic.
static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let (ending, erasing) = ("ending/*", "erasing/*");
    let claims = json!({
        "exp": 4_000_000_000_u64,
        "publish": [ending, erasing],
        "reopen": [ending],
        "erase": [erasing],
    });
    Signer::secret(SECRET.as_bytes()).unwrap().sign(&claims).unwrap()
});

/// A topic, and the acknowledged position of its end. `None` if it was reopened since.
pub(crate) struct EndingTopic {
    topic: String,
    end: Option<String>,
}

pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Feeds a topic, ends it, and reopens every third, each until that is acknowledged.
pub(crate) async fn end_topics(
    address: SocketAddr,
    number: usize,
    stop: Arc<AtomicBool>,
) -> Vec<EndingTopic> {
    let mut topics = Vec::new();
    while !stop.load(Ordering::Relaxed) || topics.len() < FEWEST {
        let topic = format!("{ENDING}{number}/{}", topics.len());
        let target = format!("/events/{topic}");
        // Whether a request was stored before the program was killed is not known: keys keep its
        // events from being there twice, and an end is known by itself.
        acknowledged(address, "POST", &format!("{target}?id=first"), "text").await;
        let end = acknowledged(address, "POST", &format!("{target}?end=done"), "").await;
        let again = acknowledged(address, "POST", &format!("{target}?end=done"), "").await;
        assert_eq!(again, end, "an acknowledged end was forgotten");
        let mut end = Some(end);
        if topics.len() % 3 == 2 {
            acknowledged(address, "POST", &format!("{target}?reopen&id=again"), "again").await;
            end = None;
        }
        topics.push(EndingTopic { topic, end });
        sleep(Duration::from_millis(30)).await;
    }
    topics
}

impl EndingTopic {
    /// An ended topic refuses events and names its end; a reopened one takes them.
    pub(crate) async fn check(&self, address: SocketAddr) {
        let target = format!("/events/{}", self.topic);
        let answered = send(address, "POST", &target, "late").await.unwrap();
        match &self.end {
            Some(end) => {
                assert_eq!((answered.status, &answered.body["position"]), (409, &end[..].into()));
            }
            None => assert_eq!(answered.status, 201, "{}: {}", self.topic, answered.body),
        }
    }
}

/// Sends a request until it is stored, and answers its ID.
pub(crate) async fn acknowledged(
    address: SocketAddr,
    method: &str,
    target: &str,
    body: &str,
) -> String {
    answered(address, method, target, body).await["id"].as_str().unwrap().into()
}

/// Sends a request until it is answered while the program lives.
pub(crate) async fn answered(address: SocketAddr, method: &str, target: &str, body: &str) -> Value {
    loop {
        match send(address, method, target, body).await {
            Ok(Answered { status: 200 | 201, body }) => return body,
            Ok(Answered { status, body }) => assert_eq!(status, 503, "{target}: {body}"),
            Err(_) => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    body: &str,
) -> io::Result<Answered> {
    let mut socket = TcpStream::connect(address).await?;
    let (length, token) = (body.len(), &*TOKEN);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    Ok(Answered { status: status.ok_or(io::ErrorKind::InvalidData)?, body })
}
