//! Clients that move between nodes at full speed, and do not read the hub's own streams: those of
//! Mercure, and those that read pages. Each reader knows what it has to receive next.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread;

use carafe_testing::nats::is_here;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::http::{Stream, get, publish};
use crate::process::{from_env, seed};

use super::nodes::{Copy, Nodes};

const PUBLISHERS: usize = 4;
const READERS: usize = 4;

/// Events of each publisher in an ordinary run.
const EVENTS: u64 = 300;

/// Topics whose first event is looked for at the other node.
const TOPICS: usize = 100;

/// Publishes 1, 2, 3 and so on, each at a random node, every other one with an ID of its own.
fn publish_all(nodes: &[SocketAddr], publisher: usize, events: u64, mut random: StdRng) {
    for number in 1..=events {
        let id = format!("?id=event-{publisher}-{number}");
        let id = if random.random() { &*id } else { "" };
        let target = format!("/events/publisher/{publisher}{id}");
        publish(any(nodes, &mut random), &target, &format!("{publisher} {number}"));
    }
}

fn any(nodes: &[SocketAddr], random: &mut StdRng) -> SocketAddr {
    nodes[random.random_range(0..nodes.len())]
}

/// What a reader has received.
struct Reading {
    events: u64,
    counts: HashMap<String, u64>,
    last: String,
}

impl Reading {
    /// Reads until it has so many events of each publisher.
    fn of_all(events: u64, mut read: impl FnMut(&mut Self)) {
        let mut reading = Self { events, counts: HashMap::new(), last: "earliest".into() };
        while !reading.is_complete() {
            read(&mut reading);
        }
    }

    fn is_complete(&self) -> bool {
        self.counts.values().sum::<u64>() == self.events * PUBLISHERS as u64
    }

    fn take(&mut self, data: &str, id: &str) {
        let (publisher, number) = data.split_once(' ').unwrap();
        let count = self.counts.entry(publisher.to_owned()).or_default();
        *count += 1;
        let expected = count.to_string();
        assert_eq!(number, expected, "of {publisher}: lost, doubled or out of order, at {id}");
        id.clone_into(&mut self.last);
    }
}

/// Receives some updates from each node.
fn read_updates(reading: &mut Reading, node: SocketAddr, random: &mut StdRng) {
    let target = format!("/.well-known/mercure?topic=*&lastEventID={}", reading.last);
    let mut stream = Stream::open(node, &target, &[]);
    for _ in 0..random.random_range(1..30) {
        // `None`: the node is behind, and does not catch up.
        let Some(event) = (!reading.is_complete()).then(|| stream.next()).flatten() else { return };
        reading.take(&event.data, &event.last_event_id);
    }
}

/// Reads a page of each node.
fn read_page(reading: &mut Reading, node: SocketAddr, random: &mut StdRng) {
    let after = match &*reading.last {
        "earliest" => "earliest".into(),
        last => format!("last_event_id={last}"),
    };
    let wait = random.random_range(0..20);
    let page = get(node, &format!("/events?format=json&wait={wait}ms&limit=20&{after}"));
    if page.status == 503 {
        return;
    }
    let page = page.json();
    assert!(page.get("gap").is_none(), "nothing is missing: {page}");
    for event in page["events"].as_array().unwrap() {
        reading.take(event["data"].as_str().unwrap(), event["id"].as_str().unwrap());
    }
    page["next"].as_str().unwrap().clone_into(&mut reading.last);
}

fn move_about(copies: &[Copy], read: fn(&mut Reading, SocketAddr, &mut StdRng)) {
    let mut random = StdRng::seed_from_u64(seed());
    let nodes = Nodes::start(1, copies, &["--mercure"]);
    let addresses: Vec<_> = (0..nodes.count()).map(|node| nodes.address(node)).collect();
    let events = from_env("CARAFE_TEST_CLUSTER_READ_EVENTS", EVENTS);
    thread::scope(|threads| {
        for publisher in 0..PUBLISHERS {
            let (nodes, random) = (&addresses, StdRng::seed_from_u64(random.random()));
            threads.spawn(move || publish_all(nodes, publisher, events, random));
        }
        for _ in 0..READERS {
            let (nodes, mut random) = (&addresses, StdRng::seed_from_u64(random.random()));
            threads.spawn(move || {
                Reading::of_all(events, |reading| {
                    read(reading, any(nodes, &mut random), &mut random);
                });
            });
        }
    });
}

#[test]
fn a_client_of_mercure_that_moves_between_nodes_receives_each_update_once() {
    if !is_here("a_client_of_mercure_that_moves_between_nodes_receives_each_update_once") {
        return;
    }
    move_about(&[Copy::Memory, Copy::Disk], read_updates);
}

#[test]
fn a_client_of_pages_that_moves_between_nodes_receives_each_event_once() {
    if !is_here("a_client_of_pages_that_moves_between_nodes_receives_each_event_once") {
        return;
    }
    move_about(&[Copy::Memory, Copy::Disk], read_page);
}

#[test]
fn the_first_event_of_a_topic_is_there_for_whoever_asks_another_node() {
    if !is_here("the_first_event_of_a_topic_is_there_for_whoever_asks_another_node") {
        return;
    }
    let nodes = Nodes::start(1, &[Copy::Memory, Copy::Disk], &[]);
    let [one, two] = [0, 1].map(|node| nodes.address(node));
    for number in 0..TOPICS {
        let target = format!("/events/topic/{number}");
        publish(one, &target, "first");
        let stream = Stream::open(two, &format!("{target}?absent=204&earliest"), &[]);
        assert_eq!(stream.head.split(' ').nth(1), Some("200"), "there is an event");
    }
    assert_eq!(get(two, "/events/nothing?absent=204").status, 204);
}
