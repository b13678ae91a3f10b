//! A node that starts empty rejects clients until it has what the engine has.

use carafe_testing::nats::is_here;

use crate::http::{Stream, get, post, publish};
use crate::process::{Server, eventually};

use super::nodes::{Copy, Nodes};

#[test]
fn an_empty_node_has_all_events_of_the_engine_before_it_serves_clients() {
    if !is_here("an_empty_node_has_all_events_of_the_engine_before_it_serves_clients") {
        return;
    }
    let mut nodes = Nodes::start(1, &[Copy::Memory, Copy::Disk], &[]);
    for number in 0..500 {
        publish(nodes.address(0), "/events/a", &number.to_string());
    }
    nodes.kill(1);
    std::fs::remove_dir_all(nodes.folder(1)).unwrap();
    let node = Server::of(nodes.process(1));
    eventually("the node is ready", || {
        let answer = get(node.address, "/readyz");
        answer.status == 200 || {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert_eq!(post(node.address, "/events/a", "too early").status, 503);
            false
        }
    });
    let data = Stream::open(node.address, "/events/a?earliest", &[]).data(500);
    assert!(data.iter().enumerate().all(|(number, data)| *data == number.to_string()));
}

#[test]
fn a_node_that_waits_for_the_engine_rejects_clients_and_says_why() {
    if !is_here("a_node_that_waits_for_the_engine_rejects_clients_and_says_why") {
        return;
    }
    let mut nodes = Nodes::start(1, &[Copy::Memory], &[]);
    let (id, address) = (publish(nodes.address(0), "/events/a", "kept"), nodes.address(0));
    nodes.stop(0);
    nodes.nats.kill(0);
    let starting = nodes.process(0);
    starting.next_record(|line| line.contains("rejecting clients"));
    let ready = get(address, "/readyz");
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert!(ready.body.contains("waits for the engine"), "{}", ready.body);
    assert_eq!(get(address, "/healthz").status, 200);
    let rejected = post(address, "/events/a", "too early");
    assert_eq!(rejected.status, 503, "{}", rejected.body);
    assert!(rejected.head.to_lowercase().contains("retry-after"), "{}", rejected.head);
    assert_eq!(get(address, "/events/a?earliest&format=json").status, 503);
    nodes.nats.start_again(0);
    let node = Server::of(starting);
    eventually("the node is ready", || get(address, "/readyz").status == 200);
    let mut stream = Stream::open(node.address, "/events/a?earliest", &[]);
    assert_eq!(stream.next_published().last_event_id, id);
}
