//! Segments and the files that belong to them.

pub(crate) mod derived;
pub(crate) mod file;
pub(crate) mod files;
pub(crate) mod holes;
pub(crate) mod sealed;
