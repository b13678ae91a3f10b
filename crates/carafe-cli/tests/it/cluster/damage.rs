//! A copy on disk that is damaged: a node says so, and fills a new one.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use carafe_testing::nats::{NatsServers, is_here};

use crate::cli::run;
use crate::http::{Stream, publish};

use super::nodes::{Copy, Nodes};

/// Each takes a commit, of which some fit into a segment.
fn data(number: usize) -> String {
    format!("event {number:04} {}", "x".repeat(500))
}

/// Changes a byte of an event in the oldest segment of a copy.
fn damage(copy: &Path, event: &str) {
    let names = fs::read_dir(copy).unwrap().map(|entry| entry.unwrap().path());
    let segments = names.filter(|name| name.extension().is_some_and(|it| it == "segment"));
    let oldest = segments.min().unwrap();
    let mut bytes = fs::read(&oldest).unwrap();
    let at = bytes.windows(event.len()).position(|it| it == event.as_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(oldest, bytes).unwrap();
}

/// The folder of a node's copy.
fn copy_of(nodes: &Nodes, node: usize) -> PathBuf {
    let mut copies = fs::read_dir(nodes.folder(node)).unwrap();
    copies.next().unwrap().unwrap().path()
}

/// Publishes events with keys.
fn publish_events(nodes: &Nodes, numbers: Range<usize>) {
    for number in numbers {
        publish(nodes.address(0), &format!("/events/a?id={number}"), &data(number));
    }
}

/// The keys of what is trimmed are read, so that they are known as long as at other nodes.
#[test]
fn a_node_whose_copy_is_damaged_says_what_to_do_at_each_start_and_then_fills_a_new_one() {
    if !is_here("a_node_whose_copy_is_damaged_says_what_to_do_at_each_start") {
        return;
    }
    let small = ["--history-bytes", "128KiB", "--segment-bytes", "4KiB"];
    // The engine keeps more than the nodes.
    let nats = NatsServers::start(1);
    let url = format!("{}/carafe?replicas=1", nats.url());
    assert!(run(&["cluster", "create", &url], "").status.success());
    let mut nodes = Nodes::on(nats, url, &[Copy::Memory, Copy::Disk], &small);
    publish_events(&nodes, 0..50);
    nodes.stop(1);
    let copy = copy_of(&nodes, 1);
    damage(&copy, "event 0001");
    let folder = copy.display().to_string();
    let remove = format!("remove the folder {folder}, a copy of what the engine");
    // More than the history holds.
    publish_events(&nodes, 50..400);
    for _ in 0..2 {
        let node = nodes.process(1);
        let reason = node.next_record(|line| line.starts_with("carafe: "));
        assert!(reason.contains("the log is damaged: entry"), "{reason}");
        assert!(reason.contains(&remove), "{reason}");
        assert_eq!(node.wait().code(), Some(1));
    }
    for command in [&["log", "verify", &folder][..], &["log", "repair", &folder]] {
        let output = run(command, "");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains(&remove), "{said}");
    }
    fs::remove_dir_all(copy).unwrap();
    nodes.start_node(1);
    let newest = publish(nodes.address(1), "/events/a", "newest");
    let mut stream = Stream::open(nodes.address(1), "/events/a?last=1", &[]);
    assert_eq!(stream.next_published().last_event_id, newest);
}
