//! A client that speaks the protocol of NATS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// A server that is about to become the leader does not answer: the next attempt may ask another.
const ANSWER: Duration = Duration::from_secs(2);

pub(super) struct Connection {
    reader: BufReader<TcpStream>,
    /// Answers are sent there.
    pub(super) inbox: String,
}

pub(super) struct Message {
    pub(super) subject: String,
    pub(super) reply: Option<String>,
    pub(super) has_headers: bool,
    /// Without the headers.
    pub(super) payload: Vec<u8>,
}

impl Connection {
    /// `None` if the server does not greet.
    pub(super) fn open(address: SocketAddr) -> Option<Self> {
        let mut socket = TcpStream::connect_timeout(&address, ANSWER).ok()?;
        socket.set_read_timeout(Some(ANSWER)).ok()?;
        let inbox = format!("_INBOX.{}", rand::random::<u64>());
        let options = json!({ "verbose": false, "headers": true, "no_responders": true });
        write!(socket, "CONNECT {options}\r\nSUB {inbox} 1\r\nSUB {inbox}.* 2\r\n").ok()?;
        let mut connection = Self { reader: BufReader::new(socket), inbox };
        connection.line().filter(|line| line.starts_with("INFO ")).map(|_| connection)
    }

    /// Waits longer for answers.
    pub(super) fn patient(self, patience: Duration) -> Self {
        self.reader.get_ref().set_read_timeout(Some(patience)).unwrap();
        self
    }

    /// `None` if nobody answers, or with anything but JSON.
    pub(super) fn request(mut self, subject: &str, body: &str) -> Option<Value> {
        self.send(subject, true, body.as_bytes())?;
        let answer = self.next()?;
        // Headers say that nobody serves the subject.
        let answer = (!answer.has_headers).then_some(answer.payload)?;
        serde_json::from_slice(&answer).ok()
    }

    /// Sends a message, which may ask for an answer.
    pub(super) fn send(&mut self, subject: &str, asks: bool, payload: &[u8]) -> Option<()> {
        let inbox = if asks { &*self.inbox } else { "" };
        let head = format!("PUB {subject} {inbox} {}\r\n", payload.len());
        let socket = self.reader.get_mut();
        socket.write_all(&[head.as_bytes(), payload, b"\r\n"].concat()).ok()
    }

    /// The next message; `None` if there is none in time.
    pub(super) fn next(&mut self) -> Option<Message> {
        loop {
            let line = self.line()?;
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            match *words.first()? {
                "MSG" => return self.message(&words, 0),
                "HMSG" => {
                    let headers = words[words.len() - 2].parse().ok()?;
                    return self.message(&words, headers);
                }
                "PING" => self.reader.get_mut().write_all(b"PONG\r\n").ok()?,
                "-ERR" => return None,
                _ => {}
            }
        }
    }

    /// Reads the rest of a message. The words are the kind, the subject, the subscription, the
    /// subject of the answer if one is wanted, and one or two lengths.
    fn message(&mut self, words: &[&str], headers: usize) -> Option<Message> {
        let lengths = if headers > 0 { 2 } else { 1 };
        let reply = (words.len() == 4 + lengths).then(|| words[3].to_owned());
        let mut payload = vec![0; words.last()?.parse().ok()?];
        self.reader.read_exact(&mut payload).ok()?;
        self.line()?;
        payload.drain(..headers);
        let subject = words.get(1)?.to_string();
        Some(Message { subject, reply, has_headers: headers > 0, payload })
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}
