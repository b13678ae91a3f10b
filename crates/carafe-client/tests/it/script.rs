//! A server that answers each request with the next bytes of a script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    /// Has a permit for each connection that the client has closed.
    closed: Arc<Semaphore>,
    playing: JoinHandle<()>,
}

/// What is done with a connection when its answer was sent.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Close,
    Hang,
    /// Waits until the client closes.
    AwaitClose,
}

impl Script {
    /// Answers one connection after the other, and closes each.
    pub(crate) async fn play(answers: &[&str]) -> Self {
        let answers: Vec<_> = answers.iter().map(|answer| (*answer, Then::Close)).collect();
        Self::play_then(&answers).await
    }

    pub(crate) async fn play_then(answers: &[(&str, Then)]) -> Self {
        Self::playing(TcpListener::bind("127.0.0.1:0").await.unwrap(), answers)
    }

    /// Answers connections of this listener.
    pub(crate) fn play_on(listener: TcpListener, answers: &[&str]) -> Self {
        let answers: Vec<_> = answers.iter().map(|answer| (*answer, Then::Close)).collect();
        Self::playing(listener, &answers)
    }

    fn playing(listener: TcpListener, answers: &[(&str, Then)]) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answers: Vec<_> =
            answers.iter().map(|(answer, then)| ((*answer).to_owned(), *then)).collect();
        let closed = Arc::new(Semaphore::new(0));
        let playing =
            tokio::spawn(play(listener, answers, Arc::clone(&requests), Arc::clone(&closed)));
        Self { address, requests, closed, playing }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, heads and bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until the client has closed a connection.
    pub(crate) async fn closed(&self) {
        self.closed.acquire().await.unwrap().forget();
    }

    /// The value of a header in the request of this number.
    pub(crate) fn header(&self, request: usize, name: &str) -> Option<String> {
        let requests = self.requests();
        let mut headers = requests[request].lines().filter_map(|line| line.split_once(": "));
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.playing.abort();
    }
}

async fn play(
    listener: TcpListener,
    answers: Vec<(String, Then)>,
    requests: Arc<Mutex<Vec<String>>>,
    closed: Arc<Semaphore>,
) {
    let mut hanging = Vec::new();
    for (answer, then) in answers {
        let (mut socket, _) = listener.accept().await.unwrap();
        let request = request(&mut socket).await;
        requests.lock().unwrap().push(request);
        socket.write_all(answer.as_bytes()).await.unwrap();
        match then {
            Then::Close => {}
            Then::Hang => hanging.push(socket),
            Then::AwaitClose => {
                // A reset is a close, too.
                while socket.read_buf(&mut Vec::new()).await.is_ok_and(|read| read > 0) {}
                closed.add_permits(1);
            }
        }
    }
    drop(listener);
    std::future::pending::<()>().await;
}

async fn request(socket: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().filter_map(|line| line.strip_prefix("content-length: ")).next();
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        assert!(socket.read_buf(&mut read).await.unwrap() > 0, "a request that breaks off: {text}");
    }
}

/// An event stream that ends when the server closes.
pub(crate) fn stream(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n{body}"
    )
}

/// An answer of this status with a body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
