//! A client that reconnects gets exactly what it missed, in order, nothing twice.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use carafe_protocol::{Decoder, Received, ReceivedEvent};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::clients::{Client, Shown, is_here, next_shown};
use crate::http::publish;
use crate::process::{PATIENCE, Process, Server, carafe};
use crate::proxy::{Cut, Proxy};

const EVENTS: usize = 120;
const CUTS: usize = 8;

/// A hub whose clients come back soon.
fn hub() -> Server {
    Server::start(&["--retry", "50ms"])
}

/// Publishes events of many sizes, slowly enough that some come while the client is away.
fn publish_many(address: SocketAddr) -> Vec<Shown> {
    let mut random = StdRng::seed_from_u64(7);
    let publish_one = |number: usize| {
        thread::sleep(Duration::from_millis(20));
        let data = format!("{number}: {}\nsecond line", "☕ ".repeat(random.random_range(0..60)));
        let id = publish(address, "/events/orders/7?retry=60", &data);
        Shown { event_type: "message".into(), id, data }
    };
    (1..=EVENTS).map(publish_one).collect()
}

#[track_caller]
fn resumes_without_gap_or_double(client: Client, test: &str) {
    if !client.is_here(test) {
        return;
    }
    let hub = hub();
    let cut = if let Client::Browser = client { Cut::InBody } else { Cut::Anywhere };
    let proxy = Proxy::start(hub.address, CUTS, cut);
    // With `earliest`, a client that is disconnected before its first ID receives everything.
    let reading = client.read(proxy.address, "/events?pattern=orders/*&earliest", EVENTS);
    let published = publish_many(hub.address);
    let shown = std::iter::repeat_with(|| next_shown(&reading));
    let events: Vec<_> =
        shown.filter(|event| event.event_type != "carafe.position").take(EVENTS).collect();
    assert_eq!(events, published);
    assert!(proxy.cuts() > 0, "the proxy cut no connection");
    assert!(reading.wait().success());
}

#[test]
fn node_resumes_without_gap_or_double() {
    resumes_without_gap_or_double(Client::Node, "node_resumes_without_gap_or_double");
}

#[test]
fn python_resumes_without_gap_or_double() {
    resumes_without_gap_or_double(Client::Python, "python_resumes_without_gap_or_double");
}

#[test]
fn chromium_resumes_without_gap_or_double() {
    resumes_without_gap_or_double(Client::Browser, "chromium_resumes_without_gap_or_double");
}

#[test]
fn carafe_subscribe_resumes_without_gap_or_double() {
    let hub = hub();
    let proxy = Proxy::start(hub.address, CUTS, Cut::Anywhere);
    let count = EVENTS.to_string();
    let arguments = ["subscribe", "orders/7", "--earliest", "--json", "--count", &count, "--url"];
    // The program's first connection must succeed, so none of it is cut within its head.
    let url = format!("http://{}", proxy.address);
    let reading = until_it_connects(|| Process::start(carafe().args(arguments).arg(&url)));
    let published = publish_many(hub.address);
    for event in published {
        let line = reading.next_line(|_| true);
        let shown: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (shown["id"].as_str(), shown["data"].as_str()),
            (Some(&*event.id), Some(&*event.data))
        );
    }
    assert!(proxy.cuts() > 0, "the proxy cut no connection");
    assert!(reading.wait().success());
}

/// The program ends when its first connection fails, which the proxy may see to.
fn until_it_connects(start: impl Fn() -> Process) -> Process {
    loop {
        let process = start();
        match process.stderr.recv_timeout(Duration::from_millis(500)) {
            Ok(line) if line.contains("cannot connect") || line.contains("broke before") => {}
            _ => return process,
        }
    }
}

/// Curl leaves reconnecting to its caller.
#[test]
fn curl_resumes_without_gap_or_double() {
    if !is_here("curl", "curl_resumes_without_gap_or_double") {
        return;
    }
    let hub = hub();
    let proxy = Proxy::start(hub.address, CUTS, Cut::Anywhere);
    let url = format!("http://{}/events/orders/7?earliest", proxy.address);
    let publishing = thread::spawn(move || publish_many(hub.address));
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    while events.len() < EVENTS {
        let id = format!("Last-Event-ID: {}", decoder.last_event_id());
        // The connections that the proxy does not cut, curl ends itself.
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--no-buffer", "--max-time", "2", "-H", &id, &url]);
        let output = curl.output().unwrap();
        let mut input = &output.stdout[..];
        while let Some(received) = decoder.decode(&mut input).unwrap() {
            if let Received::Event(event) = received
                && event.event_type != "carafe.position"
            {
                events.push(shown(event));
            }
        }
        decoder.next_stream();
    }
    assert_eq!(events, publishing.join().unwrap());
    assert!(proxy.cuts() > 0, "the proxy cut no connection");
}

fn shown(event: ReceivedEvent) -> Shown {
    Shown { event_type: event.event_type, id: event.last_event_id, data: event.data }
}

/// A restart of a hub in memory begins a new history: every client receives a gap, and then the new
/// history.
#[track_caller]
fn receives_the_gap_of_a_restart(client: Client, test: &str) {
    if !client.is_here(test) {
        return;
    }
    let first = hub();
    let proxy = Proxy::start(first.address, 0, Cut::Anywhere);
    let reading = client.read(proxy.address, "/events/orders", 3);
    let position = next_shown(&reading);
    assert_eq!(position.event_type, "carafe.position");
    let before = publish(first.address, "/events/orders", "before");
    assert_eq!(next_shown(&reading).data, "before");

    let second = hub();
    let after = publish(second.address, "/events/orders", "after, while the client was away");
    proxy.retarget(second.address);
    first.terminate();
    assert!(first.wait().success());

    let gap = next_shown(&reading);
    assert_eq!(gap.event_type, "carafe.gap");
    let gap_data: serde_json::Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!(
        gap_data,
        serde_json::json!({ "requested": before, "oldest": after, "reason": "foreign" })
    );
    assert_eq!(next_shown(&reading).event_type, "carafe.position");
    assert_eq!(
        next_shown(&reading),
        Shown {
            event_type: "message".into(),
            id: after,
            data: "after, while the client was away".into()
        }
    );
    publish(second.address, "/events/orders", "live again");
    assert_eq!(next_shown(&reading).data, "live again");
    assert!(reading.wait().success());
}

#[test]
fn node_receives_the_gap_of_a_restart() {
    receives_the_gap_of_a_restart(Client::Node, "node_receives_the_gap_of_a_restart");
}

#[test]
fn python_receives_the_gap_of_a_restart() {
    receives_the_gap_of_a_restart(Client::Python, "python_receives_the_gap_of_a_restart");
}

#[test]
fn chromium_receives_the_gap_of_a_restart() {
    receives_the_gap_of_a_restart(Client::Browser, "chromium_receives_the_gap_of_a_restart");
}

#[test]
fn curl_receives_the_gap_of_a_restart() {
    if !is_here("curl", "curl_receives_the_gap_of_a_restart") {
        return;
    }
    let first = hub();
    let before = publish(first.address, "/events/orders", "before");
    let second = hub();
    let after = publish(second.address, "/events/orders", "after");
    let id = format!("Last-Event-ID: {before}");
    let url = second.url("/events/orders");
    let curl = Command::new("curl")
        .args(["--silent", "--no-buffer", "--max-time", "1", "-H", &id, &url])
        .output();
    let raw = String::from_utf8(curl.unwrap().stdout).unwrap();
    let (retry, rest) = raw.split_once('\n').unwrap();
    assert!(retry.starts_with("retry: "), "{raw}");
    let start = format!("{}-0-00000000", after.split('-').next().unwrap());
    let expected = format!(
        "event: carafe.gap\n\
         data: {{\"requested\":\"{before}\",\"oldest\":\"{after}\",\"reason\":\"foreign\"}}\n\
         id: {start}\n\n\
         event: carafe.position\ndata: {{\"position\":\"{start}\"}}\nid: {start}\n\n\
         data: after\nid: {after}\n\n"
    );
    assert_eq!(rest, expected);
}

#[test]
fn carafe_subscribe_receives_the_gap_of_a_restart() {
    let first = hub();
    let proxy = Proxy::start(first.address, 0, Cut::Anywhere);
    let url = format!("http://{}", proxy.address);
    let reading = Process::start(carafe().args([
        "subscribe",
        "orders",
        "--earliest",
        "-n",
        "2",
        "--url",
        &url,
    ]));
    let before = publish(first.address, "/events/orders", "before");
    assert_eq!(reading.stdout.recv_timeout(PATIENCE).unwrap(), "before");
    let second = hub();
    publish(second.address, "/events/orders", "after");
    proxy.retarget(second.address);
    proxy.cut();
    let gap = reading.next_record(|line| line.contains("gap"));
    assert!(
        gap.starts_with(&format!("carafe: gap: some events after {before} are no longer stored")),
        "{gap}"
    );
    assert_eq!(reading.stdout.recv_timeout(PATIENCE).unwrap(), "after");
    assert!(reading.wait().success());
}
