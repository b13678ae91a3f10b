//! Events of one ingest request beside batches of NDJSON, and beside single requests.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use crate::figure::{Figure, Limit};
use crate::outcome::Outcome;
use crate::server::{Server, carafe};
use crate::turns::{Side, in_turns, seconds};

/// Events of one round, and of one batch.
const EVENTS: usize = 100_000;
const BATCH: usize = 1000;

/// Events that arrive in one chunk of an open body, as of a producer that has many.
const CHUNK: usize = 100;

/// Events of one round of the latency, one after the other.
const EVENTS_ALONE: usize = 200;

const DATA: usize = 100;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often the two sides of a figure alternate
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The program; otherwise the one that was built beside this
    #[arg(long)]
    carafe: Option<PathBuf>,
    /// Folder on the disk to measure; files are removed afterwards
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    std::fs::create_dir_all(&options.dir)?;
    let program = carafe(options.carafe.as_deref())?;
    let folder = tempfile::tempdir_in(&options.dir)?;
    let log = format!("disk:{}", folder.path().join("log").display());
    for log in [&*log, "memory:"] {
        of_log(&program, log, options.rounds)?;
    }
    Ok(())
}

fn of_log(program: &Path, log: &str, rounds: usize) -> Outcome {
    let hub = Server::carafe(program, &["--log", log], None)?;
    let name = log.split(':').next().unwrap_or_default();
    let (mut batches, mut client) = (Client::connect(hub.address)?, Client::connect(hub.address)?);
    for (form, of_event) in FORMS {
        let turns = in_turns(
            rounds,
            || seconds(|| batches.publish_batches()),
            || seconds(|| client.ingest(form, of_event)),
        )?;
        let rate = |side: &Side| EVENTS as f64 / side.median();
        println!(
            "{name}, {form}: {:.0} events/s over one ingest request, {:.0} in batches of {BATCH}",
            rate(&turns.other),
            rate(&turns.one)
        );
        let name = "ingest / batches of 1000, in events a second";
        println!("{}", Figure { name, value: turns.ratio(), limit: Limit::AtLeast(0.5) });
    }
    // Both sides read from it, in turn.
    let reader = RefCell::new(Reader::open(hub.address)?);
    let mut open = Client::connect(hub.address)?;
    open.begin("/events/alone", FORMS[0].0)?;
    let turns = in_turns(
        rounds * EVENTS_ALONE,
        || seconds(|| open.chunk("data: x\n\n").and_then(|()| reader.borrow_mut().receive())),
        || {
            let took = seconds(|| {
                client
                    .send("/events/alone", "text/plain", "x")
                    .and_then(|()| reader.borrow_mut().receive())
            });
            client.answer()?;
            took
        },
    )?;
    let micros = |side: &Side| side.median() * 1e6;
    println!(
        "{name}: {:.0} µs from an ingest request to a reader, {:.0} µs from a single publish",
        micros(&turns.one),
        micros(&turns.other)
    );
    let name = "producer to reader: ingest / single publish";
    println!("{}", Figure { name, value: turns.ratio(), limit: Limit::AtMost(1.5) });
    Ok(())
}

/// Writes one event with this data.
type OfEvent = fn(&str) -> String;

/// The content type of an open body, and how its events are written.
const FORMS: [(&str, OfEvent); 2] = [
    ("text/event-stream", |data| format!("data: {data}\n\n")),
    ("application/x-ndjson", |data| format!("{{\"data\":\"{data}\"}}\n")),
];

/// A connection for requests, one after the other.
struct Client {
    socket: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Outcome<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket: BufReader::new(socket) })
    }

    fn publish_batches(&mut self) -> Outcome {
        let data = "x".repeat(DATA);
        let batch = format!("{{\"topic\":\"fed\",\"data\":\"{data}\"}}\n").repeat(BATCH);
        for _ in 0..EVENTS / BATCH {
            self.send("/events", "application/x-ndjson", &batch)?;
            self.answer()?;
        }
        Ok(())
    }

    fn ingest(&mut self, form: &str, of_event: OfEvent) -> Outcome {
        let chunk = of_event(&"x".repeat(DATA)).repeat(CHUNK);
        self.begin("/events/fed", form)?;
        for _ in 0..EVENTS / CHUNK {
            self.chunk(&chunk)?;
        }
        self.socket.get_mut().write_all(b"0\r\n\r\n")?;
        let answer = self.answer()?;
        match answer.contains(&format!("\"stored\":{EVENTS},")) {
            true => Ok(()),
            false => Err(format!("not all was stored: {answer}").into()),
        }
    }

    fn send(&mut self, target: &str, form: &str, body: &str) -> Outcome {
        let length = format!("Content-Length: {}", body.len());
        self.head(target, form, &length, body)
    }

    /// Opens a body that is sent in chunks.
    fn begin(&mut self, target: &str, form: &str) -> Outcome {
        self.head(target, form, "Transfer-Encoding: chunked", "")
    }

    fn head(&mut self, target: &str, form: &str, framing: &str, body: &str) -> Outcome {
        let mut text = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n");
        write!(text, "Content-Type: {form}\r\n{framing}\r\n\r\n{body}")?;
        Ok(self.socket.get_mut().write_all(text.as_bytes())?)
    }

    fn chunk(&mut self, text: &str) -> Outcome {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        Ok(self.socket.get_mut().write_all(chunk.as_bytes())?)
    }

    /// The body of the answer, which has to be a success.
    fn answer(&mut self) -> Outcome<String> {
        let (mut line, mut length, mut status) = (String::new(), 0, String::new());
        loop {
            line.clear();
            self.socket.read_line(&mut line)?;
            match line.trim_end().to_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse()?,
                Some(_) => {}
                None if line.trim_end().is_empty() => break,
                None => line.clone_into(&mut status),
            }
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body)?;
        let body = String::from_utf8(body)?;
        match status.split(' ').nth(1) {
            Some("200" | "201") => Ok(body),
            _ => Err(format!("{status}{body}").into()),
        }
    }
}

/// A stream of the events that are sent alone.
struct Reader {
    socket: BufReader<TcpStream>,
}

impl Reader {
    fn open(address: SocketAddr) -> Outcome<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(b"GET /events/alone HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut reader = Self { socket: BufReader::new(socket) };
        reader.wait_for("event: carafe.position")?;
        Ok(reader)
    }

    fn receive(&mut self) -> Outcome {
        self.wait_for("data: x")
    }

    fn wait_for(&mut self, wanted: &str) -> Outcome {
        let mut line = String::new();
        while line.trim_end() != wanted {
            line.clear();
            if self.socket.read_line(&mut line)? == 0 {
                return Err("the stream has ended".into());
            }
        }
        Ok(())
    }
}
