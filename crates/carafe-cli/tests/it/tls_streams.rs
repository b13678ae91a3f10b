//! Streams over TLS 1.3 that a shard delivers: what clients do below HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::certificate::Certificate;
use crate::clients::is_here;
use crate::http::connect;
use crate::metrics::Metrics;
use crate::process::{Process, Server};

const KIB: usize = 1 << 10;

/// A hub that shows a certificate.
pub(crate) struct Hub {
    pub(crate) certificate: Certificate,
    pub(crate) server: Server,
    pub(crate) metrics: Metrics,
}

/// The streams of this hub that have ended for this reason.
fn closed(reason: &str) -> String {
    format!("carafe_streams_closed_total{{path=\"shard\",reason=\"{reason}\"}}")
}

impl Hub {
    pub(crate) fn start(options: &[&str]) -> Self {
        let certificate = Certificate::new();
        let shown = certificate.options();
        let shown: Vec<_> = shown.iter().map(String::as_str).collect();
        let (server, metrics) = Server::with_metrics(&[&shown, options].concat());
        Self { certificate, server, metrics }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.server.address)
    }

    /// Shows another certificate from now on.
    pub(crate) fn reload_certificate(&self) {
        self.certificate.renew();
        self.server.hang_up();
        self.server.next_record(|line| line.contains("reloaded the certificate"));
    }

    /// The settings of a client that trusts the present certificate.
    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificate.path()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// A stream that a shard delivers.
    #[track_caller]
    fn open(&self, client: &Arc<ClientConfig>) -> Stream {
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut stream = Stream(StreamOwned::new(tls, connect(self.server.address)));
        stream.0.write_all(b"GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let head = stream.read_to("event: carafe.position\n");
        assert!(head.contains("connection: close\r\n"), "{head}");
        stream
    }

    #[track_caller]
    pub(crate) fn publish(&self, data: &str) {
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(self.client(), name).unwrap();
        let mut stream = Stream(StreamOwned::new(tls, connect(self.server.address)));
        let length = data.len();
        let head =
            format!("POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        stream.0.write_all(head.as_bytes()).unwrap();
        stream.0.write_all(data.as_bytes()).unwrap();
        assert!(stream.read_to("\r\n\r\n").starts_with("HTTP/1.1 201"));
    }
}

struct Stream(StreamOwned<ClientConnection, TcpStream>);

impl Stream {
    #[track_caller]
    fn read_to(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            read.extend(byte);
        }
        String::from_utf8(read).unwrap()
    }

    /// Sends what TLS has to send, byte by byte.
    fn send_slowly(&mut self) {
        let mut bytes = Vec::new();
        self.0.conn.write_tls(&mut bytes).unwrap();
        assert!(!bytes.is_empty());
        self.0.sock.set_nodelay(true).unwrap();
        bytes.iter().for_each(|byte| self.0.sock.write_all(&[*byte]).unwrap());
    }

    /// Whether the hub ends the stream by saying so, after what it has sent before.
    fn is_closed_in_order(&mut self) -> bool {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).is_ok()
    }
}

#[test]
fn a_client_that_changes_its_keys_byte_by_byte_goes_on_and_one_that_closes_has_left() {
    let hub = Hub::start(&[]);
    let client = hub.client();
    let (mut stream, mut other) = (hub.open(&client), hub.open(&client));
    for data in ["one", "two", "three"] {
        stream.0.conn.refresh_traffic_keys().unwrap();
        stream.send_slowly();
        hub.publish(data);
        for stream in [&mut stream, &mut other] {
            stream.read_to(&format!("data: {data}\n"));
        }
    }
    stream.0.conn.send_close_notify();
    stream.send_slowly();
    assert!(stream.is_closed_in_order());
    hub.metrics.wait_for(&closed("left"), 1.0);
    hub.publish("for who stays");
    other.read_to("data: for who stays\n");
}

/// What a client does to its connection ends its stream, and no other.
#[track_caller]
fn ends_the_stream(act: impl Fn(&mut Stream)) -> Stream {
    ends_the_stream_as("left", act)
}

/// The same, with this reason in the metrics.
#[track_caller]
fn ends_the_stream_as(reason: &str, act: impl Fn(&mut Stream)) -> Stream {
    let hub = Hub::start(&[]);
    let client = hub.client();
    let (mut stream, mut other) = (hub.open(&client), hub.open(&client));
    act(&mut stream);
    hub.metrics.wait_for(&closed(reason), 1.0);
    let limited = if reason == "exceeded" { 1.0 } else { 0.0 };
    assert!((hub.metrics.limited("received-bytes") - limited).abs() < f64::EPSILON);
    hub.publish("for who stays");
    other.read_to("data: for who stays\n");
    stream
}

#[test]
fn data_on_a_stream_ends_it() {
    let mut stream = ends_the_stream(|stream| {
        stream.0.write_all(b"GET /events/b HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    });
    assert!(stream.is_closed_in_order());
}

#[test]
fn a_client_that_closes_its_side_has_left() {
    ends_the_stream(|stream| stream.0.sock.shutdown(Shutdown::Write).unwrap());
}

#[test]
fn a_forged_record_ends_the_stream_with_an_alert() {
    let mut stream = ends_the_stream(|stream| {
        stream.0.sock.write_all(&[&[23, 3, 3, 0, 40], &[7; 40][..]].concat()).unwrap();
    });
    let error = stream.0.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
}

#[test]
fn what_is_no_record_ends_the_stream() {
    ends_the_stream(|stream| stream.0.sock.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap());
}

#[test]
fn a_record_that_is_never_complete_ends_the_stream_once_it_is_too_long() {
    ends_the_stream_as("exceeded", |stream| {
        stream.0.sock.write_all(&[&[23, 3, 3, 0x40, 0], &[7; 5000][..]].concat()).unwrap();
    });
}

#[test]
fn a_change_of_keys_may_arrive_byte_by_byte_between_events() {
    let hub = Hub::start(&[]);
    let mut stream = hub.open(&hub.client());
    stream.0.sock.set_nodelay(true).unwrap();
    stream.0.conn.refresh_traffic_keys().unwrap();
    let mut bytes = Vec::new();
    stream.0.conn.write_tls(&mut bytes).unwrap();
    for (number, byte) in bytes.into_iter().enumerate() {
        stream.0.sock.write_all(&[byte]).unwrap();
        hub.publish(&format!("event {number}"));
        stream.read_to(&format!("data: event {number}\n"));
    }
    stream.0.conn.send_close_notify();
    stream.send_slowly();
    assert!(stream.is_closed_in_order(), "the hub has the keys of the client");
}

/// What they send is more than a shard processes in one turn.
#[test]
fn many_clients_that_change_their_keys_again_and_again_at_once_are_all_understood() {
    const CHANGES: usize = 30;
    let hub = Hub::start(&[]);
    let client = hub.client();
    let mut other = hub.open(&client);
    let mut streams: Vec<_> = (0..50).map(|_| hub.open(&client)).collect();
    for stream in &mut streams {
        let mut bytes = Vec::new();
        for _ in 0..CHANGES {
            stream.0.conn.refresh_traffic_keys().unwrap();
            stream.0.conn.write_tls(&mut bytes).unwrap();
        }
        stream.0.conn.send_close_notify();
        stream.0.conn.write_tls(&mut bytes).unwrap();
        stream.0.sock.write_all(&bytes).unwrap();
    }
    hub.metrics.wait_for(&closed("left"), 50.0);
    assert!(streams.iter_mut().all(Stream::is_closed_in_order));
    hub.publish("for who stays");
    other.read_to("data: for who stays\n");
}

/// A client that asks the hub to change its keys, too. openssl reads its commands as lines.
#[test]
fn openssl_changes_keys_and_the_stream_goes_on() {
    if !is_here("openssl", "openssl_changes_keys_and_the_stream_goes_on") {
        return;
    }
    let hub = Hub::start(&[]);
    let address = hub.server.address.to_string();
    let (process, mut input) = Process::start_with_input(
        Command::new("openssl")
            .args(["s_client", "-tls1_3", "-crlf", "-connect", &address, "-CAfile"])
            .arg(hub.certificate.path()),
    );
    input.write_all(b"GET /events/a HTTP/1.1\nHost: x\n\n").unwrap();
    process.next_line(|line| line.starts_with("event: carafe.position"));
    for (command, data) in [("K\n", "one"), ("k\n", "two"), ("K\n", "three")] {
        input.write_all(command.as_bytes()).unwrap();
        process.next_record(|line| line.contains("KEYUPDATE"));
        hub.publish(data);
        process.next_line(|line| line == format!("data: {data}"));
    }
}

#[test]
fn sessions_are_resumed_also_after_the_certificate_was_reloaded() {
    let hub = Hub::start(&[]);
    let client = hub.client();
    let kind = |stream: &Stream| stream.0.conn.handshake_kind();
    let first = hub.open(&client);
    assert_eq!(kind(&first), Some(HandshakeKind::Full));
    assert_eq!(kind(&hub.open(&client)), Some(HandshakeKind::Resumed));
    hub.reload_certificate();
    assert_eq!(kind(&hub.open(&client)), Some(HandshakeKind::Resumed));
    assert_eq!(kind(&hub.open(&hub.client())), Some(HandshakeKind::Full));
}

#[test]
fn very_many_streams_stay_open_while_the_certificate_is_reloaded() {
    let hub = Hub::start(&["--subscribers-per-address", "unlimited"]);
    let client = hub.client();
    let mut streams: Vec<_> = (0..1000).map(|_| hub.open(&client)).collect();
    hub.publish("before");
    hub.reload_certificate();
    hub.publish("after");
    for stream in &mut streams {
        let read = stream.read_to("data: after\n");
        assert!(read.contains("data: before\n"), "{read}");
    }
}

/// The hub encrypts for a client only what its socket takes, and one record beyond.
#[test]
fn clients_that_do_not_read_take_one_record_each() {
    const STREAMS: usize = 100;
    let hub = Hub::start(&["--write-timeout", "600s", "--heartbeat", "600s"]);
    let client = hub.client();
    let streams: Vec<_> = (0..STREAMS).map(|_| hub.open(&client)).collect();
    let before = hub.server.memory("RssAnon");
    let data = "x".repeat(500 * KIB);
    // Far more than the sockets of one client take.
    for _ in 0..40 {
        hub.publish(&data);
    }
    let more = hub.server.memory("RssAnon").saturating_sub(before);
    // The events themselves are there once, in the history and in the ring. On a busy machine some
    // are joined for a broadcast, which clients at different places hold. Records of all that they
    // have not taken would be 50 MB for the first event alone.
    let events = (3 * 40 + 20) * data.len();
    assert!(more < events + STREAMS * 64 * KIB, "{} KiB", more / KIB);
    drop(streams);
    hub.metrics.wait_for(&closed("left"), STREAMS as f64);
}
