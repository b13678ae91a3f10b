//! Nodes compact their copies each by itself: at different times, or not at all.

use std::collections::HashMap;
use std::net::SocketAddr;

use carafe_protocol::ReceivedEvent;
use carafe_testing::nats::is_here;

use crate::http::publish;
use crate::process::eventually;

use super::engine::stream_of;
use super::nodes::{Copy, Nodes};

/// A node whose copy is in memory compacts nothing.
const COPIES: &[Copy] = &[Copy::Memory, Copy::Disk, Copy::Disk];

const VALUES: usize = 300;

/// The events that a node sends behind a position, up to the newest, with their positions.
fn events(address: SocketAddr, from: &str, newest: &str) -> Vec<ReceivedEvent> {
    let mut stream = stream_of(address, &format!("/events/state/a?{from}"));
    let mut events = Vec::new();
    while events.last().is_none_or(|last: &ReceivedEvent| last.last_event_id != newest) {
        let event = stream.next().expect("the stream goes on up to the newest event");
        assert_ne!(event.event_type, "carafe.gap", "{}", event.data);
        events.push(event);
    }
    events.retain(|event| event.event_type == "message");
    events
}

/// Publishes values at any node, each as one commit, and returns the position of each.
fn publish_values(nodes: &Nodes, values: std::ops::Range<usize>) -> Vec<String> {
    let fill = "x".repeat(400);
    let values = values.map(|value| {
        let address = nodes.address(value % nodes.count());
        publish(address, "/events/state/a", &format!("{value} {fill}"))
    });
    values.collect()
}

#[test]
fn nodes_that_have_compacted_show_the_same_newest_values_and_no_gap() {
    let test = "nodes_that_have_compacted_show_the_same_newest_values_and_no_gap";
    if !is_here(test) {
        return;
    }
    // What the ring has is sent from memory, dropped or not.
    let small = ["--segment-bytes", "4KiB", "--ring-bytes", "16KiB"];
    let options = [&["--compact", "state/*"], &small[..]].concat();
    let mut nodes = Nodes::start(1, COPIES, &options);
    let positions = publish_values(&nodes, 0..VALUES);
    for node in 1..nodes.count() {
        wait_until_compacted(&nodes, node, &positions);
    }
    check(&nodes, &positions);
    // It fills with all values again.
    nodes.kill(1);
    std::fs::remove_dir_all(nodes.folder(1)).unwrap();
    nodes.start_node(1);
    check(&nodes, &positions);
    let positions = [positions, publish_values(&nodes, VALUES..VALUES + 20)].concat();
    wait_until_compacted(&nodes, 1, &positions);
    check(&nodes, &positions);
}

fn wait_until_compacted(nodes: &Nodes, node: usize, positions: &[String]) {
    let newest = positions.last().unwrap();
    let kept = || events(nodes.address(node), "earliest", newest).len();
    eventually("the node has compacted its copy", || kept() < VALUES / 2);
}

/// What a node has are events that were published, at their positions, up to the newest.
fn check(nodes: &Nodes, positions: &[String]) {
    let newest = positions.last().unwrap();
    let published: HashMap<_, _> = positions.iter().zip(0..).collect();
    for node in 0..nodes.count() {
        let address = nodes.address(node);
        for ReceivedEvent { last_event_id, data, .. } in events(address, "earliest", newest) {
            let value: usize = data.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(published.get(&last_event_id), Some(&value), "node {node}");
        }
        let latest = events(address, "latest", newest);
        assert_eq!(latest.len(), 1, "node {node}: {latest:?}");
        // Positions of values that this node may have dropped.
        for seen in [0, positions.len() / 2, positions.len() - 2] {
            let missed = events(address, &format!("last_event_id={}", positions[seen]), newest);
            let is_behind = |event: &ReceivedEvent| published[&event.last_event_id] > seen;
            assert!(missed.iter().all(is_behind), "node {node}: {missed:?}");
        }
    }
}
