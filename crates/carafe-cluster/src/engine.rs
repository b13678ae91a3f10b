//! What puts the commits of several nodes in order, and keeps them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_log::BoxFuture;
use carafe_protocol::Generation;

use crate::{Message, Stored};

/// The longest time that [`Tail::next`] takes while the engine is well.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// The longest time that a request to an engine takes. Without an answer by then it is
/// [`Unavailable`](EngineError::Unavailable).
pub const ATTEMPT: Duration = Duration::from_secs(2);

/// A shared, ordered, durable list of messages. Each message is a commit of a node, and the number
/// that the engine gives it is its sequence. Sequences begin at 1 and only grow. They may have
/// holes.
///
/// All futures can be dropped at any time. What an [`append`](Self::append) that was dropped has
/// done is unknown, as after [`EngineError::Unavailable`]. Except for [`Tail::next`], each future
/// completes within [`ATTEMPT`].
pub trait Engine: Send + Sync + 'static {
    /// Who the engine is, and what it has, at one moment. It has what this node was told to be
    /// stored.
    fn state(&self) -> BoxFuture<'_, Result<State, EngineError>>;

    /// Lets the next requests take another connection: another server may know better. Tails may
    /// end.
    fn renew(&self) {}

    /// Stores a message as durably as the engine makes it, and returns its sequence.
    ///
    /// A message whose ID was stored within the engine's duplicate window is not stored again: the
    /// answer is the sequence of the first. So a message with an unknown outcome can be sent again.
    fn append(&self, message: Message) -> BoxFuture<'_, Result<u64, EngineError>>;

    /// The message of a sequence. `None` if it was removed, or not stored yet.
    fn get(&self, sequence: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>>;

    /// The first message from sequence `from` on, whatever was removed before it. `None` if there
    /// is none yet.
    fn first_from(&self, from: u64) -> BoxFuture<'_, Result<Option<Stored>, EngineError>>;

    /// Follows the messages from sequence `from` on: those that are stored, then those to come. If
    /// the engine has removed the first of them, the tail begins with the oldest that is left.
    ///
    /// # Errors
    /// [`Unavailable`](EngineError::Unavailable) also if the engine ends before `from - 1`: ask for
    /// its [`state`](Self::state).
    fn tail(&self, from: u64) -> BoxFuture<'_, Result<Box<dyn Tail>, EngineError>>;
}

/// Messages of an [`Engine`], in the order of their sequences.
///
/// A tail never connects again by itself. Whatever may have come between two messages is an error,
/// and the tail is over. Whoever reads it then compares what it has with the engine's
/// [`state`](Engine::state), and takes a new tail. So no message is lost, and no other history is
/// taken for the same.
pub trait Tail: Send {
    /// The next messages, as many as are at hand within a limit. Without a message for
    /// [`HEARTBEAT`], an empty list says that the engine lives. Whoever waits much longer for an
    /// answer has lost the engine, and drops the tail.
    ///
    /// A future that is dropped takes no message with it.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Stored>, EngineError>>;
}

/// What an engine has at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Which engine it is.
    pub identity: Identity,
    /// The sequence of the oldest message. One more than `last` if there is none.
    pub first: u64,
    /// The last sequence that was given out; 0 at first.
    pub last: u64,
    /// What the clock shows that gives messages their time. A clock of another server may differ,
    /// and lead later.
    pub now: SystemTime,
    /// The maximum size of a message's payload, in bytes.
    pub payload: usize,
    /// How long messages are kept. `None` if there is no such limit.
    pub age: Option<Duration>,
}

/// Tells one life of an engine from another: an engine that was deleted and created again has
/// another identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The generation of all positions in the logs of the nodes.
    pub generation: Generation,
    /// The name of the shared list in the engine.
    pub name: String,
    /// When it was created.
    pub created: SystemTime,
}

impl Identity {
    /// The generation follows from the name and the time, so all nodes have the same.
    ///
    /// ```
    /// use std::time::UNIX_EPOCH;
    ///
    /// use carafe_cluster::Identity;
    ///
    /// let identity = Identity::new("CARAFE", UNIX_EPOCH);
    /// assert_eq!(identity, Identity::new("CARAFE", UNIX_EPOCH));
    /// assert_ne!(identity.generation, Identity::new("OTHER", UNIX_EPOCH).generation);
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>, created: SystemTime) -> Self {
        let name = name.into();
        Self { generation: generation(&name, created), name, created }
    }
}

/// FNV-1a over the name, a byte that no name has, and the nanoseconds since the epoch, folded to
/// the 48 bits of a generation. Positions on the wire depend on it: it must never change.
fn generation(name: &str, created: SystemTime) -> Generation {
    let nanoseconds = created.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let bytes = name.bytes().chain([0xff]).chain(nanoseconds.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Generation::new(hash ^ (hash >> 48))
}

/// An engine did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no answer, or none that decides: it may help to try again. Whether an append has
    /// stored its message is unknown.
    #[error("the engine is away: {0}")]
    Unavailable(String),
    /// The engine has refused it, and trying again does not help. Nothing was stored.
    #[error("the engine refuses it: {0}")]
    Refused(String),
    /// The engine does not have the list that was asked for. It was deleted, or never created.
    #[error("the engine has no such stream: create it, or correct its name")]
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All nodes of a cluster, of any version, have to derive the same.
    #[test]
    fn the_generation_of_an_identity_never_changes() {
        let created = UNIX_EPOCH + Duration::from_nanos(1_764_410_400_123_456_789);
        let identity = Identity::new("CARAFE", created);
        assert_eq!(identity.generation.to_string(), "cb8c81ff4a97");
    }

    #[test]
    fn an_engine_that_was_created_again_has_another_generation() {
        let created = |nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        let generation = |nanoseconds| Identity::new("CARAFE", created(nanoseconds)).generation;
        assert_ne!(generation(1), generation(2));
    }
}
