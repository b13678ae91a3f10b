//! What is measured, also as JSON between two processes.

use serde::{Deserialize, Serialize};

/// What was measured of one kind of replay, round by round.
#[derive(Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) event: usize,
    pub(super) streams: usize,
    pub(super) through_nginx: bool,
    /// Bytes a second, and seconds of the server's processor time for a gigabyte.
    pub(super) hub: Vec<Rate>,
    pub(super) bare: Vec<Rate>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Rate {
    pub(super) bytes: f64,
    pub(super) processor: f64,
}
