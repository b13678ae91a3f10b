//! `carafe bench`: it passes a correct hub, and reports the faults of an incorrect one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::cli::fails;
use crate::process::{PATIENCE, Process, Server, carafe};

fn bench(url: &str, options: &[&str]) -> Output {
    carafe().args(["bench", url, "--json"]).args(options).output().unwrap()
}

/// The report of a run that must succeed.
#[track_caller]
fn passes(url: &str, options: &[&str]) -> Value {
    let output = bench(url, options);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn no_faults() -> Value {
    json!({ "gaps": 0, "doubles": 0, "reorders": 0, "strays": 0, "missing": 0, "gap_events": 0, "lost": 0 })
}

#[test]
fn every_connection_of_a_hub_gets_every_event() {
    let hub = Server::start(&[]);
    let report = passes(&hub.url("/events/bench"), &["-c", "50", "-n", "40", "--window", "8"]);
    assert_eq!(report["faults"], no_faults());
    assert_eq!((&report["published"], &report["deliveries"]), (&json!(40), &json!(2000)));
    assert_eq!(report["latency"]["p50"].as_u64().map(|p50| p50 > 0), Some(true));
}

#[test]
fn topics_have_numbers_of_their_own_and_can_be_published_to_in_batches() {
    let hub = Server::start(&[]);
    let url = hub.url("/events/bench/{topic}");
    let report = passes(&url, &["-c", "30", "--topics", "10", "-n", "40"]);
    assert_eq!((&report["deliveries"], &report["faults"]), (&json!(120), &no_faults()));
    let publish = hub.url("/events");
    let batch = ["--batch", "bench/{topic}", "--publish", &publish];
    let report = passes(&url, &[&["-c", "30", "--topics", "10", "-n", "40"][..], &batch].concat());
    assert_eq!((&report["published"], &report["deliveries"]), (&json!(40), &json!(120)));
}

#[test]
fn events_can_be_published_on_many_connections() {
    let hub = Server::start(&[]);
    let options = ["-c", "3", "-n", "400", "--publishers", "16", "--window", "64"];
    let report = passes(&hub.url("/events/bench"), &options);
    assert_eq!((&report["deliveries"], &report["faults"]), (&json!(1200), &no_faults()));
    let options =
        ["-c", "20", "--topics", "20", "-n", "400", "--publishers", "16", "--rate", "4000"];
    let report = passes(&hub.url("/events/bench/{topic}"), &options);
    assert_eq!((&report["deliveries"], &report["faults"]), (&json!(400), &no_faults()));
}

#[test]
fn batches_can_have_several_events_of_a_topic_and_several_publishers() {
    let hub = Server::start(&[]);
    let publish = hub.url("/events");
    let options =
        ["-c", "6", "--topics", "2", "-n", "400", "--window", "80", "--publish", &publish];
    let batch = ["--batch", "bench/{topic}", "--batch-size", "10", "--publishers", "4"];
    let report = passes(&hub.url("/events/bench/{topic}"), &[&options[..], &batch].concat());
    assert_eq!((&report["published"], &report["deliveries"]), (&json!(400), &json!(1200)));
    assert_eq!(report["faults"], no_faults());
}

#[test]
fn events_can_be_published_over_open_requests() {
    let hub = Server::start(&[]);
    let options = ["-c", "4", "-n", "400", "--window", "32", "--ingest", "--topics", "2"];
    let url = hub.url("/events/bench/{topic}");
    let report = passes(&url, &[&options[..], &["--publishers", "2"]].concat());
    assert_eq!((&report["deliveries"], &report["faults"]), (&json!(800), &no_faults()));
}

#[test]
fn without_streams_an_event_is_in_flight_until_it_is_acknowledged() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let url = hub.url("/events/bench");
    let options = ["-c", "0", "-n", "400", "--publishers", "16", "--window", "16"];
    let report = passes(&url, &options);
    assert_eq!((&report["published"], &report["deliveries"]), (&json!(400), &json!(0)));
    assert!(report["published_per_second"].as_f64() > Some(0.0), "{report}");
    assert_eq!(metrics.get("carafe_events_published_total"), 400.0);
}

#[test]
fn streams_can_share_connections_with_http2() {
    let hub = Server::start(&[]);
    let options = ["-c", "40", "--http2", "10", "--topics", "5", "-n", "400", "--window", "8"];
    let report = passes(&hub.url("/events/bench/{topic}"), &options);
    assert_eq!((&report["open"], &report["faults"]), (&json!(40), &no_faults()));
    assert_eq!(report["deliveries"], json!(3200));
}

#[test]
fn events_can_be_published_in_the_form_of_another_server() {
    let hub = Server::start(&[]);
    let publish = hub.url("/events/bench");
    let options = ["-c", "5", "-n", "20", "--publish", &publish, "--publish-header", "X-Bench: 1"];
    let body =
        ["--media-type", "text/plain", "--body", r#"{"pub":{"topic":{topic},"data":"{data}"}}"#];
    let report = passes(&publish, &[&options[..], &body].concat());
    assert_eq!((&report["deliveries"], &report["faults"]), (&json!(100), &no_faults()));
}

#[test]
fn a_connection_can_have_a_topic_of_its_own_besides() {
    let hub = Server::start(&[]);
    let url = hub.url("/events?topic=news&topic=own/{connection}");
    let report = passes(&url, &["-c", "20", "-n", "5", "--publish", &hub.url("/events/news")]);
    assert_eq!((&report["deliveries"], &report["faults"]), (&json!(100), &no_faults()));
}

#[test]
fn connections_that_reconnect_miss_nothing() {
    let hub = Server::start(&[]);
    let options = ["-c", "20", "--reconnects", "200", "--rate", "100", "--duration", "1s"];
    let report = passes(&hub.url("/events/bench"), &options);
    assert_eq!(report["faults"], no_faults());
    assert!(report["reconnects"].as_u64() > Some(0), "{report}");
}

#[test]
fn connections_that_did_not_read_reconnect_for_what_they_lack() {
    let hub = Server::start(&[]);
    let report =
        passes(&hub.url("/events/bench"), &["-c", "20", "--stalled", "8", "-n", "10", "--resume"]);
    assert_eq!((&report["faults"], &report["deliveries"]), (&no_faults(), &json!(200)));
}

#[test]
fn a_run_that_resumes_outlives_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Server::on_disk(folder.path(), &["--retry", "50ms"]);
    let (address, url) = (hub.address, hub.url("/events/bench"));
    let mut command = carafe();
    command.args(["bench", &url, "-c", "20", "-n", "5", "--rounds", "2", "--resume", "--stages"]);
    let (mut load, mut go) = Process::start_with_input(&mut command);
    let stage = |load: &mut Process, name: &str| -> Value {
        let line = load.next_line(|_| true);
        let stage: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(stage["stage"], name, "{line}");
        stage
    };
    stage(&mut load, "connected");
    go.write_all(b"go\n").unwrap();
    assert_eq!(stage(&mut load, "round")["deliveries"], 100);
    hub.kill();
    let _hub = Server::on_disk_at(address, folder.path(), &["--retry", "50ms"]);
    go.write_all(b"go\n").unwrap();
    let report = stage(&mut load, "round");
    assert_eq!((&report["deliveries"], &report["faults"]), (&json!(100), &no_faults()));
    assert_eq!(report["open"], 20);
    go.write_all(b"go\n").unwrap();
    assert!(load.wait().success());
}

/// A server with one subscriber, to which it sends the events that were published in an order of
/// its own.
struct Liar {
    address: SocketAddr,
}

impl Liar {
    /// Waits for `count` events, and then sends what `respond` makes of them.
    fn start(count: usize, respond: impl Fn(&[String]) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            let events = published(listener.accept().unwrap().0);
            let events: Vec<_> =
                (0..count).map(|_| events.recv_timeout(PATIENCE).unwrap()).collect();
            stream.write_all(respond(&events).as_bytes()).unwrap();
            // The other end closes when it has seen enough.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        Self { address }
    }

    /// What is wrong, in the words of the report, when it sends the events of these places.
    #[track_caller]
    fn found_out(places: &'static [usize]) -> Value {
        let tell = |events: &[String]| {
            places.iter().map(|place| format!("data: {}\n\n", events[*place])).collect::<String>()
        };
        Self::start(4, tell).faults()
    }

    #[track_caller]
    fn faults(&self) -> Value {
        let url = format!("http://{}/", self.address);
        let output = bench(&url, &["-c", "1", "-n", "4", "--window", "4", "--timeout", "500ms"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("not every event arrived once and in order"), "{stderr}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let faults = report["faults"].as_object().unwrap();
        faults
            .iter()
            .filter(|(_, count)| **count != 0)
            .map(|(name, count)| (name.clone(), count.clone()))
            .collect()
    }
}

/// The bodies of the POSTs on a connection, each answered at once.
fn published(mut socket: TcpStream) -> Receiver<String> {
    let (sender, bodies) = channel();
    thread::spawn(move || {
        let (mut read, mut buffer) = (String::new(), [0; 4096]);
        while let Ok(count @ 1..) = socket.read(&mut buffer) {
            read += std::str::from_utf8(&buffer[..count]).unwrap();
            while let Some((body, end)) = body(&read) {
                socket.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").unwrap();
                if sender.send(body).is_err() {
                    return;
                }
                read.drain(..end);
            }
        }
    });
    bodies
}

/// The first request's body, and where the request ends.
fn body(requests: &str) -> Option<(String, usize)> {
    let (head, rest) = requests.split_once("\r\n\r\n")?;
    let (_, length) = head.split_once("Content-Length: ")?;
    let length: usize = length.lines().next()?.parse().unwrap();
    Some((rest.get(..length)?.into(), head.len() + 4 + length))
}

#[test]
fn an_event_that_is_skipped_is_found() {
    assert_eq!(Liar::found_out(&[0, 2, 3]), json!({ "gaps": 1 }));
}

#[test]
fn an_event_that_is_received_twice_is_found() {
    assert_eq!(Liar::found_out(&[0, 1, 1, 2, 3]), json!({ "doubles": 1 }));
}

#[test]
fn an_event_that_is_late_is_found() {
    assert_eq!(Liar::found_out(&[0, 2, 1, 3]), json!({ "reorders": 1 }));
}

#[test]
fn an_event_that_is_never_received_is_found() {
    assert_eq!(Liar::found_out(&[0, 1]), json!({ "missing": 2 }));
}

#[test]
fn an_event_that_nobody_published_is_found() {
    let tell = |events: &[String]| {
        let forged = events[0].replacen(" 0 1 ", " 0 99 ", 1);
        events.iter().chain([&forged]).map(|event| format!("data: {event}\n\n")).collect::<String>()
    };
    assert_eq!(Liar::start(4, tell).faults(), json!({ "strays": 1 }));
}

#[test]
fn a_reported_gap_is_a_fault_too() {
    let tell = |events: &[String]| {
        let events = events.iter().map(|event| format!("data: {event}\n\n"));
        std::iter::once("event: carafe.gap\ndata: {}\n\n".into()).chain(events).collect::<String>()
    };
    assert_eq!(Liar::start(4, tell).faults(), json!({ "gap_events": 1 }));
}

#[test]
fn a_measurement_that_is_impossible_is_explained_in_one_sentence() {
    fails(&["bench", "https://hub.example/"], 2, "supports http only");
    fails(&["bench", "nonsense"], 2, "nonsense");
    fails(&["bench", "http://127.0.0.1:9/", "--body", "x"], 2, "does not have {data}");
    fails(&["bench", "http://127.0.0.1:9/", "-c", "5", "--http2", "2"], 2, "not a multiple");
    fails(
        &["bench", "http://127.0.0.1:9/", "-c", "5", "--stalled", "6"],
        2,
        "--stalled 6 is more than the 5 connections",
    );
    fails(&["bench", "http://127.0.0.1:9/", "-c", "2000000000"], 2, "start several");
    fails(&["bench", "http://127.0.0.1:9/", "-c", "0", "--ingest"], 2, "needs a stream");
    let topics = ["--topics", "2", "--ingest"];
    fails(&[&["bench", "http://127.0.0.1:9/"][..], &topics].concat(), 2, "a multiple of that");
    fails(&["bench", "http://127.0.0.1:9/", "--header", "nonsense"], 2, "Authorization: Bearer");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(&["bench", &format!("http://{free}/"), "-c", "5"], 1, "cannot connect");
    let hub = Server::start(&[]);
    fails(&["bench", &hub.url("/nowhere"), "-c", "5"], 1, "not an event stream: HTTP/1.1 404");
    let hub = Server::anonymous("subscribe");
    fails(&["bench", &hub.url("/events/a"), "-c", "5"], 1, "rejected an event: HTTP/1.1 40");
}
