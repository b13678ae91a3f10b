//! The events in flight: published, and not yet received on all streams.

use std::collections::VecDeque;
use std::ops::Range;

/// For each event in flight, the number of connections that have not received it.
pub(crate) struct Flight {
    topics: Vec<Topic>,
    events: usize,
}

#[derive(Clone, Default)]
struct Topic {
    receivers: u32,
    published: u64,
    /// Counts of the latest events; earlier events have arrived everywhere.
    lacking: VecDeque<u32>,
}

impl Flight {
    /// Connection n subscribes to topic n modulo the number of topics.
    pub(crate) fn new(connections: usize, topics: usize) -> Self {
        let mut flight = Self { topics: vec![Topic::default(); topics], events: 0 };
        (0..connections).for_each(|connection| flight.topics[connection % topics].receivers += 1);
        flight
    }

    /// The number of events in flight.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    pub(crate) fn published(&self, topic: usize) -> u64 {
        self.topics[topic].published
    }

    /// Adds the next event of a topic, and returns its number.
    pub(crate) fn publish(&mut self, topic: usize) -> u64 {
        let topic = &mut self.topics[topic];
        topic.published += 1;
        topic.lacking.push_back(topic.receivers);
        self.events += 1;
        let number = topic.published;
        self.events -= topic.settle();
        number
    }

    /// A connection has received these events. Returns whether the latest was in flight.
    pub(crate) fn arrived(&mut self, topic: usize, numbers: Range<u64>) -> bool {
        let topic = &mut self.topics[topic];
        let first = topic.first();
        for number in numbers.start.max(first)..numbers.end {
            let lacking =
                usize::try_from(number - first).ok().and_then(|place| topic.lacking.get_mut(place));
            if let Some(lacking) = lacking {
                *lacking = lacking.saturating_sub(1);
            }
        }
        self.events -= topic.settle();
        numbers.end > first
    }

    /// Stops waiting for a connection that has received the events before `next`.
    pub(crate) fn give_up(&mut self, topic: usize, next: u64) {
        let published = self.topics[topic].published;
        self.topics[topic].receivers -= 1;
        self.arrived(topic, next..published + 1);
    }
}

impl Topic {
    fn first(&self) -> u64 {
        self.published + 1 - self.lacking.len() as u64
    }

    /// Removes the oldest events that have arrived everywhere.
    fn settle(&mut self) -> usize {
        let settled = self.lacking.iter().take_while(|lacking| **lacking == 0).count();
        self.lacking.drain(..settled);
        settled
    }
}
