//! Reading. Searches run in turns on the reader threads. They use an immutable view and never take
//! the lock of the writer.

pub(crate) mod blocks;
pub(crate) mod erased;
pub(crate) mod external_ids;
pub(crate) mod finder;
pub(crate) mod follow;
pub(crate) mod hidden;
pub(crate) mod keys;
pub(crate) mod last;
pub(crate) mod latest;
pub(crate) mod part;
pub(crate) mod pick;
pub(crate) mod selection;
pub(crate) mod selections;
pub(crate) mod superseded;
pub(crate) mod trimmed_keys;
