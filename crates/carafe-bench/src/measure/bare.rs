//! What a disk gives without a log: writes at consecutive places of one file, each synced.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use crate::outcome::Outcome;

/// A file with room for many writes of the same bytes.
pub(crate) struct Bare {
    file: File,
    bytes: Vec<u8>,
    at: u64,
}

impl Bare {
    /// Makes the file, with room for so many writes.
    pub(crate) fn create(path: &Path, bytes: usize, writes: usize) -> Outcome<Self> {
        let file = File::create_new(path)?;
        fallocate(&file, FallocateFlags::empty(), 0, (bytes * writes) as u64)?;
        file.sync_all()?;
        Ok(Self { file, bytes: vec![b'x'; bytes], at: 0 })
    }

    pub(crate) fn write_and_sync(&mut self) -> Outcome {
        self.file.write_all_at(&self.bytes, self.at)?;
        self.file.sync_data()?;
        self.at += self.bytes.len() as u64;
        Ok(())
    }
}
