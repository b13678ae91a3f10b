//! Reading: searches that run turn by turn on the reader threads, and never take the writer's lock.

pub(crate) mod blocks;
pub(crate) mod external_ids;
pub(crate) mod finder;
pub(crate) mod follow;
pub(crate) mod keys;
pub(crate) mod last;
pub(crate) mod part;
pub(crate) mod pick;
pub(crate) mod selection;
