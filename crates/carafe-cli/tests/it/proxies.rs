//! The hub behind nginx and Caddy, with the configurations that the documentation shows.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::clients::{is_here, next_shown, node, skip};
use crate::http::{publish, read_head};
use crate::process::{PATIENCE, Process, Server, free_address, repository};
use crate::proxy::{Cut, Proxy};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Caddy,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
        }
    }

    /// Whether this run has it; if not, says that `test` is skipped.
    pub(crate) fn is_here(self, test: &str) -> bool {
        if !is_here(self.name(), test) {
            return false;
        }
        let found = self.version().output().is_ok_and(|output| output.status.success());
        if !found {
            skip(test, &format!("{} is missing; cargo xtask test brings it", self.name()));
        }
        found
    }

    /// What `cargo xtask test` has unpacked, else what is installed.
    fn program(self) -> Command {
        let unpacked = match self {
            Self::Nginx => repository("target/proxies/usr/sbin/nginx"),
            Self::Caddy => repository("target/proxies/usr/bin/caddy"),
        };
        Command::new(if unpacked.exists() { unpacked } else { self.name().into() })
    }

    fn version(self) -> Command {
        let mut program = self.program();
        program.arg(match self {
            Self::Nginx => "-v",
            Self::Caddy => "version",
        });
        program
    }
}

/// What a proxy compresses beside the documented configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    Off,
    /// All that it can compress, event streams too. The documented configuration has its say.
    On,
    /// The same, without the line of the documented configuration that switches it off.
    OnForStreams,
}

/// A proxy in front of a hub.
pub(crate) struct Front {
    certificate: Certificate,
    /// Speaks TLS, as documented.
    secure: SocketAddr,
    /// The same in cleartext, of nginx only.
    pub(crate) clear: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Front {
    #[track_caller]
    pub(crate) fn start(kind: Kind, hub: SocketAddr) -> Self {
        Self::compressing(kind, hub, Compression::Off)
    }

    #[track_caller]
    fn compressing(kind: Kind, hub: SocketAddr, compression: Compression) -> Self {
        let (certificate, folder) = (Certificate::new(), TempDir::new().unwrap());
        let (secure, clear) = (free_address(), free_address());
        let process = match kind {
            Kind::Nginx => nginx(folder.path(), &certificate, [hub, secure, clear], compression),
            Kind::Caddy => caddy(folder.path(), &certificate, [hub, secure], compression),
        };
        wait_for(secure, &process);
        Self { certificate, secure, clear, _process: process, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.secure)
    }

    fn stream(&self, version: &str) -> Process {
        let stream = self.certificate.curl_stream(&[version, &self.url("/events/orders")]);
        stream.next_line(|line| line == "event: carafe.position");
        stream
    }

    #[track_caller]
    fn publish(&self, version: &str, path: &str, arguments: &[&str]) {
        let options = ["--write-out", " %{response_code}", version, &self.url(path)];
        let answer = self.certificate.curl(&[&options, arguments].concat());
        let text = String::from_utf8(answer.stdout).unwrap();
        assert!(text.ends_with(" 201"), "{text} {}", String::from_utf8_lossy(&answer.stderr));
    }
}

#[track_caller]
fn wait_for(address: SocketAddr, process: &Process) {
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    while TcpStream::connect(address).is_err() {
        said.extend(process.stderr.try_iter());
        assert!(Instant::now() < deadline, "no listener on {address}: {said:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A documented configuration, with each of these in the place of what it says.
#[track_caller]
fn filled(document: &str, replacements: &[(&str, String)]) -> String {
    let text = fs::read_to_string(repository(document)).unwrap();
    replacements.iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{document} has `{from}` once");
        text.replace(from, to)
    })
}

fn nginx(
    folder: &Path,
    certificate: &Certificate,
    [hub, secure, clear]: [SocketAddr; 3],
    compression: Compression,
) -> Process {
    let off = if compression == Compression::OnForStreams { "" } else { "gzip off;" };
    let gzip = match compression {
        Compression::Off => "",
        _ => "gzip on; gzip_types text/event-stream; gzip_min_length 0;",
    };
    let site = filled(
        "docs/proxies/nginx.conf",
        &[
            ("server 127.0.0.1:3000;", format!("server {hub};")),
            ("listen 443 ssl http2;", format!("listen {secure} ssl http2; listen {clear};")),
            ("/etc/ssl/events.example.org.pem", certificate.path().display().to_string()),
            ("/etc/ssl/private/events.example.org.key", certificate.key().display().to_string()),
            ("gzip off;", off.into()),
        ],
    );
    // One process, which ends with the test. The time limits are for requests that are never whole.
    let main = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;
         events {{}}
         http {{
            access_log off; client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;
            client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
            {gzip}
            {site}
         }}"
    );
    fs::write(folder.join("nginx.conf"), main).unwrap();
    let mut program = Kind::Nginx.program();
    Process::start(program.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(folder))
}

fn caddy(
    folder: &Path,
    certificate: &Certificate,
    [hub, secure]: [SocketAddr; 2],
    compression: Compression,
) -> Process {
    let (path, key) = (certificate.path(), certificate.key());
    let encode = if compression == Compression::Off { "" } else { "encode gzip zstd" };
    let site = filled(
        "docs/proxies/Caddyfile",
        &[
            ("127.0.0.1:3000", hub.to_string()),
            (
                "events.example.org {",
                format!(
                    "https://{secure} {{\n\t{encode}\n\ttls {} {}",
                    path.display(),
                    key.display()
                ),
            ),
        ],
    );
    let alone = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n";
    let file = folder.join("Caddyfile");
    fs::write(&file, format!("{alone}{site}")).unwrap();
    let mut program = Kind::Caddy.program();
    program.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    Process::start(program.args(["run", "--adapter", "caddyfile", "--config"]).arg(file))
}

/// An event arrives while its stream stays open, and so do the signs of life.
#[track_caller]
fn delivers_at_once(kind: Kind, test: &str) {
    if !kind.is_here(test) {
        return;
    }
    let hub = Server::start(&["--heartbeat", "200ms"]);
    let front = Front::start(kind, hub.address);
    for version in ["--http2", "--http1.1"] {
        let stream = front.stream(version);
        for data in ["first", "second"] {
            front.publish(version, "/events/orders", &["--data", data]);
            stream.next_line(|line| line == format!("data: {data}"));
        }
        stream.next_line(|line| line == ":");
        stream.next_line(|line| line == ":");
    }
}

/// A stream is sent as the hub wrote it, to a client that accepts compression, by a proxy that
/// compresses other responses.
#[track_caller]
fn leaves_streams_uncompressed(kind: Kind, test: &str) {
    const ACCEPTS: [&str; 2] = ["--header", "Accept-Encoding: gzip, zstd"];
    if !kind.is_here(test) {
        return;
    }
    // Its page is large enough to be compressed.
    let hub = Server::dev();
    let front = Front::compressing(kind, hub.address, Compression::On);
    let (page, stream) = (front.url("/"), front.url("/events/orders"));
    for version in ["--http2", "--http1.1"] {
        let head = [&["--head", "--request", "GET", version, &page], &ACCEPTS[..]].concat();
        let page = String::from_utf8(front.certificate.curl(&head).stdout).unwrap().to_lowercase();
        let compresses = page.contains("content-encoding: gzip");
        assert_eq!(
            compresses,
            kind == Kind::Caddy,
            "the page, which nginx passes on as it is: {page}"
        );
        let stream = [&["--include", version, &stream], &ACCEPTS[..]].concat();
        let stream = front.certificate.curl_stream(&stream);
        stream.next_line(|line| {
            assert!(!line.to_lowercase().starts_with("content-encoding"), "{line}");
            line == "event: carafe.position"
        });
        for data in ["first", "second"] {
            publish(hub.address, "/events/orders", data);
            stream.next_line(|line| line == format!("data: {data}"));
        }
    }
}

/// nginx ignores `no-transform`, and flushes what it compresses with each event.
#[test]
fn behind_nginx_that_compresses_streams_events_arrive_at_once() {
    if !Kind::Nginx.is_here("behind_nginx_that_compresses_streams_events_arrive_at_once") {
        return;
    }
    let hub = Server::start(&[]);
    let front = Front::compressing(Kind::Nginx, hub.address, Compression::OnForStreams);
    let url = front.url("/events/orders");
    for version in ["--http2", "--http1.1"] {
        let arguments = ["--include", "--compressed", version, &url];
        let stream = front.certificate.curl_stream(&arguments);
        stream.next_line(|line| line.to_lowercase() == "content-encoding: gzip");
        stream.next_line(|line| line == "event: carafe.position");
        for data in ["first", "second"] {
            publish(hub.address, "/events/orders", data);
            stream.next_line(|line| line == format!("data: {data}"));
        }
    }
}

/// A client whose streams are cut on the far side of the proxy resumes exactly.
#[track_caller]
fn resumes(kind: Kind, test: &str) {
    const EVENTS: usize = 300;
    if !kind.is_here(test) || !is_here("node", test) {
        return;
    }
    let hub = Server::start(&["--retry", "10ms"]);
    let cutting = Proxy::start(hub.address, 10, Cut::InBody);
    let front = Front::start(kind, cutting.address);
    let reader = Process::start(
        node("tests/clients/eventsource.mjs")
            .args([&front.url("/events/orders?earliest=true"), &EVENTS.to_string()])
            .env("NODE_EXTRA_CA_CERTS", front.certificate.path()),
    );
    let published: Vec<_> = (0..EVENTS)
        .map(|number| publish(hub.address, "/events/orders", &number.to_string()))
        .collect();
    let shown = std::iter::repeat_with(|| next_shown(&reader));
    let shown = shown.filter(|event| !event.event_type.starts_with("carafe."));
    let ids: Vec<_> = shown.take(EVENTS).map(|event| event.id).collect();
    assert_eq!(ids, published);
    assert!(cutting.cuts() > 0);
}

/// A batch that is larger than what proxies accept by default.
#[track_caller]
fn takes_a_large_batch(kind: Kind, test: &str) {
    if !kind.is_here(test) {
        return;
    }
    let hub = Server::start(&[]);
    let front = Front::start(kind, hub.address);
    let line = format!("{{\"topic\":\"orders\",\"data\":\"{}\"}}\n", "x".repeat(100_000));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), line.repeat(150)).unwrap();
    let data = format!("@{}", file.path().display());
    let batch = ["--data-binary", &data, "--header", "Content-Type: application/x-ndjson"];
    for version in ["--http2", "--http1.1"] {
        front.publish(version, "/events", &batch);
    }
}

/// Only the proxy states the client's address to the hub, over connections that may be kept.
#[track_caller]
fn passes_the_address_of_the_client(kind: Kind, test: &str) {
    if !kind.is_here(test) {
        return;
    }
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = Front::start(kind, hub.local_addr().unwrap());
    let url = front.url("/healthz");
    let head = thread::scope(|scope| {
        scope.spawn(|| front.certificate.curl(&["--header", "X-Forwarded-For: 192.0.2.1", &url]));
        let (mut socket, _) = hub.accept().unwrap();
        let (head, _) = read_head(&mut socket);
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        head.to_lowercase()
    });
    assert!(head.starts_with("get /healthz http/1.1\r\n"), "{head}");
    for line in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        &format!("host: {}", front.secure),
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
    assert!(!head.contains("connection: close"), "{head}");
}

/// Each client has its own streams, and cannot have another's by what it says of itself.
#[track_caller]
fn counts_clients(kind: Kind, test: &str) {
    if !kind.is_here(test) {
        return;
    }
    let hub = Server::start(&["--trusted-proxies", "127.0.0.1", "--subscribers-per-address", "1"]);
    let front = Front::start(kind, hub.address);
    let url = front.url("/events/orders");
    let (first, second) = ("127.0.0.2", "127.0.0.3");
    let opened = [first, second].map(|from| {
        let stream = front.certificate.curl_stream(&["--interface", from, &url]);
        stream.next_line(|line| line == "event: carafe.position");
        stream
    });
    for from in [first, second] {
        let forged = ["--interface", from, "--header", "X-Forwarded-For: 192.0.2.1", &url];
        let text = String::from_utf8(front.certificate.curl(&forged).stdout).unwrap();
        assert!(
            text.starts_with("retry: ") && text.ends_with("\n\n") && text.lines().count() == 2,
            "{text}"
        );
    }
    publish(hub.address, "/events/orders", "x");
    opened.iter().for_each(|stream| drop(stream.next_line(|line| line == "data: x")));
}

#[test]
fn behind_nginx_each_client_is_counted_by_its_own_address() {
    counts_clients(Kind::Nginx, "behind_nginx_each_client_is_counted_by_its_own_address");
}

#[test]
fn behind_caddy_each_client_is_counted_by_its_own_address() {
    counts_clients(Kind::Caddy, "behind_caddy_each_client_is_counted_by_its_own_address");
}

#[test]
fn behind_nginx_events_and_heartbeats_arrive_at_once() {
    delivers_at_once(Kind::Nginx, "behind_nginx_events_and_heartbeats_arrive_at_once");
}

#[test]
fn behind_caddy_events_and_heartbeats_arrive_at_once() {
    delivers_at_once(Kind::Caddy, "behind_caddy_events_and_heartbeats_arrive_at_once");
}

#[test]
fn behind_nginx_with_gzip_streams_stay_uncompressed() {
    leaves_streams_uncompressed(Kind::Nginx, "behind_nginx_with_gzip_streams_stay_uncompressed");
}

#[test]
fn behind_caddy_with_encode_streams_stay_uncompressed() {
    leaves_streams_uncompressed(Kind::Caddy, "behind_caddy_with_encode_streams_stay_uncompressed");
}

#[test]
fn behind_nginx_a_client_that_is_cut_resumes_exactly() {
    resumes(Kind::Nginx, "behind_nginx_a_client_that_is_cut_resumes_exactly");
}

#[test]
fn behind_caddy_a_client_that_is_cut_resumes_exactly() {
    resumes(Kind::Caddy, "behind_caddy_a_client_that_is_cut_resumes_exactly");
}

#[test]
fn behind_nginx_a_large_batch_is_taken() {
    takes_a_large_batch(Kind::Nginx, "behind_nginx_a_large_batch_is_taken");
}

#[test]
fn behind_caddy_a_large_batch_is_taken() {
    takes_a_large_batch(Kind::Caddy, "behind_caddy_a_large_batch_is_taken");
}

#[test]
fn behind_nginx_no_client_forges_an_address() {
    passes_the_address_of_the_client(Kind::Nginx, "behind_nginx_no_client_forges_an_address");
}

#[test]
fn behind_caddy_no_client_forges_an_address() {
    passes_the_address_of_the_client(Kind::Caddy, "behind_caddy_no_client_forges_an_address");
}

#[test]
fn the_documentation_shows_the_configurations_that_are_tested() {
    let page = fs::read_to_string(repository("docs/PROXIES.md")).unwrap();
    for file in ["docs/proxies/nginx.conf", "docs/proxies/Caddyfile"] {
        let shown = fs::read_to_string(repository(file)).unwrap();
        assert!(
            page.contains(&format!("\n{shown}```\n")),
            "{file} is not in docs/PROXIES.md as it is"
        );
    }
}
