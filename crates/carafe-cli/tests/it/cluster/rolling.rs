//! Nodes are restarted one after the other behind a load balancer, as in an upgrade: no client
//! notices more than one reconnection per restart.

use carafe_testing::nats::{NatsServers, is_here};

use crate::http::get;
use crate::process::{eventually, from_env, own_address};
use crate::proxies::Kind;

use super::balancer::{Balancer, EVENTS, METRICS};
use super::load::Load;
use super::nodes::{Copy, Nodes, Place};

const COPIES: &[Copy] = &[Copy::Disk, Copy::Memory, Copy::Disk];

/// Deliveries before and after each restart.
const AFTER: u64 = 2000;

/// Each at an address of its own, with the ports of the example.
fn nodes() -> Nodes {
    let nats = NatsServers::start(1);
    let url = format!("{}/carafe?replicas=1", nats.url());
    let place = |copy: &Copy| {
        let mut address = own_address();
        address.set_port(EVENTS);
        let metrics = format!("{}:{METRICS}", address.ip());
        let options = ["--shutdown-delay", "1s", "--metrics-listen", &metrics];
        Place::new(*copy, &url).at(address).with_options(&options)
    };
    let places = COPIES.iter().map(place).collect();
    Nodes::at(nats, url, places)
}

async fn upgrade(kind: Kind, test: &str) {
    if !is_here(test) || !kind.is_here(test) {
        return;
    }
    let mut nodes = nodes();
    let balancer = Balancer::start(kind, &nodes);
    let load = Load::through(balancer.url(), 6, 24);
    let rounds = from_env("CARAFE_TEST_CLUSTER_UPGRADES", 1);
    let mut reconnections = Vec::new();
    for node in (0..rounds).flat_map(|_| 0..COPIES.len()) {
        load.deliver(AFTER).await;
        load.lost_connections();
        nodes.stop(node);
        nodes.start_node(node);
        let mut metrics = nodes.address(node);
        metrics.set_port(METRICS);
        eventually("the node is ready", || get(metrics, "/readyz").status == 200);
        load.deliver(AFTER).await;
        let lost = load.lost_connections();
        let most = lost.iter().max_by_key(|lost| lost.len()).unwrap();
        let said = balancer.said();
        assert!(most.len() <= 1, "a client has reconnected more than once: {most:?}, {said:?}");
        reconnections.push(lost.iter().map(Vec::len).sum::<usize>());
    }
    println!("reconnections of 24 clients in each restart: {reconnections:?}");
    assert!(reconnections.iter().sum::<usize>() > 0, "the nodes had clients");
    load.finish(&format!("{} restarts behind {}", reconnections.len(), kind.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_rolling_upgrade_behind_haproxy_each_client_reconnects_at_most_once_per_restart() {
    let test =
        "in_a_rolling_upgrade_behind_haproxy_each_client_reconnects_at_most_once_per_restart";
    upgrade(Kind::Haproxy, test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_rolling_upgrade_behind_nginx_each_client_reconnects_at_most_once_per_restart() {
    let test = "in_a_rolling_upgrade_behind_nginx_each_client_reconnects_at_most_once_per_restart";
    upgrade(Kind::Nginx, test).await;
}
