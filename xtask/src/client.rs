//! The programs from outside the project that its tests drive against the hub.

use crate::install::Piece;

/// A client that real users read streams with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Curl,
    Node,
    Python,
    Browser,
}

impl Client {
    pub(crate) const ALL: [Self; 4] = [Self::Curl, Self::Node, Self::Python, Self::Browser];

    /// The name under which tests know it, in `CARAFE_TEST_WITHOUT` too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Curl => "curl",
            Self::Node => "node",
            Self::Python => "python",
            Self::Browser => "browser",
        }
    }

    /// What it is made of, in the order of installing.
    pub(crate) fn pieces(self) -> Vec<Piece> {
        match self {
            Self::Curl => vec![Piece::Curl],
            Self::Node => vec![Piece::Node, Piece::NodeModules("tests/clients")],
            Self::Python => vec![Piece::Python, Piece::PythonModules],
            Self::Browser => vec![Piece::Chromium, Piece::Node, Piece::NodeModules("tests/browser")],
        }
    }
}
