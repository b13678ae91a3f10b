//! A proxy in front of a hub.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::process::{PATIENCE, Process, free_address};
use crate::proxies::Kind;
use crate::proxies::configuration::Configuration;

/// A running proxy. It ends when it is dropped.
pub(crate) struct Front {
    pub(crate) certificate: Certificate,
    /// Speaks TLS, as documented.
    pub(crate) secure: SocketAddr,
    /// The same in cleartext, of nginx only.
    pub(crate) clear: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Front {
    /// The proxy with its documented configuration.
    #[track_caller]
    pub(crate) fn start(kind: Kind, hub: SocketAddr) -> Self {
        Self::start_changed(kind, hub, &[])
    }

    /// The same, with compression of pages and of event streams switched on around it.
    #[track_caller]
    pub(crate) fn start_compressing(kind: Kind, hub: SocketAddr, changes: &[(&str, &str)]) -> Self {
        Self::start_with(kind, hub, changes, true)
    }

    /// The same, with these texts of the documented configuration replaced.
    #[track_caller]
    pub(crate) fn start_changed(kind: Kind, hub: SocketAddr, changes: &[(&str, &str)]) -> Self {
        Self::start_with(kind, hub, changes, false)
    }

    #[track_caller]
    fn start_with(kind: Kind, hub: SocketAddr, changes: &[(&str, &str)], compresses: bool) -> Self {
        let (certificate, folder) = (Certificate::new(), TempDir::new().unwrap());
        let (secure, clear) = (free_address(), free_address());
        let configuration = Configuration {
            folder: folder.path(),
            certificate: &certificate,
            hub,
            secure,
            clear,
            changes,
            compresses,
        };
        let process = configuration.start(kind);
        wait_for(secure, &process);
        Self { certificate, secure, clear, _process: process, _folder: folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.secure)
    }

    /// An open stream of the topic `orders`, by `curl`; `version` is its option.
    pub(crate) fn stream(&self, version: &str) -> Process {
        let stream = self.certificate.curl_stream(&[version, &self.url("/events/orders")]);
        stream.next_line(|line| line == "event: carafe.position");
        stream
    }

    #[track_caller]
    pub(crate) fn publish(&self, version: &str, path: &str, arguments: &[&str]) {
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
