//! What a hub tells a service manager, which is a socket of the test.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::http::Stream;
use crate::process::{PATIENCE, Process, Server, carafe};

/// A service manager, and the hub that it has started.
struct Manager {
    socket: UnixDatagram,
    hub: Server,
    _folder: TempDir,
}

impl Manager {
    fn start(options: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let open =
            ["serve", "--anonymous", "subscribe", "--log", "memory:", "--listen", "127.0.0.1:0"];
        let mut command = carafe();
        command.args(open).args(options).env("NOTIFY_SOCKET", &path);
        command.envs(variables.iter().copied());
        Self { socket, hub: Server::of(Process::start(&mut command)), _folder: folder }
    }

    /// The next message with this line.
    #[track_caller]
    fn hears(&self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length =
                self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{line}: {error}"));
            let message = String::from_utf8(buffer[..length].into()).unwrap();
            if message.lines().any(|said| said == line) {
                return message;
            }
        }
    }
}

#[test]
fn a_service_manager_learns_when_the_hub_is_ready_reloads_and_stops() {
    let manager = Manager::start(&[], &[]);
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=0 open streams, 0 events published\n"), "{ready}");
    manager.hub.hang_up();
    let reloading = manager.hears("RELOADING=1");
    let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(time.parse::<u64>().unwrap() > 0);
    manager.hears("READY=1");
    manager.hub.terminate();
    manager.hears("STOPPING=1");
    assert!(manager.hub.wait().success());
}

#[test]
fn the_watchdog_gets_signs_of_life_and_the_status_tells_the_open_streams() {
    let manager = Manager::start(&[], &[("WATCHDOG_USEC", "200000")]);
    manager.hears("READY=1");
    let _stream = Stream::open(manager.hub.address, "/events/a", &[]);
    manager.hears("WATCHDOG=1");
    manager.hears("STATUS=1 open streams, 0 events published");
}

#[test]
fn a_watchdog_of_another_process_gets_nothing() {
    let manager = Manager::start(&[], &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    manager.hears("READY=1");
    manager.hub.terminate();
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while !heard.iter().any(|message: &String| message.contains("STOPPING=1")) {
        let length = manager.socket.recv(&mut buffer).unwrap();
        heard.push(String::from_utf8(buffer[..length].into()).unwrap());
    }
    assert!(heard.iter().all(|message| !message.contains("WATCHDOG")), "{heard:?}");
}

#[test]
fn without_a_socket_of_the_manager_the_hub_says_so_and_runs() {
    let mut command = carafe();
    let open = ["serve", "--anonymous", "subscribe", "--log", "memory:", "--listen", "127.0.0.1:0"];
    let process = Process::start(command.args(open).env("NOTIFY_SOCKET", "/nowhere/notify"));
    process.next_record(|line| line.contains("cannot tell the service manager"));
    process.signal(Signal::TERM);
    assert!(process.wait().success());
}
