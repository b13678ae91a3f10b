//! What clients see while the engine is away, and when it has other events than the nodes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use carafe_testing::nats::is_here;
use rustix::process::Signal;
use serde_json::Value;

use crate::cli::run;
use crate::http::{Stream, get, post, publish};
use crate::process::{Server, eventually};

use super::nodes::{Copy, Nodes};

#[test]
fn while_the_engine_is_away_publishers_learn_it_soon_and_everything_else_works() {
    if !is_here("while_the_engine_is_away_publishers_learn_it_soon_and_everything_else_works") {
        return;
    }
    let nodes = Nodes::start(1, &[Copy::Memory], &["--heartbeat", "100ms", "--cluster-away", "3s"]);
    let address = nodes.address(0);
    let id = publish(address, "/events/a", "before");
    let mut stream = Stream::open(address, "/events/a?earliest", &[]);
    assert_eq!(stream.data(1), ["before"]);
    nodes.nats.signal(0, Signal::STOP);
    let start = Instant::now();
    let answer = post(address, "/events/a?id=k", "while it is away");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.body);
    println!("503 after {:?}", start.elapsed());
    assert_eq!(stream_of(address, "/events/a?earliest").data(1), ["before"], "history is served");
    assert_eq!(get(address, "/healthz").status, 200);
    eventually("/readyz says that the engine is away", || {
        let answer = get(address, "/readyz");
        answer.status == 503 && answer.body.contains("the engine of the cluster has been away for")
    });
    nodes.nats.signal(0, Signal::CONT);
    eventually("publishing works again", || post(address, "/events/a?id=k", "back").status < 300);
    eventually("/readyz is 200", || get(address, "/readyz").status == 200);
    // Stored once: by the first attempt or by the last.
    publish(address, "/events/a", "after");
    let data = stream.data(2);
    assert!(["while it is away", "back"].contains(&&*data[0]), "{data:?}");
    assert_eq!(data[1], "after");
    let resumed = stream_of(address, &format!("/events/a?last_event_id={id}")).data(2);
    assert_eq!(resumed, data, "the stream stayed open, and missed nothing");
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

pub(crate) fn stream_of(address: SocketAddr, target: &str) -> Stream {
    Stream::open(address, target, &[])
}

/// The reason of the gap that a stream begins with.
pub(crate) fn gap(stream: &mut Stream) -> String {
    let event = std::iter::from_fn(|| stream.next()).find(|event| event.event_type == "carafe.gap");
    let data: Value = serde_json::from_str(&event.unwrap().data).unwrap();
    data["reason"].as_str().unwrap().into()
}

#[test]
fn when_the_stream_is_deleted_and_created_anew_clients_are_told_a_gap_and_go_on() {
    if !is_here("when_the_stream_is_deleted_and_created_anew_clients_are_told_a_gap_and_go_on") {
        return;
    }
    let nodes = Nodes::start(1, &[Copy::Memory, Copy::Disk], &[]);
    let old = publish(nodes.address(0), "/events/a", "lost with the stream");
    let mut streams: Vec<_> =
        (0..2).map(|node| stream_of(nodes.address(node), "/events/a?earliest")).collect();
    streams.iter_mut().for_each(|stream| assert_eq!(stream.data(1), ["lost with the stream"]));
    nodes.nats.delete_stream("carafe");
    let created = run(&["cluster", "create", &nodes.url], "");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    for (node, stream) in streams.iter_mut().enumerate() {
        assert!(stream.next().is_none(), "the streams end");
        nodes.node(node).next_record(|line| line.starts_with("listening on http"));
        eventually("publishing works again", || {
            post(nodes.address(node), &format!("/events/a?id=new-{node}"), "new").status < 300
        });
    }
    for node in 0..2 {
        let address = nodes.address(node);
        let mut resumed = stream_of(address, &format!("/events/a?last_event_id={old}"));
        assert_eq!(gap(&mut resumed), "foreign", "node {node}");
        assert_eq!(stream_of(address, "/events/a?earliest").data(2), ["new", "new"]);
    }
    assert_eq!(fs::read_dir(nodes.folder(1)).unwrap().count(), 2, "the old copy is kept");
}

#[test]
fn when_the_engine_is_restored_from_an_older_copy_clients_are_told_what_is_lost_and_go_on() {
    if !is_here(
        "when_the_engine_is_restored_from_an_older_copy_clients_are_told_what_is_lost_and_go_on",
    ) {
        return;
    }
    let nodes = Nodes::start(1, &[Copy::Memory, Copy::Disk], &["--heartbeat", "100ms"]);
    let common = publish(nodes.address(0), "/events/a", "common");
    nodes.nats.kill(0);
    let folder = tempfile::tempdir().unwrap();
    copy(&nodes.nats.store(0), folder.path());
    nodes.nats.start_again(0);
    eventually("publishing works again", || {
        post(nodes.address(1), "/events/a?id=lost", "lost").status < 300
    });
    let mut streams: Vec<_> =
        (0..2).map(|node| stream_of(nodes.address(node), "/events/a?earliest")).collect();
    let mut seen = streams.iter_mut().map(|stream| {
        assert_eq!(stream.next_published().data, "common");
        stream.next_published().last_event_id
    });
    let lost = seen.next().unwrap();
    assert_eq!(seen.next().unwrap(), lost, "positions are the same at each node");
    nodes.nats.kill(0);
    fs::remove_dir_all(nodes.nats.store(0)).unwrap();
    copy(folder.path(), &nodes.nats.store(0));
    nodes.nats.start_again(0);
    let mut resumed = Vec::new();
    for node in 0..2 {
        nodes.node(node).next_record(|line| line.starts_with("listening on http"));
        let address = nodes.address(node);
        eventually("the node is ready", || get(address, "/readyz").status == 200);
        let mut stream = stream_of(address, &format!("/events/a?last_event_id={lost}"));
        assert_eq!(gap(&mut stream), "lost", "node {node}");
        resumed.push(stream);
    }
    eventually("publishing works again", || {
        post(nodes.address(0), "/events/a?id=new", "new").status < 300
    });
    for (node, mut stream) in resumed.into_iter().enumerate() {
        assert_eq!(stream.data(1), ["new"], "node {node} goes on behind the last common event");
        let address = nodes.address(node);
        assert_eq!(stream_of(address, "/events/a?earliest").data(2), ["common", "new"]);
        // Another event has its place now.
        let mut late = stream_of(address, &format!("/events/a?last_event_id={lost}"));
        assert_eq!(gap(&mut late), "foreign", "node {node}");
        let unaffected = stream_of(address, &format!("/events/a?last_event_id={common}")).data(1);
        assert_eq!(unaffected, ["new"], "who had seen no more misses nothing");
    }
}

#[test]
fn a_node_that_retention_has_overtaken_says_which_events_are_missing_and_goes_on() {
    if !is_here("a_node_that_retention_has_overtaken_says_which_events_are_missing_and_goes_on") {
        return;
    }
    let mut nodes = Nodes::start(1, &[Copy::Disk, Copy::Memory], &[]);
    let id = publish(nodes.address(0), "/events/a", "seen");
    assert_eq!(stream_of(nodes.address(0), "/events/a?earliest").data(1), ["seen"]);
    nodes.kill(0);
    let missed: Vec<_> = (0..20)
        .map(|number| publish(nodes.address(1), "/events/a", &format!("missed {number}")))
        .collect();
    nodes.nats.keep_only("carafe", 5);
    nodes.start_node(0);
    eventually("the node has filled", || get(nodes.address(0), "/readyz").status == 200);
    let mut resumed = stream_of(nodes.address(0), &format!("/events/a?last_event_id={id}"));
    assert_eq!(gap(&mut resumed), "trimmed");
    let at_the_end =
        stream_of(nodes.address(0), &format!("/events/a?last_event_id={}", missed[18])).data(1);
    assert_eq!(at_the_end, ["missed 19"], "what the engine has is resumed exactly");
}

/// Waits for the pause to be over, whatever it is.
#[test]
fn a_node_starts_when_the_engine_does() {
    if !is_here("a_node_starts_when_the_engine_does") {
        return;
    }
    let mut nodes = Nodes::start(1, &[Copy::Memory], &[]);
    publish(nodes.address(0), "/events/a", "kept");
    nodes.stop(0);
    nodes.nats.kill(0);
    let starting = nodes.process(0);
    starting.next_record(|line| line.contains("the engine of the cluster is away"));
    std::thread::sleep(Duration::from_millis(200));
    nodes.nats.start_again(0);
    let node = Server::of(starting);
    assert_eq!(stream_of(node.address, "/events/a?earliest").data(1), ["kept"]);
}
