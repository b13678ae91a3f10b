//! A program's wall clock that is wrong, and jumps while the program runs, by libfaketime.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::clients::{is_here as is_wanted, skip};
use crate::process::repository;

/// Whether libfaketime is here. If not, prints that `test` is skipped.
pub(crate) fn is_here(test: &str) -> bool {
    if !is_wanted("faketime", test) {
        return false;
    }
    let is_here = library().is_some();
    if !is_here {
        skip(test, "libfaketime is missing; cargo xtask install brings it");
    }
    is_here
}

/// What `cargo xtask install` has unpacked, else what is installed. It is the library for programs
/// with several threads.
fn library() -> Option<PathBuf> {
    let file = format!("usr/lib/{ARCH}-linux-gnu/faketime/libfaketimeMT.so.1");
    let places = [repository("target/proxies").join(&file), Path::new("/").join(&file)];
    places.into_iter().find(|place| place.exists())
}

/// The wall clock of one program. Its monotonic clock is right.
pub(crate) struct WrongClock {
    folder: TempDir,
}

impl WrongClock {
    /// A clock that differs by so much, such as `+1h`.
    pub(crate) fn by(offset: &str) -> Self {
        let clock = Self { folder: tempfile::tempdir().unwrap() };
        clock.jump(offset);
        clock
    }

    /// Sets how much the clock differs from now on.
    pub(crate) fn jump(&self, offset: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, offset).unwrap();
        // At once: the program reads the file whenever it reads the clock.
        fs::rename(new, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Runs a program with this clock. It notes the ID of its process.
    pub(crate) fn runner(&self) -> Vec<String> {
        let library = library().expect("libfaketime is here");
        let note = format!("echo $$ >> {}; exec \"$0\" \"$@\"", self.ids().display());
        vec![
            "sh".into(),
            "-c".into(),
            note,
            "env".into(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display()),
            "FAKETIME_NO_CACHE=1".into(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        ]
    }

    fn ids(&self) -> PathBuf {
        self.folder.path().join("ids")
    }
}

impl Drop for WrongClock {
    /// Removes what the library shares between the processes of a program, which stays if the
    /// program is killed.
    fn drop(&mut self) {
        let ids = fs::read_to_string(self.ids()).unwrap_or_default();
        for id in ids.lines() {
            for name in ["faketime_shm_", "sem.faketime_sem_"] {
                let _ = fs::remove_file(format!("/dev/shm/{name}{id}"));
            }
        }
    }
}
