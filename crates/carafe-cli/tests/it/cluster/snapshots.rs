//! The stream is restored from an older backup of JetStream, in three servers.

use carafe_testing::nats::is_here;

use crate::http::{get, post, publish};
use crate::process::eventually;

use super::engine::{gap, stream_of};
use super::nodes::{Copy, Nodes};

#[test]
fn when_the_stream_is_restored_from_an_older_snapshot_clients_are_told_a_gap_and_go_on() {
    let test =
        "when_the_stream_is_restored_from_an_older_snapshot_clients_are_told_a_gap_and_go_on";
    if !is_here(test) {
        return;
    }
    let nodes = Nodes::start(3, &[Copy::Memory, Copy::Disk], &["--heartbeat", "100ms"]);
    let common = publish(nodes.address(0), "/events/a", "common");
    let snapshot = nodes.nats.snapshot("carafe");
    let lost = publish(nodes.address(1), "/events/a", "lost");
    for node in 0..2 {
        let mut stream = stream_of(nodes.address(node), "/events/a?earliest");
        assert_eq!(stream.data(2), ["common", "lost"]);
    }
    nodes.nats.delete_stream("carafe");
    nodes.nats.restore(&snapshot);
    let restored = std::time::Instant::now();
    for node in 0..2 {
        nodes.node(node).next_record(|line| line.starts_with("listening on http"));
        let address = nodes.address(node);
        eventually("the node is ready", || get(address, "/readyz").status == 200);
    }
    eventually("publishing works again", || {
        post(nodes.address(0), "/events/a?id=new", "new").status < 300
    });
    println!("publishing works {:?} after the end of the restoration", restored.elapsed());
    for node in 0..2 {
        let address = nodes.address(node);
        assert_eq!(stream_of(address, "/events/a?earliest").data(2), ["common", "new"]);
        // JetStream gives the restored stream a new time of creation: it is another stream.
        for seen in [&common, &lost] {
            let mut resumed = stream_of(address, &format!("/events/a?last_event_id={seen}"));
            assert_eq!(gap(&mut resumed), "foreign", "node {node}");
        }
    }
}
