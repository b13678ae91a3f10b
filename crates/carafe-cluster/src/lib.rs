//! Several nodes of a Carafe hub as one, on an engine that puts their commits in order and keeps
//! them.
//!
//! An [`Engine`] stores [`Message`]s, numbers them, and lets each node follow them by a [`Tail`].
//! [`ClusterUrl`] names one on NATS JetStream, and [`open`] connects to it.
//!
//! [`ClusterLog`] is the log of one node, for its hub. [`plan`] says what has to be done with the
//! log that a node has, before it starts.
//!
//! Another engine can be tested with the tests of the feature `contract`.

mod belief;
mod catch_up;
mod check;
mod cluster_log;
mod comparison;
#[cfg(feature = "contract")]
pub mod contract;
mod engine;
mod engine_time;
#[cfg(feature = "contract")]
mod memory;
mod message;
#[cfg(feature = "nats")]
mod nats;
mod node;
mod offsets;
mod options;
mod place;
mod plan;
mod progress;
mod publish;
mod questions;
mod replicate;
mod shared;
mod suspicion;

pub use belief::Belief;
pub use check::{Created, DUPLICATE_WINDOW, Finding, Requirements, Setup, Severity};
pub use cluster_log::{ClusterLog, StartError};
pub use engine::{ATTEMPT, Engine, EngineError, HEARTBEAT, Identity, State, Tail};
#[cfg(feature = "contract")]
pub use memory::{Counts, MemoryEngine, Outcome, Snapshot};
pub use message::{BadMessageId, LATE, Message, MessageId, NoCommit, Stored};
#[cfg(feature = "nats")]
pub use nats::{BadClusterUrl, BadCredentials, ClusterUrl, Credentials, open};
pub use node::Node;
pub use offsets::{first_offset, offset_before, sequence_of};
pub use options::ClusterOptions;
pub use place::Divergence;
pub use plan::{Plan, PlanError, begin_after, plan};
pub use progress::{Counters, Fill, Link, Progress, Stopped};
