//! The programs from outside the project that its tests drive the hub with.

use crate::install::Piece;
use crate::unpack::{CADDY, NGINX};

/// A client that real users read streams with, or a tool of the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Curl,
    Node,
    Python,
    Browser,
    /// Makes system calls fail.
    Strace,
    /// Proxies that stand in front of a hub.
    Nginx,
    Caddy,
}

impl Client {
    pub(crate) const ALL: [Self; 7] = [
        Self::Curl,
        Self::Node,
        Self::Python,
        Self::Browser,
        Self::Strace,
        Self::Nginx,
        Self::Caddy,
    ];

    /// The name under which tests know it, in `CARAFE_TEST_WITHOUT` too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::Node => "node",
            Self::Python => "python",
            Self::Browser => "browser",
            Self::Strace => "strace",
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
        }
    }

    /// What it is made of, in the order of installing.
    pub(crate) fn pieces(self) -> Vec<Piece> {
        match self {
            Self::Curl => vec![Piece::Curl],
            Self::Node => vec![Piece::Node, Piece::NodeModules("tests/clients")],
            Self::Python => vec![Piece::Python, Piece::PythonModules],
            Self::Browser => {
                vec![Piece::Chromium, Piece::Node, Piece::NodeModules("tests/browser")]
            }
            Self::Strace => vec![Piece::Strace],
            Self::Nginx => vec![Piece::Unpacked(&NGINX)],
            Self::Caddy => vec![Piece::Unpacked(&CADDY)],
        }
    }
}
