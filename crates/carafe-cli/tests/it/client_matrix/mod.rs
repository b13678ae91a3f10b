//! The clients that people use, all on one hub that is killed and restarted: each event once, in
//! order. What each needs for that is in docs/CLIENTS.md.

mod reader;
pub(crate) mod rust;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};

use self::reader::readers;
use crate::clients::{Shown, are_compiled, go, next_shown};
use crate::durable::log;
use crate::http::{publish, read_head};
use crate::process::{Process, Server, free_address};

/// Runs of the hub, on one port and one log.
const RUNS: usize = 5;

/// Bytes of an event that sockets take in several writes, so that a kill cuts it.
const LARGE: usize = 300_000;

/// Events of each run: the first shows that a client is connected, and while the others are
/// delivered, the hub is killed.
const SIZES: [usize; 6] = [10, 100, LARGE, 20, 2_000, LARGE];

#[test]
fn every_client_receives_each_event_once_and_in_order_while_the_hub_is_killed_four_times() {
    let test =
        "every_client_receives_each_event_once_and_in_order_while_the_hub_is_killed_four_times";
    let (_folder, log) = log();
    let (address, options) = (free_address(), ["--retry", "50ms", "--drain-timeout", "2s"]);
    let mut hub = Server::on_disk_at(address, &log, &options);
    let mut readers = readers(address, RUNS * SIZES.len(), test);
    let mut published = Vec::new();
    for run in 0..RUNS {
        for (at, size) in SIZES.into_iter().enumerate() {
            published.push(publish_one(address, published.len(), size));
            if at == 0 {
                readers.iter_mut().for_each(|reader| reader.read(published.len()));
            }
        }
        hub = match run {
            _ if run + 1 == RUNS => break,
            _ if run.is_multiple_of(2) => {
                hub.kill();
                Server::on_disk_at(address, &log, &options)
            }
            _ => {
                hub.terminate();
                assert!(hub.wait().success());
                Server::on_disk_at(address, &log, &options)
            }
        };
    }
    for reader in &mut readers {
        reader.read(published.len());
        reader.check(&published);
    }
}

fn publish_one(address: SocketAddr, number: usize, size: usize) -> Shown {
    let data = format!("{number}: {}", "☕x".repeat(size / 4));
    let id = publish(address, "/events/orders", &data);
    Shown { event_type: "message".into(), id, data }
}

/// Why the matrix accepts from r3labs/sse what it accepts from no other client: it shows what it
/// has of an event when the connection breaks, with the ID of the event before.
#[test]
fn r3labs_shows_a_part_of_an_event_that_was_cut() {
    if !are_compiled("go", "r3labs_shows_a_part_of_an_event_that_was_cut") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let reading = Process::start(go("r3labs").args([&url, "2"]));
    let answer = |body: &str| {
        let (mut socket, _) = listener.accept().unwrap();
        let (head, _) = read_head(&mut socket);
        write!(
            socket,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
            body.len()
        )
        .unwrap();
        head.to_lowercase()
    };
    answer("event: carafe.position\ndata: {}\nid: first\n\ndata: one, in pa");
    assert!(answer("data: one, in part\nid: second\n\n").contains("last-event-id: first\r\n"));
    let shown: Vec<_> = (0..3).map(|_| next_shown(&reading)).collect();
    let data = shown.iter().map(|shown| (&*shown.id, &*shown.data)).collect::<Vec<_>>();
    assert_eq!(data, [("first", "{}"), ("first", "one, in pa"), ("second", "one, in part")]);
}
