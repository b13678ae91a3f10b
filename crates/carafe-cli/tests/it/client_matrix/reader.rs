//! The readers of the matrix: programs with a client each, and what they have shown.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::rust;
use crate::clients::{Shown, are_compiled, go, is_here, java, node, python};
use crate::process::{Process, carafe};

/// Some clients double their delay with each try.
const PATIENCE: Duration = Duration::from_secs(60);

const PATH: &str = "/events/orders?earliest";

/// What a client does by its own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// It shows a part of an event when the connection breaks, with the ID of the event before.
    ShowsPartsOfEvents,
}

/// A client, and the events that it has shown.
pub(super) struct Reader {
    client: &'static str,
    fault: Fault,
    shown: Receiver<Shown>,
    events: Vec<Shown>,
    /// Parts of events.
    parts: Vec<Shown>,
    /// The ID of the last event, which may be one of the hub's own.
    last_id: String,
    /// The program, which ends with its last reader.
    process: Option<Rc<Process>>,
}

impl Reader {
    fn new(client: &'static str, shown: Receiver<Shown>, process: Option<Rc<Process>>) -> Self {
        let (events, parts, last_id) = (Vec::new(), Vec::new(), String::new());
        Self { client, fault: Fault::None, shown, events, parts, last_id, process }
    }

    /// Reads until there are so many events.
    #[track_caller]
    pub(super) fn read(&mut self, count: usize) {
        while self.events.len() < count {
            match self.shown.recv_timeout(PATIENCE) {
                Ok(shown) => self.take(shown),
                Err(error) => self.gives_up(error, count),
            }
        }
    }

    #[track_caller]
    fn gives_up(&self, error: RecvTimeoutError, count: usize) -> ! {
        let (client, events) = (self.client, self.events.len());
        let reason = match error {
            RecvTimeoutError::Timeout => "shows no more",
            RecvTimeoutError::Disconnected => "has ended",
        };
        let words: Vec<_> = self.process.iter().flat_map(|it| it.stderr.try_iter()).collect();
        let last = &self.last_id;
        panic!("{client} {reason} after {events} of {count} events, the last {last}: {words:?}");
    }

    fn take(&mut self, shown: Shown) {
        let last_id = std::mem::replace(&mut self.last_id, shown.id.clone());
        if shown.event_type.starts_with("carafe.") {
            assert_ne!(shown.event_type, "carafe.gap", "{}: {}", self.client, shown.data);
        } else if self.fault == Fault::ShowsPartsOfEvents && shown.id == last_id {
            self.parts.push(shown);
        } else {
            self.events.push(shown);
        }
    }

    /// Each event once, in order.
    #[track_caller]
    pub(super) fn check(&self, published: &[Shown]) {
        for (shown, expected) in self.events.iter().zip(published) {
            assert!(shown == expected, "{} shows {} for {}", self.client, shown.id, expected.id);
        }
        assert_eq!(self.events.len(), published.len(), "{}", self.client);
        for part in &self.parts {
            let is_of = |event: &Shown| event.data.starts_with(&part.data);
            assert!(published.iter().any(is_of), "{}: {}", self.client, part.data);
        }
    }
}

/// Starts all clients that this run has, each to show `count` events.
pub(super) fn readers(address: SocketAddr, count: usize, test: &str) -> Vec<Reader> {
    let url = format!("http://{address}{PATH}");
    let program = |client, mut command: Command| {
        read_program(client, Process::start(command.args([&url, &count.to_string()])))
    };
    let mut readers = vec![
        Reader::new(
            "carafe-client in Rust",
            rust::read_with_carafe_client(url.clone(), count),
            None,
        ),
        Reader::new("eventsource-stream", rust::read(url.clone(), count), None),
        carafe_subscribe(address, count),
    ];
    if is_here("node", test) {
        readers.push(program("carafe-client", node("tests/clients/carafe_client.mjs")));
        readers.push(program("eventsource", node("tests/clients/eventsource.mjs")));
        readers.push(program("eventsource-client", node("tests/clients/eventsource_client.mjs")));
    }
    if is_here("python", test) {
        readers.push(program("httpx-sse", python("tests/clients/httpx_sse_client.py")));
        readers.push(program("sseclient-py", python("tests/clients/sseclient_py_client.py")));
        readers.push(program("requests-sse", python("tests/clients/requests_sse_client.py")));
    }
    if are_compiled("go", test) {
        readers.push(program("go-sse", go("gosse")));
        // The program counts parts of events, too: the test ends it.
        let endless = (2 * count).to_string();
        let r3labs = Process::start(go("r3labs").args([&url, &endless]));
        let r3labs = read_program("r3labs/sse", r3labs);
        readers.push(Reader { fault: Fault::ShowsPartsOfEvents, ..r3labs });
    }
    if are_compiled("java", test) {
        readers.push(program("okhttp-eventsource", java("LaunchDarkly")));
        readers.push(program("okhttp-sse", java("OkHttpSse")));
    }
    if is_here("browser", test) {
        readers.extend(in_the_browser(address, count));
    }
    readers
}

fn read_program(client: &'static str, mut process: Process) -> Reader {
    let (sender, shown) = channel();
    for_each_line(&mut process, move |line| drop(sender.send(shown_in(line))));
    Reader::new(client, shown, Some(process.into()))
}

/// All clients of the browser in one page.
fn in_the_browser(address: SocketAddr, count: usize) -> impl Iterator<Item = Reader> {
    let clients =
        ["native", "event-source-polyfill", "reconnecting-eventsource", "fetch-event-source"];
    let base = format!("http://{address}");
    let mut program = node("tests/browser/clients.mjs");
    let mut process = Process::start(program.args([&base, PATH, &count.to_string()]).args(clients));
    let (senders, shown): (HashMap<&str, Sender<Shown>>, Vec<_>) = clients
        .map(|client| {
            let (sender, shown) = channel();
            ((client, sender), shown)
        })
        .into_iter()
        .unzip();
    for_each_line(&mut process, move |line| {
        let client = line["client"].as_str().unwrap().to_owned();
        drop(senders[&*client].send(shown_in(line)));
    });
    let process = Rc::new(process);
    clients
        .into_iter()
        .zip(shown)
        .map(move |(client, shown)| Reader::new(client, shown, Some(Rc::clone(&process))))
}

/// The project's own client prints envelopes.
fn carafe_subscribe(address: SocketAddr, count: usize) -> Reader {
    let url = format!("http://{address}");
    let arguments = ["subscribe", "orders", "--earliest", "--json", "--count"];
    let mut program = carafe();
    let mut process =
        Process::start(program.args(arguments).args([&count.to_string(), "--url", &url]));
    let (sender, shown) = channel();
    for_each_line(&mut process, move |mut line| {
        line["type"] = "message".into();
        drop(sender.send(shown_in(line)));
    });
    Reader::new("carafe subscribe", shown, Some(process.into()))
}

fn shown_in(line: Value) -> Shown {
    serde_json::from_value(line).unwrap()
}

/// Reads the output of a program on a thread, which ends with the program.
fn for_each_line(process: &mut Process, mut act: impl FnMut(Value) + Send + 'static) {
    let (_, nothing) = channel();
    let lines = std::mem::replace(&mut process.stdout, nothing);
    thread::spawn(move || {
        lines.iter().for_each(|line| act(serde_json::from_str(&line).unwrap()));
    });
}
