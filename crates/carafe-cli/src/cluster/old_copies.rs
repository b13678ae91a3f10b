//! Copies of streams that were deleted: no start removes them, so they have to be named.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use tracing::warn;

/// What the folder of each copy begins with.
pub(super) const PREFIX: &str = "cluster-";

/// Tells which copies of other streams are beside the one that is used, and how large they are.
pub(super) fn name(log: &Path, used: &Path) {
    match beside(log, used) {
        Ok(old) if old.is_empty() => {}
        Ok(old) => {
            let named = old
                .iter()
                .map(|(folder, bytes)| format!("{} ({})", folder.display(), ByteSize::b(*bytes)));
            let copies = named.collect::<Vec<_>>().join(", ");
            warn!(copies, "copies of other streams are kept: remove what nobody needs any more");
        }
        Err(error) => warn!(%error, "the copies of other streams cannot be listed"),
    }
}

/// The other copies in a folder, with the bytes of their files.
fn beside(log: &Path, used: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(log)? {
        let entry = entry?;
        let is_copy = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_copy && entry.path() != used && entry.file_type()?.is_dir() {
            found.push((entry.path(), size(&entry.path())?));
        }
    }
    found.sort();
    Ok(found)
}

/// A copy has no folders in it.
fn size(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.map(|file| Ok(file?.metadata()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copies_of_other_streams_are_found_with_their_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let copy = |name: &str, bytes: usize| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("1.segment"), vec![0; bytes]).unwrap();
            fs::write(path.join("1.index"), [0; 7]).unwrap();
            path
        };
        let used = copy("cluster-cb8c81ff4a97", 10);
        assert_eq!(beside(folder.path(), &used).unwrap(), []);
        copy("something-else", 5);
        fs::write(folder.path().join("cluster-notes"), "no folder").unwrap();
        let old = [copy("cluster-000000000001", 100), copy("cluster-000000000002", 0)];
        let [one, two] = old;
        assert_eq!(beside(folder.path(), &used).unwrap(), [(one, 107), (two, 7)]);
    }
}
