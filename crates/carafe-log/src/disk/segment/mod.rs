//! Segments, the files that are derived from them, and the names of all files.

pub(crate) mod derived;
pub(crate) mod file;
pub(crate) mod files;
pub(crate) mod hashed_texts;
pub(crate) mod holes;
pub(crate) mod rewrite;
pub(crate) mod sealed;
