//! The floor: a server of event streams that does nothing but write the bytes to be written.
//!
//! It has no history, checks nothing and trusts everybody. What a hub takes beyond it is what the
//! hub costs.

mod request;
mod subscriber;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::outcome::Outcome;

use request::Request;
use subscriber::Subscriber;

const LISTENER: Token = Token(usize::MAX - 1);

/// What a hub's answer says too.
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
    x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";

/// How events that wait are written.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// One write for each subscriber and event.
    Each,
    /// One write for each subscriber, with all that has come meanwhile.
    Coalesced,
}

struct Floor {
    writes: Writes,
    poll: Poll,
    listener: TcpListener,
    /// By token; those that have no topic are asking or publishing.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    topics: HashMap<String, Topic>,
    events: u64,
    buffer: Vec<u8>,
}

/// A subscriber keeps nothing of its request.
enum Connection {
    Asking(Box<Asking>),
    Subscribed(Subscriber),
}

struct Asking {
    socket: TcpStream,
    read: Vec<u8>,
}

#[derive(Default)]
struct Topic {
    subscribers: Vec<u32>,
    /// Frames to be written, each with its end.
    frames: Vec<u8>,
    ends: Vec<usize>,
}

/// Serves until killed.
pub(crate) fn serve(writes: Writes) -> Outcome {
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (connections, free, topics) = (Vec::new(), Vec::new(), HashMap::new());
    let buffer = vec![0; 256 << 10];
    let mut floor = Floor { writes, poll, listener, connections, free, topics, events: 0, buffer };
    let mut events = Events::with_capacity(4096);
    loop {
        floor.poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(connection) => floor.ready(connection)?,
            }
        }
        floor.write_all();
    }
}

impl Floor {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let token = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(token), both)?;
            self.connections[token] =
                Some(Connection::Asking(Box::new(Asking { socket, read: Vec::new() })));
        }
    }

    fn ready(&mut self, token: usize) -> Outcome {
        match &mut self.connections[token] {
            None => Ok(()),
            Some(Connection::Subscribed(subscriber)) => {
                if !subscriber.is_alive() {
                    self.remove(token);
                }
                Ok(())
            }
            Some(Connection::Asking(asking)) => {
                let is_alive = asking.read(&mut self.buffer);
                self.answer(token)?;
                if !is_alive && matches!(self.connections[token], Some(Connection::Asking(_))) {
                    self.remove(token);
                }
                Ok(())
            }
        }
    }

    fn answer(&mut self, token: usize) -> Outcome {
        while let Some(Connection::Asking(asking)) = &mut self.connections[token] {
            let Some(request) = Request::take(&mut asking.read)? else { return Ok(()) };
            match request {
                Request::Subscribe(topic) => self.subscribe(token, &topic)?,
                Request::Publish(events) => {
                    asking.socket.write_all(PUBLISHED)?;
                    events.iter().for_each(|(topic, data)| self.publish(topic, data));
                }
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, token: usize, topic: &str) -> Outcome {
        if let Some(Connection::Asking(mut asking)) = self.connections[token].take() {
            asking.socket.write_all(STREAM)?;
            self.connections[token] = Some(Connection::Subscribed(Subscriber::new(asking.socket)));
            self.topics.entry(topic.into()).or_default().subscribers.push(u32::try_from(token)?);
        }
        Ok(())
    }

    /// The bytes are those of a hub: an event with an ID, in a chunk.
    fn publish(&mut self, topic: &str, data: &str) {
        self.events += 1;
        let event = format!("id: 1-{}-0123456789abcdef\ndata: {data}\n\n", self.events);
        let topic = self.topics.entry(topic.into()).or_default();
        write!(topic.frames, "{:x}\r\n{event}\r\n", event.len()).expect("a Vec takes all");
        topic.ends.push(topic.frames.len());
        if self.writes == Writes::Each {
            topic.write(&mut self.connections, self.writes);
        }
    }

    fn write_all(&mut self) {
        for topic in self.topics.values_mut().filter(|topic| !topic.ends.is_empty()) {
            topic.write(&mut self.connections, self.writes);
        }
    }

    fn remove(&mut self, token: usize) {
        self.connections[token] = None;
        self.free.push(token);
        // A token is used again: its old topic must not know it.
        let token = token as u32;
        self.topics
            .values_mut()
            .for_each(|topic| topic.subscribers.retain(|other| *other != token));
    }
}

impl Topic {
    /// Writes what waits to every subscriber.
    fn write(&mut self, connections: &mut [Option<Connection>], writes: Writes) {
        for subscriber in &self.subscribers {
            let Some(Connection::Subscribed(subscriber)) = &mut connections[*subscriber as usize]
            else {
                continue;
            };
            match writes {
                Writes::Coalesced => subscriber.write(&self.frames),
                Writes::Each => {
                    let starts = std::iter::once(&0).chain(&self.ends);
                    starts
                        .zip(&self.ends)
                        .for_each(|(start, end)| subscriber.write(&self.frames[*start..*end]));
                }
            }
        }
        self.frames.clear();
        self.ends.clear();
    }
}

impl Asking {
    /// Whether the other end is still there.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return false,
                Ok(read) => self.read.extend_from_slice(&buffer[..read]),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}
