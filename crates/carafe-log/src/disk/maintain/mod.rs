//! Opening a log, and checking and repairing one that no hub has open.

pub(crate) mod check;
pub(crate) mod open;
pub(crate) mod repair;
