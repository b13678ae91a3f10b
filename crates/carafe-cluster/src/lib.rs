//! Several nodes of a Carafe hub as one, on an engine that puts their commits in order and keeps
//! them.
//!
//! An [`Engine`] stores [`Message`]s, numbers them, and lets each node follow them by a [`Tail`].
//! `NatsEngine` is NATS JetStream. [`ClusterUrl`] names an engine, and [`open`] connects to it.
//! Another engine can be tested with the tests of the feature `contract`.

mod check;
#[cfg(feature = "contract")]
pub mod contract;
mod engine;
#[cfg(feature = "contract")]
mod memory;
mod message;
#[cfg(feature = "nats")]
mod nats;

pub use check::{Created, DUPLICATE_WINDOW, Finding, Requirements, Setup, Severity};
pub use engine::{ATTEMPT, Engine, EngineError, HEARTBEAT, Identity, State, Tail};
#[cfg(feature = "contract")]
pub use memory::{Counts, MemoryEngine, Outcome, Snapshot};
pub use message::{BadMessageId, Message, MessageId, NoCommit, Stored};
#[cfg(feature = "nats")]
pub use nats::{BadClusterUrl, BadCredentials, ClusterUrl, Credentials, NatsEngine, open};
