//! Answers that every part of the server gives: problem documents, shared headers, and the names of
//! the limits that a problem can report. It knows no other module of this crate.

pub(crate) mod headers;
pub(crate) mod limit;
pub(crate) mod problem;
