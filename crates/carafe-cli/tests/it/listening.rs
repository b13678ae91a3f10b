//! Where a hub listens: several addresses, Unix sockets, and sockets of a service manager.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::http::{Stream, get, publish};
use crate::metrics::Metrics;
use crate::process::{PATIENCE, Process, Server, carafe};

/// A hub on a Unix socket, and on loopback.
struct OnFile {
    hub: Server,
    path: PathBuf,
    _folder: TempDir,
}

impl OnFile {
    fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.sock");
        Self { hub: start_on(&path, options), path, _folder: folder }
    }

    fn stream(&self, target: &str, headers: &[&str]) -> Stream {
        Stream::answered(ask(&self.path, target, headers))
    }
}

fn start_on(path: &Path, options: &[&str]) -> Server {
    let file = unix(path);
    let listen = ["--listen", &file, "--listen", "127.0.0.1:0"];
    Server::start(&[&listen[..], options].concat())
}

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Sends a request over a Unix socket.
fn ask(path: &Path, target: &str, headers: &[&str]) -> TcpStream {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    // The helpers of the tests read from sockets of TCP, and only read.
    let mut socket = TcpStream::from(OwnedFd::from(UnixStream::connect(path).unwrap()));
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {target} HTTP/1.1\r\nHost: hub\r\n{headers}\r\n").unwrap();
    socket
}

/// All addresses that a program announces, up to this many.
fn announced(process: &Process, count: usize) -> Vec<String> {
    let address = |_| {
        let line = process.next_record(|line| line.starts_with("listening on "));
        line.strip_prefix("listening on ").unwrap().to_owned()
    };
    (0..count).map(address).collect()
}

fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().unwrap().parse().unwrap()
}

fn serve(options: &[&str]) -> Process {
    let open = ["serve", "--anonymous", "subscribe,publish", "--log", "memory:"];
    Process::start(carafe().args(open).args(options))
}

#[test]
fn a_hub_listens_on_all_addresses_that_are_listed() {
    let hub = serve(&["--listen", "127.0.0.1:0", "--listen", "localhost:0,:0"]);
    let addresses = announced(&hub, 3);
    let addresses: Vec<_> = addresses
        .iter()
        .map(|address| match address.strip_prefix("http://[::1]") {
            Some(_) => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port_of(address))),
            None => SocketAddr::from(([127, 0, 0, 1], port_of(address))),
        })
        .collect();
    let mut streams: Vec<_> =
        addresses.iter().map(|address| Stream::open(*address, "/events/a", &[])).collect();
    addresses.iter().for_each(|address| drop(publish(*address, "/events/a", &address.to_string())));
    let published: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    streams.iter_mut().for_each(|stream| assert_eq!(stream.data(3), published));
}

#[test]
fn an_address_that_is_none_is_an_error_that_lists_the_forms() {
    for address in ["3000", "http://localhost:3000", "unix:", "fd://x"] {
        let hub = serve(&["--listen", address]);
        let line = hub.next_record(|line| line.contains("carafe: "));
        assert!(
            line.contains("localhost:3000") && line.contains("unix:/run/carafe.sock"),
            "{line}"
        );
        assert_eq!(hub.wait().code(), Some(2));
    }
}

#[test]
fn a_shard_takes_over_a_stream_over_a_unix_socket() {
    let on_file = OnFile::start(&["--metrics-listen", "127.0.0.1:0"]);
    let metrics = Metrics::of(&on_file.hub);
    let mut stream = on_file.stream("/events/a", &[]);
    publish(on_file.hub.address, "/events/a", "poured");
    assert_eq!(stream.data(1), ["poured"]);
    metrics.wait_for("carafe_streams{path=\"shard\",reason=\"\"}", 1.0);
    drop(stream);
    metrics.wait_for("carafe_streams_closed_total{path=\"shard\",reason=\"left\"}", 1.0);
}

#[test]
fn a_slow_client_over_a_unix_socket_receives_everything_in_order() {
    let on_file = OnFile::start(&["--ring-bytes", "256KiB"]);
    let mut stream = on_file.stream("/events/a", &[]);
    let large = "x".repeat(100_000);
    let published: Vec<_> =
        (0..40).map(|_| publish(on_file.hub.address, "/events/a", &large)).collect();
    let received: Vec<_> = (0..40).map(|_| stream.next_published().last_event_id).collect();
    assert_eq!(received, published);
}

#[test]
fn a_client_over_a_unix_socket_that_does_not_read_is_cut() {
    let on_file = OnFile::start(&["--write-timeout", "300ms", "--metrics-listen", "127.0.0.1:0"]);
    let metrics = Metrics::of(&on_file.hub);
    let _stream = on_file.stream("/events/a", &[]);
    let large = "x".repeat(1 << 20);
    (0..4).for_each(|_| drop(publish(on_file.hub.address, "/events/a", &large)));
    metrics.wait_for("carafe_streams_closed_total{path=\"shard\",reason=\"stalled\"}", 1.0);
}

#[test]
fn streams_over_a_unix_socket_end_in_order_when_the_hub_drains() {
    let on_file = OnFile::start(&[]);
    let mut stream = on_file.stream("/events/a", &[]);
    publish(on_file.hub.address, "/events/a", "last");
    on_file.hub.terminate();
    assert_eq!(stream.data(usize::MAX), ["last"]);
    assert!(on_file.hub.wait().success());
    assert!(!on_file.path.exists(), "the file of the socket is removed");
}

#[test]
fn clients_over_a_unix_socket_are_counted_by_the_header_of_the_proxy() {
    let on_file = OnFile::start(&["--subscribers-per-address", "1"]);
    // Whether the stream opens; a client over the limit is told to come back, and is closed.
    let is_served = |client: &[&str]| {
        let mut socket = BufReader::new(ask(&on_file.path, "/events/a", client));
        let mut lines = socket.by_ref().lines().map_while(Result::ok);
        (lines.any(|line| line == "event: carafe.position"), socket)
    };
    let first = ["X-Forwarded-For: 192.0.2.1"];
    let (one, _open) = is_served(&first);
    let (two, _) = is_served(&first);
    let (other, _) = is_served(&["X-Forwarded-For: 192.0.2.1, 192.0.2.2"]);
    assert_eq!((one, two, other), (true, false, true));
    // All clients without the header share one count.
    let (unknown, _open) = is_served(&[]);
    let (again, _) = is_served(&[]);
    assert_eq!((unknown, again), (true, false));
}

#[test]
fn the_file_of_a_unix_socket_has_the_mode_of_the_option() {
    let mode = |on_file: &OnFile| {
        let metadata = fs::symlink_metadata(&on_file.path).unwrap();
        assert!(metadata.file_type().is_socket());
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&OnFile::start(&[])), 0o660);
    assert_eq!(mode(&OnFile::start(&["--unix-mode", "600"])), 0o600);
}

#[test]
fn a_socket_that_a_killed_hub_left_is_replaced_and_one_in_use_is_not() {
    let OnFile { hub, path, _folder } = OnFile::start(&[]);
    hub.kill();
    assert!(path.exists());
    let hub = start_on(&path, &[]);
    let second = serve(&["--listen", &unix(&path)]);
    let line = second.next_record(|line| line.contains("carafe: "));
    assert!(line.contains("is in use") && line.contains("--listen"), "{line}");
    assert_eq!(second.wait().code(), Some(2));
    let mut stream = Stream::answered(ask(&path, "/events/a", &[]));
    publish(hub.address, "/events/a", "still here");
    assert_eq!(stream.data(1), ["still here"]);
}

#[test]
fn a_file_that_is_no_socket_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    fs::write(&path, "precious").unwrap();
    let hub = serve(&["--listen", &unix(&path)]);
    let line = hub.next_record(|line| line.contains("carafe: "));
    assert!(line.contains("no socket"), "{line}");
    assert_eq!(hub.wait().code(), Some(2));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// A hub that is passed this socket as its descriptor 3.
fn passed(socket: impl Into<OwnedFd>, options: &str) -> Process {
    let program = carafe().get_program().to_owned();
    let script = format!(
        "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --log memory: \
         --anonymous subscribe,publish {options}"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(program);
    Process::start_on(&mut command, Stdio::from(socket.into()))
}

#[test]
fn a_hub_serves_the_socket_that_a_service_manager_passes() {
    for options in ["", "--listen fd://", "--listen fd://3 --listen 127.0.0.1:0"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hub = passed(listener, options);
        assert_eq!(announced(&hub, 1), [format!("http://{address}")], "{options}");
        assert_eq!(get(address, "/readyz").status, 200);
    }
}

#[test]
fn a_passed_unix_socket_is_served_and_its_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sock");
    let hub = passed(UnixListener::bind(&path).unwrap(), "");
    assert_eq!(announced(&hub, 1), [unix(&path)]);
    let mut stream = Stream::answered(ask(&path, "/events/a", &[]));
    assert_eq!(stream.next().unwrap().event_type, "carafe.position");
    hub.signal(rustix::process::Signal::TERM);
    assert!(hub.wait().success());
    assert!(path.exists());
}

#[test]
fn a_socket_that_cannot_be_taken_is_an_error_that_says_why() {
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener();
    let connection = TcpStream::connect(peer.local_addr().unwrap()).unwrap();
    for (hub, reason) in [
        (passed(listener(), "--listen fd://4"), "passes no such stream socket"),
        (passed(listener(), "--listen fd://3 --listen fd://3"), "listed twice"),
        (passed(connection, ""), "set Accept=no"),
        (serve(&["--listen", "fd://"]), "passes none"),
    ] {
        let line = hub.next_record(|line| line.contains("carafe: "));
        assert!(line.contains(reason), "{line}");
        assert_eq!(hub.wait().code(), Some(2));
    }
}
