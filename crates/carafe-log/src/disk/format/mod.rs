//! The format of the files on disk: segments, indexes, filters and the marks. Nothing here
//! opens a file by its name or knows of threads.

pub(crate) mod clean_mark;
pub(crate) mod commit;
pub(crate) mod control;
pub(crate) mod filter;
pub(crate) mod header;
pub(crate) mod index;
pub(crate) mod pieces;
pub(crate) mod record;
pub(crate) mod scan;
pub(crate) mod supplied_mark;
