//! The process runs out of descriptors.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::http::{Stream, connect, get};
use crate::process::{Process, Server, carafe, eventually};

const DESCRIPTORS: usize = 60;

/// A hub that may open few descriptors.
fn hub() -> Server {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"")]);
    command.arg(carafe().get_program()).args(["serve", "--anonymous", "subscribe,publish"]);
    command.args(["--log", "memory:", "--listen", "127.0.0.1:0", "--header-time", "10min"]);
    Server::of(Process::start(&mut command))
}

/// The time that the process has had a core for, in hundredths of a second.
fn cpu_time(hub: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", hub.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Publishes on a connection that stays open.
#[track_caller]
fn publish_on(socket: &mut TcpStream, data: &str) {
    let length = data.len();
    write!(socket, "POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{data}").unwrap();
    let mut answer = vec![0; 4096];
    let read = socket.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer[..read]));
}

#[test]
fn a_hub_without_descriptors_goes_on_with_what_is_open_rests_and_recovers() {
    let hub = hub();
    let mut publisher = connect(hub.address);
    publish_on(&mut publisher, "first");
    // The system takes more connections than the hub has descriptors for: those wait.
    let mut asking: Vec<_> = (0..DESCRIPTORS + 20).map(|_| connect(hub.address)).collect();
    for socket in &mut asking {
        socket.write_all(b"GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    eventually("all descriptors are in use", || hub.descriptors() >= DESCRIPTORS);
    hub.next_word(|line| line.contains("cannot accept connections"));

    let before = cpu_time(&hub);
    thread::sleep(Duration::from_secs(2));
    let used = cpu_time(&hub) - before;
    let told = hub.words(|line| line.contains("cannot accept connections"));
    assert!(used < 50, "{used} hundredths of a second in two: it spins");
    assert!(told < 10, "it says so {told} times in two seconds");

    let waiting = asking.split_off(DESCRIPTORS / 2);
    let mut open: Vec<_> = asking.into_iter().take(20).map(Stream::answered).collect();
    publish_on(&mut publisher, "to all that are open");
    for stream in &mut open {
        assert_eq!(stream.data(1), ["to all that are open"]);
    }
    drop(waiting);
    assert_eq!(get(hub.address, "/healthz").body, "alive\n");
    let mut late = Stream::open(hub.address, "/events/a", &[]);
    publish_on(&mut publisher, "to all that are open, again");
    open.push(Stream::open(hub.address, "/events/a?earliest", &[]));
    assert_eq!(late.data(1), ["to all that are open, again"]);
    assert_eq!(open[0].data(1), ["to all that are open, again"]);
    assert_eq!(open.last_mut().unwrap().data(3).last().unwrap(), "to all that are open, again");
    hub.terminate();
    for mut stream in open {
        while stream.next().is_some() {}
    }
    assert!(hub.wait().success());
}
