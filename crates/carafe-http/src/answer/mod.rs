//! What responses of every layer share: problem documents, the limits that they name, and headers.
//!
//! The lowest layer of this crate: it uses no other folder.

pub(crate) mod headers;
pub(crate) mod heartbeat;
pub(crate) mod host;
pub(crate) mod limit;
pub(crate) mod problem;
pub(crate) mod problem_kind;
pub(crate) mod progress;
pub(crate) mod stream_drain;
