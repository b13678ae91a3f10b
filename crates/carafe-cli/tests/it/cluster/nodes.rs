//! Nodes of a cluster as child processes, on servers of NATS that the test starts.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use carafe_testing::nats::NatsServers;
use tempfile::TempDir;

use crate::metrics::Metrics;
use crate::process::{Process, Server, carafe, own_address};

use super::cable::Cable;

/// Where a node keeps its copy of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    Memory,
    Disk,
}

/// The nodes of a cluster, which start and stop one by one, always at the same addresses.
pub(crate) struct Nodes {
    pub(crate) nats: NatsServers,
    /// The engine as nodes are given it.
    pub(crate) url: String,
    options: Vec<String>,
    folder: TempDir,
    nodes: Vec<Node>,
}

struct Node {
    address: SocketAddr,
    copy: Copy,
    /// The engine as it is given to this node.
    engine: String,
    server: Option<Server>,
}

impl Nodes {
    /// Starts servers of NATS, and a node for each copy.
    pub(crate) fn start(servers: usize, copies: &[Copy], options: &[&str]) -> Self {
        let nats = NatsServers::start(servers);
        let url = format!("{}/carafe?replicas={servers}", nats.url());
        Self::on(nats, url, copies, options)
    }

    /// Starts nodes on servers that run, with the engine as nodes are given it.
    pub(crate) fn on(nats: NatsServers, url: String, copies: &[Copy], options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nodes = copies.iter().map(|copy| {
            let address = TcpListener::bind(own_address()).unwrap().local_addr().unwrap();
            Node { address, copy: *copy, engine: url.clone(), server: None }
        });
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let nodes = nodes.collect();
        let mut all = Self { nats, url, options, nodes, folder };
        (0..all.nodes.len()).for_each(|node| all.start_node(node));
        all
    }

    /// Starts a node that does not run.
    pub(crate) fn start_node(&mut self, number: usize) {
        self.nodes[number].server = Some(Server::of(self.process(number)));
    }

    /// The same, before it has said that it listens.
    pub(crate) fn process(&self, number: usize) -> Process {
        let node = &self.nodes[number];
        let mut command = carafe();
        command.args(["serve", "--anonymous", "subscribe,publish", "--cluster", &node.engine]);
        command.args(["--listen", &node.address.to_string(), "--retry", "50ms"]);
        command.args(["--log", &self.log(number), "--drain-timeout", "2s"]);
        Process::start(command.args(&self.options))
    }

    /// Restarts a node, whose way to the engine is a cable from then on.
    pub(crate) fn restart_on(&mut self, number: usize, cable: &Cable) {
        self.stop(number);
        self.nodes[number].engine = format!("nats://{}/carafe", cable.address);
        self.start_node(number);
    }

    fn log(&self, number: usize) -> String {
        match self.nodes[number].copy {
            Copy::Memory => "memory:".into(),
            Copy::Disk => format!("disk:{}", self.folder(number).display()),
        }
    }

    /// The folder of a node's log.
    pub(crate) fn folder(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("node-{number}"))
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, number: usize) -> &Server {
        self.nodes[number].server.as_ref().expect("the node runs")
    }

    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        self.nodes[number].address
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.address)).collect()
    }

    /// The metrics of a node that was started with `--metrics-listen`. Call it once per start.
    pub(crate) fn metrics(&self, number: usize) -> Metrics {
        Metrics::of(self.node(number))
    }

    /// Ends a node at once, as a crash does.
    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].server.take().expect("the node runs").kill();
    }

    /// Asks a node to end, and waits until it has.
    pub(crate) fn stop(&mut self, number: usize) {
        let server = self.nodes[number].server.take().expect("the node runs");
        server.terminate();
        let status = server.wait();
        assert!(status.success(), "{status}");
    }
}
