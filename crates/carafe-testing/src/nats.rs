//! Servers of NATS with JetStream, alone or as a cluster, which end with the test.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
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
use crate::process::{PATIENCE, Process, eventually, free_address, repository};

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
    client: SocketAddr,
    monitor: SocketAddr,
    cluster: SocketAddr,
    /// `None`: it was killed or stopped.
    process: Mutex<Option<Process>>,
}

impl NatsServers {
    /// Starts 1 server, or a cluster of 3, and returns when JetStream works.
    pub fn start(count: usize) -> Self {
        Self::configured(count, "")
    }

    /// The same, with more in the configuration of each.
    pub fn configured(count: usize, configuration: &str) -> Self {
        let started = (0..STARTS).find_map(|_| Self::try_start(count, configuration));
        started.unwrap_or_else(|| panic!("nats-server has ended {STARTS} times: {configuration}"))
    }

    /// `None` if a server ends, since a port is taken.
    fn try_start(count: usize, configuration: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let addresses = || (free_address(), free_address(), free_address());
        let servers = (0..count).map(|_| {
            let (client, monitor, cluster) = addresses();
            Server { client, monitor, cluster, process: Mutex::new(None) }
        });
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
        let Server { client, monitor, cluster, .. } = &self.servers[index];
        let store = self.store(index);
        let mut text = format!(
            "server_name: n{index}\nlisten: \"{client}\"\nhttp: \"{monitor}\"\n\
             jetstream {{ store_dir: \"{}\", max_mem: 64MB, max_file: 8GB }}\n{more}\n",
            store.display()
        );
        if self.servers.len() > 1 {
            let routes = self.servers.iter().map(|it| format!("\"nats-route://{}\"", it.cluster));
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
        let mut command = Command::new(repository(PROGRAM));
        let process = Process::start(command.arg("--config").arg(self.file(index)));
        assert!(self.servers[index].process().replace(process).is_none(), "it does not run twice");
    }

    fn is_healthy(&self, index: usize) -> bool {
        let monitor = self.servers[index].monitor;
        TcpStream::connect(monitor).is_ok() && http::get(monitor, "/healthz").status == 200
    }

    /// `nats://` and the addresses of all servers.
    pub fn url(&self) -> String {
        let addresses = self.servers.iter().map(|server| server.client.to_string());
        format!("nats://{}", addresses.collect::<Vec<_>>().join(","))
    }

    /// The address of one server.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.servers[index].client
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
        let address = self.servers[index].client;
        eventually("the server accepts clients", || Connection::open(address).is_some());
    }

    /// Returns when all servers that run say that they are well: a cluster has a leader, and its
    /// streams are up to date.
    pub fn wait_until_healthy(&self) {
        for index in (0..self.servers.len()).filter(|index| self.is_running(*index)) {
            eventually("the server is healthy", || self.is_healthy(index));
        }
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
        let mut connections = running.filter_map(|server| Connection::open(server.client));
        connections.find_map(|connection| connection.request(subject, &body.to_string()))
    }

    /// Stores a message in a stream by its subject, as another program would, and returns its
    /// sequence.
    #[track_caller]
    pub fn publish(&self, subject: &str, text: &str) -> u64 {
        let connection = Connection::open(self.servers[0].client).unwrap();
        let stored = connection.request(subject, text).expect("the stream acknowledges it");
        stored["seq"].as_u64().unwrap_or_else(|| panic!("{stored}"))
    }

    /// How many messages the servers have sent to clients and to each other.
    pub fn messages_sent(&self) -> u64 {
        let running = self.servers.iter().filter(|server| server.process().is_some());
        running.map(|it| http::get(it.monitor, "/varz").json()["out_msgs"].as_u64().unwrap()).sum()
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

/// A client that sends one request.
struct Connection {
    reader: BufReader<TcpStream>,
    inbox: String,
}

/// A server that is about to become the leader does not answer: the next attempt may ask another.
const ANSWER: Duration = Duration::from_secs(2);

impl Connection {
    /// `None` if the server does not greet.
    fn open(address: SocketAddr) -> Option<Self> {
        let mut socket = TcpStream::connect_timeout(&address, ANSWER).ok()?;
        socket.set_read_timeout(Some(ANSWER)).ok()?;
        let inbox = format!("_INBOX.{}", rand::random::<u64>());
        let options = json!({ "verbose": false, "headers": true, "no_responders": true });
        write!(socket, "CONNECT {options}\r\nSUB {inbox} 1\r\n").ok()?;
        let mut connection = Self { reader: BufReader::new(socket), inbox };
        connection.line().filter(|line| line.starts_with("INFO ")).map(|_| connection)
    }

    /// `None` if nobody answers, or with anything but JSON.
    fn request(mut self, subject: &str, body: &str) -> Option<Value> {
        let request = format!("PUB {subject} {} {}\r\n{body}\r\n", self.inbox, body.len());
        self.reader.get_mut().write_all(request.as_bytes()).ok()?;
        loop {
            let line = self.line()?;
            let mut words = line.split(' ');
            match words.next()? {
                "MSG" => {
                    let mut answer = vec![0; words.next_back()?.parse().ok()?];
                    self.reader.read_exact(&mut answer).ok()?;
                    return serde_json::from_slice(&answer).ok();
                }
                "PING" => self.reader.get_mut().write_all(b"PONG\r\n").ok()?,
                // The headers say that nobody serves the subject.
                "HMSG" | "-ERR" => return None,
                _ => {}
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}
