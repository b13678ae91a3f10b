//! Cables are pulled between nodes and the engine, and between the servers of the engine.

use std::time::{Duration, Instant};

use carafe_testing::nats::{self, NatsServers, is_here};
use rand::RngExt;
use tokio::runtime::Runtime;

use crate::http::{get, post};
use crate::process::{eventually, from_env};

use super::load::Load;
use super::network::{Lan, Network};
use super::nodes::{Copy, Nodes, Place};
use super::outages::Outages;

const COPIES: &[Copy] = &[Copy::Disk, Copy::Memory, Copy::Disk];

/// Deliveries after each fault.
const AFTER: u64 = 200;

fn host_of_server(number: usize) -> u8 {
    u8::try_from(10 + number).unwrap()
}

fn host_of_node(number: usize) -> u8 {
    u8::try_from(20 + number).unwrap()
}

/// Machines with a server of the engine or a node each.
fn machines(test: &str, servers: usize) -> Option<Network> {
    if !is_here(test) {
        return None;
    }
    let mut network = Network::new(test)?;
    for server in 0..servers {
        network.add(host_of_server(server), &[Lan::Engine, Lan::Routes]);
    }
    for node in 0..COPIES.len() {
        network.add(host_of_node(node), &[Lan::Engine, Lan::Clients]);
    }
    Some(network)
}

/// Starts a server or a node on each machine. Call it inside the network.
fn start(network: &Network, servers: usize) -> Nodes {
    let server = |number| {
        let host = host_of_server(number);
        let (client, monitor) = (Lan::Engine.address(host, 4222), Lan::Engine.address(host, 8222));
        let cluster = Lan::Routes.address(host, 6222);
        nats::Place { client, monitor, cluster, runner: network.runner(host) }
    };
    let nats = NatsServers::at((0..servers).map(server).collect());
    let url = format!("{}/carafe?replicas={servers}", nats.url());
    let place = |(number, copy): (usize, &Copy)| {
        let host = host_of_node(number);
        let place = Place::new(*copy, &url).at(Lan::Clients.address(host, 3000));
        place.with_options(&["--cluster-away", "1s"]).run_by(network.runner(host))
    };
    let places = COPIES.iter().enumerate().map(place).collect();
    Nodes::at(nats, url, places)
}

/// Runs a test inside the network, and blocks.
fn run<T: Send, F: Future<Output = T>>(network: &Network, test: impl FnOnce() -> F + Send) -> T {
    network.inside(|| Runtime::new().unwrap().block_on(test()))
}

#[test]
fn a_node_whose_cable_to_the_engine_is_pulled_says_so_and_goes_on_when_it_is_back() {
    let test = "a_node_whose_cable_to_the_engine_is_pulled_says_so_and_goes_on_when_it_is_back";
    let Some(network) = machines(test, 1) else { return };
    run(&network, async || {
        let nodes = start(&network, 1);
        let load = Load::start(&nodes, 8, 8);
        let mut random = load.random();
        let cuts = from_env("CARAFE_TEST_CLUSTER_CABLES", 1);
        let mut outages = Outages::after("the cable of a node is pulled");
        let mut back = Outages::after("the cable of that node is back");
        for cut in 0..cuts {
            load.deliver(AFTER).await;
            let node = random.random_range(0..nodes.count());
            let address = nodes.address(node);
            outages.begin(&load);
            network.pull(Lan::Engine, host_of_node(node));
            outages.end(&load).await;
            let not_ready = || get(address, "/readyz").status == 503;
            eventually("the node says that it is cut off", not_ready);
            // The first event of its topic, as the readers expect it.
            let target = format!("/events/cut/{cut}?id=k");
            let refused = post(address, &target, "1");
            assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
            load.deliver(AFTER).await;
            network.plug(Lan::Engine, host_of_node(node));
            let start = Instant::now();
            eventually("publishing at the node works again", || {
                post(address, &target, "1").status < 300
            });
            back.add(start.elapsed());
            eventually("the node is ready again", || get(address, "/readyz").status == 200);
        }
        drop((outages, back));
        load.finish(&format!("{cuts} cables pulled")).await;
    });
}

#[test]
fn when_the_cables_of_all_nodes_are_pulled_publishing_works_again_soon_after_they_are_back() {
    let test =
        "when_the_cables_of_all_nodes_are_pulled_publishing_works_again_soon_after_they_are_back";
    let Some(network) = machines(test, 1) else { return };
    run(&network, async || {
        let nodes = start(&network, 1);
        let load = Load::start(&nodes, 8, 8);
        let mut random = load.random();
        let cuts = from_env("CARAFE_TEST_CLUSTER_CABLES", 1);
        let mut outages = Outages::after("the cables of all nodes are back");
        for _ in 0..cuts {
            load.deliver(AFTER).await;
            (0..nodes.count()).for_each(|node| network.pull(Lan::Engine, host_of_node(node)));
            tokio::time::sleep(Duration::from_millis(random.random_range(500..8000))).await;
            (0..nodes.count()).for_each(|node| network.plug(Lan::Engine, host_of_node(node)));
            let start = Instant::now();
            load.outage().await;
            outages.add(start.elapsed());
            load.deliver(AFTER).await;
        }
        drop(outages);
        load.finish(&format!("{cuts} times the cables of all nodes pulled")).await;
    });
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_when_the_leader_is_cut_off_from_the_other_servers() {
    let test =
        "nothing_is_lost_doubled_or_out_of_order_when_the_leader_is_cut_off_from_the_other_servers";
    let Some(network) = machines(test, 3) else { return };
    run(&network, async || {
        let nodes = start(&network, 3);
        let load = Load::start(&nodes, 4, 4);
        let mut random = load.random();
        let cuts = from_env("CARAFE_TEST_CLUSTER_PARTITIONS", 1);
        let mut outages = Outages::after("the leader is cut off from the other servers");
        for _ in 0..cuts {
            load.deliver(AFTER).await;
            nodes.nats.wait_until_current("carafe");
            let leader = nodes.nats.leader("carafe");
            // Nodes still reach it, or do not.
            let is_unreachable = random.random_bool(0.5);
            outages.begin(&load);
            network.pull(Lan::Routes, host_of_server(leader));
            if is_unreachable {
                network.pull(Lan::Engine, host_of_server(leader));
            }
            outages.end(&load).await;
            load.deliver(AFTER).await;
            network.plug(Lan::Engine, host_of_server(leader));
            network.plug(Lan::Routes, host_of_server(leader));
        }
        drop(outages);
        load.finish(&format!("{cuts} partitions of the engine")).await;
    });
}
