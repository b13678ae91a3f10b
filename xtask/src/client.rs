//! Third-party programs that the tests use.

use crate::compiled_clients::{GO, JAVA};
use crate::install::Piece;
use crate::unpack::{APACHE, CADDY, FAKETIME, HAPROXY, NGINX, PROMETHEUS};

/// The folder of the client for JavaScript.
pub(crate) const JAVASCRIPT: &str = "clients/js";

/// A client of event streams, a proxy, or a tool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Curl,
    Node,
    Python,
    Go,
    Java,
    Browser,
    /// Makes system calls fail.
    Strace,
    /// Lets programs have a clock that is wrong.
    Faketime,
    /// A proxy in front of a hub.
    Nginx,
    Caddy,
    Apache,
    Haproxy,
    /// Checks what Prometheus reads.
    Promtool,
    /// The engine of a cluster.
    Nats,
}

impl Client {
    pub(crate) const ALL: [Self; 14] = [
        Self::Curl,
        Self::Node,
        Self::Python,
        Self::Go,
        Self::Java,
        Self::Browser,
        Self::Strace,
        Self::Faketime,
        Self::Nginx,
        Self::Caddy,
        Self::Apache,
        Self::Haproxy,
        Self::Promtool,
        Self::Nats,
    ];

    /// The name of the client in `CARAFE_TEST_WITHOUT`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::Node => "node",
            Self::Python => "python",
            Self::Go => "go",
            Self::Java => "java",
            Self::Browser => "browser",
            Self::Strace => "strace",
            Self::Faketime => "faketime",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Apache => "apache",
            Self::Haproxy => "haproxy",
            Self::Promtool => "promtool",
            Self::Nats => "nats",
        }
    }

    /// A toolchain that it needs, and that is not installed for it.
    pub(crate) fn toolchain(self) -> Option<Piece> {
        match self {
            Self::Go => Some(Piece::Go),
            Self::Java => Some(Piece::Java),
            _ => None,
        }
    }

    /// What has to be installed for it, in order.
    pub(crate) fn pieces(self) -> Vec<Piece> {
        match self {
            Self::Curl => vec![Piece::Curl],
            Self::Node => {
                let folders = ["tests/clients", "tests/runtimes", JAVASCRIPT];
                let modules = folders.map(Piece::NodeModules);
                [Piece::Node].into_iter().chain(modules).collect()
            }
            // Its program is in a package of Python.
            Self::Python | Self::Nats => vec![Piece::Python, Piece::PythonModules],
            Self::Go => vec![Piece::Go, Piece::Compiled(&GO)],
            Self::Java => vec![Piece::Java, Piece::Compiled(&JAVA)],
            Self::Browser => {
                let folders = ["tests/browser", "tests/clients", "examples/ai-sdk"];
                let modules = folders.map(Piece::NodeModules);
                [Piece::Chromium, Piece::Node].into_iter().chain(modules).collect()
            }
            Self::Strace => vec![Piece::Strace],
            Self::Faketime => vec![Piece::Unpacked(&FAKETIME)],
            Self::Nginx => vec![Piece::Unpacked(&NGINX)],
            Self::Caddy => vec![Piece::Unpacked(&CADDY)],
            Self::Apache => vec![Piece::Unpacked(&APACHE)],
            Self::Haproxy => vec![Piece::Unpacked(&HAPROXY)],
            Self::Promtool => vec![Piece::Unpacked(&PROMETHEUS)],
        }
    }
}
