//! A server of NATS, and a client that speaks as much of its protocol as a measurement needs: the
//! text protocol of NATS, and the acknowledgements of JetStream.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::outcome::Outcome;
use crate::server::{Server, free_port};

/// The stream of the nodes, and that of the bare client.
const STREAM: &str = "carafe-bench";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Engine {
    server: Server,
}

impl Engine {
    pub(super) fn start(nats: &Path, folder: &Path, sync: bool) -> Outcome<Self> {
        let (port, sync) = (free_port()?, if sync { "sync_interval: always" } else { "" });
        let store = folder.join("nats");
        let configuration = folder.join("nats.conf");
        fs::write(
            &configuration,
            format!(
                "listen: 127.0.0.1:{port}\njetstream {{\n  store_dir: {:?}\n  {sync}\n}}\n",
                store.display().to_string()
            ),
        )?;
        let mut command = Command::new(nats);
        command.arg("--config").arg(configuration);
        Ok(Self { server: Server::start_at(&command, None, port, "nats")? })
    }

    /// What nodes are given.
    pub(super) fn url(&self) -> String {
        format!("nats://{}/{STREAM}?replicas=1", self.server.address)
    }

    /// Connects a client with a stream of its own, whose settings are those of the nodes' stream.
    pub(super) fn connect(&self, stream: &str) -> Outcome<Client> {
        let address = self.server.address;
        let mut client = Client {
            publisher: Connection::open(address)?,
            subscriber: Connection::open(address)?,
            subject: format!("bench.{stream}"),
        };
        client.publisher.subscribe("_INBOX.bench.>")?;
        client.subscriber.subscribe(&client.subject)?;
        let settings = json!({
            "name": format!("bench-{stream}"), "subjects": [client.subject], "storage": "file",
            "num_replicas": 1, "retention": "limits", "discard": "old",
            "duplicate_window": 120_000_000_000_u64,
        });
        let create = format!("$JS.API.STREAM.CREATE.bench-{stream}");
        client.publisher.publish(
            &create,
            "_INBOX.bench.create",
            settings.to_string().as_bytes(),
        )?;
        let answer = client.publisher.message()?;
        match answer.contains("\"error\"") {
            true => Err(format!("the stream is not created: {answer}").into()),
            false => Ok(client),
        }
    }
}

/// A publisher that waits for acknowledgements, and a subscriber of the same subject.
pub(super) struct Client {
    publisher: Connection,
    subscriber: Connection,
    subject: String,
}

impl Client {
    /// Publishes for so many seconds, with so many messages that are not acknowledged.
    pub(super) fn messages_per_second(
        &mut self,
        window: usize,
        bytes: usize,
        seconds: u64,
    ) -> Outcome<f64> {
        let payload = vec![b'x'; bytes];
        let (start, mut acknowledged) = (Instant::now(), 0_u32);
        for _ in 0..window {
            self.publisher.publish(&self.subject, "_INBOX.bench.ack", &payload)?;
        }
        while start.elapsed() < Duration::from_secs(seconds) {
            self.publisher.acknowledged()?;
            acknowledged += 1;
            self.publisher.publish(&self.subject, "_INBOX.bench.ack", &payload)?;
        }
        let rate = f64::from(acknowledged) / start.elapsed().as_secs_f64();
        (0..window).try_for_each(|_| self.publisher.acknowledged())?;
        (0..acknowledged as usize + window)
            .try_for_each(|_| self.subscriber.message().map(drop))?;
        Ok(rate)
    }

    /// Microseconds from a publish to its delivery, in the middle of so many.
    pub(super) fn delivery(&mut self, messages: usize, bytes: usize) -> Outcome<f64> {
        let payload = vec![b'x'; bytes];
        let mut times = Vec::with_capacity(messages);
        for _ in 0..messages {
            let start = Instant::now();
            self.publisher.publish(&self.subject, "_INBOX.bench.ack", &payload)?;
            self.subscriber.message()?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            self.publisher.acknowledged()?;
        }
        times.sort_unstable_by(f64::total_cmp);
        Ok(times[messages / 2])
    }
}

/// A connection of the text protocol.
struct Connection {
    socket: BufReader<TcpStream>,
    line: String,
}

impl Connection {
    fn open(address: SocketAddr) -> Outcome<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut connection = Self { socket: BufReader::new(socket), line: String::new() };
        connection.socket.read_line(&mut connection.line)?;
        connection.write(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
        Ok(connection)
    }

    fn subscribe(&mut self, subject: &str) -> Outcome {
        self.write(format!("SUB {subject} 1\r\nPING\r\n").as_bytes())?;
        loop {
            self.next_line()?;
            match self.line.as_str() {
                "PONG" => return Ok(()),
                line if line.starts_with("-ERR") => return Err(line.into()),
                _ => {}
            }
        }
    }

    fn publish(&mut self, subject: &str, reply: &str, payload: &[u8]) -> Outcome {
        let head = format!("PUB {subject} {reply} {}\r\n", payload.len());
        self.write(&[head.as_bytes(), payload, b"\r\n"].concat())
    }

    /// An acknowledgement of JetStream.
    fn acknowledged(&mut self) -> Outcome {
        let answer = self.message()?;
        match answer.contains("\"seq\"") {
            true => Ok(()),
            false => Err(format!("not stored: {answer}").into()),
        }
    }

    /// The payload of the next message: `MSG subject sid [reply] bytes`.
    fn message(&mut self) -> Outcome<String> {
        loop {
            self.next_line()?;
            if self.line == "PING" {
                self.write(b"PONG\r\n")?;
            } else if self.line.starts_with("-ERR") {
                return Err(self.line.as_str().into());
            } else if self.line.starts_with("MSG ") {
                let bytes = self.line.rsplit(' ').next().unwrap_or_default().parse::<usize>()?;
                let mut payload = vec![0; bytes + 2];
                self.socket.read_exact(&mut payload)?;
                payload.truncate(bytes);
                return Ok(String::from_utf8(payload)?);
            }
        }
    }

    fn next_line(&mut self) -> Outcome {
        self.line.clear();
        if self.socket.read_line(&mut self.line)? == 0 {
            return Err("the server has closed the connection".into());
        }
        self.line.truncate(self.line.trim_end().len());
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.socket.get_mut().write_all(bytes)?)
    }
}
