//! A hub and its streams, over one delivery path.

use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use carafe::MemoryLog;
use carafe::http::{Options, Rights, router};
use carafe::hub::{Grant, HubLimits};
use carafe::log::MemoryLimits;
use carafe_http::auth::{Key, Keys};
use carafe_protocol::{Decoder, Received, ReceivedEvent};
use http_body_util::BodyExt;
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::certificate::Certificate;
use crate::clients::is_here;
use crate::http::header;
use crate::metrics::Metrics;
use crate::process::{PATIENCE, Process, Server};

/// How a stream gets from the hub to its client: what writes it, and in which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryPath {
    /// HTTP/1.1 over cleartext: a shard writes it.
    Shard,
    Http10,
    /// Over cleartext, by prior knowledge.
    Http2,
    /// A shard writes it, encrypted.
    TlsHttp11,
    TlsAes128,
    TlsChaCha20,
    /// hyper writes it.
    Tls12,
    TlsHttp2,
    /// The frames of the answer's body.
    InProcess,
}

/// The settings that a check may change.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) heartbeat: Duration,
    pub(super) history_events: usize,
    pub(super) ring_bytes: usize,
    pub(super) write_timeout: Duration,
    /// The secret that verifies tokens.
    pub(super) secret: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        let long = Duration::from_secs(600);
        Self {
            heartbeat: long,
            history_events: 1_000_000,
            ring_bytes: 64 << 20,
            write_timeout: long,
            secret: None,
        }
    }
}

/// Runs a check over a path, if the program that the path needs is installed.
pub(super) fn over(via: DeliveryPath, test: &str, check: impl Fn(DeliveryPath)) {
    if via == DeliveryPath::InProcess || is_here("curl", test) {
        check(via);
    }
}

impl DeliveryPath {
    /// A hub in memory where clients without a token may publish, and subscribe to public events.
    pub(super) fn hub(self, settings: Settings) -> Hub {
        let place = match self {
            Self::InProcess => Place::mounted(&settings),
            Self::Shard | Self::Http10 | Self::Http2 => Place::Program(serve(&settings, &[]), None),
            Self::TlsHttp11
            | Self::TlsAes128
            | Self::TlsChaCha20
            | Self::Tls12
            | Self::TlsHttp2 => {
                let certificate = Certificate::new();
                Place::Program(serve(&settings, &certificate.options()), Some(certificate))
            }
        };
        Hub { via: self, place }
    }

    /// The options that make curl use this path.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Shard | Self::InProcess => &["--http1.1"],
            Self::TlsHttp11 => &["--http1.1", "--tlsv1.3"],
            Self::TlsAes128 => &["--http1.1", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
            Self::TlsChaCha20 => &["--http1.1", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"],
            Self::Tls12 => &["--http1.1", "--tls-max", "1.2"],
            Self::Http10 => &["--http1.0"],
            Self::Http2 => &["--http2-prior-knowledge"],
            Self::TlsHttp2 => &["--http2"],
        }
    }

    /// Whether a shard writes the stream.
    pub(super) fn uses_a_shard(self) -> bool {
        matches!(self, Self::Shard | Self::TlsHttp11 | Self::TlsAes128 | Self::TlsChaCha20)
    }

    /// The first bytes of a response over this path.
    fn status(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0 200",
            Self::Http2 | Self::TlsHttp2 => "HTTP/2 200",
            _ => "HTTP/1.1 200",
        }
    }
}

fn serve(settings: &Settings, certificate: &[String]) -> Server {
    let Settings { heartbeat, history_events, ring_bytes, write_timeout, secret } = settings;
    // Read at the start only.
    let file = secret.map(|secret| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, secret.as_bytes()).unwrap();
        file
    });
    let secret = file.iter().map(|file| format!("--secret-file={}", file.path().display()));
    let settings = [
        format!("--heartbeat={}ms", heartbeat.as_millis()),
        "--heartbeat-range=200ms..60s".into(),
        format!("--history-events={history_events}"),
        format!("--ring-bytes={ring_bytes}"),
        format!("--write-timeout={}ms", write_timeout.as_millis()),
        "--drain-timeout=20s".into(),
        "--metrics-listen=127.0.0.1:0".into(),
    ];
    let settings: Vec<_> =
        settings.into_iter().chain(certificate.iter().cloned()).chain(secret).collect();
    Server::start(&settings.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(super) struct Hub {
    via: DeliveryPath,
    place: Place,
}

enum Place {
    Program(Server, Option<Certificate>),
    Mounted { hub: carafe::Hub, app: Router, runtime: Runtime },
}

impl Place {
    fn mounted(settings: &Settings) -> Self {
        let kept = MemoryLimits::default().with_entries(settings.history_events);
        let limits = HubLimits::default().with_ring_bytes(settings.ring_bytes);
        let hub = carafe::Hub::with_limits(MemoryLog::new(kept), limits);
        let anonymous = Rights::subscribe().with_publish(Grant::all());
        let mut options = Options::default();
        options.anonymous = anonymous;
        options.keys = Keys::new(settings.secret.map(|secret| Key::secret(secret).unwrap()));
        options.heartbeat = settings.heartbeat;
        options.heartbeat_range = Duration::from_millis(200)..=Duration::from_secs(60);
        Self::Mounted { app: router(hub.clone(), options), hub, runtime: Runtime::new().unwrap() }
    }
}

impl Hub {
    /// Publishes an event, and returns its position.
    #[track_caller]
    pub(super) fn publish(&self, target: &str, data: &str) -> String {
        let answer = self.post(target, &["Content-Type: text/plain"], data);
        answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).into()
    }

    #[track_caller]
    pub(super) fn publish_batch(&self, topic: &str, data: &[String]) {
        let line = |data| serde_json::json!({ "topic": topic, "data": data }).to_string() + "\n";
        let batch: String = data.iter().map(line).collect();
        let answer = self.post("/events", &["Content-Type: application/x-ndjson"], &batch);
        assert_eq!(answer["ids"].as_array().map(Vec::len), Some(data.len()), "{answer}");
    }

    /// Posts a body, and returns the answer.
    pub(super) fn post(&self, target: &str, headers: &[&str], body: &str) -> serde_json::Value {
        let answer = match &self.place {
            Place::Program(server, certificate) => {
                self.post_by_curl(server, certificate.as_ref(), target, headers, body)
            }
            Place::Mounted { app, runtime, .. } => {
                let mut request = Request::post(target);
                for (name, value) in headers.iter().filter_map(|header| header.split_once(": ")) {
                    request = request.header(name, value);
                }
                let request = request.body(Body::from(body.to_owned()));
                let answer = runtime.block_on(app.clone().oneshot(request.unwrap())).unwrap();
                runtime.block_on(answer.into_body().collect()).unwrap().to_bytes().to_vec()
            }
        };
        serde_json::from_slice(&answer).unwrap()
    }

    fn post_by_curl(
        &self,
        server: &Server,
        certificate: Option<&Certificate>,
        target: &str,
        headers: &[&str],
        body: &str,
    ) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, body.as_bytes()).unwrap();
        let mut curl = self.curl(server, certificate, target, headers);
        let output =
            curl.arg("--data-binary").arg(format!("@{}", file.path().display())).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    fn curl(
        &self,
        server: &Server,
        certificate: Option<&Certificate>,
        target: &str,
        headers: &[&str],
    ) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--no-buffer"]).args(self.via.options());
        let scheme = if certificate.is_some() { "https" } else { "http" };
        if let Some(certificate) = certificate {
            curl.arg("--cacert").arg(certificate.path());
        }
        for header in headers {
            curl.args(["-H", header]);
        }
        curl.arg(format!("{scheme}://{}{target}", server.address));
        curl
    }

    /// Opens a stream, and returns when its head is there.
    #[track_caller]
    pub(super) fn open(&self, target: &str, headers: &[&str]) -> Stream {
        match &self.place {
            Place::Program(server, certificate) => {
                let mut curl = self.curl(server, certificate.as_ref(), target, headers);
                let stream = Stream::of_curl(Process::start(curl.arg("--include")));
                assert!(stream.head.starts_with(self.via.status()), "{}", stream.head);
                let closes = stream.header("connection") == Some("close");
                assert_eq!(closes, self.via.uses_a_shard(), "{}", stream.head);
                stream
            }
            Place::Mounted { app, runtime, .. } => {
                let mut request = Request::builder().method(Method::GET).uri(target);
                for (name, value) in headers.iter().filter_map(|header| header.split_once(": ")) {
                    request = request.header(name, value.as_bytes());
                }
                let answer = app.clone().oneshot(request.body(Body::empty()).unwrap());
                let (parts, body) = runtime.block_on(answer).unwrap().into_parts();
                assert_eq!(parts.status, 200);
                let fields = parts
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
                Stream::of_body(fields.collect(), body, runtime)
            }
        }
    }

    /// Its metrics, if it is a program.
    #[track_caller]
    pub(super) fn metrics(&self) -> Metrics {
        match &self.place {
            Place::Program(server, _) => Metrics::of(server),
            Place::Mounted { .. } => panic!("it has no listener"),
        }
    }

    /// Ends all streams in order.
    pub(super) fn drain(&self) {
        match &self.place {
            Place::Program(server, _) => server.terminate(),
            Place::Mounted { hub, .. } => drop(hub.drain().end(usize::MAX)),
        }
    }
}

/// A stream, line by line.
pub(super) struct Stream {
    head: String,
    lines: Receiver<String>,
    decoder: Decoder,
    /// The program that reads it, if there is one.
    process: Option<Process>,
}

impl Stream {
    #[track_caller]
    fn of_curl(mut process: Process) -> Self {
        let (_, nothing) = channel();
        let lines = std::mem::replace(&mut process.stdout, nothing);
        let mut stream =
            Self { head: String::new(), lines, decoder: Decoder::new(), process: Some(process) };
        while let Some(line) = stream.line().filter(|line| !line.trim_end().is_empty()) {
            stream.head += &format!("{}\r\n", line.trim_end());
        }
        stream
    }

    fn of_body(head: String, mut body: Body, runtime: &Runtime) -> Self {
        let (sender, lines) = channel();
        runtime.spawn(async move {
            while let Some(frame) = body.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                let text = std::str::from_utf8(&data).unwrap();
                assert!(text.ends_with('\n'), "only whole lines are a frame: {text:?}");
                if text.lines().any(|line| sender.send(line.to_owned()).is_err()) {
                    return;
                }
            }
        });
        Self { head, lines, decoder: Decoder::new(), process: None }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The next line; `None` when the stream has ended.
    #[track_caller]
    pub(super) fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing arrived within {PATIENCE:?}"),
        }
    }

    /// The next item; `None` when the stream has ended.
    #[track_caller]
    pub(super) fn next(&mut self) -> Option<Received> {
        loop {
            let line = self.line()? + "\n";
            if let Some(received) = self.decoder.decode(&mut line.as_bytes()).unwrap() {
                return Some(received);
            }
        }
    }

    /// The next event.
    #[track_caller]
    pub(super) fn event(&mut self) -> ReceivedEvent {
        loop {
            match self.next() {
                Some(Received::Event(event)) => return event,
                Some(_) => {}
                None => panic!("the stream ended before the event"),
            }
        }
    }

    /// The data of the next `count` events that are not the hub's own.
    #[track_caller]
    pub(super) fn data(&mut self, count: usize) -> Vec<String> {
        let events = std::iter::repeat_with(|| self.event());
        let published = events.filter(|event| !event.event_type.starts_with("carafe."));
        published.take(count).map(|event| event.data).collect()
    }

    /// Stops the client's process.
    pub(super) fn stop(&self) {
        self.process.iter().for_each(|process| process.signal(Signal::STOP));
    }

    /// Continues the client's process.
    pub(super) fn resume(&self) {
        self.process.iter().for_each(|process| process.signal(Signal::CONT));
    }

    /// Whether the client holds the stream that has ended for whole.
    #[track_caller]
    pub(super) fn has_ended_in_order(&mut self) -> bool {
        self.process.take().is_none_or(|process| process.wait().success())
    }
}
