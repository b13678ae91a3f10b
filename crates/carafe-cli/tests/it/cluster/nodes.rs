//! Nodes of a cluster as child processes, on servers of NATS that the test starts.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

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

/// How a node is started.
#[derive(Clone)]
pub(crate) struct Place {
    copy: Copy,
    /// Where it listens, each time.
    address: SocketAddr,
    /// The engine as it is given to this node.
    engine: String,
    options: Vec<String>,
    /// A program that runs the node's, such as `env`, and its arguments.
    runner: Vec<String>,
}

impl Place {
    /// At an address of its own.
    pub(crate) fn new(copy: Copy, engine: &str) -> Self {
        let address = TcpListener::bind(own_address()).unwrap().local_addr().unwrap();
        Self { copy, address, engine: engine.into(), options: Vec::new(), runner: Vec::new() }
    }

    pub(crate) fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    pub(crate) fn with_options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    pub(crate) fn run_by(mut self, runner: Vec<String>) -> Self {
        self.runner = runner;
        self
    }

    fn program(&self) -> Command {
        let program = carafe();
        let Some((runner, arguments)) = self.runner.split_first() else { return program };
        let mut command = Command::new(runner);
        command.args(arguments).arg(program.get_program());
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        command
    }
}

/// The nodes of a cluster, which start and stop one by one, always at the same addresses.
pub(crate) struct Nodes {
    // Ends before the engine.
    nodes: Vec<Node>,
    pub(crate) nats: NatsServers,
    /// The engine as nodes are given it.
    pub(crate) url: String,
    folder: TempDir,
}

struct Node {
    place: Place,
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
        let places = copies.iter().map(|copy| Place::new(*copy, &url).with_options(options));
        let places = places.collect();
        Self::at(nats, url, places)
    }

    /// Starts a node at each place.
    pub(crate) fn at(nats: NatsServers, url: String, places: Vec<Place>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nodes = places.into_iter().map(|place| Node { place, server: None }).collect();
        let mut all = Self { nodes, nats, url, folder };
        (0..all.nodes.len()).for_each(|node| all.start_node(node));
        all
    }

    /// Starts a node that does not run.
    pub(crate) fn start_node(&mut self, number: usize) {
        self.nodes[number].server = Some(Server::of(self.process(number)));
    }

    /// The same, before it has said that it listens.
    pub(crate) fn process(&self, number: usize) -> Process {
        let place = &self.nodes[number].place;
        let mut command = place.program();
        command.args(["serve", "--anonymous", "subscribe,publish", "--cluster", &place.engine]);
        command.args(["--listen", &place.address.to_string(), "--retry", "50ms"]);
        command.args(["--log", &self.log(number), "--drain-timeout", "2s"]);
        Process::start(command.args(&place.options))
    }

    /// Restarts a node, whose way to the engine is a cable from then on.
    pub(crate) fn restart_on(&mut self, number: usize, cable: &Cable) {
        self.stop(number);
        self.nodes[number].place.engine = format!("nats://{}/carafe", cable.address);
        self.start_node(number);
    }

    fn log(&self, number: usize) -> String {
        match self.nodes[number].place.copy {
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
        self.nodes[number].place.address
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.place.address)).collect()
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
