//! Third-party programs that the tests use.

use crate::install::Piece;
use crate::unpack::{CADDY, NGINX};

/// A client of event streams, a proxy, or a tool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Curl,
    Node,
    Python,
    Browser,
    /// Makes system calls fail.
    Strace,
    /// A proxy in front of a hub.
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

    /// The name of the client in `CARAFE_TEST_WITHOUT`.
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

    /// What has to be installed for it, in order.
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
