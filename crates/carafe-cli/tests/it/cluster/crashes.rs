//! Nodes and servers of the engine are killed, stopped and restarted under load: nothing that was
//! acknowledged is lost, doubled or reordered.

use std::time::Duration;

use carafe_testing::nats::is_here;
use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::http::get;
use crate::process::{eventually, from_env};

use super::cable::Cable;
use super::load::Load;
use super::nodes::{Copy, Nodes};
use super::outages::Outages;

const COPIES: &[Copy] = &[Copy::Disk, Copy::Memory, Copy::Disk];

/// Deliveries after each fault, to see that everything works again.
const AFTER: u64 = 500;

fn some(random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(50..500))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_when_nodes_are_killed() {
    if !is_here("nothing_is_lost_doubled_or_out_of_order_when_nodes_are_killed") {
        return;
    }
    let mut nodes = Nodes::start(1, COPIES, &[]);
    let load = Load::start(&nodes, 8, 8);
    let mut random = load.random();
    let kills = from_env("CARAFE_TEST_CLUSTER_KILLS", 5);
    let mut outages = Outages::after("SIGKILL of a node");
    for _ in 0..kills {
        sleep(some(&mut random)).await;
        let node = random.random_range(0..nodes.count());
        outages.begin(&load);
        nodes.kill(node);
        outages.end(&load).await;
        sleep(some(&mut random)).await;
        nodes.start_node(node);
        load.deliver(AFTER).await;
    }
    load.finish(&format!("{kills} kills of nodes")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_in_a_rolling_restart() {
    if !is_here("nothing_is_lost_doubled_or_out_of_order_in_a_rolling_restart") {
        return;
    }
    let mut nodes = Nodes::start(1, COPIES, &[]);
    let load = Load::start(&nodes, 8, 8);
    let mut random = load.random();
    let rounds = from_env("CARAFE_TEST_CLUSTER_RESTARTS", 1);
    for _ in 0..rounds {
        for node in 0..nodes.count() {
            sleep(some(&mut random)).await;
            nodes.stop(node);
            nodes.start_node(node);
            load.deliver(AFTER).await;
        }
    }
    load.finish(&format!("{rounds} rolling restarts")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_when_the_leader_of_the_engine_is_killed() {
    if !is_here("nothing_is_lost_doubled_or_out_of_order_when_the_leader_of_the_engine_is_killed") {
        return;
    }
    let nodes = Nodes::start(3, COPIES, &[]);
    let load = Load::start(&nodes, 4, 4);
    let mut random = load.random();
    let kills = from_env("CARAFE_TEST_CLUSTER_LEADERS", 3);
    let mut outages = Outages::after("SIGKILL of the leader");
    for _ in 0..kills {
        load.deliver(AFTER).await;
        sleep(some(&mut random)).await;
        let leader = nodes.nats.leader("carafe");
        outages.begin(&load);
        nodes.nats.kill(leader);
        outages.end(&load).await;
        load.deliver(AFTER).await;
        nodes.nats.start_again(leader);
    }
    load.finish(&format!("{kills} kills of the engine's leader")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_when_a_node_is_cut_off() {
    if !is_here("nothing_is_lost_doubled_or_out_of_order_when_a_node_is_cut_off") {
        return;
    }
    let mut nodes = Nodes::start(1, COPIES, &["--cluster-away", "1s"]);
    let cable = Cable::to(nodes.nats.address(0));
    nodes.restart_on(1, &cable);
    let (load, address) = (Load::start(&nodes, 8, 8), nodes.address(1));
    let cuts = from_env("CARAFE_TEST_CLUSTER_CUTS", 2);
    for _ in 0..cuts {
        load.deliver(AFTER).await;
        cable.cut();
        // Long enough for the node to notice, or not.
        sleep(Duration::from_millis(load.random().random_range(500..2000))).await;
        load.deliver(AFTER).await;
        let not_ready = || get(address, "/readyz").body.contains("the engine of the cluster has");
        eventually("the node says that it is cut off", not_ready);
        cable.heal();
        eventually("the node is ready again", || get(address, "/readyz").status == 200);
        load.deliver(AFTER).await;
    }
    load.finish(&format!("{cuts} cuts of a node from the engine")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_when_the_engine_restarts() {
    if !is_here("nothing_is_lost_doubled_or_out_of_order_when_the_engine_restarts") {
        return;
    }
    let nodes = Nodes::start(1, COPIES, &[]);
    let load = Load::start(&nodes, 4, 4);
    let mut random = load.random();
    let restarts = from_env("CARAFE_TEST_CLUSTER_ENGINES", 2);
    let mut outages = Outages::after("SIGKILL and restart of the engine");
    for _ in 0..restarts {
        load.deliver(AFTER).await;
        sleep(some(&mut random)).await;
        outages.begin(&load);
        nodes.nats.kill(0);
        sleep(some(&mut random)).await;
        nodes.nats.start_again(0);
        outages.end(&load).await;
        load.deliver(AFTER).await;
    }
    load.finish(&format!("{restarts} restarts of the engine")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_when_the_engine_is_frozen() {
    if !is_here("nothing_is_lost_doubled_or_out_of_order_when_the_engine_is_frozen") {
        return;
    }
    let nodes = Nodes::start(1, COPIES, &[]);
    let load = Load::start(&nodes, 4, 4);
    let time = Duration::from_secs(from_env("CARAFE_TEST_CLUSTER_FROZEN", 5));
    load.deliver(AFTER).await;
    let mut outages = Outages::after("SIGSTOP of the engine").lasting(time);
    outages.begin(&load);
    nodes.nats.signal(0, Signal::STOP);
    sleep(time).await;
    nodes.nats.signal(0, Signal::CONT);
    outages.end(&load).await;
    load.deliver(AFTER).await;
    load.finish(&format!("{time:?} of a frozen engine")).await;
}
