//! The index of one segment: in memory while the segment is written, and in a file afterwards.

pub(crate) mod active;
pub(crate) mod build_filter;
pub(crate) mod encode;
pub(crate) mod file;
pub(crate) mod paged;
pub(crate) mod postings;
