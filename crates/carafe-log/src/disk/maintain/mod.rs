//! Opening a log, and checking and repairing a log that no hub has open.

pub(crate) mod check;
pub(crate) mod erased;
pub(crate) mod open;
pub(crate) mod repair;
