//! The directory of a log: foreign files in it, and its permissions.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use carafe_log::contract::helpers::{append_one, positions, publication};
use carafe_log::{DiskLog, OfflineLog};

use crate::disk::{all, small_segments};

/// A name that an index or an unfinished file of the log could have, and names that it never gives.
const FILES: [&str; 8] = [
    "00000000000000000099.index",
    "00000000000000000099.index.new",
    "x.segment",
    "1.segment",
    "notes.index",
    "draft.new",
    "clean.new",
    "README",
];
const FOLDERS: [&str; 3] = ["lost+found", "x.new", "00000000000000000099.segment"];

fn add_foreign(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    for name in FOLDERS {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for name in FILES {
        fs::write(folder.join(name), format!("the content of {name}")).unwrap();
    }
    foreign(folder)
}

fn foreign(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    assert!(FOLDERS.iter().all(|name| folder.join(name).is_dir()));
    FILES
        .iter()
        .map(|name| folder.join(name))
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect()
}

#[test]
fn files_and_folders_of_others_disturb_nothing_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut stored = Vec::new();
    for round in 0..3 {
        let log = DiskLog::open(&path, small_segments()).unwrap();
        stored.extend((0..5).map(|_| append_one(&log, publication("a", "event"))));
        assert_eq!(positions(&all(&log)), stored);
        drop(log);
        let before = if round == 0 { add_foreign(&path) } else { foreign(&path) };
        let offline = OfflineLog::lock(&path).unwrap();
        let stat = offline.stat().unwrap();
        assert_eq!((stat.segments, stat.entries), (1, stored.len() as u64));
        assert_eq!(offline.verify(&mut |_, _| {}).unwrap(), []);
        assert!(offline.plan_repair(&mut |_, _| {}).unwrap().is_empty());
        assert_eq!(foreign(&path), before);
    }
}

/// The log may remove its own clean mark, but no file that a user has put there.
#[test]
fn a_file_of_others_with_the_name_of_the_mark_stays() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clean"), "the kitchen").unwrap();
    for _ in 0..2 {
        let log = DiskLog::open(folder.path(), small_segments()).unwrap();
        append_one(&log, publication("a", "event"));
    }
    assert_eq!(fs::read_to_string(folder.path().join("clean")).unwrap(), "the kitchen");
    assert_eq!(all(&DiskLog::open(folder.path(), small_segments()).unwrap()).len(), 2);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_log_is_made_for_its_owner_alone_and_a_folder_that_is_there_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let (made, there) = (folder.path().join("new/log"), folder.path().join("there"));
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, Permissions::from_mode(0o750)).unwrap();
    for path in [&made, &there] {
        let log = DiskLog::open(path, small_segments()).unwrap();
        for _ in 0..50 {
            append_one(&log, publication("a", "event"));
        }
        drop(log);
        let files: Vec<_> = fs::read_dir(path).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 4 && files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    }
    assert_eq!((mode(&made), mode(&there)), (0o700, 0o750));
}
