//! A hub that stores what feeds send, and fails as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::script::answer;

/// What becomes of a request that feeds a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// All its events are stored.
    Store,
    /// The connection closes after so many events were stored.
    CutAfter(usize),
    /// The request is answered with this status before anything is stored.
    Refuse(u16),
    /// After so many events, the producer is asked to stop.
    StopAfter(usize),
    /// Nothing is read.
    Ignore,
    /// All its events are stored, and there is no response.
    KeepSilent,
    /// All its events are stored, and the response is only a head.
    SendHead,
    /// The request is rejected for so many seconds.
    RefuseFor(u64),
    /// The request is redirected.
    Redirect,
}

#[derive(Default)]
pub(crate) struct Stored {
    /// Keys and data.
    pub(crate) events: Vec<(String, String)>,
    /// Of the requests to come; after these, all are stored.
    pub(crate) fates: VecDeque<Fate>,
    /// First lines, and tokens.
    pub(crate) requests: Vec<String>,
    /// Whether there were empty lines.
    pub(crate) was_kept_alive: bool,
    /// Keys that were repeated.
    pub(crate) repeated: usize,
}

pub(crate) struct FakeHub {
    pub(crate) url: String,
    stored: Arc<Mutex<Stored>>,
    changed: Arc<Notify>,
    serving: JoinHandle<()>,
}

impl FakeHub {
    pub(crate) async fn start(fates: &[Fate]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fates = fates.iter().copied().collect();
        let stored = Arc::new(Mutex::new(Stored { fates, ..Stored::default() }));
        let changed = Arc::new(Notify::new());
        let serving = tokio::spawn(serve(listener, Arc::clone(&stored), Arc::clone(&changed)));
        Self { url, stored, changed, serving }
    }

    pub(crate) fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap()
    }

    pub(crate) fn data(&self) -> Vec<String> {
        self.stored().events.iter().map(|(_, data)| data.clone()).collect()
    }

    /// Waits until the condition holds.
    pub(crate) async fn until(&self, is_so: impl Fn(&Stored) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_so(&self.stored()) {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, stored: Arc<Mutex<Stored>>, changed: Arc<Notify>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let connection = Connection {
            socket,
            read: Vec::new(),
            stored: Arc::clone(&stored),
            changed: Arc::clone(&changed),
        };
        tokio::spawn(connection.serve());
    }
}

/// One request, after which the connection closes.
struct Connection {
    socket: TcpStream,
    read: Vec<u8>,
    stored: Arc<Mutex<Stored>>,
    changed: Arc<Notify>,
}

impl Connection {
    async fn serve(mut self) {
        let Some(head) = self.head().await else { return };
        self.change(|stored| stored.requests.push(head.clone()));
        if head.starts_with("HEAD ") {
            let last = self.change(|stored| stored.events.last().cloned());
            let key = last.map(|(key, _)| format!("Carafe-Last-Key: {key}\r\n"));
            self.answer(200, &key.unwrap_or_default(), "").await;
        } else if head.contains("transfer-encoding: chunked") {
            self.feed().await;
        } else {
            self.batch(&head).await;
        }
    }

    async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
                return Some(head.to_lowercase().replacen("head ", "HEAD ", 1));
            }
            if self.socket.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn feed(&mut self) {
        let fate = self.change(|stored| stored.fates.pop_front()).unwrap_or(Fate::Store);
        if let Fate::Refuse(status) = fate {
            return self.answer(status, "", r#"{"detail":"refused","stored":0}"#).await;
        }
        match fate {
            Fate::Ignore => return std::future::pending().await,
            Fate::RefuseFor(seconds) => {
                return self.answer(503, &format!("Retry-After: {seconds}\r\n"), "").await;
            }
            Fate::Redirect => {
                return self.answer(307, "Location: https://elsewhere/events\r\n", "").await;
            }
            _ => {}
        }
        let (mut lines, mut count) = (String::new(), 0);
        while let Some(chunk) = self.chunk().await {
            lines.push_str(&chunk);
            while let Some((line, rest)) = lines.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                lines = rest;
                count += self.store(&line);
                match fate {
                    Fate::CutAfter(most) if count == most => return,
                    Fate::StopAfter(most) if count == most => return self.stop(count).await,
                    _ => {}
                }
            }
        }
        match fate {
            Fate::KeepSilent => return std::future::pending().await,
            Fate::SendHead => {
                let head = b"HTTP/1.1 201 X\r\nContent-Length: 9\r\n\r\n";
                self.socket.write_all(head).await.unwrap();
                return std::future::pending().await;
            }
            _ => {}
        }
        let body = json!({"stored": count, "repeated": 0, "last": "1-9-9"}).to_string();
        self.answer(201, "", &body).await;
    }

    async fn stop(&mut self, count: usize) {
        let stop = json!({"topic": "t", "reason": "enough", "position": "1-8-8"});
        let body = json!({"stop": stop, "stored": count, "repeated": 0, "last": "1-7-7"});
        self.answer(200, "", &body.to_string()).await;
    }

    /// Stores a line unless its key is known. Returns how many events it has.
    fn store(&self, line: &str) -> usize {
        self.change(|stored| {
            if line.is_empty() {
                stored.was_kept_alive = true;
                return 0;
            }
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            let event = (text("id"), text("data"));
            if stored.events.contains(&event) {
                stored.repeated += 1;
            } else {
                stored.events.push(event);
            }
            1
        })
    }

    /// The next chunk; `None` at the end of the body.
    async fn chunk(&mut self) -> Option<String> {
        loop {
            let size = self.read.windows(2).position(|window| window == b"\r\n");
            if let Some(at) = size {
                let text = std::str::from_utf8(&self.read[..at]).unwrap();
                let size = usize::from_str_radix(text, 16).unwrap();
                if self.read.len() >= at + 2 + size + 2 {
                    let chunk = self.read[at + 2..][..size].to_vec();
                    self.read.drain(..at + 2 + size + 2);
                    return (size > 0).then(|| String::from_utf8(chunk).unwrap());
                }
            }
            // A client that is gone has fed what it has fed.
            if self.socket.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                return std::future::pending().await;
            }
        }
    }

    async fn batch(&mut self, head: &str) {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            assert!(self.socket.read_buf(&mut self.read).await.unwrap() > 0);
        }
        let lines = String::from_utf8(self.read.clone()).unwrap();
        let count: usize = lines.lines().map(|line| self.store(line)).sum();
        let body = json!({"ids": vec!["1-6-6"; count], "id": "1-5-5"}).to_string();
        self.answer(201, "", &body).await;
    }

    async fn answer(&mut self, status: u16, headers: &str, body: &str) {
        let headers = format!("{headers}Content-Type: application/json\r\n");
        let answer = answer(&format!("{status} X"), &headers, body);
        // The client may be gone.
        let _ = self.socket.write_all(answer.as_bytes()).await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut Stored) -> T) -> T {
        let result = change(&mut self.stored.lock().unwrap());
        self.changed.notify_waiters();
        result
    }
}
