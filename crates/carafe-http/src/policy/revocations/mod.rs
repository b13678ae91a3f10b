//! Revoked tokens and users: which they are, how the hub remembers them, and how their open streams
//! learn of it.
//!
//! A revocation is an entry of the log under a topic that only the hub uses. The table of
//! revocations is fed by following the log, never by the request that revokes: so it is the same
//! after a restart, and on every node that has the log's entries.
//!
//! A request asks the table once, when its token is verified. An open stream is asked again after
//! each change of the table: streams of shards by [reviews](carafe_fanout::ShardPool::review), all
//! others by [`watchers`]. A stream is asked right after it can be found by either, too. So one
//! whose token was revoked after the token was verified ends.

pub(crate) mod bearer;
mod handle;
mod history;
mod keeper;
mod names;
pub(crate) mod record;
mod revocation;
mod state;
mod table;
pub(crate) mod watchers;

pub use handle::Revocations;
pub use record::Revoked;
pub use revocation::{BadRevocation, Revocation, RevocationLimits, RevokeError};
