//! The topics of the floor, and the events that wait to be written.

use std::collections::HashMap;
use std::io::Write;

use super::connections::Connections;
use super::writes::Writes;

pub(super) struct Topics {
    writes: Writes,
    numbers: HashMap<Box<str>, u32>,
    topics: Vec<Topic>,
    /// Topics with frames that wait.
    waiting: Vec<u32>,
    events: u64,
    event: Vec<u8>,
    frame: Vec<u8>,
}

#[derive(Default)]
struct Topic {
    subscribers: Vec<u32>,
    /// Frames that wait to be written together.
    frames: Vec<u8>,
}

impl Topics {
    pub(super) fn new(writes: Writes) -> Self {
        Self {
            writes,
            numbers: HashMap::new(),
            topics: Vec::new(),
            waiting: Vec::new(),
            events: 0,
            event: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Returns the number of the topic.
    pub(super) fn subscribe(&mut self, name: &str, connection: u32) -> u32 {
        let number = self.number(name);
        self.topics[number as usize].subscribers.push(connection);
        number
    }

    pub(super) fn unsubscribe(&mut self, number: u32, connection: u32) {
        let subscribers = &mut self.topics[number as usize].subscribers;
        if let Some(place) = subscribers.iter().position(|other| *other == connection) {
            subscribers.swap_remove(place);
        }
    }

    pub(super) fn publish(&mut self, name: &str, data: &str, connections: &mut Connections) {
        let number = self.number(name);
        self.build_frame(data);
        let topic = &mut self.topics[number as usize];
        if self.writes == Writes::Each {
            return connections.write(&topic.subscribers, &self.frame);
        }
        if topic.frames.is_empty() {
            self.waiting.push(number);
        }
        topic.frames.extend_from_slice(&self.frame);
    }

    /// Writes the frames that wait.
    pub(super) fn write_waiting(&mut self, connections: &mut Connections) {
        for number in self.waiting.drain(..) {
            let topic = &mut self.topics[number as usize];
            connections.write(&topic.subscribers, &topic.frames);
            topic.frames.clear();
        }
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.topics.len() as u32;
        self.topics.push(Topic::default());
        self.numbers.insert(name.into(), number);
        number
    }

    /// The bytes are those of a hub: an event with an ID, in a chunk.
    fn build_frame(&mut self, data: &str) {
        const VEC: &str = "writing to a Vec does not fail";
        let Self { events, event, frame, .. } = self;
        *events += 1;
        event.clear();
        write!(event, "id: 1-{events}-0123456789abcdef\ndata: {data}\n\n").expect(VEC);
        frame.clear();
        write!(frame, "{:x}\r\n", event.len()).expect(VEC);
        frame.extend_from_slice(event);
        frame.extend_from_slice(b"\r\n");
    }
}
