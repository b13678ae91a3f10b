//! Writing: the queue, the thread that writes and syncs, retention, and the thread that writes
//! indexes.

pub(crate) mod ages;
pub(crate) mod answers;
pub(crate) mod indexer;
pub(crate) mod key_reading;
pub(crate) mod order;
pub(crate) mod passes;
pub(crate) mod queue;
pub(crate) mod replace;
pub(crate) mod retention;
pub(crate) mod rewriter;
pub(crate) mod signal;
pub(crate) mod tasks;
pub(crate) mod writer;
