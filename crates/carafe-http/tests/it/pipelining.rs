//! Requests that a client sends without waiting for the answers (RFC 9112, 9.3.2), over sockets.

use std::net::SocketAddr;
use std::time::Duration;

use carafe_http::{Options, Rights, router, serve};
use carafe_hub::Hub;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::held_log::HeldLog;

const PATIENCE: Duration = Duration::from_secs(30);

/// Serves a hub whose log stores events when it is told to.
async fn hub() -> (HeldLog, SocketAddr) {
    let log = HeldLog::new();
    let (hub, mut options) = (Hub::new(log.clone()), Options::default());
    options.anonymous = Rights::all();
    let server = options.server();
    let app = router(hub.clone(), options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener, app, &hub, server, std::future::pending()).await });
    (log, address)
}

fn post(data: &str) -> String {
    post_with("", data)
}

fn post_with(header: &str, data: &str) -> String {
    let length = data.len();
    format!("POST /events/a HTTP/1.1\r\nhost: a\r\n{header}content-length: {length}\r\n\r\n{data}")
}

fn posts(data: impl IntoIterator<Item = &'static str>) -> String {
    data.into_iter().map(post).collect()
}

struct Client {
    socket: TcpStream,
    read: String,
}

/// An answer with a length.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    head: String,
    body: String,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap(), read: String::new() }
    }

    async fn send(&mut self, requests: &str) {
        self.socket.write_all(requests.as_bytes()).await.unwrap();
    }

    /// Reads until the rest begins with what `is_there` finds, and returns that.
    async fn read_while<T>(&mut self, mut is_there: impl FnMut(&str) -> Option<(usize, T)>) -> T {
        loop {
            if let Some((length, found)) = is_there(&self.read) {
                self.read.drain(..length);
                return found;
            }
            let mut bytes = [0; 4096];
            let reading = timeout(PATIENCE, self.socket.read(&mut bytes));
            let read = reading.await.expect("more is sent").unwrap();
            assert!(read > 0, "the connection ended after {:?}", self.read);
            self.read.push_str(str::from_utf8(&bytes[..read]).unwrap());
        }
    }

    async fn answer(&mut self) -> Answer {
        self.read_while(|read| {
            let head = read.find("\r\n\r\n")? + 4;
            let length =
                read[..head].lines().find_map(|line| line.strip_prefix("content-length: "));
            let end = head + length.unwrap().parse::<usize>().unwrap();
            let body = read.get(head..end)?.to_owned();
            Some((end, Answer { head: read[..head].to_owned(), body }))
        })
        .await
    }

    async fn statuses(&mut self, count: usize) -> Vec<String> {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(self.answer().await.status());
        }
        statuses
    }
}

impl Answer {
    fn status(&self) -> String {
        self.head.split(' ').nth(1).unwrap().to_owned()
    }

    /// The fields of the head, sorted, without what differs for each answer.
    fn fields(&self) -> Vec<&str> {
        let mut fields: Vec<_> = self.head.lines().collect();
        fields.retain(|line| !line.starts_with("date: "));
        fields.sort_unstable();
        fields
    }
}

#[tokio::test]
async fn events_that_were_sent_together_wait_for_the_disk_together() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    client.send(&posts(["one", "two", "three", "four"])).await;
    assert_eq!(log.begun(4).await, ["one", "two", "three", "four"]);
    log.complete(4);
    let mut offsets = Vec::new();
    for _ in 0..4 {
        let Answer { head, body } = client.answer().await;
        assert!(head.starts_with("HTTP/1.1 201 Created\r\n"), "{head}");
        let id = body.strip_prefix("{\"id\":\"").unwrap();
        offsets.push(id.split('-').nth(1).unwrap().to_owned());
    }
    assert_eq!(offsets, ["1", "2", "3", "4"]);
    client.send(&post("alone")).await;
    log.complete(1);
    assert_eq!(client.answer().await.status(), "201");
}

#[tokio::test]
async fn an_answer_is_the_same_whether_others_wait_behind_it_or_not() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    log.complete(4);
    let mut alone = Vec::new();
    for data in ["one", "full"] {
        client.send(&post(data)).await;
        alone.push(client.answer().await);
    }
    client.send(&posts(["one", "full", "one"])).await;
    log.begun(5).await;
    log.complete(1);
    for alone in &alone {
        let together = client.answer().await;
        assert_eq!(together.fields(), alone.fields());
        assert_eq!(together.head.matches("\r\ndate: ").count(), 1);
    }
    assert_eq!(alone[1].status(), "507");
    assert_eq!(client.answer().await.status(), "201");
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    let none = "GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send(&format!("{}{none}{}{none}", posts(["one", "full"]), posts(["two"]))).await;
    log.begun(2).await;
    log.complete(3);
    assert_eq!(client.statuses(5).await, ["201", "507", "404", "201", "404"]);
}

#[tokio::test]
async fn a_request_with_a_key_waits_for_its_answer_before_the_next() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    let keyed = post("keyed").replace("/events/a", "/events/a?id=1");
    client.send(&format!("{}{keyed}{}", post("one"), post("two"))).await;
    assert_eq!(log.begun(2).await, ["one", "keyed"]);
    log.complete(2);
    assert_eq!(log.begun(3).await, ["one", "keyed", "two"]);
    log.complete(1);
    assert_eq!(client.statuses(3).await, ["201", "201", "201"]);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_between_others_gets_it_in_its_place() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    let waits = post_with("expect: 100-continue\r\n", "two");
    let (head, body) = waits.split_at(waits.len() - "two".len());
    client.send(&format!("{}{head}", post("one"))).await;
    log.begun(1).await;
    log.complete(1);
    assert_eq!(client.answer().await.status(), "201");
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    client.read_while(|read| read.starts_with(go_on).then_some((go_on.len(), ()))).await;
    client.send(&format!("{body}{}", post("three"))).await;
    log.complete(2);
    assert_eq!(client.statuses(2).await, ["201", "201"]);
    assert_eq!(log.begun(3).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_stream_opens_after_the_answers_before_it() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    let stream = "GET /events/a?earliest HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send(&format!("{}{stream}", posts(["one", "two"]))).await;
    log.begun(2).await;
    log.complete(2);
    assert_eq!(client.statuses(2).await, ["201", "201"]);
    let opened = client
        .read_while(|read| Some(read.find("data: two")?).map(|at| (at, read.to_owned())))
        .await;
    assert!(opened.starts_with("HTTP/1.1 200 OK\r\n"), "{opened}");
    assert_eq!(opened.matches("data: one").count(), 1, "{opened}");
}

#[tokio::test]
async fn a_client_that_sends_many_requests_has_a_bounded_number_in_progress() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    // The first bytes of a connection are read a few at a time.
    client.send(&post("first")).await;
    log.complete(1);
    assert_eq!(client.answer().await.status(), "201");
    client.send(&posts(std::iter::repeat_n("event", 40))).await;
    // 32 whose answers are deferred, and the one that hyper handles.
    assert_eq!(log.begun(34).await.len(), 34);
    log.complete(40);
    assert_eq!(client.statuses(40).await, ["201"; 40]);
}

#[tokio::test]
async fn a_body_that_looks_like_requests_is_only_a_body() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    let body = posts(["a", "b", "c"]);
    client.send(&post(&body)).await;
    assert_eq!(log.begun(1).await, std::slice::from_ref(&body));
    log.complete(1);
    assert_eq!(client.answer().await.status(), "201");
    client.send(&format!("{}{}", post(&body), post("last"))).await;
    log.complete(2);
    assert_eq!(client.statuses(2).await, ["201", "201"]);
    assert_eq!(log.begun(3).await[1..], [body.as_str(), "last"]);
}

#[tokio::test]
async fn a_connection_that_its_client_ends_answers_everything_before() {
    let (log, address) = hub().await;
    let mut client = Client::connect(address).await;
    let last = post_with("connection: close\r\n", "three");
    client.send(&format!("{}{last}", posts(["one", "two"]))).await;
    log.begun(3).await;
    log.complete(3);
    assert_eq!(client.statuses(3).await, ["201", "201", "201"]);
    let ended = timeout(PATIENCE, client.socket.read(&mut [0])).await.unwrap().unwrap();
    assert_eq!((ended, client.read.as_str()), (0, ""));
}
