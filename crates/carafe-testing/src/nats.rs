//! Servers of NATS with JetStream, alone or as a cluster, which end with the test.

mod connection;
mod snapshot;

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients;
use crate::http;
use crate::nats::connection::Connection;
use crate::process::{PATIENCE, Process, eventually, free_address, repository};

pub use snapshot::Snapshot;

/// Where `cargo xtask install` puts the server.
const PROGRAM: &str = "target/clients-venv/bin/nats-server";

/// How often servers begin again because another program has taken one of their ports.
const STARTS: usize = 3;

/// Whether the server is installed for this run. If not, prints that `test` is skipped.
pub fn is_here(test: &str) -> bool {
    if !clients::is_here("nats", test) {
        return false;
    }
    let is_here = repository(PROGRAM).exists();
    if !is_here {
        clients::skip(test, "nats-server is missing; cargo xtask install brings it");
    }
    is_here
}

/// Servers on ports of 127.0.0.1, with their files in a folder of the test.
pub struct NatsServers {
    folder: TempDir,
    servers: Vec<Server>,
}

struct Server {
    place: Place,
    /// `None`: it was killed or stopped.
    process: Mutex<Option<Process>>,
}

/// Where a server listens, and how it is started.
#[derive(Clone)]
pub struct Place {
    pub client: SocketAddr,
    pub monitor: SocketAddr,
    pub cluster: SocketAddr,
    /// A program that runs the server's, such as `env`, and its arguments.
    pub runner: Vec<String>,
}

impl Place {
    fn free() -> Self {
        let (client, monitor, cluster) = (free_address(), free_address(), free_address());
        Self { client, monitor, cluster, runner: Vec::new() }
    }

    fn program(&self) -> Command {
        let program = repository(PROGRAM);
        let Some((runner, arguments)) = self.runner.split_first() else {
            return Command::new(program);
        };
        let mut command = Command::new(runner);
        command.args(arguments).arg(program);
        command
    }
}

impl NatsServers {
    /// Starts 1 server, or a cluster of 3, and returns when JetStream works.
    pub fn start(count: usize) -> Self {
        Self::configured(count, "")
    }

    /// The same, with more in the configuration of each.
    pub fn configured(count: usize, configuration: &str) -> Self {
        let places = || (0..count).map(|_| Place::free()).collect();
        let started = (0..STARTS).find_map(|_| Self::try_start(places(), configuration));
        started.unwrap_or_else(|| panic!("nats-server has ended {STARTS} times: {configuration}"))
    }

    /// The same at these places.
    pub fn at(places: Vec<Place>) -> Self {
        Self::try_start(places, "").expect("nats-server runs")
    }

    /// `None` if a server ends, since a port is taken.
    fn try_start(places: Vec<Place>, configuration: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let count = places.len();
        let servers = places.into_iter().map(|place| Server { place, process: Mutex::new(None) });
        let all = Self { folder, servers: servers.collect() };
        for index in 0..count {
            fs::write(all.file(index), all.configuration(index, configuration)).unwrap();
            all.run(index);
        }
        let deadline = Instant::now() + PATIENCE;
        while !(0..count).all(|index| all.is_healthy(index)) {
            if all.servers.iter().any(Server::has_ended) {
                return None;
            }
            assert!(Instant::now() < deadline, "NATS is not ready within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(all)
    }

    fn configuration(&self, index: usize, more: &str) -> String {
        let Place { client, monitor, cluster, .. } = &self.servers[index].place;
        let store = self.store(index);
        let mut text = format!(
            "server_name: n{index}\nlisten: \"{client}\"\nhttp: \"{monitor}\"\n\
             jetstream {{ store_dir: \"{}\", max_mem: 64MB, max_file: 8GB }}\n{more}\n",
            store.display()
        );
        if self.servers.len() > 1 {
            let routes =
                self.servers.iter().map(|it| format!("\"nats-route://{}\"", it.place.cluster));
            let routes = routes.collect::<Vec<_>>().join(", ");
            writeln!(text, "cluster {{ name: test, listen: \"{cluster}\", routes: [{routes}] }}")
                .unwrap();
        }
        text
    }

    fn file(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("n{index}.conf"))
    }

    /// The folder with the streams of a server.
    pub fn store(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("n{index}"))
    }

    fn run(&self, index: usize) {
        let mut command = self.servers[index].place.program();
        let process = Process::start(command.arg("--config").arg(self.file(index)));
        assert!(self.servers[index].process().replace(process).is_none(), "it does not run twice");
    }

    fn is_healthy(&self, index: usize) -> bool {
        let monitor = self.servers[index].place.monitor;
        TcpStream::connect(monitor).is_ok() && http::get(monitor, "/healthz").status == 200
    }

    /// `nats://` and the addresses of all servers.
    pub fn url(&self) -> String {
        let addresses = self.servers.iter().map(|server| server.place.client.to_string());
        format!("nats://{}", addresses.collect::<Vec<_>>().join(","))
    }

    /// The address of one server.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.servers[index].place.client
    }

    /// Whether the server was not killed or stopped.
    pub fn is_running(&self, index: usize) -> bool {
        self.servers[index].process().is_some()
    }

    pub fn signal(&self, index: usize, signal: Signal) {
        self.servers[index].process().as_ref().expect("the server runs").signal(signal);
    }

    /// Ends a server by SIGKILL.
    pub fn kill(&self, index: usize) {
        // Dropping a process kills it, and waits.
        drop(self.servers[index].process().take());
    }

    /// Ends a server in order.
    pub fn stop(&self, index: usize) {
        let process = self.servers[index].process().take().expect("the server runs");
        process.signal(Signal::TERM);
        process.wait();
    }

    /// Starts a server again, with its ports and its files, and returns when it accepts clients.
    pub fn start_again(&self, index: usize) {
        self.run(index);
        let address = self.servers[index].place.client;
        eventually("the server accepts clients", || Connection::open(address).is_some());
    }

    /// Returns when all servers that run say that they are well: a cluster has a leader, and its
    /// streams are up to date.
    pub fn wait_until_healthy(&self) {
        for index in (0..self.servers.len()).filter(|index| self.is_running(*index)) {
            eventually("the server is healthy", || self.is_healthy(index));
        }
    }

    /// Returns when all servers have all messages of a stream. One that was cut off may need most
    /// of a minute, and until then, the others are not enough without their leader.
    pub fn wait_until_current(&self, stream: &str) {
        let deadline = Instant::now() + 4 * PATIENCE;
        while !self.is_current(stream) {
            assert!(Instant::now() < deadline, "some server does not catch up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_current(&self, stream: &str) -> bool {
        let info = self.try_request(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}));
        let replicas = info.and_then(|info| info["cluster"]["replicas"].as_array().cloned());
        let is_current = |replica: &Value| replica["current"] == true && replica["lag"].is_null();
        replicas
            .is_some_and(|all| all.len() + 1 == self.servers.len() && all.iter().all(is_current))
    }

    /// The server that leads the stream. Waits until one does.
    pub fn leader(&self, stream: &str) -> usize {
        if self.servers.len() == 1 {
            return 0;
        }
        let mut leader = None;
        eventually("the stream has a leader", || {
            let info = self.try_request(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}));
            let name = info.and_then(|info| Some(info["cluster"]["leader"].as_str()?.to_owned()));
            leader = name.and_then(|name| name.strip_prefix('n')?.parse().ok());
            leader.is_some()
        });
        leader.unwrap()
    }

    /// Deletes a stream with all its messages.
    #[track_caller]
    pub fn delete_stream(&self, stream: &str) {
        self.succeed(&format!("$JS.API.STREAM.DELETE.{stream}"), &json!({}));
    }

    /// Removes all messages of a stream but the newest.
    #[track_caller]
    pub fn keep_only(&self, stream: &str, messages: u64) {
        self.succeed(&format!("$JS.API.STREAM.PURGE.{stream}"), &json!({ "keep": messages }));
    }

    /// Removes all messages of a stream before a sequence.
    #[track_caller]
    pub fn trim(&self, stream: &str, first: u64) {
        self.succeed(&format!("$JS.API.STREAM.PURGE.{stream}"), &json!({ "seq": first }));
    }

    /// Creates a stream with these settings.
    #[track_caller]
    pub fn create_stream(&self, settings: &Value) {
        let name = settings["name"].as_str().unwrap();
        self.succeed(&format!("$JS.API.STREAM.CREATE.{name}"), settings);
    }

    #[track_caller]
    fn succeed(&self, subject: &str, body: &Value) {
        let answer = self.request(subject, body);
        assert!(answer.get("error").is_none(), "{subject}: {answer}");
    }

    /// The answer of whoever serves a subject. Asks until there is one.
    #[track_caller]
    pub fn request(&self, subject: &str, body: &Value) -> Value {
        let mut answer = None;
        eventually(&format!("an answer to {subject}"), || {
            answer = self.try_request(subject, body);
            answer.is_some()
        });
        answer.unwrap()
    }

    fn try_request(&self, subject: &str, body: &Value) -> Option<Value> {
        let running = self.servers.iter().filter(|server| server.process().is_some());
        let mut connections = running.filter_map(|server| Connection::open(server.place.client));
        connections.find_map(|connection| connection.request(subject, &body.to_string()))
    }

    /// Stores a message in a stream by its subject, as another program would, and returns its
    /// sequence.
    #[track_caller]
    pub fn publish(&self, subject: &str, text: &str) -> u64 {
        let connection = Connection::open(self.servers[0].place.client).unwrap();
        let stored = connection.request(subject, text).expect("the stream acknowledges it");
        stored["seq"].as_u64().unwrap_or_else(|| panic!("{stored}"))
    }

    /// How many messages the servers have sent to clients and to each other.
    pub fn messages_sent(&self) -> u64 {
        let running = self.servers.iter().filter(|server| server.process().is_some());
        running
            .map(|it| http::get(it.place.monitor, "/varz").json()["out_msgs"].as_u64().unwrap())
            .sum()
    }
}

impl Server {
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap()
    }

    fn has_ended(&self) -> bool {
        self.process().as_mut().is_some_and(Process::has_ended)
    }
}
