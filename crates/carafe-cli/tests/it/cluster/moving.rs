//! Publish at any node, subscribe at any node, resume at any other.

use carafe_testing::nats::is_here;

use crate::process::from_env;

use super::load::Load;
use super::nodes::{Copy, Nodes};

/// Deliveries in an ordinary run.
const DELIVERIES: u64 = 20_000;

async fn move_about(copies: &[Copy]) {
    let nodes = Nodes::start(1, copies, &[]);
    let load = Load::start(&nodes, 8, 8);
    load.deliver(from_env("CARAFE_TEST_CLUSTER_DELIVERIES", DELIVERIES)).await;
    load.finish(&format!("{copies:?}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_move_between_two_nodes_receive_each_event_once_and_in_order() {
    if !is_here("clients_that_move_between_two_nodes_receive_each_event_once_and_in_order") {
        return;
    }
    move_about(&[Copy::Memory, Copy::Disk]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_move_between_three_nodes_receive_each_event_once_and_in_order() {
    if !is_here("clients_that_move_between_three_nodes_receive_each_event_once_and_in_order") {
        return;
    }
    move_about(&[Copy::Disk, Copy::Memory, Copy::Disk]).await;
}
