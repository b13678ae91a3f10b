//! Opening a log, and checking, repairing and taking back a log that no hub has open.

pub(crate) mod check;
pub(crate) mod erased;
pub(crate) mod go_back;
pub(crate) mod open;
pub(crate) mod repair;
