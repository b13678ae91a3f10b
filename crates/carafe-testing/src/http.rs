//! HTTP byte by byte: requests that no correct client sends, and responses in full.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use carafe_protocol::{Decoder, Received, ReceivedEvent};
use serde_json::Value;

use crate::process::PATIENCE;

/// A whole response.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header that occurs at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().filter_map(|line| line.split_once(": "));
    values.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Sends one request on a connection of its own.
pub fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        head += &format!("Host: {address}\r\n");
    }
    for header in headers {
        head += &format!("{header}\r\n");
    }
    send(address, &[head.as_bytes(), b"\r\n", body].concat())
}

pub fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, &[], b"")
}

pub fn post(address: SocketAddr, target: &str, body: &str) -> Answer {
    request(address, "POST", target, &[], body.as_bytes())
}

/// Publishes an event, and returns its position.
#[track_caller]
pub fn publish(address: SocketAddr, target: &str, body: &str) -> String {
    let answer = post(address, target, body);
    assert!(matches!(answer.status, 200 | 201), "{}{}", answer.head, answer.body);
    answer.json()["id"].as_str().unwrap().into()
}

/// Sends any bytes, and reads until the server closes.
pub fn send(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut socket = connect(address);
    // A server may reject the request, and close, before it has read everything.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let chunked = header(head, "transfer-encoding") == Some("chunked");
    let body = if chunked { Chunks::default().decode(body.as_bytes()) } else { body.into() };
    Answer { status, head: format!("{head}\r\n"), body: String::from_utf8(body).unwrap() }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// An open event stream.
pub struct Stream {
    socket: TcpStream,
    pub head: String,
    chunks: Chunks,
    decoder: Decoder,
    rest: Vec<u8>,
}

impl Stream {
    /// Opens a stream, and returns when its head is there.
    #[track_caller]
    pub fn open(address: SocketAddr, target: &str, headers: &[&str]) -> Self {
        Self::open_by(address, "GET", target, headers, "")
    }

    /// The same, with another method and body.
    #[track_caller]
    pub fn open_by(
        address: SocketAddr,
        method: &str,
        target: &str,
        headers: &[&str],
        body: &str,
    ) -> Self {
        let mut socket = connect(address);
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        write!(socket, "{method} {target} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n{body}")
            .unwrap();
        Self::answered(socket)
    }

    /// The stream that is the next response on a connection.
    #[track_caller]
    pub fn answered(socket: TcpStream) -> Self {
        Self::answered_with(200, socket)
    }

    /// The same, with another status.
    #[track_caller]
    pub fn answered_with(status: u16, mut socket: TcpStream) -> Self {
        let (head, body) = read_head(&mut socket);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let mut chunks = Chunks::default();
        let rest = chunks.decode(&body);
        Self { socket, head, chunks, decoder: Decoder::new(), rest }
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The next event that is not the hub's own.
    #[track_caller]
    pub fn next_published(&mut self) -> ReceivedEvent {
        let mut events = std::iter::from_fn(|| self.next());
        events.find(|event| !event.event_type.starts_with("carafe.")).unwrap()
    }

    /// The bytes as they arrive, up to the first `end`.
    #[track_caller]
    pub fn text_until(&mut self, end: &str) -> String {
        loop {
            if let Some(text) = up_to(&self.rest, end) {
                self.rest.drain(..text.len());
                return text;
            }
            self.read();
        }
    }

    /// The data of the next `count` events that are not the hub's own.
    #[track_caller]
    pub fn data(&mut self, count: usize) -> Vec<String> {
        let events = std::iter::from_fn(|| self.next());
        let published = events.filter(|event| !event.event_type.starts_with("carafe."));
        published.take(count).map(|event| event.data).collect()
    }

    #[track_caller]
    fn read(&mut self) {
        let read = self.read_some(4096).unwrap();
        assert!(read > 0, "the server closed without ending the stream");
    }

    /// Reads at most so many bytes, and returns how many those were.
    pub fn read_some(&mut self, most: usize) -> io::Result<usize> {
        let mut buffer = vec![0; most];
        let read = self.socket.read(&mut buffer)?;
        self.rest.extend(self.chunks.decode(&buffer[..read]));
        Ok(read)
    }

    /// What has been read and not decoded.
    pub fn undecoded(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.rest)
    }

    /// The next event among those that were read completely.
    pub fn next_read(&mut self) -> Option<ReceivedEvent> {
        let rest = std::mem::take(&mut self.rest);
        let mut input = &rest[..];
        let event = loop {
            match self.decoder.decode(&mut input).unwrap() {
                Some(Received::Event(event)) => break Some(event),
                Some(_) => {}
                None => break None,
            }
        };
        self.rest = input.to_vec();
        event
    }
}

impl Iterator for Stream {
    type Item = ReceivedEvent;

    /// The next event; `None` when the server has ended the stream in order.
    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_read() {
                Some(event) => return Some(event),
                None if self.chunks.ended => return None,
                None => self.read(),
            }
        }
    }
}

/// The bytes up to the first `end`, which is included.
pub fn up_to(bytes: &[u8], end: &str) -> Option<String> {
    let at = bytes.windows(end.len()).position(|window| window == end.as_bytes())?;
    Some(String::from_utf8(bytes[..at + end.len()].to_vec()).unwrap())
}

/// Reads the head of a response, and the part of its body that arrived with it.
pub fn read_head(socket: &mut TcpStream) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = read.split_off(end + 4);
            return (String::from_utf8(read).unwrap(), body);
        }
        let count = socket.read(&mut buffer).unwrap();
        assert!(
            count > 0,
            "the server closed before its head was there: {:?}",
            String::from_utf8_lossy(&read)
        );
        read.extend_from_slice(&buffer[..count]);
    }
}

/// Removes chunked framing.
#[derive(Default)]
struct Chunks {
    held: Vec<u8>,
    ended: bool,
}

impl Chunks {
    fn decode(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut data = Vec::new();
        while let Some((size, start)) = self.chunk_head() {
            if self.held.len() < start + size + 2 {
                break;
            }
            self.ended |= size == 0;
            data.extend_from_slice(&self.held[start..start + size]);
            self.held.drain(..start + size + 2);
        }
        data
    }

    fn chunk_head(&self) -> Option<(usize, usize)> {
        let end = self.held.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&self.held[..end]).unwrap();
        Some((usize::from_str_radix(size, 16).unwrap(), end + 2))
    }
}
