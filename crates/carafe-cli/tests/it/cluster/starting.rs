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
