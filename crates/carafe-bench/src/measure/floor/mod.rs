//! The floor: a server of event streams that does nothing but write the bytes to be written.
//!
//! It has no history, checks nothing and trusts everybody. What a hub takes beyond it is what the
//! hub costs.

mod connections;
mod request;
mod subscriber;
mod topics;
mod writes;

pub(crate) use writes::Writes;

use std::io::{self, Write};
use std::net::Ipv4Addr;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::outcome::Outcome;

use connections::{Asking, Connection, Connections};
use request::Request;
use subscriber::Subscriber;
use topics::Topics;

const LISTENER: Token = Token(usize::MAX - 1);

/// What a hub's answer says too.
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
    x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";

struct Floor {
    poll: Poll,
    listener: TcpListener,
    connections: Connections,
    topics: Topics,
    buffer: Vec<u8>,
}

/// Serves until killed.
pub(crate) fn serve(writes: Writes) -> Outcome {
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (connections, topics) = (Connections::default(), Topics::new(writes));
    let mut floor = Floor { poll, listener, connections, topics, buffer: vec![0; 256 << 10] };
    let mut events = Events::with_capacity(4096);
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(connection) => floor.ready(connection, event),
            }
        }
        floor.topics.write_waiting(&mut floor.connections);
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
            let token = self.connections.token();
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(token), both)?;
            let asking = Box::new(Asking { socket, read: Vec::new() });
            self.connections.put(token, Connection::Asking(asking));
        }
    }

    fn ready(&mut self, token: usize, event: &Event) {
        let is_alive = match self.connections.get(token) {
            None => return,
            Some(Connection::Subscribed(subscriber)) => subscriber.is_alive(),
            Some(Connection::Asking(asking)) => {
                let is_alive = asking.read(&mut self.buffer) && !event.is_read_closed();
                // A client that has left before it was answered concerns nobody else.
                self.answer(token).is_ok() && is_alive
            }
        };
        if !is_alive {
            self.remove(token);
        }
    }

    fn answer(&mut self, token: usize) -> Outcome {
        let Some(asking) = self.connections.asking(token) else { return Ok(()) };
        let mut read = std::mem::take(&mut asking.read);
        let mut rest = &read[..];
        while let Some(request) = Request::take(&mut rest)? {
            match request {
                Request::Subscribe(topic) => self.subscribe(token, topic)?,
                Request::Publish(topic, data) => {
                    self.acknowledge(token)?;
                    self.topics.publish(topic, data, &mut self.connections);
                }
                Request::Batch(events) => {
                    self.acknowledge(token)?;
                    for (topic, data) in events {
                        self.topics.publish(topic, data, &mut self.connections);
                    }
                }
            }
        }
        let done = read.len() - rest.len();
        read.drain(..done);
        if let Some(asking) = self.connections.asking(token) {
            asking.read = read;
        }
        Ok(())
    }

    fn acknowledge(&mut self, token: usize) -> io::Result<()> {
        let asking = self.connections.asking(token);
        asking.map_or(Ok(()), |asking| asking.socket.write_all(PUBLISHED))
    }

    fn subscribe(&mut self, token: usize, topic: &str) -> Outcome {
        if let Some(Connection::Asking(mut asking)) = self.connections.take(token) {
            asking.socket.write_all(STREAM)?;
            let topic = self.topics.subscribe(topic, u32::try_from(token)?);
            let subscriber = Subscriber::new(asking.socket, topic);
            self.connections.put(token, Connection::Subscribed(subscriber));
        }
        Ok(())
    }

    fn remove(&mut self, token: usize) {
        if let Some(Connection::Subscribed(subscriber)) = self.connections.close(token) {
            self.topics.unsubscribe(subscriber.topic, token as u32);
        }
    }
}
