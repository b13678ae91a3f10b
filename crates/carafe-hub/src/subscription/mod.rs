//! One stream of the hub: from the request to the bytes that are sent.
//!
//! [`subscribe`] is the request, [`origin`] resolves where its stream begins, [`stream`] is the
//! subscription itself and [`frames`] its bytes; [`page`] reads a part of it as one value, and
//! [`snapshot`] has the newest events of each topic. A subscription is polled by the task of its
//! stream, or by the dispatcher of a shard. It knows no socket.

pub(crate) mod cursor;
pub(crate) mod frames;
mod opening;
pub(crate) mod origin;
pub(crate) mod page;
pub(crate) mod registration;
pub(crate) mod replay;
pub(crate) mod replay_permits;
pub(crate) mod snapshot;
pub(crate) mod snapshot_room;
pub(crate) mod stream;
pub(crate) mod subscribe;
